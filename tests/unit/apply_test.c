/* apply_test.c - the commands of a log on several threads: what comes of it, and what is told of the first that fails, is what one
 * thread makes of it, one command after the other.
 *
 * Logs are random, of a fixed seed: a command is kept when it succeeds on databases where each is run by itself.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NOW  1700000000000
#define KEYS 40

/* ---- logs as bytes ---- */

typedef struct text {
    char *bytes;
    size_t len;
    FILE *out;
    size_t starts[4096]; /* of its commands */
    size_t count;
} text;

static text *text_new(void)
{
    text *t = calloc(1, sizeof *t);

    assert_non_null(t);
    t->out = open_memstream(&t->bytes, &t->len);
    assert_non_null(t->out);
    return t;
}

static void text_free(text *t)
{
    fclose(t->out);
    free(t->bytes);
    free(t);
}

/* Adds a command of words, separated by blanks. */
static void add(text *t, const char *words)
{
    char copy[512], *rest = copy, *words_of[32];
    int n = 0;

    fflush(t->out);
    assert_true(t->count < 4096 && strlen(words) < sizeof copy);
    t->starts[t->count++] = t->len;
    strcpy(copy, words);
    for (char *word; (word = strsep(&rest, " "));)
        words_of[n++] = word;
    fprintf(t->out, "*%d\r\n", n);
    for (int i = 0; i < n; i++)
        fprintf(t->out, "$%zu\r\n%s\r\n", strlen(words_of[i]), words_of[i]);
    fflush(t->out);
}

static void add_long(text *t, const char *key, size_t len)
{
    fflush(t->out);
    t->starts[t->count++] = t->len;
    fprintf(t->out, "*3\r\n$3\r\nSET\r\n$%zu\r\n%s\r\n$%zu\r\n%0*d\r\n", strlen(key), key, len, (int)len, 7);
    fflush(t->out);
}

/* ---- what becomes of them ---- */

typedef struct result {
    int err;
    uint64_t failed_at, commands;
    char reason[AOF_REASON_MAX];
    char *state;
} result;

static void result_free(result *r)
{
    free(r->state);
}

/* Takes it in by units of so many commands, of two files. */
static int take_in(aof_apply *apply, const text *t, size_t unit)
{
    int err = 0;

    for (size_t i = 0; i < t->count && !err; i += unit) {
        size_t from = t->starts[i], to = i + unit < t->count ? t->starts[i + unit] : t->len;

        err = aof_apply_run(apply, kv_slice_of(t->bytes + from, to - from), from);
    }
    return err ? err : aof_apply_end_file(apply);
}

static result apply_text(const text *t, int threads, unsigned alone, size_t unit)
{
    result r = { 0 };
    aof_apply apply;
    bed b;

    open_stores(&b);
    aof_apply_init(
        &apply,
        &(aof_apply_options){ .databases = &b.databases, .now_ms = NOW, .threads = threads, .alone = alone });
    r.err = take_in(&apply, t, unit);
    r.failed_at = apply.failed_at;
    r.commands = apply.commands;
    memcpy(r.reason, apply.reason, sizeof r.reason);
    aof_apply_done(&apply);
    r.state = state_of(&b);
    close_stores(&b);
    return r;
}

/* All ways to take it in come to the same. */
static void assert_one_result(const text *t, int expected_err)
{
    static const int threads[] = { 1, 2, 3, 5, 16 };
    result one = apply_text(t, 0, 0, 1);

    assert_int_equal(one.err, expected_err);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++) {
        result several = apply_text(t, threads[i], i % 2 ? 1 : 7, 1 + 13 * i);

        assert_int_equal(several.err, one.err);
        assert_string_equal(several.reason, one.reason);
        assert_int_equal(several.failed_at, one.failed_at);
        if (!one.err) {
            assert_string_equal(several.state, one.state);
            assert_int_equal(several.commands, one.commands);
        }
        result_free(&several);
    }
    result_free(&one);
}

/* ---- random logs ---- */

static uint64_t seed;

static unsigned draw(unsigned below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(seed >> 33) % below;
}

