/* key_server_test.c - what the server does with keys of our type: types, WATCH, notifications, ACL, memory, settings.
 * SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <stdio.h>
#include <stdlib.h>

static server *s;
static conn *c;

static int begin(void **state)
{
    (void)state;
    s = host_start((const char *const[]){ NULL });
    c = host_connect(s);
    return 0;
}

static int end(void **state)
{
    (void)state;
    conn_close(c);
    return server_stop(s) ? 0 : -1;
}

static void keys_of_other_types_are_refused(void **state)
{
    (void)state;
    expect_reply(c, "+OK", "SET", "text", "1");
    expect_reply(c, "-WRONGTYPE...", "KV.GET", "text", "f");
    expect_reply(c, "-WRONGTYPE...", "KV.SET", "text", "f", "1");
    expect_reply(c, "-WRONGTYPE...", "KV.ALL", "text");
    expect_reply(c, "-WRONGTYPE...", "KV.PUT", "text", "f", "1", "0", "1");
    expect_reply(c, "+OK", "KV.SET", "ours", "f", "1");
    expect_reply(c, "-WRONGTYPE...", "GET", "ours");
    expect_reply(c, "-WRONGTYPE...", "HGET", "ours", "f");
    expect_reply(c, "+kvstore-1", "TYPE", "ours");
    expect_reply(c, "+OK", "SET", "ours", "over it");
}

static void a_key_without_fields_is_no_key(void **state)
{
    (void)state;
    expect_reply(c, "_", "KV.GET", "k", "f");
    expect_reply(c, "*0", "KV.ALL", "k");
    expect_reply(c, ":0", "KV.LEN", "k");
    expect_reply(c, "_", "KV.INFO", "k");
    expect_reply(c, ":0", "KV.DEL", "k", "f");
    expect_reply(c, "_", "KV.SET", "k", "f", "1", "XX");
    expect_reply(c, ":0", "EXISTS", "k");
    expect_reply(c, "+OK", "KV.SET", "k", "f", "1");
    expect_reply(c, ":1", "EXISTS", "k");
    expect_reply(c, "$1", "KV.GETDEL", "k", "f");
    expect_reply(c, ":0", "EXISTS", "k");
    expect_reply(c, "+OK", "KV.SET", "k", "f", "1");
    expect_reply(c, ":1", "KV.PEXPIREAT", "k", "f", "1");
    expect_reply(c, ":0", "EXISTS", "k");
}

static void records_say_the_whole_state(void **state)
{
    (void)state;
    expect_reply(c, ":2", "KV.PUT", "k", "a", "1", "0", "70", "b", "2", "99999999999999", "80");
    expect_reply(c, "*3 $1 :70 :-1", "KV.GETV", "k", "a");
    expect_reply(c, "-...", "KV.PUT", "k", "c", "1", "0", "0");
    expect_reply(c, "-...", "KV.PUT", "k", "c", "1", "x", "1");
    expect_reply(c, "-...", "KV.PUT", "k", "c", "1", "-1", "1");
    expect_reply(c, "-ERR wrong number of arguments...", "KV.PUT", "k", "c", "1", "0");
    expect_reply(c, "-...", "KV.PUT", "k", "c", "1", "0",
                 "4611686018427387905"); /* the sequence must not end */
    expect_reply(c, ":1", "KV.PUT", "last", "c", "1", "0", "4611686018427387904");
    expect_reply(c, "+OK", "KV.SET", "last", "c", "2");
    expect_reply(c, "*3 $2 :4611686018427387905 :-1", "KV.GETV", "last", "c");
    expect_reply(c, "+OK", "DEBUG", "RELOAD");
    expect_reply(c, "*3 $2 :4611686018427387905 :-1", "KV.GETV", "last", "c");
    expect_reply(c, ":2", "KV.LEN", "k");
    expect_reply(c, ":1", "KV.REM", "k", "a", "nobody");
    expect_reply(c, ":1", "KV.REM", "k", "b");
    expect_reply(c, ":0", "EXISTS", "k");
}

static void whole_keys_are_read_by_pattern(void **state)
{
    (void)state;
    expect_reply(c, "+OK", "KV.MSET", "k", "user:1", "Ada", "user:2", "Bob", "x", "y");
    expect_reply(c, ":2", "KV.COUNT", "k", "MATCH", "user:*");
    expect_reply(c, "*1 $x", "KV.KEYS", "k", "MATCH", "[^u]*");
    expect_reply(c, "*1 $y", "KV.VALUES", "k", "match", "x");
    expect_reply(c, "*2 $x $y", "KV.ALL", "k", "MATCH", "?");
    expect_reply(c, "-ERR syntax error", "KV.ALL", "k", "x");
    expect_reply(c, "-ERR syntax error", "KV.ALL", "k", "LIKE", "x");
    expect_reply(c, "%...", "HELLO", "3");
    expect_reply(c, "%1 $x $y", "KV.ALL", "k", "MATCH", "?");
}

