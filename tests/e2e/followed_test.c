/* followed_test.c - kvserver as a primary: redis-server and kvserver follow it, and have what it has.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replica.h"

#define OPTIONS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static server *primary;
static conn *p;

static int begin_primary_with(const char *const options[])
{
    primary = e2e_begin(true, options);
    p = connect_to(primary);
    return 0;
}

static int begin_primary(void **state)
{
    (void)state;
    return begin_primary_with(OPTIONS("--threads", "2", "--enable-debug-command", "yes"));
}

static int end_primary(void **state)
{
    (void)state;
    conn_close(p);
    end(primary);
    return 0;
}

/* ---- the same content ---- */

/* A replica joins while the primary is written to, loses its link, and goes on; then both have the same. */
static void is_followed_by(server *replica)
{
    conn *r = connect_to(replica);
    load l;

    says(r, "+OK", "SET", "of-before", "1");
    load_begin(&l, primary);
    follow_port(r, server_port(primary));
    wait_for_field(r, "master_link_status", "up");
    says(p, ":1", "CLIENT", "KILL", "TYPE", "replica");
    load_end(&l);
    wait_for_offset(p, r);
    assert_same_content(p, r, load_databases);
    says(r, "_", "GET", "of-before");
    conn_close(r);
    end(replica);
}

static void follow_by_both(const char *const options[])
{
    begin_primary_with(options);
    is_followed_by(begin("--threads", "2"));
    is_followed_by(begin_redis("--save", ""));
    end_primary(NULL);
}

static void both_servers_follow_under_load(void **state)
{
    (void)state;
    follow_by_both(OPTIONS("--threads", "2"));
}

static void the_state_thread_tells_as_well(void **state)
{
    (void)state;
    follow_by_both(OPTIONS("--threads", "2", "--sharing", "actor"));
}

static void a_log_that_is_always_synced_goes_with_it(void **state)
{
    (void)state;
    follow_by_both(OPTIONS("--threads", "2", "--appendonly", "yes", "--appendfsync", "always"));
}

/* What acts on whole databases, expires, is evicted, is long, or is no text. */
static void every_kind_of_change_arrives(void **state)
{
    server *replicas[] = { begin("--threads", "2"), begin_redis("--save", "") };
    char *value = malloc(300001);

    (void)state;
    memset(value, 'v', 300000);
    value[300000] = '\0';
    says(p, "+OK", "SET", "there", "before");
    for (size_t i = 0; i < sizeof replicas / sizeof *replicas; i++) {
        conn *r = connect_to(replicas[i]);

        follow_port(r, server_port(primary));
        wait_for_offset(p, r);
        says(p, "+OK", "MSET", "long", value, "\r\n", "$5\r\n*3");
        says(p, ":300001", "APPEND", "long", "x");
        says(p, "+OK", "SET", "short-lived", "1", "PX", "1");
        says(p, "+OK", "SET", "later", "1", "EX", "90000");
        says(p, "+OK", "SELECT", "2");
        says(p, "+OK", "SET", "two", "2");
        says(p, "+OK", "SWAPDB", "2", "3");
        says(p, "+OK", "SET", "gone", "2");
        says(p, "+OK", "FLUSHDB");
        says(p, "+OK", "SET", "stays", "2");
        says(p, "+OK", "SELECT", "0");
        while (info_number(p, "expired_keys") < 1 + (long long)i)
            says(p, "+PONG", "PING");
        wait_for_offset(p, r);
        assert_same_content(p, r, load_databases);
        conn_close(r);
    }
    for (size_t i = 0; i < sizeof replicas / sizeof *replicas; i++)
        end(replicas[i]);
    free(value);
}

static void nobody_sees_half_of_a_transaction(void **state)
{
    server *replica = begin("--threads", "2");
    conn *r = connect_to(replica);
    char number[16];

    (void)state;
    says(p, "+OK", "MSET", "x", "0", "y", "0");
    follow_port(r, server_port(primary));
    wait_for_offset(p, r);
    for (int i = 1; i <= 300; i++) {
        char *seen;
        int x, y;

        snprintf(number, sizeof number, "%d", i);
        says(p, "+OK", "MSET", "x", number, "y", number);
        seen = ask(r, "MGET", "x", "y");
        assert_non_null(seen);
        assert_int_equal(sscanf(seen, "*2 $%d $%d", &x, &y), 2);
        assert_int_equal(x, y);
        free(seen);
    }
    conn_close(r);
    end(replica);
}

