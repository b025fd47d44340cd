/* info_test.c - tests of INFO: what monitoring and clients read of it.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "session.h"

/* The reply to INFO section as it came (a bulk or verbatim string), yours. */
static char *info(session *s, const char *section)
{
    kv_slice argv[] = { KV_STR("INFO"), kv_str(section) };
    reply *r = session_reply(s, 2, argv);
    char *text;

    assert_true(r->type == '$' || r->type == '=');
    text = strdup(r->text);
    assert_non_null(text);
    reply_free(r);
    return text;
}

/* The value of a field, or NULL; lives until the next call. */
static const char *field(const char *text, const char *name)
{
    static char value[256];
    char start[80];
    const char *at;
    size_t len;

    snprintf(start, sizeof start, "\n%s:", name);
    at = strstr(text, start);
    if (!at)
        return NULL;
    at += strlen(start);
    len = strcspn(at, "\r\n");
    assert_true(len < sizeof value);
    memcpy(value, at, len);
    value[len] = 0;
    return value;
}

static void assert_fields(session *s, const char *section, const char *const names[])
{
    char *text = info(s, section);

    for (; *names; names++)
        if (!field(text, *names))
            fail_msg("INFO %s has no %s", section, *names);
    free(text);
}

static void the_fields_that_tools_read_are_there(void **state)
{
    session *s = *state;

    assert_fields(s, "server",
                  (const char *const[]){ "redis_version",
                                         "redis_git_sha1",
                                         "redis_build_id",
                                         "redis_mode",
                                         "os",
                                         "arch_bits",
                                         "multiplexing_api",
                                         "gcc_version",
                                         "process_id",
                                         "process_supervised",
                                         "run_id",
                                         "tcp_port",
                                         "server_time_usec",
                                         "uptime_in_seconds",
                                         "uptime_in_days",
                                         "hz",
                                         "configured_hz",
                                         "executable",
                                         "config_file",
                                         "io_threads_active",
                                         NULL });
    assert_fields(s, "clients",
                  (const char *const[]){ "connected_clients", "maxclients", "client_recent_max_input_buffer",
                                         "client_recent_max_output_buffer", "blocked_clients",
                                         "tracking_clients", NULL });
    assert_fields(s, "memory",
                  (const char *const[]){ "used_memory", "used_memory_human", "used_memory_rss",
                                         "used_memory_peak", "used_memory_peak_human", "used_memory_overhead",
                                         "used_memory_startup", "used_memory_dataset", "total_system_memory",
                                         "maxmemory", "maxmemory_human", "maxmemory_policy",
                                         "mem_fragmentation_ratio", "mem_clients_normal", "mem_allocator",
                                         "lazyfree_pending_objects", NULL });
    assert_fields(s, "persistence",
                  (const char *const[]){ "loading", "rdb_changes_since_last_save", "rdb_bgsave_in_progress",
                                         "rdb_last_save_time", "rdb_last_bgsave_status", "aof_enabled",
                                         "aof_rewrite_in_progress", "aof_last_write_status", NULL });
    assert_fields(s, "stats",
                  (const char *const[]){
                      "total_connections_received", "total_commands_processed", "instantaneous_ops_per_sec",
                      "total_net_input_bytes", "total_net_output_bytes", "rejected_connections",
                      "expired_keys", "evicted_keys", "keyspace_hits", "keyspace_misses", "pubsub_channels",
                      "pubsub_patterns", "latest_fork_usec", "total_error_replies", NULL });
    assert_fields(
        s, "replication",
        (const char *const[]){ "role", "connected_slaves", "master_replid", "master_repl_offset", NULL });
    assert_fields(s, "cpu", (const char *const[]){ "used_cpu_sys", "used_cpu_user", NULL });
    assert_fields(s, "cluster", (const char *const[]){ "cluster_enabled", NULL });
}

/* redis-server looks at its resident memory a tenth of a second after its start for the first time. */
static char *info_with_memory(session *s)
{
    char *text = info(s, "everything");

    for (int i = 0; i < 4000 && atoll(field(text, "used_memory_rss")) == 0; i++) {
        free(text);
        usleep(5000);
        text = info(s, "everything");
    }
    return text;
}