static void watch_hears_of_changes_and_of_nothing_else(void **state)
{
    conn *other = host_connect(s);

    (void)state;
    expect_reply(c, "+OK", "KV.SET", "k", "f", "1");
    expect_reply(c, "+OK", "WATCH", "k");
    expect_reply(other, "_", "KV.SET", "k", "f", "2", "NX");
    expect_reply(other, "$1", "KV.GET", "k", "f");
    expect_reply(c, "+OK", "MULTI");
    expect_reply(c, "+QUEUED", "KV.INCR", "k", "f");
    expect_reply(c, "+QUEUED", "KV.ALL", "k");
    expect_reply(c, "*2 :2 *2 $f $2", "EXEC");
    expect_reply(c, "+OK", "WATCH", "k");
    expect_reply(other, ":3", "KV.INCR", "k", "f");
    expect_reply(c, "+OK", "MULTI");
    expect_reply(c, "+QUEUED", "KV.INCR", "k", "f");
    expect_reply(c, "*_", "EXEC");
    conn_close(other);
}

static void expect_event(conn *listener, const char *event)
{
    reply *r = conn_read(listener);
    char *text, wanted[100];

    if (!r)
        fail_msg("no event: %s", conn_trouble(listener));
    text = reply_text(r);
    snprintf(wanted, sizeof wanted, "*4 $pmessage $__key*__:* $__keyspace@0__:k $%s", event);
    assert_string_equal(text, wanted);
    free(text);
    reply_free(r);
}

static void listeners_hear_what_happened(void **state)
{
    conn *listener = host_connect(s);

    (void)state;
    expect_reply(c, "+OK", "CONFIG", "SET", "notify-keyspace-events", "KAd");
    expect_reply(listener, "*3 $psubscribe...", "PSUBSCRIBE", "__key*__:*");
    expect_reply(c, "+OK", "KV.SET", "k", "f", "1");
    expect_event(listener, "kv.set");
    expect_reply(c, "_", "KV.SET", "k", "f", "1", "NX");
    expect_reply(c, ":2", "KV.INCR", "k", "f");
    expect_event(listener, "kv.incr");
    expect_reply(c, "+OK", "KV.SET", "k", "f", "1", "PX", "20");
    expect_event(listener, "kv.set");
    expect_event(listener, "kv.expired");
    expect_event(listener, "del");
    conn_close(listener);
}

/* A module that listens to what happens to keys would change that in valkey-server 8.1.1. */
static void clients_stay_in_their_database(void **state)
{
    (void)state;
    expect_reply(c, "+OK", "SET", "k", "1");
    expect_reply(c, "+OK", "KV.SET", "ours", "f", "1");
    expect_reply(c, ":1", "COPY", "k", "copy", "DB", "4");
    expect_reply(c, ":1", "COPY", "ours", "copied", "DB", "4");
    expect_reply(c, ":1", "MOVE", "k", "5");
    expect_reply(c, ":1", "MOVE", "ours", "5");
    expect_reply(c, ":0", "DBSIZE");
    expect_reply(c, "+OK", "SET", "k", "2");
    expect_reply(c, "+OK", "SELECT", "5");
    expect_reply(c, "$1", "GET", "k");
}

static void permissions_go_by_the_key(void **state)
{
    conn *guest = host_connect(s);

    (void)state;
    expect_reply(c, "+OK", "ACL", "SETUSER", "guest", "on", "nopass", "%R~shared:*", "~own:*", "+kv.get",
                 "+kv.set", "+kv.all");
    expect_reply(c, "*1 $own:1", "COMMAND", "GETKEYS", "KV.SET", "own:1", "f", "v");
    expect_reply(c, "+OK", "KV.SET", "shared:1", "f", "1");
    expect_reply(guest, "+OK", "AUTH", "guest", "any");
    expect_reply(guest, "$1", "KV.GET", "shared:1", "f");
    expect_reply(guest, "-NOPERM...", "KV.SET", "shared:1", "f", "2");
    expect_reply(guest, "-NOPERM...", "KV.GET", "other", "f");
    expect_reply(guest, "-NOPERM...", "KV.DEL", "own:1", "f");
    expect_reply(guest, "+OK", "KV.SET", "own:1", "f", "2");
    conn_close(guest);
}

/* redis-server 7.0 lets no module say to which categories its commands belong. */
static void categories_hold_our_commands_where_the_server_has_them(void **state)
{
    char *ours = say(c, "ACL", "CAT", "kv"), *reads = say(c, "ACL", "CAT", "read");
    char *version = say(c, "INFO", "server");

    (void)state;
    if (strstr(version, "redis_version:7.0")) {
        assert_int_equal(ours[0], '-');
    } else {
        assert_non_null(strstr(ours, "$KV.GETV"));
        assert_non_null(strstr(ours, "$KV.SET"));
        assert_non_null(strstr(reads, "$KV.ALL"));
        assert_null(strstr(reads, "$KV.SET"));
    }
    free(version);
    free(reads);
    free(ours);
}

