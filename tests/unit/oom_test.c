/* oom_test.c - every allocation of the engine fails once, and nothing else happens.
 *
 * A script of commands runs again and again; in the n-th run the n-th allocation fails (or that one and all that
 * follow it within the same command), n = 1, 2, ... until a run needs fewer. The linker puts the functions below
 * in front of malloc and aligned_alloc (--wrap), so nothing that the engine allocates escapes.
 *
 * A command that meets the failure either answers that memory is out, and then no key, value, deadline or
 * version has changed and the same command succeeds afterwards; or it got by without that memory and answers
 * as always. Under AddressSanitizer this also shows what a failure leaks.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "store.h"

#define NOW 1700000000000

/* ---- failing allocations ---- */

/* The linker's hooks take no argument, so their state is global. */
static struct {
    long countdown; /* allocations until the one that fails; 0: none is to fail */
    bool stay_failed;
    long failures;
} fault;

void *__real_malloc(size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);

static bool fault_strikes(void)
{
    if (fault.countdown == 0)
        return false;
    if (fault.countdown > 1) {
        fault.countdown--;
        return false;
    }
    if (!fault.stay_failed)
        fault.countdown = 0;
    fault.failures++;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fault_strikes() ? NULL : __real_malloc(size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
    return fault_strikes() ? NULL : __real_aligned_alloc(alignment, size);
}

/* ---- the script ---- */

/* A word "@n" is n bytes; a line that begins with '~' answers differently each time (order, cursor, version). */
static const char *const script[] = {
    "SET a 1",
    "SET a @40",
    "SET big @5000",
    "SET big @9000 GET",
    "SET big @3000 XX KEEPTTL",
    "SET new @2000 NX EX 100",
    "SET new x IFEQ y",
    "SET fresh x IFVER 0 GET",
    "SETNX a b",
    "SETNX other @1500",
    "SETEX timed 100 @1200",
    "PSETEX timed 100000 v",
    "GETSET a @1100",
    "GETSET a short",
    "GETEX timed PERSIST",
    "GETEX timed EX 50",
    "GETDEL new",
    "APPEND a @100",
    "APPEND a @3000",
    "APPEND a @3000",
    "APPEND appended @10",
    "SETRANGE a 7000 @20",
    "SETRANGE ranged 5 x",
    "INCR counter",
    "INCRBY counter 40",
    "DECRBY counter 1",
    "INCRBYFLOAT counter 1.5",
    "MSET m1 @10 m2 @2000 m3 @30 m4 @4000",
    "MSET m1 x m1 y",
    "MSETNX m1 a m5 b",
    "MSETNX n1 @2000 n2 b n3 c",
    "MSETEX 2 e1 @2000 e2 b EX 100",
    "MSETEX 2 e1 a e2 b XX KEEPTTL",
    "MGET a m1 m2 m3 m4 n1 n2 n3 e1 e2 big timed other ranged counter nope",
    "MGET 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 a b c",
    "EXISTS a m1 nope",
    "EXPIRE a 100",
    "EXPIRE big 100 NX",
    "PEXPIREAT m1 1700000100000",
    "PERSIST a",
    "TTL a",
    "COPY big copied",
    "COPY timed copied REPLACE",
    "RENAME copied renamed",
    "RENAME big renamed",
    "RENAMENX renamed big",
    "LCS m2 m4",
    "LCS m1 a IDX",
    "LCS m2 m4 LEN",
    "DIGEST m2",
    "DELIFEQ ranged nope",
    "DELEX e1 IFEQ a",
    "DEL m1 m2 nope m3",
    "UNLINK m4 n1",
    "DEL n2",
    "OBJECT ENCODING a",
    "~GETV a",
    "~KEYS *",
    "~SCAN 0 COUNT 1000",
    "~RANDOMKEY",
    "COMMAND DOCS SET CLIENT",
    "COMMAND GETKEYS DEL 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
    "EXPIRE a -1",
    "FLUSHDB",
    "SET again @2000",
    "FLUSHALL ASYNC",
    "DBSIZE",
};

enum { lines = sizeof script / sizeof script[0], fill_keys = 800, after_fill = 6, words_max = 32 };

static char filler[16384];

static int split(const char *line, kv_slice argv[words_max])
{
    int argc = 0;

    for (const char *p = line + (*line == '~'); p; argc++) {
        const char *space = strchr(p, ' ');

        argv[argc] = *p == '@' ? kv_slice_of(filler, (size_t)atoi(p + 1))
                               : kv_slice_of(p, space ? (size_t)(space - p) : strlen(p));
        p = space ? space + 1 : NULL;
    }
    return argc;
}

/* ---- what there is ---- */

static uint64_t mix(uint64_t sum, const void *data, size_t len)
{
    const unsigned char *p = data;

    for (size_t i = 0; i < len; i++)
        sum = (sum ^ p[i]) * 0x100000001b3u;
    return sum;
}

static void sum_up(void *arg, kv_slice key, kv_slice value, const kv_meta *meta)
{
    uint64_t sum = mix(14695981039346656037u, key.data, key.len);

    sum = mix(sum, value.data, value.len);
    sum = mix(sum, &meta->deadline_ms, sizeof meta->deadline_ms);
    sum = mix(sum, &meta->version, sizeof meta->version);
    *(uint64_t *)arg += sum;
}

/* A number that changes with any key, value, deadline or version. */
static uint64_t state_of(kv_store *store)
{
    uint64_t sum = kv_store_count(store), cursor = 0;

    do {
        cursor = kv_store_scan(store, cursor, 1000, sum_up, &sum, NOW);
    } while (cursor);
    return sum;
}

static uint64_t reply_sum(const kv_value *value, uint64_t sum)
{
    sum = mix(sum, &value->type, sizeof value->type);
    sum = mix(sum, &value->integer, sizeof value->integer);
    sum = mix(sum, value->text.data, value->text.len);
    for (size_t i = 0; i < value->count; i++)
        sum = reply_sum(&value->elements[i], sum);
    return sum;
}

/* ---- running ---- */

/* The reply's sum, or 0: memory was out. */
static uint64_t run_words(kv_store *store, int argc, const kv_slice argv[])
{
    kv_value *reply = NULL;
    int err = kv_exec(store, argc, argv, &reply, NOW);
    uint64_t sum;

    if (err) {
        assert_int_equal(err, KV_ENOMEM);
        assert_null(reply);
        return 0;
    }
    if (reply->type == KV_REPLY_ERROR && strcmp(reply->text.data, kv_error_text(KV_ENOMEM)) == 0)
        sum = 0;
    else
        sum = reply_sum(reply, 14695981039346656037u) | 1;
    kv_value_free(reply);
    return sum;
}

/* Runs one command with the fault armed; when it meets the fault, as this file's head says. */
static void run_armed(kv_store *store, const char *line, uint64_t *expected, long *countdown)
{
    kv_slice argv[words_max];
    int argc = split(line, argv);
    uint64_t before = state_of(store), got;
    long failures = fault.failures;

    fault.countdown = *countdown;
    got = run_words(store, argc, argv);
    *countdown = fault.failures > failures ? 0 : fault.countdown;
    fault.countdown = 0;
    if (got == 0) {
        assert_true(fault.failures > failures);
        if (state_of(store) != before)
            fail_msg("%s: memory was out, but something has changed", line);
        got = run_words(store, argc, argv);
        assert_true(got != 0);
    }
    store_check(store);
    if (*expected == 0)
        *expected = got;
    else if (*line != '~' && *expected != got)
        fail_msg("%s: another reply than without the failure", line);
}

/* Keys enough to make the index grow, straight into the store: no reply needs memory. */
static void fill(kv_store *store, long *countdown)
{
    char key[32];

    for (int i = 0; i < fill_keys; i++) {
        size_t keys = kv_store_count(store);
        int len = snprintf(key, sizeof key, "filler:%d", i), err;
        kv_slice name = kv_slice_of(key, (size_t)len);
        long failures = fault.failures;

        fault.countdown = *countdown;
        err = kv_store_set(store, name, name, NULL, NOW, NULL);
        *countdown = fault.failures > failures ? 0 : fault.countdown;
        fault.countdown = 0;
        if (!err)
            continue;
        assert_int_equal(err, KV_ENOMEM);
        assert_true(fault.failures > failures);
        assert_int_equal(kv_store_count(store), keys);
        assert_int_equal(kv_store_copy(store, name, NULL, 0, NULL, NOW), KV_ENOKEY);
        store_check(store);
        assert_int_equal(kv_store_set(store, name, name, NULL, NOW, NULL), 0);
    }
    assert_true(kv_store_count(store) >= fill_keys);
}

static kv_store *open_armed(long *countdown)
{
    static const unsigned char secret[192] = { 1, 2, 3 };
    kv_domain_options domain_options = { .secret = secret };
    kv_store_options options = { .domain = NULL };
    kv_store *store = NULL;
    long failures = fault.failures;

    fault.countdown = *countdown;
    options.domain = kv_domain_new(&domain_options);
    if (options.domain)
        store = kv_store_new(&options);
    *countdown = fault.failures > failures ? 0 : fault.countdown;
    fault.countdown = 0;
    kv_domain_unref(options.domain);
    if (store)
        return store;
    assert_true(fault.failures > failures);
    options.domain = kv_domain_new(&domain_options);
    store = kv_store_new(&options);
    assert_non_null(store);
    kv_domain_unref(options.domain);
    return store;
}

/* One run in which the n-th allocation fails (0: none); returns whether there were that many. */
static bool run_script(long n, uint64_t expected[lines])
{
    long countdown = n, failures = fault.failures;
    kv_store *store = open_armed(&countdown);

    for (int i = 0; i < lines - after_fill; i++)
        run_armed(store, script[i], &expected[i], &countdown);
    fill(store, &countdown);
    for (int i = lines - after_fill; i < lines; i++)
        run_armed(store, script[i], &expected[i], &countdown);
    kv_store_unref(store);
    return fault.failures > failures;
}

static void run_all(bool stay_failed)
{
    static uint64_t expected[lines];
    long n = 0;

    memset(expected, 0, sizeof expected);
    memset(filler, 'f', sizeof filler);
    fault.stay_failed = stay_failed;
    fault.failures = 0;
    assert_false(run_script(0, expected));
    do {
        n++;
    } while (run_script(n, expected));
    print_message("%ld allocations failed, one after the other\n", n - 1);
    assert_true(n > lines); /* each command needs at least its reply */
}

static void one_failure_changes_nothing(void **state)
{
    (void)state;
    run_all(false);
}

static void lasting_failure_changes_nothing(void **state)
{
    (void)state;
    run_all(true);
}

/* ---- several commands as one act ---- */

static bool has(kv_store *store, const char *key, size_t len)
{
    kv_meta meta;

    return kv_store_copy(store, kv_str(key), NULL, 0, &meta, NOW) == 0 && meta.len == len;
}

/* What was there before is there still for each command that answers that memory was out, and what the others say has
 * happened. */
static void look_at_many(kv_store *store, const kv_value *reply, bool ran)
{
    bool done[5];

    for (size_t i = 0; i < 5; i++)
        done[i] = ran && reply->elements[i].type != KV_REPLY_ERROR;
    assert_true(!ran || reply->count == 5);
    for (size_t i = 0; ran && i < 5; i++)
        if (!done[i])
            assert_string_equal(reply->elements[i].text.data, kv_error_text(KV_ENOMEM));
    assert_int_equal(has(store, "a", 3000), done[0]);
    assert_true(has(store, "b", done[1] ? 8000 : 5000));
    assert_true(has(store, "c", done[2] ? 1 : 5000));
    if (done[2])
        assert_int_equal(reply->elements[2].text.len, 5000);
    assert_int_equal(has(store, "m1", 2000), done[3]);
    assert_int_equal(has(store, "m2", 2000), done[3]);
    assert_int_equal(has(store, "n", 1), done[4]);
}

/* One run in which the n-th allocation of the transaction fails; returns whether there were that many. */
static bool run_transaction(long n)
{
    static const char *const wanted[] = { "SET a @3000", "APPEND b @3000", "GETSET c x",
                                          "MSET m1 @2000 m2 @2000", "INCR n" };
    kv_store *store = kv_store_new(NULL);
    kv_slice words[5][words_max];
    kv_exec_command commands[5];
    kv_transaction t = { .command_count = 5, .commands = commands };
    kv_value *reply = NULL;
    long failures = fault.failures;
    int err;

    assert_non_null(store);
    for (int i = 0; i < 5; i++)
        commands[i] = (kv_exec_command){ split(wanted[i], words[i]), words[i] };
    assert_int_equal(kv_store_set(store, KV_STR("b"), kv_slice_of(filler, 5000), NULL, NOW, NULL), 0);
    assert_int_equal(kv_store_set(store, KV_STR("c"), kv_slice_of(filler, 5000), NULL, NOW, NULL), 0);
    fault.countdown = n;
    err = kv_exec_many(store, &t, &reply, NULL, NOW);
    fault.countdown = 0;
    assert_true(err == 0 || err == KV_ENOMEM);
    look_at_many(store, reply, err == 0);
    kv_value_free(reply);
    store_check(store);
    assert_int_equal(kv_exec_many(store, &t, &reply, NULL, NOW), 0); /* and it works again */
    kv_value_free(reply);
    kv_store_unref(store);
    return fault.failures > failures;
}

static void a_failure_in_a_transaction_is_one_commands_own(void **state)
{
    long n = 0;

    (void)state;
    for (int stay_failed = 0; stay_failed <= 1; stay_failed++) {
        fault.stay_failed = stay_failed;
        for (n = 1; run_transaction(n); n++)
            ;
        assert_true(n > 5);
    }
    fault.stay_failed = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_failure_changes_nothing),
        cmocka_unit_test(lasting_failure_changes_nothing),
        cmocka_unit_test(a_failure_in_a_transaction_is_one_commands_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
