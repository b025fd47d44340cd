/* port_standin_test.c - the read port beside the main thread, in a server that a sanitizer can look into.
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server.h"
#include "standin.h"

enum { fields = 500, readers = 2 };

static int number;

/* What KV.ATTACH tells. */
typedef struct attached {
    char handle[64], token[64];
} attached;

static attached attach(const char *key)
{
    const kv_slice argv[] = { KV_STR("KV.ATTACH"), kv_str(key) };
    reply *r = standin_reply(standin_ask(2, argv));
    attached a;

    assert_int_equal(r->count, 6);
    snprintf(a.handle, sizeof a.handle, "%s", r->elements[1].text);
    assert_true(r->elements[3].integer == number);
    snprintf(a.token, sizeof a.token, "%s", r->elements[5].text);
    reply_free(r);
    return a;
}

static conn *connect_as(const attached *a)
{
    conn *c = conn_open_tcp("127.0.0.1", number);
    char *said;

    assert_non_null(c);
    said = conn_ask_text(c, (const char *const[]){ "AUTH", a->token, NULL });
    assert_string_equal(said, "+OK");
    free(said);
    return c;
}

#define expect_port(c, wanted, ...) \
    expect_port_args(c, __LINE__, wanted, (const char *const[]){ __VA_ARGS__, NULL })
static void expect_port_args(conn *c, int line, const char *wanted, const char *const args[])
{
    char *got = conn_ask_text(c, args);
    size_t len = strlen(wanted);

    if (!got)
        fail_msg("line %d: %s", line, conn_trouble(c));
    if (strncmp(got, wanted, len) != 0 || (wanted[0] != '-' && got[len]))
        fail_msg("line %d: %s instead of %s", line, got, wanted);
    free(got);
}

static int open_port(void **state)
{
    (void)state;
    number = free_port();
    assert_true(standin_config("port", number));
    return 0;
}

static int close_port(void **state)
{
    (void)state;
    assert_true(standin_config("port", 0));
    standin_flush(false);
    return 0;
}

static void fill(const char *key)
{
    char name[24];

    for (int i = 0; i < fields; i++) {
        snprintf(name, sizeof name, "field:%d", i);
        free(standin_say("KV.SET", key, name, "value"));
    }
}

/* ---- reads beside writes ---- */

static _Atomic bool stop;
static _Atomic long reads;

typedef struct reader {
    pthread_t thread;
    attached a;
    const char *trouble;
} reader;

/* Whether the reply to GET or MGET holds only what somebody wrote, or says that the key has ended. */
static bool fits(const reply *r, bool *ret_stale)
{
    if (!r)
        return false;
    *ret_stale = r->type == '-' && strncmp(r->text, "STALE", 5) == 0;
    if (*ret_stale || r->type == '_')
        return true;
    if (r->type == '$')
        return strncmp(r->text, "value", 5) == 0;
    if (r->type != '*')
        return false;
    for (size_t i = 0; i < r->count; i++) {
        if (r->elements[i].type == '$' && strncmp(r->elements[i].text, "value", 5) != 0)
            return false;
    }
    return true;
}

/* Both fields are written together: their values are equal whenever they are read together. */
static bool pair_fits(const reply *r)
{
    return r->type != '*' || r->count != 2 ||
           (r->elements[0].len == r->elements[1].len &&
            strcmp(r->elements[0].text, r->elements[1].text) == 0);
}

static void *read_on(void *arg)
{
    reader *me = arg;
    conn *c = connect_as(&me->a);
    const kv_slice get[] = { KV_STR("KV.GET"), kv_str(me->a.handle), KV_STR("field:7") };
    const kv_slice pair[] = { KV_STR("KV.MGET"), kv_str(me->a.handle), KV_STR("left"), KV_STR("right") };
    bool stale = false;

    while (!atomic_load(&stop) && !me->trouble && !stale) {
        reply *one, *two;

        if (!conn_send_args(c, 3, get) || !conn_send_args(c, 4, pair)) {
            me->trouble = "not sent";
            break;
        }
        one = conn_read(c);
        two = conn_read(c);
        if (!fits(one, &stale) || !fits(two, &stale))
            me->trouble = "a value nobody wrote";
        else if (!pair_fits(two))
            me->trouble = "half of a write";
        reply_free(one);
        reply_free(two);
        atomic_fetch_add(&reads, 1);
    }
    conn_close(c);
    return NULL;
}