static void the_server_knows_what_a_command_is(void **state)
{
    char *info = say(c, "COMMAND", "INFO", "kv.set"), *docs = say(c, "COMMAND", "DOCS", "kv.set");
    char *usage;

    (void)state;
    assert_non_null(strstr(info, "$KV.SET :-4"));
    assert_non_null(strstr(info, "write"));
    assert_non_null(strstr(info, "denyoom"));
    assert_non_null(strstr(docs, "$summary"));
    expect_reply(c, "+OK", "KV.MSET", "k", "a", "1", "b", "2");
    usage = say(c, "MEMORY", "USAGE", "k");
    assert_true(usage[0] == ':' && atoi(usage + 1) > 20 && atoi(usage + 1) < 500);
    free(usage);
    free(info);
    free(docs);
}

static void fill_and_flush(const char *how)
{
    long long before = host_info(c, "memory", "used_memory"), full;
    char field[32], value[200];

    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 50000; i++) {
        snprintf(field, sizeof field, "field:%d", i);
        free(say(c, "KV.SET", "large", field, value));
    }
    full = host_info(c, "memory", "used_memory");
    assert_true(full - before > 50000LL * 200);
    assert_true(full - before < 50000LL * 320);
    expect_reply(c, "+OK", "FLUSHALL", how);
    for (int i = 0; i < 500 && host_info(c, "memory", "used_memory") - before >= (full - before) / 8; i++)
        expect_reply(c, "*_", "BLPOP", "nothing", "0.01"); /* by now, or with the server's next turn */
    assert_true(host_info(c, "memory", "used_memory") - before < (full - before) / 8);
    assert_true(host_info(c, "kv", "kv_keys") == 0);
}

static void memory_is_the_servers_and_comes_back(void **state)
{
    (void)state;
    fill_and_flush("SYNC");
    fill_and_flush("ASYNC");
}

static void maxmemory_evicts_keys_and_refuses_writes(void **state)
{
    char limit[32], key[32], value[1000], *text = NULL;
    int i;

    (void)state;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    snprintf(limit, sizeof limit, "%lld", host_info(c, "memory", "used_memory") + 4000000);
    expect_reply(c, "+OK", "CONFIG", "SET", "maxmemory", limit);
    for (i = 0; i < 20000; i++) {
        snprintf(key, sizeof key, "k:%d", i);
        free(text);
        text = say(c, "KV.SET", key, "f", value);
        if (strcmp(text, "+OK") != 0)
            break;
    }
    assert_int_equal(strncmp(text, "-OOM", 4), 0);
    free(text);
    expect_reply(c, "$v...", "KV.GET", "k:1", "f");
    expect_reply(c, ":1", "KV.DEL", "k:1", "f");
    expect_reply(c, "+OK", "CONFIG", "SET", "maxmemory-policy", "allkeys-random");
    for (i = 0; i < 5000; i++) {
        snprintf(key, sizeof key, "more:%d", i);
        expect_reply(c, "+OK", "KV.SET", key, "f", value);
    }
    assert_true(host_info(c, "stats", "evicted_keys") > 0);
}

static void settings_are_the_servers(void **state)
{
    (void)state;
    expect_reply(c, "*2 $kv.offload-threads $2", "CONFIG", "GET", "kv.offload-threads");
    expect_reply(c, "+OK", "CONFIG", "SET", "kv.reply-max-fields", "2");
    expect_reply(c, "+OK", "KV.MSET", "k", "a", "1", "b", "2", "c", "3");
    expect_reply(c, "-ERR the key has more than kv.reply-max-fields fields...", "KV.ALL", "k");
    expect_reply(c, ":3", "KV.COUNT", "k");
    expect_reply(c, "-ERR...", "CONFIG", "SET", "kv.offload-threads", "-1");
}

#define with_server(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        with_server(keys_of_other_types_are_refused),
        with_server(a_key_without_fields_is_no_key),
        with_server(records_say_the_whole_state),
        with_server(whole_keys_are_read_by_pattern),
        with_server(watch_hears_of_changes_and_of_nothing_else),
        with_server(listeners_hear_what_happened),
        with_server(clients_stay_in_their_database),
        with_server(permissions_go_by_the_key),
        with_server(categories_hold_our_commands_where_the_server_has_them),
        with_server(the_server_knows_what_a_command_is),
        with_server(memory_is_the_servers_and_comes_back),
        with_server(maxmemory_evicts_keys_and_refuses_writes),
        with_server(settings_are_the_servers),
    };

    return run_on_hosts(argc, argv, tests);
}
