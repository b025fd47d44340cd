/* acks_test.c - what replicas tell their primary: what they have applied (WAIT), and what they have on disk (WAITAOF).
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica.h"

static server *primary;
static conn *p;

static int begin_primary(void **state)
{
    (void)state;
    primary = begin_tcp("--threads", "2");
    p = connect_to(primary);
    return 0;
}

static int end_primary(void **state)
{
    (void)state;
    conn_close(p);
    end(primary);
    return 0;
}

/* What was waited for is there after a crash of the replica. */
static void is_on_disk(const char *policy)
{
    char *dir = new_directory(), number[16];
    server *one = begin("--appendonly", "yes", "--appendfsync", policy, "--dir", dir),
           *other = begin("--threads", "1");
    conn *a = connect_to(one), *b = connect_to(other);

    says(p, "+OK", "SET", "of-before", policy);
    says(p, "*2 :0 :0", "WAITAOF", "0", "0", "0");
    follow_port(a, server_port(primary));
    follow_port(b, server_port(primary));
    wait_for_offset(p, a);
    wait_for_offset(p, b);
    says(p, "*2 :0 :1", "WAITAOF", "0", "1", "0");
    for (int i = 1; i <= 3; i++) {
        snprintf(number, sizeof number, "%d", i);
        says(p, "+OK", "SET", "n", number);
        says(p, "*2 :0 :1", "WAITAOF", "0", "1", "0");
    }
    says(p, "*2 :0 :1", "WAITAOF", "0", "2", "10"); /* the other has no log */
    conn_close(a);
    assert_true(server_kill(one));

    one = begin("--appendonly", "yes", "--dir", dir);
    a = connect_to(one);
    says(a, "$3", "GET", "n");
    says(a, "$", "GET", "of-before");
    conn_close(a);
    conn_close(b);
    end(one);
    end(other);
    remove_directory(dir);
}

static void what_waitaof_counts_survives_a_crash(void **state)
{
    (void)state;
    is_on_disk("always");
    is_on_disk("everysec");
}

/* The log of the primary itself is counted apart. */
static void the_own_log_and_those_of_replicas_are_waited_for(void **state)
{
    char *dir = new_directory(), *other_dir = new_directory();
    server *leader = begin_tcp("--appendonly", "yes", "--dir", dir),
           *one = begin("--appendonly", "yes", "--dir", other_dir);
    conn *l = connect_to(leader), *a = connect_to(one);

    (void)state;
    follow_port(a, server_port(leader));
    wait_for_offset(l, a);
    says(l, "+OK", "SET", "a", "1");
    says(l, "*2 :1 :1", "WAITAOF", "1", "1", "0");
    conn_close(l);
    conn_close(a);
    end(one);
    end(leader);
    remove_directory(dir);
    remove_directory(other_dir);
}

static void a_log_that_is_switched_on_counts_from_then_on(void **state)
{
    char *dir = new_directory();
    server *one = begin("--dir", dir);
    conn *a = connect_to(one);

    (void)state;
    follow_port(a, server_port(primary));
    wait_for_offset(p, a);
    says(p, "+OK", "SET", "a", "1");
    says(p, ":1", "WAIT", "1", "0");
    says(p, "*2 :0 :0", "WAITAOF", "0", "1", "10");
    says(a, "+OK", "CONFIG", "SET", "appendonly", "yes");
    says(p, "*2 :0 :1", "WAITAOF", "0", "1", "0");
    says(a, "+OK", "CONFIG", "SET", "appendonly", "no");
    says(p, "+OK", "SET", "a", "2");
    says(p, ":1", "WAIT", "1", "0");
    says(p, "*2 :0 :0", "WAITAOF", "0", "1", "10");
    conn_close(a);
    end(one);
    remove_directory(dir);
}

static void waits_for_its_own_log(void **state)
{
    char *dir = new_directory();
    server *s = begin("--dir", dir);
    conn *c = connect_to(s);

    (void)state;
    says(c, "+OK", "SET", "a", "1");
    says(c, "+OK", "CONFIG", "SET", "appendonly", "yes");
    says(c, "*2 :1 :0", "WAITAOF", "1", "0",
         "0"); /* when the base is there, though nothing is written then */
    conn_close(c);
    end(s);
    s = begin("--dir", dir, "--appendonly", "yes");
    c = connect_to(s);
    says(c, "$1", "GET", "a");
    conn_close(c);
    end(s);
    remove_directory(dir);
}

/* The same words as redis-server's. */
static void a_replica_waits_for_nobody(void **state)
{
    server *ours = begin(NULL), *theirs = begin_redis("--save", "");
    conn *a = connect_to(ours), *b = connect_to(theirs);

    (void)state;
    follow_port(a, server_port(primary));
    follow_port(b, server_port(primary));
    for (int i = 0; i < 2; i++) {
        const char *replicas = i ? "0" : "x";
        char *one = ask(a, "WAIT", replicas, "10"), *other = ask(b, "WAIT", replicas, "10");

        assert_non_null(one);
        assert_non_null(other);
        assert_string_equal(one, other);
        free(one);
        free(other);
    }
    says(a, "-ERR WAITAOF cannot be used with replica instances.", "WAITAOF", "0", "0", "0");
    conn_close(a);
    conn_close(b);
    end(ours);
    end(theirs);
}

#define with_primary(test) cmocka_unit_test_setup_teardown(test, begin_primary, end_primary)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_primary(what_waitaof_counts_survives_a_crash),
        cmocka_unit_test(the_own_log_and_those_of_replicas_are_waited_for),
        with_primary(a_log_that_is_switched_on_counts_from_then_on),
        cmocka_unit_test(waits_for_its_own_log),
        with_primary(a_replica_waits_for_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
