/* replica_test.c - REPLICAOF a redis-server: the same content under load, read-only meanwhile, a primary afterwards.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "replica.h"

enum { databases = load_databases, rounds = load_rounds };

/* ---- load ---- */

/* Follows a primary that is written to, as options say; the primary's in front of a NULL. */
static void follow_under_load(const char *const primary_options[], const char *const replica_options[])
{
    server *primary = replica_begin_redis(primary_options), *replica = e2e_begin(false, replica_options);
    conn *p = connect_to(primary), *r = connect_to(replica);
    load l;

    says(r, "+OK", "SET", "of-before", "1");
    load_begin(&l, primary);
    follow_port(r, server_port(primary));
    wait_for_field(r, "master_link_status", "up");
    says(r, "-READONLY You can't write against a read only replica.", "SET", "a", "b");
    load_end(&l);
    says(p, ":1", "WAIT", "1", "20000"); /* it has said so itself */
    wait_for_offset(p, r);
    assert_same_content(p, r, databases);
    says(r, "_", "GET", "of-before");
    assert_int_equal(info_number(r, "not_replicated_commands"), 0);
    says(r, "+OK", "REPLICAOF", "NO", "ONE");
    says(r, "+OK", "SET", "a", "b");
    says(p, "_", "GET", "a");
    says(r, "*3 $master", "ROLE");
    conn_close(p);
    conn_close(r);
    end(replica);
    assert_true(server_stop(primary));
}