static void draw_command(char words[200])
{
    unsigned k = draw(KEYS), l = draw(KEYS), n = draw(1000);
    long long past = NOW - 1 - (long long)n, future = NOW + 1000000 + (long long)n;

    switch (draw(34)) {
    case 0:
        sprintf(words, "SELECT %u", draw(DBS));
        break;
    case 1:
        sprintf(words, "SET k%u v%u PXAT %lld", k, n, past);
        break;
    case 2:
        sprintf(words, "SET k%u v%u PXAT %lld", k, n, future);
        break;
    case 3:
        sprintf(words, "PEXPIREAT k%u %lld", k, draw(2) ? past : future);
        break;
    case 4:
        sprintf(words, "PERSIST k%u", k);
        break;
    case 5:
        sprintf(words, "DEL k%u", k);
        break;
    case 6:
        sprintf(words, "DEL k%u k%u none k%u", k, l, draw(KEYS));
        break;
    case 7:
        sprintf(words, "UNLINK k%u k%u", k, k);
        break;
    case 8:
        sprintf(words, "RENAME k%u k%u", k, l);
        break;
    case 9:
        sprintf(words, "COPY k%u k%u DB %u REPLACE", k, l, draw(DBS));
        break;
    case 10:
        sprintf(words, "MOVE k%u %u", k, draw(DBS));
        break;
    case 11:
        sprintf(words, "MSET k%u a%u k%u b k%u c%u", k, n, l, k, n);
        break;
    case 12:
        sprintf(words, "MSETNX k%u x k%u y", k, l);
        break;
    case 13:
        strcpy(words, draw(8) ? "MULTI" : draw(2) ? "FLUSHDB" : "FLUSHALL");
        break;
    case 14:
        strcpy(words, draw(8) ? "EXEC" : "SWAPDB 0 1");
        break;
    case 15:
    case 16:
        sprintf(words, "APPEND k%u +%u", k, n);
        break;
    case 17:
        sprintf(words, "SETRANGE k%u %u z", k, draw(30));
        break;
    case 18:
        sprintf(words, "GETEX k%u PX 100000", k);
        break;
    case 19:
        sprintf(words, "SETEX k%u 50 e%u", k, n);
        break;
    case 20:
        sprintf(words, "SET k%u if%u %s", k, n, draw(2) ? "NX" : "XX");
        break;
    case 21:
    case 22:
    case 23:
        sprintf(words, "INCRBY n%u %u", k, n);
        break;
    default:
        sprintf(words, "SET k%u %u", k, n);
    }
}

/* A log of commands that all succeed. */
static text *draw_log(size_t commands)
{
    text *t = text_new();
    aof_apply apply;
    bed b;

    open_stores(&b);
    aof_apply_init(&apply, &(aof_apply_options){ .databases = &b.databases, .now_ms = NOW });
    while (t->count < commands) {
        text *single = text_new();
        char words[200];

        draw_command(words);
        add(single, words);
        if (aof_apply_run(&apply, kv_slice_of(single->bytes, single->len), 0) == 0)
            add(t, words);
        apply.runner.failed = false;
        text_free(single);
    }
    aof_apply_done(&apply);
    close_stores(&b);
    return t;
}

/* ---- tests ---- */

static void several_threads_come_to_what_one_does(void **state)
{
    (void)state;
    for (uint64_t round = 1; round <= 12; round++) {
        seed = round;
        text *t = draw_log(1500);

        assert_one_result(t, 0);
        text_free(t);
    }
}

/* One loader has all to do, and whoever reads must wait for it. */
static void changes_of_one_key_stay_in_order(void **state)
{
    text *t = text_new();
    result r;

    (void)state;
    for (int i = 0; i < 4000; i++)
        add(t, i % 2 ? "APPEND k x" : "INCR n");
    r = apply_text(t, 3, 1, 4096);
    assert_int_equal(r.err, 0);
    assert_non_null(strstr(r.state, "0 n=2000("));
    assert_non_null(strstr(r.state, "(2000,"));
    result_free(&r);
    text_free(t);
}

static void long_commands_have_their_turn(void **state)
{
    text *t = text_new();

    (void)state;
    for (int i = 0; i < 20; i++) {
        char key[16];

        sprintf(key, "k%d", i % 7);
        add_long(t, key, i % 5 == 4 ? AOF_LOADER_BYTES_MAX + 1 : 60000u + (unsigned)i);
        sprintf(key, "APPEND k%d y", i % 7);
        add(t, key);
    }
    assert_one_result(t, 0);
    text_free(t);
}

