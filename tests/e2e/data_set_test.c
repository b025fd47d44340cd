/* data_set_test.c - SYNC and PSYNC: the data set of one moment, for whoever reads it, and no harm from whoever does not.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "rdb.h"
#include "replica.h"

#define MARK_LEN 40

static server *kvserver;
static conn *client;

static int begin_server(void **state)
{
    (void)state;
    kvserver = begin("--threads", "2", "--rdbcompression", "no", "--enable-debug-command", "yes");
    client = connect_to(kvserver);
    return 0;
}

static int end_server(void **state)
{
    (void)state;
    conn_close(client);
    end(kvserver);
    return 0;
}

/* More than the sockets and the server hold between them: a client that does not read has not got all of it. */
static void make_much(void)
{
    says(client, "+OK", "FLUSHALL");
    says(client, "+OK", "DEBUG", "POPULATE", "1000", "key", "20000");
}

static conn *connect_as_reader(void)
{
    conn *c = connect_to(kvserver);

    says(c, "+OK", "REPLCONF", "capa", "eof");
    says(c, "+OK", "REPLCONF", "rdb-only", "1");
    return c;
}

static void ask_for_data_set(conn *c)
{
    assert_true(conn_send(c, KV_STR("SYNC\r\n")));
}

/* One that has got some of the data set, and reads no more. */
static conn *connect_as_sleeper(void)
{
    conn *c = connect_as_reader();
    char byte;

    ask_for_data_set(c);
    assert_int_equal(recv(conn_fd(c), &byte, 1, 0), 1);
    return c;
}

/* ---- reading ---- */

typedef struct bytes {
    char *data;
    size_t len, capacity;
} bytes;

/* All that comes, until the server closes. */
static bytes read_all(conn *c)
{
    bytes b = { .capacity = 1 << 16 };
    ssize_t n;

    b.data = malloc(b.capacity);
    assert_non_null(b.data);
    while ((n = recv(conn_fd(c), b.data + b.len, b.capacity - b.len, 0)) > 0) {
        b.len += (size_t)n;
        if (b.len == b.capacity) {
            b.capacity *= 2;
            b.data = realloc(b.data, b.capacity);
            assert_non_null(b.data);
        }
    }
    assert_int_equal(n, 0);
    return b;
}

/* The data set between "$EOF:mark" and the mark. */
static kv_slice data_set_in(const bytes *b)
{
    const char *at = b->data, *end = b->data + b->len;

    while (at < end && *at == '\n') /* while it was prepared */
        at++;
    assert_true(end - at > 2 * MARK_LEN + 7);
    assert_memory_equal(at, "$EOF:", 5);
    assert_memory_equal(at + 5, end - MARK_LEN, MARK_LEN);
    at += 5 + MARK_LEN;
    assert_memory_equal(at, "\r\n", 2);
    return kv_slice_of(at + 2, (size_t)(end - MARK_LEN - at - 2));
}

typedef struct found {
    uint64_t keys;
    char left[32], right[32]; /* the values of these keys */
} found;

static void note_record(found *f, const rdb_record *r)
{
    f->keys++;
    if (kv_slice_equal(r->key, KV_STR("left")))
        snprintf(f->left, sizeof f->left, "%.*s", (int)r->value.len, r->value.data);
    if (kv_slice_equal(r->key, KV_STR("right")))
        snprintf(f->right, sizeof f->right, "%.*s", (int)r->value.len, r->value.data);
}

static found read_data_set(conn *c)
{
    bytes b = read_all(c);
    kv_slice rest = data_set_in(&b);
    rdb_reader *reader = rdb_reader_new(NULL, rdb_source_slice, &rest);
    found f = { .keys = 0 };
    rdb_item item;
    int more;

    while ((more = rdb_read(reader, &item)) > 0)
        if (item.kind == RDB_STRING)
            note_record(&f, &item.record);
    assert_int_equal(more, 0);
    assert_int_equal(rdb_reader_rest(reader).len, 0);
    rdb_reader_free(reader);
    free(b.data);
    return f;
}

/* ---- good readers ---- */

static void an_empty_data_set_is_one_too(void **state)
{
    conn *c = connect_as_reader();

    (void)state;
    says(client, "+OK", "FLUSHALL");
    ask_for_data_set(c);
    assert_int_equal(read_data_set(c).keys, 0);
    conn_close(c);
}

