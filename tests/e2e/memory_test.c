/* memory_test.c - maxmemory and maxmemory-clients on a server under load.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e.h"

static long long figure(conn *c, const char *section, const char *name)
{
    char *text = ask(c, "INFO", section), *at;
    long long value = -1;

    assert_non_null(text);
    at = strstr(text, name);
    if (at)
        value = atoll(at + strlen(name) + 1);
    free(text);
    return value;
}

static void set_limit(conn *c, long long bytes)
{
    char text[32];

    sprintf(text, "%lld", bytes);
    says(c, "+OK", "CONFIG", "SET", "maxmemory", text);
}

/* ---- eviction ---- */

enum { writers = 3, keys = 60000 };

typedef struct writer {
    pthread_t thread;
    conn *conn;
    int number;
    bool ok;
} writer;

/* Sets keys by pipelines of 100; each must be answered OK, and the last one of each must be there then. */
static void *write_keys(void *arg)
{
    writer *w = arg;
    char value[101], name[32];

    memset(value, 'v', 100);
    for (int i = 0; i < keys; i += 100) {
        for (int j = i; j < i + 100; j++) {
            int len = sprintf(name, "%d:%d", w->number, j);
            kv_slice argv[] = { KV_STR("SET"), kv_slice_of(name, (size_t)len), kv_slice_of(value, 100) };

            if (!conn_send_args(w->conn, 3, argv))
                return NULL;
        }
        for (int j = i; j < i + 100; j++) {
            reply *r = conn_read(w->conn);
            bool ok = r && r->type == '+';

            reply_free(r);
            if (!ok)
                return NULL;
        }
    }
    w->ok = true;
    return NULL;
}

static void memory_stays_within_the_limit(const char *sharing)
{
    server *s = begin("--threads", "2", "--maxmemory-policy", "allkeys-lru", "--sharing", sharing);
    conn *c = connect_to(s);
    long long limit = figure(c, "memory", "used_memory") + (4 << 20), used = 0, most = 0;
    writer all[writers];

    set_limit(c, limit);
    for (int i = 0; i < writers; i++) {
        all[i] = (writer){ .conn = connect_to(s), .number = i };
        assert_int_equal(pthread_create(&all[i].thread, NULL, write_keys, &all[i]), 0);
    }
    for (int i = 0; i < 100; i++) {
        used = figure(c, "memory", "used_memory");
        most = used > most ? used : most;
    }
    for (int i = 0; i < writers; i++) {
        pthread_join(all[i].thread, NULL);
        assert_true(all[i].ok);
        conn_close(all[i].conn);
    }
    used = figure(c, "memory", "used_memory");
    most = used > most ? used : most;
    print_message("%s: limit %lld, at most %lld in use\n", sharing, limit, most);
    assert_true(most < limit + (1 << 20));
    assert_true(figure(c, "stats", "evicted_keys") > writers * keys / 2);
    conn_close(c);
    end(s);
}

static void eviction_keeps_up_with_writers(void **state)
{
    (void)state;
    memory_stays_within_the_limit("sharded");
    memory_stays_within_the_limit("mutex");
    memory_stays_within_the_limit("actor");
}

/* A limit far below what is in use is reached without any request. */
static void a_lowered_limit_is_reached_by_itself(void **state)
{
    server *s = begin("--threads", "2", "--maxmemory-policy", "allkeys-random");
    conn *c = connect_to(s);
    writer w = { .conn = connect_to(s), .number = 1 };
    long long empty = figure(c, "memory", "used_memory");

    (void)state;
    write_keys(&w);
    assert_true(w.ok);
    says(c, "+OK", "SELECT", "7");
    says(c, "+OK", "SET", "elsewhere", "v");
    set_limit(c, empty + (2 << 20));
    while (figure(c, "memory", "used_memory") > empty + (2 << 20))
        ;
    assert_true(figure(c, "stats", "evicted_keys") > 0);
    conn_close(w.conn);
    conn_close(c);
    end(s);
}

static void big_values_are_evicted_one_by_one(void **state)
{
    server *s = begin("--threads", "2", "--maxmemory-policy", "allkeys-lru");
    conn *c = connect_to(s);
    long long limit = figure(c, "memory", "used_memory") + (10 << 20);
    char *value = malloc((1 << 20) + 1), name[16];

    (void)state;
    assert_non_null(value);
    memset(value, 'x', 1 << 20);
    value[1 << 20] = 0;
    set_limit(c, limit);
    for (int i = 0; i < 50; i++) {
        sprintf(name, "big:%d", i);
        says(c, "+OK", "SET", name, value);
    }
    assert_true(figure(c, "keyspace", "db0:keys") >= 8);
    says(c, "+OK", "SET", "small", "v");
    while (figure(c, "memory", "used_memory") > limit)
        ; /* what maxmemory-eviction-tenacity has left over on a slow machine goes at the next ticks */
    free(value);
    conn_close(c);
    end(s);
}

/* ---- clients ---- */

/* A client whose request of some megabytes never ends. */
static conn *half_a_request(server *s, size_t bytes)
{
    conn *c = connect_to(s);
    char *text = malloc(bytes);

    assert_non_null(text);
    memset(text, 'x', bytes);
    assert_true(conn_send(c, KV_STR("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000000\r\n")));
    (void)conn_send(c, kv_slice_of(text, bytes)); /* it may be closed meanwhile */
    free(text);
    return c;
}