#define OPTIONS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void a_data_set_without_a_file_and_the_writes_after_it(void **state)
{
    (void)state;
    follow_under_load(OPTIONS("--save", "", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"),
                      OPTIONS("--threads", "2"));
}

static void a_data_set_of_known_length_and_the_writes_after_it(void **state)
{
    (void)state;
    follow_under_load(OPTIONS("--save", "", "--repl-diskless-sync", "no"), OPTIONS("--threads", "1"));
}

static void the_state_thread_applies_what_comes(void **state)
{
    (void)state;
    follow_under_load(OPTIONS("--save", "", "--repl-diskless-sync-delay", "0"),
                      OPTIONS("--sharing", "actor", "--threads", "2"));
}

/* ---- the log of changes ---- */

/* What a replica has applied is in its log: the data set, and what came after it. */
static void what_was_replicated_is_logged(const char *sharing)
{
    server *primary = begin_redis("--save", "", "--repl-diskless-sync-delay", "0"), *replica, *again;
    char *directory = new_directory();
    conn *p = connect_to(primary), *r, *a;
    unsigned seed = 7;

    for (int i = 0; i < rounds; i++)
        load_batch(p, &seed);
    replica = begin("--appendonly", "yes", "--dir", directory, "--sharing", sharing, "--threads", "2");
    r = connect_to(replica);
    says(r, "+OK", "SET", "of-before", "1");
    follow_port(r, server_port(primary));
    wait_for_offset(p, r);
    for (int i = 0; i < rounds; i++)
        load_batch(p, &seed);
    wait_for_offset(p, r);
    conn_close(r);
    end(replica);
    again = begin("--appendonly", "yes", "--dir", directory);
    a = connect_to(again);
    assert_same_content(p, a, databases);
    says(a, "_", "GET", "of-before");
    conn_close(a);
    conn_close(p);
    end(again);
    assert_true(server_stop(primary));
    remove_directory(directory);
}

static void the_log_of_a_replica_is_whole(void **state)
{
    (void)state;
    what_was_replicated_is_logged("sharded");
    what_was_replicated_is_logged("actor");
}

/* ---- the link ---- */

typedef struct pair {
    server *primary, *replica;
    conn *p, *r;
} pair;

static int begin_pair(void **state)
{
    pair *both = calloc(1, sizeof *both);

    both->primary =
        begin_redis("--save", "", "--repl-diskless-sync-delay", "0", "--enable-debug-command", "yes");
    both->replica = begin("--threads", "2");
    both->p = connect_to(both->primary);
    both->r = connect_to(both->replica);
    *state = both;
    return 0;
}

static int end_pair(void **state)
{
    pair *both = *state;

    conn_close(both->p);
    conn_close(both->r);
    assert_true(server_stop(both->replica));
    assert_true(server_stop(both->primary));
    free(both);
    return 0;
}

static void a_lost_link_goes_on_where_it_was(void **state)
{
    pair *both = *state;

    says(both->p, "+OK", "SELECT", "3");
    says(both->p, "+OK", "SET", "before", "1");
    follow_port(both->r, server_port(both->primary));
    wait_for_offset(both->p, both->r);
    for (int i = 0; i < 5; i++) {
        says(both->p, ":", "INCR", "counter");
        says(both->p, ":1", "CLIENT", "KILL", "TYPE", "replica");
        says(both->p, ":", "INCR", "counter");
        wait_for_offset(both->p, both->r);
    }
    says(both->r, "+OK", "SELECT", "3");
    says(both->r, "$10", "GET", "counter");
    assert_int_equal(info_number(both->p, "sync_full"), 1);
    assert_int_equal(info_number(both->p, "sync_partial_ok"), 5);
}

static void a_primary_that_was_away_is_followed_again(void **state)
{
    pair *both = *state;
    int port = server_port(both->primary);
    char text[16];

    snprintf(text, sizeof text, "%d", port);
    says(both->p, "+OK", "SET", "before", "1");
    follow_port(both->r, port);
    wait_for_offset(both->p, both->r);
    conn_close(both->p);
    assert_true(server_stop(both->primary));
    wait_for_field(both->r, "master_link_status", "down");
    says(both->r, "$1", "GET", "before");
    says(both->r, "-READONLY", "SET", "before", "2");
    both->primary = begin_redis("--save", "", "--port", text, "--repl-diskless-sync-delay", "0");
    both->p = connect_to(both->primary);
    says(both->p, "+OK", "SET", "after", "2");
    wait_for_offset(both->p, both->r);
    says(both->r, "_", "GET", "before");
    says(both->r, "$2", "GET", "after");
}

/* Two keys are always written as one act. */
static void nobody_sees_half_of_a_transaction(void **state)
{
    pair *both = *state;
    char number[16];

    says(both->p, "+OK", "MSET", "x", "0", "y", "0");
    follow_port(both->r, server_port(both->primary));
    wait_for_offset(both->p, both->r);
    for (int i = 1; i <= 300; i++) {
        char *seen;
        int x, y;

        snprintf(number, sizeof number, "%d", i);
        says(both->p, "+OK", "MULTI");
        says(both->p, "+QUEUED", "SET", "x", number);
        says(both->p, "+QUEUED", "SET", "y", number);
        says(both->p, "*2", "EXEC");
        seen = ask(both->r, "MGET", "x", "y");
        assert_non_null(seen);
        assert_int_equal(sscanf(seen, "*2 $%d $%d", &x, &y), 2);
        assert_int_equal(x, y);
        free(seen);
    }
}

static void clients_may_not_write_but_the_primary_does(void **state)
{
    pair *both = *state;
    conn *c = connect_to(both->replica);
    char port[16];

    snprintf(port, sizeof port, "%d", server_port(both->primary));
    says(both->p, "+OK", "SET", "k", "1");
    says(c, "+OK", "MULTI");
    says(c, "+QUEUED", "SET", "late", "1");
    follow_port(both->r, server_port(both->primary));
    wait_for_offset(both->p, both->r);
    says(c,
         "-EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.",
         "EXEC");
    says(c, "-READONLY", "DEL", "k");
    says(c, "-READONLY", "FLUSHALL");
    says(c, "+OK", "MULTI");
    says(c, "-READONLY", "INCR", "k");
    says(c, "-EXECABORT", "EXEC");
    says(c, "$1", "GET", "k");
    says(c, "*5 $slave $127.0.0.1", "ROLE");
    says(c, "*2 $replicaof $\"127.0.0.1 ", "CONFIG", "GET", "replicaof");
    says(c, "+OK", "CONFIG", "SET", "replica-read-only", "no");
    says(c, "+OK", "SET", "own", "1");
    says(c, "+OK", "CONFIG", "SET", "replica-read-only", "yes");
    says(both->p, "+OK", "FLUSHALL");
    wait_for_offset(both->p, both->r);
    says(c, ":0", "DBSIZE");
    says(c, "+OK Already connected to specified master", "REPLICAOF", "127.0.0.1", port);
    says(c, "-ERR Invalid master port", "REPLICAOF", "127.0.0.1", "70000");
    conn_close(c);
}

static void wait_for_keys(conn *c, const char *database, const char *count)
{
    char *said = NULL;

    says(c, "+OK", "SELECT", database);
    for (int waited = 0; waited < conn_patience_ms && !(said && strcmp(said, count) == 0); waited += 5) {
        free(said);
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        said = ask(c, "DBSIZE");
    }
    assert_non_null(said);
    assert_string_equal(said, count);
    free(said);
}

/* The primary looks for nothing that has expired, so it says no DEL. DBSIZE counts what is there, hidden or not. */
static void removes_its_own(conn *p, conn *r)
{
    says(p, "+OK", "DEBUG", "SET-ACTIVE-EXPIRE", "0");
    says(p, "+OK", "SET", "lasting", "1");
    says(r, "+OK", "CONFIG", "SET", "replica-read-only", "no");
    says(r, "+OK", "SET", "taken-back", "own", "PX", "100");
    says(p, "+OK", "SET", "of-primary", "1", "PX", "1");
    says(p, "+OK", "SET", "taken-back", "1", "PX", "1");
    wait_for_offset(p, r);
    says(r, "+OK", "SET", "own", "1", "PX", "1");
    says(r, "+OK", "SET", "kept", "1", "PX", "1", "NX");
    says(r, "+OK", "SET", "kept", "2");
    says(r, "+OK", "SET", "changed", "1");
    says(r, ":1", "PEXPIRE", "changed", "110");
    says(r, ":1", "PEXPIRE", "lasting", "110");
    says(r, "+OK", "SELECT", "5");
    says(r, "+OK", "SET", "own", "1", "PX", "1");
    wait_for_keys(r, "5", ":0");
    wait_for_keys(r, "0", ":3");
    says(r, "*3 _ _ $2", "MGET", "of-primary", "taken-back", "kept");
}

static void a_writable_replica_removes_what_its_clients_wrote(void **state)
{
    static const char *const sharings[] = { "sharded", "mutex", "actor" };
    pair *both = *state;

    for (size_t i = 0; i < sizeof sharings / sizeof *sharings; i++) {
        server *s = begin("--threads", "2", "--sharing", sharings[i]);
        conn *r = connect_to(s);

        says(both->p, "+OK", "FLUSHALL");
        follow_port(r, server_port(both->primary));
        wait_for_offset(both->p, r);
        removes_its_own(both->p, r);
        conn_close(r);
        end(s);
    }
}

/* What a writable replica remembers of its clients' keys goes with them, though they were due long after. */
static void of_keys_that_were_deleted_nothing_is_kept(void **state)
{
    enum { KEYS = 10000, MOST_BYTES = 300000 };
    pair *both = *state;
    conn *r = both->r;
    long long before;
    char key[32];
    int tries = 0;

    says(r, "+OK", "CONFIG", "SET", "replica-read-only", "no");
    follow_port(r, server_port(both->primary));
    wait_for_offset(both->p, r);
    before = info_number(r, "used_memory");
    for (int i = 0; i < KEYS; i++) {
        snprintf(key, sizeof key, "own:%d", i);
        says(r, "+OK", "SET", key, "1", "EX", "1000000");
        says(r, ":1", "DEL", key);
    }
    while (info_number(r, "used_memory") > before + MOST_BYTES && tries++ < 4000)
        usleep(5000);
    assert_true(info_number(r, "used_memory") <= before + MOST_BYTES);
}

/* Waits until the replica has received as much as the primary has told now. */
static void wait_until_received(conn *primary, conn *replica)
{
    long long told = info_number(primary, "master_repl_offset");
    int tries = 0;

    while (info_number(replica, "slave_read_repl_offset") < told && tries++ < 12000)
        usleep(5000);
    assert_true(info_number(replica, "slave_read_repl_offset") >= told);
}

static void a_pause_holds_back_the_primary(void **state)
{
    pair *both = *state;
    long long applied;

    follow_port(both->r, server_port(both->primary));
    says(both->p, "+OK", "SET", "k", "1");
    wait_for_offset(both->p, both->r);
    says(both->r, "+OK", "CLIENT", "PAUSE", "1000000", "WRITE");
    applied = info_number(both->r, "slave_repl_offset");
    for (int i = 0; i < 100; i++)
        says(both->p, ":", "INCR", "k");
    wait_until_received(both->p, both->r);
    assert_int_equal(info_number(both->r, "slave_repl_offset"), applied);
    says(both->r, "$1", "GET", "k");
    says(both->r, "+OK", "CLIENT", "UNPAUSE");
    wait_for_offset(both->p, both->r);
    says(both->r, "$101", "GET", "k");
    says(both->r, "+OK", "CLIENT", "PAUSE", "1000000", "WRITE");
    says(both->p, ":102", "INCR", "k");
    wait_until_received(both->p, both->r);
    says(both->r, "+OK", "REPLICAOF", "NO", "ONE"); /* the task does not wait for the end of the pause */
    says(both->r, "$101", "GET", "k");
    says(both->r, "+OK", "CLIENT", "UNPAUSE");
    says(both->r, ":102", "INCR", "k");
}

static void stale_data_are_not_served_if_so_configured(void **state)
{
    pair *both = *state;
    conn *watcher = connect_to(both->replica), *lasting = connect_to(both->replica);

    says(both->p, "+OK", "SET", "k", "1");
    says(both->r, "+OK", "CONFIG", "SET", "replica-serve-stale-data", "no");
    follow_port(both->r, server_port(both->primary));
    wait_for_offset(both->p, both->r);
    says(both->r, "$1", "GET", "k");
    says(both->r, "+OK", "MULTI");
    says(both->r, "+QUEUED", "TIME");
    says(both->r, "+QUEUED", "GET", "k");
    says(lasting, "+OK", "MULTI");
    says(lasting, "+QUEUED", "TIME");
    conn_close(both->p);
    assert_true(server_stop(both->primary));
    wait_for_field(watcher, "master_link_status", "down");
    says(both->r,
         "-EXECABORT Transaction discarded because of: MASTERDOWN Link with MASTER is down and "
         "replica-serve-stale-data is set to 'no'.",
         "EXEC");
    says(lasting, "*1 *2", "EXEC");
    says(both->r, "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", "GET",
         "k");
    says(both->r, "*5 $slave", "ROLE");
    says(both->r, "+OK", "REPLICAOF", "NO", "ONE");
    says(both->r, "$1", "GET", "k");
    both->primary = begin_redis("--save", "");
    both->p = connect_to(both->primary);
    conn_close(watcher);
    conn_close(lasting);
}

/* ---- what is not replicated ---- */

static void what_is_not_replicated_is_named(void **state)
{
    pair *both = *state;

    says(both->p, "+OK", "SET", "text", "1");
    says(both->p, ":1", "RPUSH", "list", "1");
    says(both->p, ":1", "HSET", "hash", "f", "1");
    follow_port(both->r, server_port(both->primary));
    wait_for_field(both->r, "master_link_error", "its data set cannot be taken");
    says(both->r, "_", "GET", "text");
    says(both->r, "+OK", "CONFIG", "SET", "rdb-skip-unsupported", "yes");
    wait_for_offset(both->p, both->r);
    says(both->r, "$1", "GET", "text");
    says(both->r, ":1", "DBSIZE");
    assert_int_equal(info_number(both->r, "not_replicated_keys"), 2);
    /* A key that becomes something else on the primary is not served here as what it was. */
    says(both->p, "+OK", "MSET", "a", "1", "b", "2", "c", "3");
    says(both->p, "+OK", "RENAME", "list", "a");
    says(both->p, ":1", "SADD", "set", "1");
    says(both->p, ":1", "SUNIONSTORE", "b", "set");
    wait_for_offset(both->p, both->r);
    says(both->r, "*3 _ _ $3", "MGET", "a", "b", "c");
    wait_for_field(both->r, "not_replicated_names", "sadd,sunionstore");
}

static void messages_are_passed_on(void **state)
{
    pair *both = *state;
    conn *listener;

    follow_port(both->r, server_port(both->primary));
    wait_for_offset(both->p, both->r);
    listener = connect_to(both->replica);
    says(listener, "*3 $subscribe", "SUBSCRIBE", "news");
    says(both->p, ":0", "PUBLISH", "news", "hello");
    next_is(listener, "*3 $message $news $hello");
    conn_close(listener);
}

static void a_password_is_sent(void **state)
{
    pair *both = *state;

    says(both->p, "+OK", "CONFIG", "SET", "requirepass", "secret");
    says(both->p, "+OK", "AUTH", "secret");
    follow_port(both->r, server_port(both->primary));
    wait_for_field(both->r, "master_link_error", "PSYNC: it says '-NOAUTH");
    says(both->r, "+OK", "CONFIG", "SET", "masterauth", "wrong");
    wait_for_field(both->r, "master_link_error", "Unable to AUTH to MASTER");
    says(both->r, "+OK", "CONFIG", "SET", "masterauth", "secret");
    wait_for_offset(both->p, both->r);
    says(both->r, "+OK", "CONFIG", "SET", "masteruser", "default");
    says(both->p, ":1", "CLIENT", "KILL", "TYPE", "replica");
    says(both->p, "+OK", "SET", "k", "1");
    wait_for_offset(both->p, both->r);
    says(both->r, "$1", "GET", "k");
}

static void the_configuration_says_whom_to_follow(void **state)
{
    pair *both = *state;
    char address[64];
    server *replica;
    conn *r;

    snprintf(address, sizeof address, "127.0.0.1 %d", server_port(both->primary));
    says(both->p, "+OK", "SET", "k", "1");
    replica = begin("--replicaof", address);
    r = connect_to(replica);
    wait_for_offset(both->p, r);
    says(r, "$1", "GET", "k");
    conn_close(r);
    end(replica);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_data_set_without_a_file_and_the_writes_after_it),
        cmocka_unit_test(a_data_set_of_known_length_and_the_writes_after_it),
        cmocka_unit_test(the_state_thread_applies_what_comes),
        cmocka_unit_test(the_log_of_a_replica_is_whole),
        cmocka_unit_test_setup_teardown(a_lost_link_goes_on_where_it_was, begin_pair, end_pair),
        cmocka_unit_test_setup_teardown(a_primary_that_was_away_is_followed_again, begin_pair, end_pair),
        cmocka_unit_test_setup_teardown(nobody_sees_half_of_a_transaction, begin_pair, end_pair),
        cmocka_unit_test_setup_teardown(clients_may_not_write_but_the_primary_does, begin_pair, end_pair),
        cmocka_unit_test_setup_teardown(of_keys_that_were_deleted_nothing_is_kept, begin_pair, end_pair),
        cmocka_unit_test_setup_teardown(a_writable_replica_removes_what_its_clients_wrote, begin_pair,
                                        end_pair),
        cmocka_unit_test_setup_teardown(a_pause_holds_back_the_primary, begin_pair, end_pair),
        cmocka_unit_test_setup_teardown(stale_data_are_not_served_if_so_configured, begin_pair, end_pair),
        cmocka_unit_test_setup_teardown(what_is_not_replicated_is_named, begin_pair, end_pair),
        cmocka_unit_test_setup_teardown(messages_are_passed_on, begin_pair, end_pair),
        cmocka_unit_test_setup_teardown(a_password_is_sent, begin_pair, end_pair),
        cmocka_unit_test_setup_teardown(the_configuration_says_whom_to_follow, begin_pair, end_pair),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