static void the_values_are_what_clients_check(void **state)
{
    session *s = *state;
    char *text = info_with_memory(s);

    assert_true(atoi(field(text, "redis_version")) >= 7);
    assert_string_equal(field(text, "redis_mode"), "standalone");
    assert_string_equal(field(text, "arch_bits"), "64");
    assert_int_equal(strlen(field(text, "run_id")), 40);
    assert_int_equal(strspn(field(text, "run_id"), "0123456789abcdef"), 40);
    assert_int_equal(strlen(field(text, "master_replid")), 40);
    assert_string_equal(field(text, "role"), "master");
    assert_string_equal(field(text, "loading"), "0");
    assert_string_equal(field(text, "maxmemory_policy"), "noeviction");
    assert_string_equal(field(text, "cluster_enabled"), "0");
    assert_true(atoll(field(text, "used_memory")) > 0);
    assert_true(atoll(field(text, "used_memory_rss")) > 0);
    assert_true(atoll(field(text, "connected_clients")) >= 1);
    assert_in_range(atoll(field(text, "server_time_usec")) / 1000000, session_now_ms(s) / 1000 - 10,
                    session_now_ms(s) / 1000 + 1);
    free(text);
}

static void kvserver_says_what_it_is(void **state)
{
    session *s = *state;
    char *text;

    not_in_redis(s, "our own fields");
    text = info(s, "server");
    assert_non_null(field(text, "server_name"));
    assert_non_null(field(text, "kvstore_version"));
    free(text);
}

static void sections_come_in_their_order_and_form(void **state)
{
    session *s = *state;
    static const char *const sections[] = { "# Server\r\n",      "# Clients\r\n",    "# Memory\r\n",
                                            "# Persistence\r\n", "# Stats\r\n",      "# Replication\r\n",
                                            "# CPU\r\n",         "# Errorstats\r\n", "# Cluster\r\n",
                                            "# Keyspace\r\n" };
    char *text = info(s, "default");
    const char *at = text;

    assert_int_equal(strncmp(text, "# Server\r\n", 10), 0);
    for (size_t i = 0; i < sizeof sections / sizeof *sections; i++) {
        const char *found = strstr(at, sections[i]);

        if (!found)
            fail_msg("no %s, or not in its place", sections[i]);
        assert_true(i == 0 || strncmp(found - 4, "\r\n\r\n", 4) == 0);
        at = found;
    }
    assert_null(strstr(text, "# Commandstats"));
    for (at = text; (at = strchr(at, '\n')); at++)
        assert_int_equal(at[-1], '\r');
    free(text);
}

static void a_section_can_be_asked_for(void **state)
{
    session *s = *state;

    expect_like(s, "$# Server*", "INFO", "SERVER");
    assert_null(strstr(said(s, "INFO", "server"), "# Clients"));
    expect_like(s, "$*# Clients*# CPU*", "INFO", "cpu", "clients");
    expect_like(s, "$*# Commandstats*", "INFO", "all");
    expect_like(s, "$*# Commandstats*", "INFO", "everything");
    expect_like(
        s, "$*# Commandstats*cmdstat_info:calls=*,usec=*,usec_per_call=*,rejected_calls=*,failed_calls=*",
        "INFO", "commandstats");
    expect(s, "$", "INFO", "nope");
    expect_like(s, "%*", "HELLO", "3");
    expect_like(s, "=txt:# Server*", "INFO", "server");
}

static void commandstats_tell_the_time_of_a_single_call(void **state)
{
    session *s = *state;
    char text[2001];

    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    expect(s, "+OK", "MSET", "a", text, "b", text);
    expect(s, ":0", "LCS", "a", "nope", "LEN");
    expect(s, "+OK", "CONFIG", "RESETSTAT");
    expect(s, ":2000", "LCS", "a", "b", "LEN");
    expect_like(s, "$*cmdstat_lcs:calls=1,usec=[1-9]*,usec_per_call=[1-9]*,rejected_calls=0,failed_calls=0*",
                "INFO", "commandstats");
    expect_like(s, "-ERR wrong number *", "LCS", "a");
    expect_like(s, "-ERR *", "LCS", "a", "b", "NOPE");
    expect_like(s, "$*cmdstat_lcs:calls=2,usec=*,rejected_calls=1,failed_calls=1*", "INFO", "commandstats");
}

