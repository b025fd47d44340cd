/* replication_server_test.c - a replica holds what its primary holds, versions and deadlines included, and expires
 * nothing by itself. SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct pair {
    server *primary, *replica;
    conn *p, *r;
} pair;

static server *start_replica(const server *primary)
{
    char port[16];

    snprintf(port, sizeof port, "%d", server_port(primary));
    return host_start((const char *const[]){ "--replicaof", "127.0.0.1", port, NULL });
}

static pair pair_start(void)
{
    pair x;

    x.primary = host_start((const char *const[]){ NULL });
    x.replica = start_replica(x.primary);
    x.p = host_connect(x.primary);
    x.r = host_connect(x.replica);
    wait_for(x.p, ":1", "WAIT", "1", "1000");
    return x;
}

static void pair_stop(pair *x)
{
    conn_close(x->p);
    conn_close(x->r);
    assert_true(server_stop(x->replica));
    assert_true(server_stop(x->primary));
}

/* Both hold the same. What expires meanwhile changes both, one after the other: then it is asked again. */
static void expect_equal(pair *x)
{
    const struct timespec moment = { .tv_nsec = 20 * 1000 * 1000 };
    bool equal = false;

    for (int i = 0; i < 200 && !equal; i++) {
        char *digest = say(x->p, "DEBUG", "DIGEST"), *copy;

        wait_for(x->p, ":1", "WAIT", "1", "1000");
        copy = say(x->r, "DEBUG", "DIGEST");
        equal = strcmp(digest, copy) == 0;
        free(digest);
        free(copy);
        if (!equal)
            nanosleep(&moment, NULL);
    }
    if (!equal)
        fail_msg("the replica never holds what its primary holds");
}

static void every_write_arrives_as_the_state_it_left(void **state)
{
    pair x = pair_start();
    char *version;

    (void)state;
    expect_reply(x.p, "+OK", "KV.MSET", "k", "a", "1", "b", "2");
    expect_reply(x.p, ":6", "KV.INCRBY", "k", "a", "5");
    expect_reply(x.p, "$1.5", "KV.INCRBYFLOAT", "k", "f", "1.5");
    expect_reply(x.p, ":4", "KV.APPEND", "k", "b", "xyz");
    expect_reply(x.p, "+OK", "KV.RENAME", "k", "f", "g");
    expect_reply(x.p, ":1", "KV.PEXPIRE", "k", "g", "100000000");
    expect_reply(x.p, ":1", "KV.PERSIST", "k", "g");
    expect_reply(x.p, "_", "KV.SET", "k", "a", "no", "NX");
    expect_reply(x.p, "+OK", "KV.SET", "k", "a", "7", "IFEQ", "6", "PX", "100000000");
    expect_reply(x.p, "$7", "KV.GETDEL", "k", "a");
    expect_reply(x.p, "+OK", "KV.SET", "k", "a", "8");
    version = say(x.p, "KV.GETV", "k", "a");
    expect_equal(&x);
    expect_reply(x.r, version, "KV.GETV", "k", "a");
    expect_reply(x.r, "$2xyz", "KV.GET", "k", "b");
    expect_reply(x.p, ":3", "KV.DEL", "k", "a", "b", "g");
    expect_equal(&x);
    expect_reply(x.r, ":0", "EXISTS", "k");
    free(version);
    pair_stop(&x);
}

static void what_expires_on_the_primary_goes_on_the_replica(void **state)
{
    pair x = pair_start();
    char key[32];

    (void)state;
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof key, "k:%d", i);
        expect_reply(x.p, "+OK", "KV.SET", key, "short", "1", "PX", "50");
        if (i % 2)
            expect_reply(x.p, "+OK", "KV.SET", key, "long", "1");
    }
    wait_for(x.p, ":100", "DBSIZE"); /* nobody asks for them */
    expect_equal(&x);
    expect_reply(x.r, ":100", "DBSIZE");
    expect_reply(x.r, ":1", "KV.LEN", "k:1");
    assert_true(host_info(x.p, "kv", "kv_expired_fields") == 200);
    assert_true(host_info(x.r, "kv", "kv_expired_fields") == 0);
    pair_stop(&x);
}

/* The primary is stopped, so nobody says that the field is gone: it is not served, but it is there. */
static void a_replica_hides_what_is_due_and_removes_nothing(void **state)
{
    pair x = pair_start();

    (void)state;
    expect_reply(x.p, "+OK", "KV.SET", "k", "due", "1", "PX", "1000");
    expect_reply(x.p, "+OK", "KV.SET", "k", "other", "1");
    expect_reply(x.p, "+OK", "CLIENT", "PAUSE", "100000", "ALL");
    wait_for(x.r, ":2", "KV.LEN", "k");
    wait_for(x.r, "_", "KV.GET", "k", "due");
    expect_reply(x.r, ":2", "KV.LEN", "k");
    expect_reply(x.r, ":1", "KV.COUNT", "k");
    expect_reply(x.r, "-READONLY...", "KV.SET", "k", "due", "2");
    expect_reply(x.r, "+OK", "REPLICAOF", "NO", "ONE"); /* now it may */
    wait_for(x.r, ":1", "KV.LEN", "k");
    expect_reply(x.r, "+OK", "KV.SET", "k", "due", "2");
    pair_stop(&x);
}

/* A script of random writes, then digests: also what a new replica gets as a snapshot. */
static void digests_are_equal_after_random_writes(void **state)
{
    pair x = pair_start();
    unsigned seed = 20261123;
    char key[16], field[16], value[16];

    (void)state;
    for (int i = 0; i < 20000; i++) {
        seed = seed * 1103515245 + 12345;
        snprintf(key, sizeof key, "k:%u", seed >> 8 & 15);
        snprintf(field, sizeof field, "f:%u", seed >> 12 & ((seed >> 8 & 15) ? 15 : 1023));
        snprintf(value, sizeof value, "%u", seed >> 16);
        switch (seed >> 24 & 7) {
        case 0:
            free(say(x.p, "KV.DEL", key, field));
            break;
        case 1:
            free(say(x.p, "KV.SET", key, field, value, "PX", seed & 1 << 20 ? "20" : "100000000"));
            break;
        case 2:
            free(say(x.p, "KV.SET", key, field, value, "IFEQ", "17", "GET"));
            break;
        case 3:
            free(say(x.p, "KV.APPEND", key, field, "+"));
            break;
        default:
            free(say(x.p, "KV.SET", key, field, value));
            break;
        }
    }
    expect_equal(&x);
    conn_close(x.r);
    assert_true(server_stop(x.replica));
    x.replica = start_replica(x.primary);
    x.r = host_connect(x.replica);
    wait_for(x.p, ":1", "WAIT", "1", "1000");
    expect_equal(&x);
    pair_stop(&x);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_write_arrives_as_the_state_it_left),
        cmocka_unit_test(what_expires_on_the_primary_goes_on_the_replica),
        cmocka_unit_test(a_replica_hides_what_is_due_and_removes_nothing),
        cmocka_unit_test(digests_are_equal_after_random_writes),
    };

    return run_on_hosts(argc, argv, tests);
}