static void write_some(int i)
{
    char value[24], name[24];

    snprintf(value, sizeof value, "value%d", i);
    snprintf(name, sizeof name, "field:%d", i % 20);
    free(standin_say("KV.SET", "key", name, value));
    free(standin_say("KV.MSET", "key", "left", value, "right", value));
    free(standin_say("KV.SET", "key", "fleeting", value, "PX", "20"));
    snprintf(name, sizeof name, "more:%d", i);
    free(standin_say("KV.SET", "key", name, value));
    atomic_fetch_add(&standin_now, 5);
    standin_turn();
}

/* How the key ends while it is read; 0: it does not. */
static void end_key(int how)
{
    if (how == 1)
        standin_delete("key");
    else if (how == 2)
        standin_rename("key", "elsewhere");
    else if (how == 3)
        standin_flush(true);
    else if (how == 4)
        standin_fire(RM_EVENT_ROLE, 1, NULL);
}

static void the_port_reads_beside_writes_until_the_key_ends(void **state)
{
    reader all[readers] = { 0 };

    (void)state;
    for (int how = 0; how <= 4; how++) {
        fill("key");
        free(standin_say("KV.MSET", "key", "left", "value", "right", "value"));
        atomic_store(&stop, false);
        atomic_store(&reads, 0);
        for (int i = 0; i < readers; i++) {
            all[i] = (reader){ .a = attach("key") };
            assert_int_equal(pthread_create(&all[i].thread, NULL, read_on, &all[i]), 0);
        }
        for (int i = 0; i < 300 || atomic_load(&reads) < 100; i++)
            write_some(i);
        end_key(how);
        atomic_store(&stop, how == 0);
        for (int i = 0; i < readers; i++) {
            pthread_join(all[i].thread, NULL);
            if (all[i].trouble)
                fail_msg("%s, in round %d", all[i].trouble, how);
        }
        standin_flush(false);
        assert_true(standin_info("handles") == 0);
        assert_true(standin_info("stores") == 0);
    }
}

/* ---- what ends a handle ---- */

static void a_handle_is_stale_when_its_key_is_another(void **state)
{
    conn *c = NULL;
    attached a;

    (void)state;
    for (int how = 1; how <= 6; how++) {
        rm_swapdb_data swap = { 1, 0, 3 };

        free(standin_say("KV.SET", "key", "f", "1"));
        a = attach("key");
        if (!c)
            c = connect_as(&a);
        expect_port(c, "$1", "KV.GET", a.handle, "f");
        end_key(how);
        if (how == 5)
            standin_fire(RM_EVENT_SWAPDB, 0, &swap);
        else if (how == 6)
            standin_expect(":1", "KV.DETACH", "key");
        expect_port(c, "-STALE", "KV.GET", a.handle, "f");
        standin_flush(false);
    }
    free(standin_say("KV.SET", "key", "f", "1"));
    a = attach("key");
    free(standin_say("KV.DEL", "key", "f")); /* the last field */
    expect_port(c, "-STALE", "KV.GET", a.handle, "f");
    conn_close(c);
}

