/* memory_test.c - tests of MEMORY, of maxmemory and its policies, OBJECT FREQ and IDLETIME.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

static void usage_grows_with_the_value(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect_between(s, 20, 200, "MEMORY", "USAGE", "k");
    expect_between(s, 20, 200, "MEMORY", "USAGE", "k", "SAMPLES", "0");
    expect(s, "_", "MEMORY", "USAGE", "nope");
    expect(s, ":100000", "SETRANGE", "big", "99999", "x");
    expect_between(s, 100000, 150000, "MEMORY", "USAGE", "big", "samples", "5");
    expect(s, "-ERR syntax error", "MEMORY", "USAGE", "k", "SAMPLES");
    expect(s, "-ERR syntax error", "MEMORY", "USAGE", "k", "SAMPLES", "-1");
    expect(s, "-ERR syntax error", "MEMORY", "USAGE", "k", "NOPE", "1");
    expect(s, "-ERR value is not an integer or out of range", "MEMORY", "USAGE", "k", "SAMPLES", "x");
    expect(s, "-ERR wrong number of arguments for 'memory|usage' command", "MEMORY", "USAGE");
    expect(s, "-ERR unknown subcommand 'NOPE'. Try MEMORY HELP.", "MEMORY", "NOPE");
}

static void the_server_tells_what_memory_is_used_for(void **state)
{
    session *s = *state;

    needs_server(s);
    expect(s, "+OK", "SET", "k", "v");
    expect_like(
        s, "[*]* $peak.allocated :* $total.allocated :* $startup.allocated :* $clients.normal :* $db.0 *",
        "MEMORY", "STATS");
    expect_like(s, "[*]* $keys.count :1 $keys.bytes-per-key :* $dataset.bytes :* $fragmentation.bytes :*",
                "MEMORY", "STATS");
    expect_like(s, "$*[a-z]*", "MEMORY", "DOCTOR");
    expect_like(s, "$*alloc*", "MEMORY", "MALLOC-STATS");
    expect(s, "+OK", "MEMORY", "PURGE");
    expect_like(s, "[*]*USAGE*", "MEMORY", "HELP");
}

static void full_memory_refuses_what_adds_to_it(void **state)
{
    session *s = *state;
    static const char oom[] = "-OOM command not allowed when used memory > 'maxmemory'.";

    needs_server(s);
    expect(s, "+OK", "SET", "k", "v");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "1");
    expect(s, oom, "SET", "k", "w");
    expect(s, oom, "APPEND", "k", "w");
    expect(s, oom, "MSET", "a", "1", "b", "2");
    expect(s, oom, "INCR", "n");
    expect(s, "$v", "GET", "k");
    expect(s, ":1", "DBSIZE");
    expect(s, ":1", "EXPIRE", "k", "100");
    expect(s, ":1", "DEL", "k");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "0");
    expect(s, "+OK", "SET", "k", "w");
}

static void policies_are_set_by_name(void **state)
{
    session *s = *state;
    static const char *const names[] = { "volatile-lru", "volatile-lfu", "volatile-random", "volatile-ttl",
                                         "allkeys-lru",  "allkeys-lfu",  "allkeys-random",  "noeviction" };

    needs_server(s);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        expect(s, "+OK", "CONFIG", "SET", "maxmemory-policy", names[i]);
        assert_non_null(strstr(said(s, "INFO", "memory"), names[i]));
    }
    expect_like(s, "-ERR *", "CONFIG", "SET", "maxmemory-policy", "nope");
}

static void frequency_and_idle_time_exclude_each_other(void **state)
{
    session *s = *state;

    needs_server(s);
    expect(s, "+OK", "SET", "k", "v");
    expect(s, "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. ...", "OBJECT",
           "FREQ", "k");
    expect_between(s, 0, 1, "OBJECT", "IDLETIME", "k");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory-policy", "allkeys-lfu", "lfu-decay-time", "0");
    expect(s, "+OK", "SET", "f", "v");
    expect(s, ":5", "OBJECT", "FREQ", "f");
    expect(s, "$v", "GET", "f");
    expect(s, ":6", "OBJECT", "FREQ", "f");
    expect(s, "+OK", "CONFIG", "SET", "lfu-log-factor", "0");
    for (int i = 0; i < 10; i++)
        expect(s, "$v", "GET", "f");
    expect(s, ":16", "OBJECT", "FREQ", "f");
    expect(s, "+OK", "SET", "f", "w"); /* another use */
    expect(s, ":17", "OBJECT", "FREQ", "f");
    expect(s, "+OK", "RENAME", "f", "g");
    expect_between(s, 17, 18, "OBJECT", "FREQ", "g");
    expect(s, "-ERR An LFU maxmemory policy is selected, idle time not tracked. ...", "OBJECT", "IDLETIME",
           "g");
    expect(s, "_", "OBJECT", "FREQ", "nope");
    expect(s, "+OK", "CONFIG", "SET", "lfu-log-factor", "10", "lfu-decay-time", "1", "maxmemory-policy",
           "noeviction");
}

/* As long as it takes: a command that comes when the time for evicting is over runs, and the limit is met later. */
static void evict_at_once(session *s)
{
    expect(s, "+OK", "CONFIG", "SET", "maxmemory-eviction-tenacity", "100");
}

static void evicted_keys_make_room(void **state)
{
    session *s = *state;
    static char value[1001];
    long long limit;

    needs_server(s);
    memset(value, 'v', sizeof value - 1);
    evict_at_once(s);
    expect(s, "+OK", "CONFIG", "RESETSTAT");
    limit = atoll(strstr(said(s, "INFO", "memory"), "used_memory:") + 12) + 500000;
    expect(s, "+OK", "CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", decimal(s, limit));
    for (int i = 0; i < 2000; i++)
        expect(s, "+OK", "SET", decimal(s, i), value);
    expect_between(s, 100, 499, "DBSIZE");
    assert_true(atoll(strstr(said(s, "INFO", "memory"), "used_memory:") + 12) <=
                limit + 100000); /* buffers, too */
    assert_true(atoll(strstr(said(s, "INFO", "stats"), "evicted_keys:") + 13) > 1500);
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction");
}

static void where_nothing_may_go_writes_are_refused(void **state)
{
    session *s = *state;

    needs_server(s);
    evict_at_once(s);
    expect(s, "+OK", "SET", "stays", "v");
    expect(s, "+OK", "SET", "goes", "v", "EX", "1000");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory-policy", "volatile-lru");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "1");
    expect(s, "-OOM command not allowed when used memory > 'maxmemory'.", "SET", "k", "w");
    expect(s, ":1", "DBSIZE");
    expect(s, "$v", "GET", "stays");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(usage_grows_with_the_value),
        conversation(the_server_tells_what_memory_is_used_for),
        conversation(full_memory_refuses_what_adds_to_it),
        conversation(policies_are_set_by_name),
        conversation(frequency_and_idle_time_exclude_each_other),
        conversation(evicted_keys_make_room),
        conversation(where_nothing_may_go_writes_are_refused),
    };

    return run_conversations(argc, argv, tests);
}
