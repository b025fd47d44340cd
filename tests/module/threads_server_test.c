/* threads_server_test.c - large keys are read beside the server's thread: nobody waits for it, nothing is torn, forks succeed.
 * SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { fields = 50000 };

static server *s;
static conn *c;

/* A key whose fields all have the same value, but for what tests do to it. */
static void fill(const char *key)
{
    enum { batch = 1000 };
    static char names[batch][24];
    static kv_slice argv[2 + 2 * batch];

    argv[0] = KV_STR("KV.MSET");
    argv[1] = kv_str(key);
    for (int i = 0; i < fields; i += batch) {
        for (int j = 0; j < batch; j++) {
            snprintf(names[j], sizeof names[j], "field:%d", i + j);
            argv[2 + 2 * j] = kv_str(names[j]);
            argv[3 + 2 * j] = KV_STR("value");
        }
        reply *r = conn_ask(c, 2 + 2 * batch, argv);

        assert_non_null(r);
        assert_int_equal(r->type, '+');
        reply_free(r);
    }
}

static int begin(void **state)
{
    (void)state;
    s = host_start((const char *const[]){ NULL });
    c = host_connect(s);
    fill("large");
    return 0;
}

static int end(void **state)
{
    (void)state;
    conn_close(c);
    return server_stop(s) ? 0 : -1;
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(((const reply *)a)->text, ((const reply *)b)->text);
}

static void every_field_is_told_once(void **state)
{
    const kv_slice keys[] = { KV_STR("KV.KEYS"), KV_STR("large") };
    long long before = host_info(c, "kv", "kv_offloaded_reads");
    reply *r = conn_ask(c, 2, keys);

    (void)state;
    assert_non_null(r);
    assert_int_equal(r->count, fields);
    qsort(r->elements, r->count, sizeof *r->elements, compare_texts);
    for (size_t i = 1; i < r->count; i++)
        assert_string_not_equal(r->elements[i - 1].text, r->elements[i].text);
    reply_free(r);
    assert_true(host_info(c, "kv", "kv_offloaded_reads") == before + 1);
    expect_reply(c, ":50000", "KV.COUNT", "large");
}

static void in_transactions_and_scripts_it_is_read_at_once(void **state)
{
    long long before = host_info(c, "kv", "kv_offloaded_reads");

    (void)state;
    expect_reply(c, "+OK", "MULTI");
    expect_reply(c, "+QUEUED", "KV.COUNT", "large");
    expect_reply(c, "+QUEUED", "KV.SET", "large", "field:1", "value");
    expect_reply(c, "*2 :50000 +OK", "EXEC");
    expect_reply(c, ":50000", "EVAL", "return redis.call('KV.COUNT', KEYS[1])", "1", "large");
    assert_true(host_info(c, "kv", "kv_offloaded_reads") == before);
}

/* ---- beside writes and forks ---- */

static _Atomic bool stop;
static _Atomic long reads;

/* Reads the whole key again and again: the fields that nobody removes are there, with a value that was written. */
static void *read_on(void *arg)
{
    const kv_slice all[] = { KV_STR("KV.ALL"), KV_STR("large") };
    conn *own = conn_open_unix(server_socket(s));
    const char *trouble = own ? NULL : "no connection";

    (void)arg;
    while (!trouble && !atomic_load(&stop)) {
        reply *r = conn_ask(own, 2, all);

        if (!r)
            trouble = "no reply";
        else if (r->count < 2 * (size_t)fields)
            trouble = "fields are missing";
        for (size_t i = 1; !trouble && i < r->count; i += 2) {
            if (strncmp(r->elements[i].text, "value", 5) != 0)
                trouble = "a value nobody wrote";
        }
        reply_free(r);
        atomic_fetch_add(&reads, 1);
    }
    conn_close(own);
    return (void *)(uintptr_t)trouble;
}

/* Runs work while two threads read. */
static void while_reading(void (*work)(void))
{
    pthread_t readers[2];
    void *trouble;

    atomic_store(&stop, false);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, read_on, NULL), 0);
    work();
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(readers[i], &trouble);
        if (trouble)
            fail_msg("%s", (const char *)trouble);
    }
}

static void write_much(void)
{
    char field[24], value[24];

    for (int i = 0; i < 8000; i++) {
        snprintf(field, sizeof field, i % 2 ? "field:%d" : "more:%d", i);
        snprintf(value, sizeof value, "value%d", i);
        expect_reply(c, "+OK", "KV.SET", "large", field, value);
        if (i % 4 == 2) {
            snprintf(field, sizeof field, "more:%d", i);
            expect_reply(c, ":1", "KV.DEL", "large", field);
        }
    }
}

static void reads_go_on_beside_writes(void **state)
{
    (void)state;
    while_reading(write_much);
    assert_true(atomic_load(&reads) > 0);
}

enum { saves = 100 };

/* Waits until the child has ended; a child that hangs shows as never ending. */
static void save_once(int i)
{
    char field[24];

    snprintf(field, sizeof field, "field:%d", i);
    expect_reply(c, "+OK", "KV.SET", "large", field, "value again");
    expect_reply(c, "+Background saving started", "BGSAVE");
    for (int waits = 0; host_info(c, "persistence", "rdb_bgsave_in_progress"); waits++) {
        if (waits > 200000)
            fail_msg("background save %d does not end", i);
    }
}

static void save_much(void)
{
    char *text;

    for (int i = 0; i < saves; i++)
        save_once(i);
    text = say(c, "INFO", "persistence");
    assert_non_null(strstr(text, "rdb_last_bgsave_status:ok"));
    assert_non_null(strstr(text, "rdb_saves:100"));
    free(text);
}

static void a_hundred_background_saves_end_beside_reads(void **state)
{
    (void)state;
    while_reading(save_much);
}

static void a_key_may_end_while_it_is_read(void **state)
{
    const kv_slice all[] = { KV_STR("KV.ALL"), KV_STR("other") };
    conn *readers[8];

    (void)state;
    for (int round = 0; round < 4; round++) {
        expect_reply(c, ":1", "COPY", "large", "other");
        for (int i = 0; i < 8; i++) {
            readers[i] = host_connect(s);
            assert_true(conn_send_args(readers[i], 2, all));
        }
        if (round % 2)
            expect_reply(c, ":1", "UNLINK", "other");
        else
            expect_reply(c, ":1", "DEL", "other");
        for (int i = 0; i < 8; i++) { /* half of them do not wait for the answer */
            reply *r = i % 2 ? conn_read(readers[i]) : NULL;

            assert_true(i % 2 == 0 || (r && (r->count == 0 || r->count == 2 * (size_t)fields)));
            reply_free(r);
            conn_close(readers[i]);
        }
    }
    expect_reply(c, "+OK", "FLUSHALL", "ASYNC");
    wait_for(c, "+PONG", "PING");
    assert_true(host_info(c, "kv", "kv_keys") >= 0);
    fill("large");
}

#define with_server(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        with_server(every_field_is_told_once),
        with_server(in_transactions_and_scripts_it_is_read_at_once),
        with_server(reads_go_on_beside_writes),
        with_server(a_hundred_background_saves_end_beside_reads),
        with_server(a_key_may_end_while_it_is_read),
    };

    return run_on_hosts(argc, argv, tests);
}