static void replies_before_it_come_before_it(void **state)
{
    conn *c = connect_as_reader();
    bytes b, rest;

    (void)state;
    says(client, "+OK", "FLUSHALL");
    says(client, "+OK", "SET", "left", "1");
    assert_true(conn_send(c, KV_STR("GET left\r\nSYNC\r\nGET left\r\n")));
    b = read_all(c);
    assert_memory_equal(b.data, "$1\r\n1\r\n", 7);
    rest = (bytes){ .data = b.data + 7, .len = b.len - 7 };
    data_set_in(&rest); /* and nothing of the GET behind it */
    free(b.data);
    conn_close(c);
}

static void psync_names_the_history(void **state)
{
    conn *c = connect_as_reader();
    char *id = info_value(client, "master_replid"), wanted[64];
    bytes b;

    (void)state;
    assert_true(conn_send(c, KV_STR("PSYNC ? -1\r\n")));
    b = read_all(c);
    snprintf(wanted, sizeof wanted, "+FULLRESYNC %s ", id);
    assert_memory_equal(b.data, wanted, strlen(wanted));
    free(b.data);
    free(id);
    conn_close(c);
}

static _Atomic bool writing;

/* Both keys hold the same number whenever anybody looks. */
static void *write_pairs(void *arg)
{
    conn *c = arg;
    char number[32];

    for (int i = 1; atomic_load(&writing); i++) {
        snprintf(number, sizeof number, "%d", i);
        says(c, "+OK", "MSET", "left", number, "right", number);
    }
    return NULL;
}

static void it_is_what_was_there_at_one_moment(void **state)
{
    conn *writer = connect_to(kvserver);
    pthread_t thread;

    (void)state;
    make_much();
    says(client, "+OK", "MSET", "left", "0", "right", "0");
    atomic_store(&writing, true);
    assert_int_equal(pthread_create(&thread, NULL, write_pairs, writer), 0);
    for (int i = 0; i < 3; i++) {
        conn *c = connect_as_reader();
        found f;

        ask_for_data_set(c);
        f = read_data_set(c);
        assert_int_equal(f.keys, 1002);
        assert_string_equal(f.left, f.right);
        conn_close(c);
    }
    atomic_store(&writing, false);
    pthread_join(thread, NULL);
    conn_close(writer);
}

/* ---- others ---- */

/* Nobody is sent a data set. */
static void wait_until_dropped(void)
{
    for (bool dropped = false; !dropped;) {
        char *list = ask(client, "CLIENT", "LIST", "TYPE", "replica");

        dropped = list && strstr(list, "flags=S") == NULL;
        free(list);
    }
}

/* The one snapshot is nobody's. */
static void wait_for_save(void)
{
    for (bool saved = false; !saved;) {
        char *said = ask(client, "SAVE");

        saved = said && strcmp(said, "+OK") == 0;
        free(said);
    }
}

static void who_reads_nothing_is_dropped(void **state)
{
    long long read;
    conn *c;

    (void)state;
    make_much();
    says(client, "+OK", "CONFIG", "SET", "repl-timeout", "1");
    c = connect_as_sleeper();
    wait_until_dropped(); /* others are answered meanwhile */
    assert_true(conn_drain(c, &read));
    assert_true(read < 20000000);
    conn_close(c);
    says(client, "+OK", "CONFIG", "SET", "repl-timeout", "60");
    wait_for_save();
}