static void the_first_that_fails_is_told(void **state)
{
    static const char *const bad[] = { "INCR text", "RENAME none other", "SET text",  "NOSUCH text",
                                       "GET text",  "SELECT 99",         "SWAPDB 0 9" };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        text *t = text_new();

        add(t, "SET text abc");
        for (int n = 0; n < 700; n++) {
            char words[32];

            sprintf(words, "SET k%d v", n % KEYS);
            add(t, words);
            if (n == 300 + (int)i)
                add(t, bad[i]);
            if (n == 301 + (int)i) /* behind it, and found by another thread at once */
                add(t, bad[(i + 1) % (sizeof bad / sizeof *bad)]);
        }
        assert_one_result(t, KV_EINVAL);
        text_free(t);
    }
}

static void of_several_that_fail_at_once_the_first_is_told(void **state)
{
    text *t = text_new();

    (void)state;
    for (int bad = 0; bad < 2; bad++)
        for (int k = 0; k < KEYS; k++) {
            char words[32];

            sprintf(words, bad ? "INCR k%d" : "SET k%d text", k);
            add(t, words);
        }
    for (int again = 0; again < 4; again++) /* each time keys come to other loaders */
        assert_one_result(t, KV_EINVAL);
    text_free(t);
}

static bool goes_on(void *arg)
{
    int *left = arg;

    return (*left)-- > 0;
}

static void it_stops_when_told_to(void **state)
{
    text *t = text_new();
    int left = 100;
    aof_apply apply;
    bed b;

    (void)state;
    for (int i = 0; i < 200; i++)
        add(t, "INCR n");
    open_stores(&b);
    aof_apply_init(&apply, &(aof_apply_options){ .databases = &b.databases,
                                                 .now_ms = NOW,
                                                 .threads = 2,
                                                 .alone = 1,
                                                 .go_on = goes_on,
                                                 .arg = &left });
    assert_int_equal(take_in(&apply, t, 50), KV_EINVAL);
    assert_true(apply.stopped);
    assert_int_equal(apply.commands, 100);
    aof_apply_done(&apply);
    close_stores(&b);
    text_free(t);
}

/* ---- files ---- */

static void cut_anywhere_the_last_whole_batch_is_the_end(void **state)
{
    bed b;

    (void)state;
    make_bed(&b);
    b.threads = 2;
    assert_cut_anywhere(&b);
    end_bed(&b);
}

static void a_flipped_bit_is_refused_by_all_threads(void **state)
{
    size_t len;
    char *bytes;
    bed b;

    (void)state;
    make_bed(&b);
    b.threads = 2;
    write_script(&b, true);
    bytes = read_all(path_in(&b, INCR), &len);
    for (size_t i = 1; i < b.batches; i++) {
        size_t at = batch_at(bytes, len, i) + AOF_HEADER_BYTES + 3;

        bytes[at] ^= 1;
        write_all(path_in(&b, INCR), bytes, len);
        assert_refused(&b, "does not agree with its checksum");
        bytes[at] ^= 1;
    }
    free(bytes);
    end_bed(&b);
}

static void a_command_that_fails_is_told_before_damage_behind_it(void **state)
{
    static const char manifest[] = "file " INCR " seq 1 type i\n";
    text *t = text_new();
    char reason[64];
    bed b;

    (void)state;
    add(t, "SET text abc");
    for (int i = 0; i < 100; i++)
        add(t, i == 50 ? "INCR text" : "SET other 1");
    snprintf(reason, sizeof reason, "damaged at byte %zu: ERR value is not an integer", t->starts[51]);
    fprintf(t->out, "rubbish");
    fflush(t->out);
    make_bed(&b);
    write_all(path_in(&b, MANIFEST), manifest, sizeof manifest - 1);
    write_all(path_in(&b, INCR), t->bytes, t->len);
    for (b.threads = 0; b.threads < 4; b.threads++)
        assert_refused(&b, reason);
    end_bed(&b);
    text_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_threads_come_to_what_one_does),
        cmocka_unit_test(changes_of_one_key_stay_in_order),
        cmocka_unit_test(long_commands_have_their_turn),
        cmocka_unit_test(the_first_that_fails_is_told),
        cmocka_unit_test(of_several_that_fail_at_once_the_first_is_told),
        cmocka_unit_test(it_stops_when_told_to),
        cmocka_unit_test(cut_anywhere_the_last_whole_batch_is_the_end),
        cmocka_unit_test(a_flipped_bit_is_refused_by_all_threads),
        cmocka_unit_test(a_command_that_fails_is_told_before_damage_behind_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