static void the_deadline_of_the_key_counts(void **state)
{
    attached a;
    conn *c;

    (void)state;
    free(standin_say("KV.SET", "key", "f", "1"));
    standin_expire("key", standin_now + 1000);
    a = attach("key");
    c = connect_as(&a);
    expect_port(c, "$1", "KV.GET", a.handle, "f");
    standin_expire("key", standin_now + 5000);
    atomic_fetch_add(&standin_now, 2000);
    expect_port(c, "$1", "KV.GET", a.handle, "f");
    standin_expire("key", -1);
    atomic_fetch_add(&standin_now, 10000);
    expect_port(c, "$1", "KV.GET", a.handle, "f");
    standin_expire("key", standin_now + 1);
    atomic_fetch_add(&standin_now, 1);
    expect_port(c, "-STALE", "KV.GET", a.handle, "f");
    conn_close(c);
}

static void fields_past_their_deadline_are_not_there(void **state)
{
    attached a;
    conn *c;

    (void)state;
    free(standin_say("KV.SET", "key", "f", "1", "PX", "50"));
    free(standin_say("KV.SET", "key", "g", "2"));
    a = attach("key");
    c = connect_as(&a);
    expect_port(c, ":50", "KV.PTTL", a.handle, "f");
    standin_flags(RM_IS_REPLICA); /* nobody removes it */
    atomic_fetch_add(&standin_now, 50);
    expect_port(c, "_", "KV.GET", a.handle, "f");
    expect_port(c, "*2 _ $2", "KV.MGET", a.handle, "f", "g");
    standin_expect(":2", "KV.LEN", "key");
    standin_flags(0);
    conn_close(c);
}

static void only_what_was_handed_out_opens_a_key(void **state)
{
    char wrong[64];
    attached a, other;
    conn *c;

    (void)state;
    free(standin_say("KV.SET", "key", "f", "1"));
    free(standin_say("KV.SET", "other", "f", "2"));
    a = attach("key");
    other = attach("other");
    assert_string_equal(a.token, other.token);
    assert_string_equal(attach("key").handle, a.handle);
    c = connect_as(&a);
    for (size_t i = 0; i < strlen(a.handle); i++) {
        snprintf(wrong, sizeof wrong, "%s", a.handle);
        wrong[i] = wrong[i] == '0' ? '1' : '0';
        expect_port(c, "-STALE", "KV.GET", wrong, "f");
        snprintf(wrong, sizeof wrong, "%.*s", (int)i, a.handle);
        expect_port(c, "-STALE", "KV.GET", wrong, "f");
    }
    expect_port(c, "-STALE", "KV.GET", "key", "f");
    expect_port(c, "-STALE", "KV.GET", "-1.00000000000000000000000000000000", "f");
    expect_port(c, "$2", "KV.GET", other.handle, "f");
    conn_close(c);
    c = conn_open_tcp("127.0.0.1", number);
    expect_port(c, "-NOAUTH", "KV.GET", a.handle, "f");
    expect_port(c, "-WRONGPASS", "AUTH", "00000000000000000000000000000000");
    assert_null(conn_read(c)); /* and the connection ends */
    conn_close(c);
}

static void handles_have_a_limit(void **state)
{
    char key[16];

    (void)state;
    assert_true(standin_config("port-max-handles", 20));
    for (int i = 0; i < 20; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        free(standin_say("KV.SET", key, "f", "1"));
        attach(key);
    }
    free(standin_say("KV.SET", "key", "f", "1"));
    standin_expect("-ERR there are as many handles...", "KV.ATTACH", "key");
    standin_delete("key:7");
    attach("key");
    assert_true(standin_info("handles") == 20);
    standin_expect("_", "KV.ATTACH", "nobody");
    assert_true(standin_config("port-max-handles", 10000));
}

#define with_port(test) cmocka_unit_test_setup_teardown(test, open_port, close_port)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_port(the_port_reads_beside_writes_until_the_key_ends),
        with_port(a_handle_is_stale_when_its_key_is_another),
        with_port(the_deadline_of_the_key_counts),
        with_port(fields_past_their_deadline_are_not_there),
        with_port(only_what_was_handed_out_opens_a_key),
        with_port(handles_have_a_limit),
    };
    int failed;

    standin_load(getenv("KV_MODULE_FILE"));
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    standin_shutdown();
    return failed;
}