/* Reads on and on, but little at a time; false: it got all. */
static bool is_dropped_reading_slowly(void)
{
    conn *c = connect_as_sleeper();
    char some[4096];
    long long total = 0;
    ssize_t n;

    while ((n = recv(conn_fd(c), some, sizeof some, 0)) > 0) {
        total += n;
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    conn_close(c);
    return total < 20000000;
}

/* On a slow machine one may seem to read nothing for a second: then there is another. */
static void who_reads_too_slowly_is_dropped(void **state)
{
    bool said = false;

    (void)state;
    make_much();
    says(client, "+OK", "CONFIG", "SET", "repl-timeout", "1", "repl-sync-min-rate", "100gb");
    for (int attempt = 0; attempt < 20 && !said; attempt++) {
        char *log;

        assert_true(is_dropped_reading_slowly());
        wait_for_save();
        log = server_log(kvserver);
        assert_non_null(log);
        said = strstr(log, "the client takes less than repl-sync-min-rate") != NULL;
        free(log);
    }
    assert_true(said);
    says(client, "+OK", "CONFIG", "SET", "repl-timeout", "60", "repl-sync-min-rate", "64kb");
}

static void who_is_killed_lets_go_of_the_snapshot(void **state)
{
    conn *c;

    (void)state;
    make_much();
    c = connect_as_sleeper();
    says(client, "-ERR", "SAVE");
    says(client, ":1", "CLIENT", "KILL", "TYPE", "replica");
    wait_for_save();
    conn_close(c);
}

static void who_leaves_lets_go_of_the_snapshot(void **state)
{
    (void)state;
    make_much();
    conn_close(connect_as_sleeper());
    wait_for_save();
}

static void the_next_waits_and_is_told_so(void **state)
{
    conn *first, *second = connect_as_reader();
    char byte = 0;

    (void)state;
    make_much();
    first = connect_as_sleeper();
    ask_for_data_set(second);
    assert_int_equal(recv(conn_fd(second), &byte, 1, MSG_PEEK), 1);
    conn_close(first);
    assert_int_equal(read_data_set(second).keys, 1000);
    conn_close(second);
}

static void writers_are_served_while_it_is_not_read(void **state)
{
    conn *c;

    (void)state;
    make_much();
    c = connect_as_sleeper();
    for (int i = 0; i < 1000; i++) {
        char key[32];

        snprintf(key, sizeof key, "key:%d", i);
        says(client, "+OK", "SET", key, "new");
    }
    says(client, ":1000", "DBSIZE");
    conn_close(c);
    wait_for_save();
}

/* More is overwritten than may be kept: it is the data set that ends. */
static void what_is_kept_for_it_is_bounded(void **state)
{
    long long read;
    conn *c;

    (void)state;
    make_much();
    says(client, "+OK", "CONFIG", "SET", "snapshot-keep-bytes", "1mb");
    c = connect_as_sleeper();
    for (int i = 0; i < 1000; i++) {
        char key[32];

        snprintf(key, sizeof key, "key:%d", i);
        says(client, "+OK", "SET", key, "new");
    }
    assert_true(conn_drain(c, &read));
    assert_true(read < 20000000);
    conn_close(c);
    says(client, "+OK", "CONFIG", "SET", "snapshot-keep-bytes", "256mb");
    wait_for_save();
}

static void it_is_refused_with_a_reason(void **state)
{
    conn *c = connect_to(kvserver);

    (void)state;
    says(c, "-ERR value is not an integer or out of range", "PSYNC", "?", "x");
    says(c, "-ERR PSYNC FAILOVER can't be sent to a master.", "PSYNC", "?", "-1", "FAILOVER");
    says(c, "-ERR wrong number of arguments for 'psync' command", "PSYNC", "?");
    says(c, "-ERR Unrecognized REPLCONF option: colour", "REPLCONF", "colour", "red");
    says(c, "-ERR value is out of range, value must between 0 and 1", "REPLCONF", "rdb-only", "2");
    says(c, "+OK", "MULTI");
    says(c, "-ERR Command not allowed inside a transaction", "SYNC");
    says(c, "+OK", "DISCARD");
    says(c, "+PONG", "PING");
    conn_close(c);
}

static void the_end_of_the_server_does_not_wait_for_it(void **state)
{
    static const char *const save[] = { "", "3600 1" };

    (void)state;
    for (size_t i = 0; i < sizeof save / sizeof *save; i++) {
        server *outer = kvserver;
        conn *before = client, *sleeper, *waiting;

        kvserver = begin("--threads", "2", "--rdbcompression", "no", "--enable-debug-command", "yes",
                         "--save", save[i]);
        client = connect_to(kvserver);
        make_much();
        sleeper = connect_as_sleeper();
        waiting = connect_as_reader();
        ask_for_data_set(waiting);
        end(kvserver);
        conn_close(sleeper);
        conn_close(waiting);
        conn_close(client);
        kvserver = outer;
        client = before;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_data_set_is_one_too),
        cmocka_unit_test(replies_before_it_come_before_it),
        cmocka_unit_test(psync_names_the_history),
        cmocka_unit_test(it_is_what_was_there_at_one_moment),
        cmocka_unit_test(who_reads_nothing_is_dropped),
        cmocka_unit_test(who_reads_too_slowly_is_dropped),
        cmocka_unit_test(who_is_killed_lets_go_of_the_snapshot),
        cmocka_unit_test(who_leaves_lets_go_of_the_snapshot),
        cmocka_unit_test(the_next_waits_and_is_told_so),
        cmocka_unit_test(writers_are_served_while_it_is_not_read),
        cmocka_unit_test(what_is_kept_for_it_is_bounded),
        cmocka_unit_test(it_is_refused_with_a_reason),
        cmocka_unit_test(the_end_of_the_server_does_not_wait_for_it),
    };

    return cmocka_run_group_tests(tests, begin_server, end_server);
}
