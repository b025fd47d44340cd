/* replica_clients_test.c - primaries and replicas are clients: they are listed, counted, and can be ended.
 *
 * redis-server is asked the same where it is one of the two. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replica.h"

typedef struct pair {
    server *primary, *replica;
    conn *p, *r;
} pair;

static void follow(pair *two, bool redis_leads, bool redis_follows)
{
    two->primary = redis_leads ? begin_redis("--save", "", "--repl-diskless-sync-delay", "0")
                               : begin_tcp("--threads", "2");
    two->replica = redis_follows ? begin_redis("--save", "") : begin_tcp("--threads", "2");
    two->p = connect_to(two->primary);
    two->r = connect_to(two->replica);
    follow_port(two->r, server_port(two->primary));
    wait_for_offset(two->p, two->r);
}

static void part(pair *two)
{
    conn_close(two->p);
    conn_close(two->r);
    assert_true(server_stop(two->replica));
    assert_true(server_stop(two->primary));
}

/* What CLIENT LIST TYPE type says: as many lines as there are flags, whose letters are these; yours. */
static char *list_of(conn *c, const char *type, int lines)
{
    char *text = ask(c, "CLIENT", "LIST", "TYPE", type);
    int count = 0;

    assert_non_null(text);
    for (const char *at = strstr(text, " flags="); at; at = strstr(at + 1, " flags="))
        count++;
    if (count != lines)
        fail_msg("%d clients of type %s instead of %d: %s", count, type, lines, text);
    return text;
}

static void assert_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("%s is not in %s", part, text);
}

/* ---- on the replica ---- */

static void the_primary_is_a_client(bool redis_leads, bool redis_follows)
{
    char address[64], *text, *id, *end;
    pair two;

    follow(&two, redis_leads, redis_follows);
    snprintf(address, sizeof address, " addr=127.0.0.1:%d ", server_port(two.primary));
    text = list_of(two.r, "master", 1);
    assert_has(text, " flags=M ");
    assert_has(text, address);
    assert_has(text, " user=(superuser) ");
    id = strstr(text, "id=");
    assert_non_null(id);
    end = strchr(id, ' ');
    assert_non_null(end);
    *end = '\0';
    id = strdup(id + 3);
    free(text);

    free(list_of(two.r, "normal", 1));
    free(list_of(two.r, "replica", 0));
    assert_int_equal(info_number(two.r, "connected_clients"), 2);
    text = ask(two.r, "CLIENT", "LIST", "ID", id);
    assert_has(text, " flags=M ");
    free(text);

    says(two.r, ":0", "CLIENT", "KILL", "TYPE", "master", "ADDR", "127.0.0.1:1");
    says(two.r, ":1", "CLIENT", "KILL", "TYPE", "master");
    says(two.p, "+OK", "SET", "a", "1");
    wait_for_offset(two.p, two.r);
    says(two.r, "$1", "GET", "a");
    wait_for_field(two.p, "sync_partial_ok", "1");
    free(list_of(two.r, "master", 1));

    says(two.r, "+OK", "REPLICAOF", "NO", "ONE");
    wait_for_field(two.r, "connected_clients", "1");
    free(list_of(two.r, "master", 0));
    free(id);
    part(&two);
}

static void redis_as_a_primary_is_a_client(void **state)
{
    (void)state;
    the_primary_is_a_client(true, false);
}

static void kvserver_as_a_primary_is_a_client(void **state)
{
    (void)state;
    the_primary_is_a_client(false, false);
}

static void redis_says_the_same_of_its_primary(void **state)
{
    (void)state;
    the_primary_is_a_client(true, true);
}

/* ---- on the primary ---- */

static void a_replica_is_a_client(bool redis_leads, bool redis_follows)
{
    pair two;
    char *text;

    follow(&two, redis_leads, redis_follows);
    for (int i = 0; i < 2; i++) {
        const char *type = i ? "slave" : "replica";

        text = list_of(two.p, type, 1);
        assert_has(text, " flags=S ");
        assert_has(text, " cmd=replconf ");
        free(text);
    }
    free(list_of(two.p, "normal", 1));
    free(list_of(two.p, "master", 0));
    assert_int_equal(info_number(two.p, "connected_clients"), 1);
    for (int waited = 0; !redis_leads && info_number(two.p, "mem_clients_slaves") <= 0; waited++) {
        assert_true(waited < conn_patience_ms); /* it is counted now and then */
        usleep(1000);
    }
    says(two.p, ":1", "CLIENT", "KILL", "TYPE", "slave");
    says(two.p, "+OK", "SET", "a", "1");
    wait_for_offset(two.p, two.r);
    says(two.r, "$1", "GET", "a");
    wait_for_field(two.p, "connected_clients", "1"); /* its handshake was a client like others */
    part(&two);
}

static void redis_as_a_replica_is_a_client(void **state)
{
    (void)state;
    a_replica_is_a_client(false, true);
}

static void kvserver_as_a_replica_is_a_client(void **state)
{
    (void)state;
    a_replica_is_a_client(false, false);
}

static void redis_says_the_same_of_a_replica(void **state)
{
    (void)state;
    a_replica_is_a_client(true, false);
}

static void other_types_are_unknown(void **state)
{
    server *s = begin(NULL);
    conn *c = connect_to(s);

    (void)state;
    says(c, "-ERR Unknown client type 'primary'", "CLIENT", "LIST", "TYPE", "primary");
    says(c, "-ERR Unknown client type 'primary'", "CLIENT", "KILL", "TYPE", "primary");
    says(c, ":0", "CLIENT", "KILL", "TYPE", "master");
    says(c, ":0", "CLIENT", "KILL", "TYPE", "replica");
    conn_close(c);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_as_a_primary_is_a_client),
        cmocka_unit_test(kvserver_as_a_primary_is_a_client),
        cmocka_unit_test(redis_says_the_same_of_its_primary),
        cmocka_unit_test(redis_as_a_replica_is_a_client),
        cmocka_unit_test(kvserver_as_a_replica_is_a_client),
        cmocka_unit_test(redis_says_the_same_of_a_replica),
        cmocka_unit_test(other_types_are_unknown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