static void keyspace_counts_keys_and_deadlines(void **state)
{
    session *s = *state;

    expect(s, "$# Keyspace\\x0d\\x0a", "INFO", "keyspace");
    expect(s, "+OK", "MSET", "a", "1", "b", "2", "c", "3");
    expect(s, ":1", "PEXPIREAT", "a", "33177117420123");
    expect(s, "+OK", "SELECT", "9");
    expect(s, "+OK", "SET", "x", "y");
    expect_like(
        s,
        "$# "
        "Keyspace\\x0d\\x0adb0:keys=3,expires=1,avg_ttl=*\\x0d\\x0adb9:keys=1,expires=0,avg_ttl=0\\x0d\\x0a",
        "INFO", "keyspace");
}

static void statistics_move(void **state)
{
    session *s = *state;
    char *before, *after;
    long long commands, hits, misses, errors;

    before = info(s, "stats");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, "$v", "GET", "k");
    expect(s, "*2 $v _", "MGET", "k", "absent");
    expect(s, ":1", "EXISTS", "k", "absent");
    expect_like(s, "-ERR *", "INCR", "k");
    after = info(s, "stats");
    commands = atoll(field(after, "total_commands_processed"));
    assert_in_range(commands - atoll(field(before, "total_commands_processed")), 5, 6);
    hits = atoll(field(after, "keyspace_hits"));
    assert_int_equal(hits - atoll(field(before, "keyspace_hits")), 3);
    misses = atoll(field(after, "keyspace_misses"));
    assert_int_equal(misses - atoll(field(before, "keyspace_misses")), 2);
    errors = atoll(field(after, "total_error_replies"));
    assert_int_equal(errors - atoll(field(before, "total_error_replies")), 1);
    free(before);
    free(after);
    expect_like(s, "$*errorstat_ERR:count=[1-9]*", "INFO", "errorstats");
}

static void connections_are_counted(void **state)
{
    session *s = *state, *other;
    char *before = info(s, "clients"), *after;
    long long n;

    other = another_client(s);
    expect(other, "+PONG", "PING");
    after = info(s, "clients");
    n = atoll(field(after, "connected_clients"));
    assert_int_equal(n - atoll(field(before, "connected_clients")), 1);
    free(before);
    free(after);
}

static void latencystats_tell_the_percentiles_that_are_asked_for(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CONFIG", "RESETSTAT");
    expect(s, "+OK", "SET", "a", "b");
    expect_like(s, "$*latency_percentiles_usec_set:p50=*.*,p99=*.*,p99.9=*.*", "INFO", "latencystats");
    expect(s, "+OK", "CONFIG", "SET", "latency-tracking-info-percentiles", "10.0 100 0.50");
    expect(s, "*2 $latency-tracking-info-percentiles $\"10 100 0.5\"", "CONFIG", "GET",
           "latency-tracking-info-percentiles");
    expect_like(s, "$*latency_percentiles_usec_set:p10=*.*,p100=*.*,p0.5=*.*", "INFO", "latencystats");
    expect(
        s,
        "-ERR CONFIG SET failed (possibly related to argument 'latency-tracking-info-percentiles') - Invalid "
        "latency-tracking-info-percentiles parameters",
        "CONFIG", "SET", "latency-tracking-info-percentiles", "many");
    expect(s,
           "-ERR CONFIG SET failed (possibly related to argument 'latency-tracking-info-percentiles') - "
           "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
           "CONFIG", "SET", "latency-tracking-info-percentiles", "101");
    expect(s, "+OK", "CONFIG", "SET", "latency-tracking-info-percentiles", "");
    expect_like(s, "$*latency_percentiles_usec_set:\\x0d*", "INFO", "latencystats");
    expect(s, "+OK", "CONFIG", "SET", "latency-tracking-info-percentiles", "50 99 99.9");
    expect(s, "+OK", "CONFIG", "SET", "latency-tracking", "no");
    assert_null(strstr(said(s, "INFO", "latencystats"), "_set:"));
    expect(s, "+OK", "CONFIG", "SET", "latency-tracking", "yes");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(the_fields_that_tools_read_are_there),
        conversation(the_values_are_what_clients_check),
        conversation(kvserver_says_what_it_is),
        conversation(sections_come_in_their_order_and_form),
        conversation(a_section_can_be_asked_for),
        conversation(commandstats_tell_the_time_of_a_single_call),
        conversation(keyspace_counts_keys_and_deadlines),
        conversation(statistics_move),
        conversation(connections_are_counted),
        conversation(latencystats_tell_the_percentiles_that_are_asked_for),
    };

    return run_conversations(argc, argv, tests);
}