static void the_largest_clients_go_first(void **state)
{
    server *s = begin("--threads", "3", "--maxmemory-clients", "20mb");
    conn *c = connect_to(s), *spared = connect_to(s), *small, *middle, *large;

    (void)state;
    says(spared, "+OK", "CLIENT", "NO-EVICT", "on");
    small = half_a_request(s, 1 << 20);
    middle = half_a_request(s, 6 << 20);
    while (figure(c, "memory", "mem_clients_normal") < 7 << 20)
        ; /* until it has arrived */
    assert_int_equal(figure(c, "stats", "evicted_clients"), 0);
    large = half_a_request(s, 14 << 20);
    assert_true(conn_ended(large));
    assert_int_equal(figure(c, "stats", "evicted_clients"), 1);
    assert_true(figure(c, "memory", "mem_clients_normal") < 20 << 20);
    says(spared, "+PONG", "PING");
    says(c, "+OK", "CONFIG", "SET", "maxmemory-clients", "3mb");
    assert_true(conn_ended(middle));
    assert_int_equal(figure(c, "stats", "evicted_clients"), 2);
    says(c, "*2 $maxmemory-clients $3145728", "CONFIG", "GET", "maxmemory-clients");
    conn_close(small);
    conn_close(middle);
    conn_close(large);
    conn_close(spared);
    conn_close(c);
    end(s);
}

/* Though nothing of it would be left in a buffer once it has run. */
static void a_client_whose_whole_request_is_too_large_is_closed_before_it_runs(void **state)
{
    enum { BYTES = 3000000 };
    server *s = begin("--threads", "2", "--maxmemory-clients", "3000000");
    conn *c = connect_to(s), *other = connect_to(s);
    char *text = malloc(BYTES + 2);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', BYTES);
    memcpy(text + BYTES, "\r\n", 2);
    assert_true(conn_send(c, KV_STR("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$3000000\r\n")));
    (void)conn_send(c, kv_slice_of(text, BYTES + 2)); /* it may be closed meanwhile */
    assert_true(conn_ended(c));
    says(other, ":0", "EXISTS", "k");
    assert_int_equal(figure(other, "stats", "evicted_clients"), 1);
    free(text);
    conn_close(c);
    conn_close(other);
    end(s);
}

/* As with Redis: the header of a long argument has been understood. */
static void qbuf_tells_what_has_arrived_of_a_long_argument(void **state)
{
    enum { BYTES = 1000000 };
    server *s = begin("--threads", "2");
    conn *c = connect_to(s), *other = connect_to(s);
    char *text = malloc(BYTES);

    (void)state;
    assert_non_null(text);
    memset(text, 'x', BYTES);
    assert_true(conn_send(c, KV_STR("*2\r\n$1000000\r\n")));
    assert_true(conn_send(c, kv_slice_of(text, BYTES)));
    for (bool arrived = false; !arrived;) {
        char *list = ask(other, "CLIENT", "LIST");

        assert_non_null(list);
        arrived = strstr(list, " qbuf=1000000 ") != NULL;
        free(list);
    }
    free(text);
    conn_close(c);
    conn_close(other);
    end(s);
}

/* Prefixes stand in no buffer, but are the client's all the same. */
static void prefixes_of_caching_clients_count(void **state)
{
    server *s = begin("--threads", "2", "--maxmemory-clients", "200000");
    conn *c = connect_to(s), *other = connect_to(s);
    int sent = 0;
    char *text;

    (void)state;
    says(c, "%", "HELLO", "3");
    for (bool alive = true; alive && sent < 20000; sent++) {
        char name[32];

        sprintf(name, "%012d", sent);
        text = ask(c, "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", name);
        alive = text && strcmp(text, "+OK") == 0;
        free(text);
    }
    assert_in_range(sent, 100, 5000);
    says(other, "+PONG", "PING");
    assert_int_equal(figure(other, "stats", "evicted_clients"), 1);
    assert_int_equal(figure(other, "stats", "tracking_total_prefixes"), 0);
    conn_close(c);
    conn_close(other);
    end(s);
}

static void a_new_limit_holds_for_the_rest_of_the_pipeline(void **state)
{
    server *s = begin("--threads", "2");
    conn *c = connect_to(s), *other = connect_to(s);

    (void)state;
    says(other, "+OK", "SET", "k", "v");
    assert_true(conn_send(c, KV_STR("CONFIG SET maxmemory 1\r\nSET k w\r\nGET k\r\nDEL none\r\n")));
    next_is(c, "+OK");
    next_is(c, "-OOM command not allowed when used memory > 'maxmemory'.");
    next_is(c, "$v");
    next_is(c, ":0");
    says(other, "-OOM command not allowed", "SET", "k", "w");
    assert_true(conn_send(c, KV_STR("CONFIG SET maxmemory 0\r\nSET k w\r\n")));
    next_is(c, "+OK");
    next_is(c, "+OK");
    says(other, "+OK", "SET", "k", "x");
    conn_close(c);
    conn_close(other);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(eviction_keeps_up_with_writers),
        cmocka_unit_test(a_lowered_limit_is_reached_by_itself),
        cmocka_unit_test(big_values_are_evicted_one_by_one),
        cmocka_unit_test(the_largest_clients_go_first),
        cmocka_unit_test(a_new_limit_holds_for_the_rest_of_the_pipeline),
        cmocka_unit_test(a_client_whose_whole_request_is_too_large_is_closed_before_it_runs),
        cmocka_unit_test(qbuf_tells_what_has_arrived_of_a_long_argument),
        cmocka_unit_test(prefixes_of_caching_clients_count),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
