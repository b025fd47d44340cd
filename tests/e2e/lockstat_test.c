/* lockstat_test.c - LOCKSTAT tells the shard and the key that several workers fight for, and agrees with INFO.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "e2e.h"

enum { clients = 8, requests = 2000, patience_s = 60 };

static const char request[] = "*2\r\n$4\r\nINCR\r\n$3\r\nhot\r\n";

/* Lets all clients count up the same key, at once. */
static void fight(conn *c[clients])
{
    static char pipeline[requests * (sizeof request - 1)];

    for (int i = 0; i < requests; i++)
        memcpy(pipeline + (size_t)i * (sizeof request - 1), request, sizeof request - 1);
    for (int i = 0; i < clients; i++)
        assert_true(conn_send(c[i], kv_slice_of(pipeline, sizeof pipeline)));
    for (int i = 0; i < clients; i++)
        for (int j = 0; j < requests; j++) {
            reply *r = conn_read(c[i]);

            assert_non_null(r);
            assert_int_equal(r->type, ':');
            reply_free(r);
        }
}

/* The value of a field of a map, which RESP2 sends as an array. */
static const reply *field(const reply *map, const char *name)
{
    for (size_t i = 0; i + 1 < map->count; i += 2)
        if (map->elements[i].type == '$' && strcmp(map->elements[i].text, name) == 0)
            return &map->elements[i + 1];
    fail_msg("no field %s", name);
    return NULL;
}

static long long number(const reply *map, const char *name)
{
    const reply *r = field(map, name);

    assert_int_equal(r->type, ':');
    return r->integer;
}

static reply *lockstat(conn *c)
{
    const kv_slice argv[] = { KV_STR("LOCKSTAT"), KV_STR("TOP"), KV_STR("2000") };
    reply *r = conn_ask(c, 3, argv);

    assert_non_null(r);
    return r;
}

/* A number that INFO contention tells. */
static long long info_number(conn *c, const char *name)
{
    char *text = ask(c, "INFO", "contention"), *at = text ? strstr(text, name) : NULL;
    long long value;

    assert_non_null(at);
    value = atoll(at + strlen(name) + 1);
    free(text);
    return value;
}

static void check_report(const reply *report)
{
    const reply *wait = field(report, "wait"), *hold = field(report, "hold"),
                *shards = field(report, "shards"), *keys = field(report, "keys"),
                *histogram = field(wait, "histogram");
    long long waits = 0, wait_ns = 0, in_buckets = 0;

    for (size_t i = 0; i < shards->count; i++) {
        waits += number(&shards->elements[i], "waits");
        wait_ns += number(&shards->elements[i], "wait-ns");
        assert_int_equal(number(&shards->elements[i], "db"), 0);
    }
    for (size_t i = 0; i < histogram->count; i++)
        in_buckets += histogram->elements[i].elements[1].integer;
    assert_int_equal(waits, number(wait, "count"));
    assert_int_equal(in_buckets, waits);
    assert_int_equal(wait_ns, number(wait, "total-ns"));
    assert_int_equal(number(report, "unlisted-waits"), 0);
    assert_int_equal(number(report, "shards-waited-for"), (long long)shards->count);
    assert_true(number(wait, "p50-ns") <= number(wait, "p99-ns"));
    assert_true(number(wait, "p99-ns") <= number(wait, "max-ns"));
    assert_true(number(hold, "count") > 0);
    assert_true(number(hold, "count") <= waits);
    assert_true(keys->count >= 1);
    assert_string_equal(field(&keys->elements[0], "key")->text, "hot");
    assert_true(number(&keys->elements[0], "waits") <= waits);
}

static void fight_and_check(const char *sharing)
{
    server *s = begin("--threads", "4", "--sharing", sharing);
    conn *c[clients], *asking = connect_to(s);
    time_t until = time(NULL) + patience_s;
    reply *report;

    for (int i = 0; i < clients; i++)
        c[i] = connect_to(s);
    do
        fight(c);
    while (info_number(asking, "lock_waits") < 10 && time(NULL) < until);
    report = lockstat(asking);
    assert_int_equal(number(report, "measured"), 1);
    assert_true(number(field(report, "wait"), "count") >= 10);
    check_report(report);
    assert_int_equal(number(field(report, "wait"), "count"), info_number(asking, "lock_waits"));
    assert_int_equal(number(field(report, "hold"), "max-ns"), info_number(asking, "lock_hold_max_ns"));
    reply_free(report);
    says(asking, "+OK", "LOCKSTAT", "RESET");
    assert_int_equal(info_number(asking, "lock_waits"), 0);
    says(asking, ":1", "DEL", "hot");
    for (int i = 0; i < clients; i++)
        conn_close(c[i]);
    conn_close(asking);
    end(s);
}

static void what_workers_fight_for_is_told(void **state)
{
    (void)state;
    fight_and_check("sharded");
}

static void the_one_lock_is_told(void **state)
{
    (void)state;
    fight_and_check("mutex");
}

static void nothing_is_measured(server *s)
{
    conn *c[clients], *asking = connect_to(s);
    reply *report;

    for (int i = 0; i < clients; i++)
        c[i] = connect_to(s);
    fight(c);
    report = lockstat(asking);
    assert_int_equal(number(report, "measured"), 0);
    assert_int_equal(number(field(report, "wait"), "count"), 0);
    assert_int_equal(field(report, "shards")->count, 0);
    reply_free(report);
    for (int i = 0; i < clients; i++)
        conn_close(c[i]);
    conn_close(asking);
    end(s);
}

static void where_nothing_is_measured_it_says_so(void **state)
{
    (void)state;
    nothing_is_measured(begin("--threads", "4", "--lockstat", "no"));
    nothing_is_measured(begin("--threads", "4", "--sharing", "actor"));
}

static void no_keys_are_told_where_none_are_wanted(void **state)
{
    server *s = begin("--threads", "4", "--lockstat-max-keys", "0");
    conn *c[clients];
    time_t until = time(NULL) + patience_s;
    reply *report;

    (void)state;
    for (int i = 0; i < clients; i++)
        c[i] = connect_to(s);
    do
        fight(c);
    while (info_number(c[0], "lock_waits") < 1 && time(NULL) < until);
    report = lockstat(c[0]);
    assert_true(number(field(report, "wait"), "count") >= 1);
    assert_int_equal(field(report, "keys")->count, 0);
    reply_free(report);
    for (int i = 0; i < clients; i++)
        conn_close(c[i]);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_workers_fight_for_is_told),
        cmocka_unit_test(the_one_lock_is_told),
        cmocka_unit_test(where_nothing_is_measured_it_says_so),
        cmocka_unit_test(no_keys_are_told_where_none_are_wanted),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