static void wait_for_reply(conn *c, const char *wanted)
{
    bool same = false;

    for (int looks = 0; !same && looks < 20000; looks++) {
        char *seen = ask(c, "MGET", "a", "b");

        same = seen && strcmp(seen, wanted) == 0;
        free(seen);
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    assert_true(same);
}

static void a_replica_is_followed_too(void **state)
{
    server *middle = begin_tcp("--threads", "2"), *last = begin("--threads", "2");
    conn *m = connect_to(middle), *l = connect_to(last);

    (void)state;
    says(p, "+OK", "SET", "a", "1");
    follow_port(m, server_port(primary));
    wait_for_offset(p, m);
    follow_port(l, server_port(middle));
    wait_for_field(l, "master_link_status", "up");
    says(p, "+OK", "SET", "a", "2");
    wait_for_reply(l, "*2 $2 _");
    /* Its databases are exchanged for others: who follows fetches them anew. */
    says(m, "+OK", "REPLICAOF", "NO", "ONE");
    says(m, "+OK", "SET", "a", "own");
    says(p, "+OK", "SET", "b", "3");
    follow_port(m, server_port(primary));
    wait_for_offset(p, m);
    wait_for_field(l, "master_link_status", "up");
    wait_for_reply(l, "*2 $2 $3");
    conn_close(m);
    conn_close(l);
    end(last);
    end(middle);
}

/* ---- what the primary tells of them ---- */

static void wait_counts_who_has_it(void **state)
{
    server *one = begin("--threads", "1"), *other = begin_redis("--save", "");
    conn *a = connect_to(one), *b = connect_to(other);

    (void)state;
    says(p, ":0", "WAIT", "0", "0");
    says(p, ":0", "WAIT", "1", "1");
    follow_port(a, server_port(primary));
    follow_port(b, server_port(primary));
    wait_for_offset(p, a);
    wait_for_offset(p, b);
    for (int i = 0; i < 20; i++) {
        says(p, ":", "INCR", "n");
        says(p, ":2", "WAIT", "2", "0");
    }
    says(a, "$20", "GET", "n");
    says(b, "$20", "GET", "n");
    says(p, ":2", "WAIT", "3", "1000");
    conn_close(a);
    conn_close(b);
    end(one);
    end(other);
}

static void it_tells_who_follows(void **state)
{
    server *replica = begin("--threads", "1", "--port", "0", "--replica-announce-port", "4711");
    conn *r = connect_to(replica);
    char wanted[64];

    (void)state;
    says(p, "*3 $master :0 *0", "ROLE");
    assert_int_equal(info_number(p, "connected_slaves"), 0);
    follow_port(r, server_port(primary));
    wait_for_offset(p, r);
    wait_for_field(p, "slave0", "ip=127.0.0.1,port=4711,state=online,offset=");
    assert_int_equal(info_number(p, "connected_slaves"), 1);
    says(p, ":1", "WAIT", "1", "0");
    says(p, "*3 $master :", "ROLE");
    for (int i = 0; i < 5; i++) {
        says(p, "+OK", "SET", "k", "1");
        says(p, ":1", "CLIENT", "KILL", "TYPE", "replica");
        says(p, "+OK", "SET", "k", "2");
        wait_for_offset(p, r);
    }
    says(p, "$id=", "CLIENT", "LIST", "TYPE", "replica");
    assert_int_equal(info_number(p, "sync_full"), 1);
    assert_int_equal(info_number(p, "sync_partial_ok"), 5);
    snprintf(wanted, sizeof wanted, "%lld", info_number(p, "master_repl_offset"));
    wait_for_field(r, "slave_repl_offset", wanted);
    conn_close(r);
    end(replica);
}

static void messages_are_passed_on(void **state)
{
    server *replica = begin_redis("--save", "");
    conn *r = connect_to(replica), *listener = connect_to(replica);

    (void)state;
    follow_port(r, server_port(primary));
    wait_for_offset(p, r);
    says(listener, "*3 $subscribe", "SUBSCRIBE", "news");
    says(p, ":0", "PUBLISH", "news", "hello");
    next_is(listener, "*3 $message $news $hello");
    conn_close(listener);
    conn_close(r);
    end(replica);
}

static void a_history_that_is_not_ours_is_not_gone_on_with(void **state)
{
    server *replica = begin("--threads", "1");
    conn *r = connect_to(replica), *m;
    server *other = begin_tcp("--threads", "1");

    (void)state;
    m = connect_to(other);
    says(p, "+OK", "SET", "here", "1");
    says(m, "+OK", "SET", "there", "1");
    follow_port(r, server_port(other));
    wait_for_offset(m, r);
    follow_port(r, server_port(primary));
    wait_for_offset(p, r);
    says(r, "*2 $1 _", "MGET", "here", "there");
    assert_int_equal(info_number(p, "sync_full"), 1);
    assert_int_equal(info_number(p, "sync_partial_err"), 1);
    conn_close(m);
    conn_close(r);
    end(replica);
    end(other);
}

/* ---- bad replicas ---- */

/* A replica by hand: it was sent the data set, and has acknowledged it, or not. Nothing of it was read. */
static conn *begin_replica_by_hand(bool acknowledges)
{
    conn *c = conn_open_tcp("127.0.0.1", server_port(primary));

    assert_non_null(c);
    says(c, "+OK", "REPLCONF", "listening-port", "1", "capa", "eof", "capa", "psync2");
    assert_true(conn_send(c, KV_STR("PSYNC ? -1\r\n")));
    wait_for_field(p, "slave0", "ip=127.0.0.1,port=1,state=online");
    if (acknowledges)
        assert_true(conn_send(c, KV_STR("REPLCONF ACK 0\r\n")));
    return c;
}

static void wait_until_nobody_follows(void)
{
    wait_for_field(p, "connected_slaves", "0");
}

static void who_takes_nothing_is_closed(void **state)
{
    char *value = malloc(100001);
    long long before, read;
    conn *c;

    (void)state;
    memset(value, 'v', 100000);
    value[100000] = '\0';
    says(p, "+OK", "CONFIG", "SET", "client-output-buffer-limit", "replica 1mb 0 0");
    c = begin_replica_by_hand(true);
    before = resident_bytes(server_pid(primary));
    for (int i = 0; i < 300 && info_number(p, "connected_slaves") > 0; i++)
        says(p, "+OK", "SET", "k", value);
    wait_until_nobody_follows();
    assert_grown_less(primary, before, 20 << 20);
    assert_true(conn_drain(c, &read));
    assert_true(read < 300 * 100000);
    conn_close(c);
    free(value);
}

static void who_acknowledges_nothing_is_closed(void **state)
{
    conn *c;
    long long read;

    (void)state;
    says(p, "+OK", "CONFIG", "SET", "repl-timeout", "1");
    c = begin_replica_by_hand(false);
    assert_true(conn_drain(c, &read));
    wait_until_nobody_follows();
    conn_close(c);
}

/* Empty lines for three times as long as the timeout. */
static bool stays_with_empty_lines(void)
{
    conn *c = begin_replica_by_hand(false);
    bool alive = true;

    says(p, "+OK", "CONFIG", "SET", "repl-timeout", "1");
    for (int i = 0; i < 150 && alive; i++) {
        alive = conn_send(c, KV_STR("\n"));
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    }
    alive = alive && info_number(p, "connected_slaves") == 1;
    says(p, "+OK", "CONFIG", "SET", "repl-timeout", "60");
    conn_close(c);
    wait_until_nobody_follows();
    return alive;
}

/* Who loads a large data set says so by empty lines. (A machine may be so slow that a second passes between two of them.) */
static void who_is_still_loading_is_waited_for(void **state)
{
    bool stays = false;

    (void)state;
    for (int attempt = 0; attempt < 10 && !stays; attempt++)
        stays = stays_with_empty_lines();
    assert_true(stays);
}

static void what_a_replica_asks_is_not_done(void **state)
{
    conn *c = begin_replica_by_hand(true);

    (void)state;
    assert_true(
        conn_send(c, KV_STR("SET k v\r\nCLIENT REPLY ON\r\nRESET\r\nSUBSCRIBE x\r\nMULTI\r\nHELLO 3\r\n"
                            "REPLCONF ACK 7\r\n")));
    wait_for_field(p, "slave0", "ip=127.0.0.1,port=1,state=online,offset=7");
    says(p, "_", "GET", "k");
    says(p, "*0", "PUBSUB", "CHANNELS");
    conn_close(c);
    wait_until_nobody_follows();
}

/* ---- nobody follows ---- */

static void the_stream_ends_when_nobody_follows(void **state)
{
    server *replica = begin("--threads", "1");
    conn *r = connect_to(replica);

    (void)state;
    says(p, "+OK", "CONFIG", "SET", "repl-backlog-ttl", "1");
    follow_port(r, server_port(primary));
    wait_for_offset(p, r);
    assert_int_equal(info_number(p, "repl_backlog_active"), 1);
    conn_close(r);
    end(replica);
    wait_for_field(p, "repl_backlog_active", "0");
    says(p, "+OK", "SET", "a", "1");
    assert_int_equal(info_number(p, "repl_backlog_histlen"), 0);
}

#define with_primary(test) cmocka_unit_test_setup_teardown(test, begin_primary, end_primary)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_servers_follow_under_load),
        cmocka_unit_test(the_state_thread_tells_as_well),
        cmocka_unit_test(a_log_that_is_always_synced_goes_with_it),
        with_primary(every_kind_of_change_arrives),
        with_primary(nobody_sees_half_of_a_transaction),
        with_primary(a_replica_is_followed_too),
        with_primary(wait_counts_who_has_it),
        with_primary(it_tells_who_follows),
        with_primary(messages_are_passed_on),
        with_primary(a_history_that_is_not_ours_is_not_gone_on_with),
        with_primary(who_takes_nothing_is_closed),
        with_primary(who_acknowledges_nothing_is_closed),
        with_primary(who_is_still_loading_is_waited_for),
        with_primary(what_a_replica_asks_is_not_done),
        with_primary(the_stream_ends_when_nobody_follows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
