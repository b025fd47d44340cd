/* cluster_server_test.c - three primaries and a replica with the module: slots move under writes, a primary is killed.
 *
 * Writers count up fields through libkvclient, which follows redirections; what was acknowledged has been counted once.
 *
 * SPDX-License-Identifier: MIT */
#include "hosts.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "kvclient.h"

enum { primaries = 3, nodes = 4, keys = 12, writers = 3, slots = 16384 };

static server *servers[nodes];
static conn *direct[nodes];
static char *ids[nodes];
static int bus[nodes];

/* ---- the cluster ---- */

/* The text of a bulk reply, without the '$' of its compact form; yours. */
static char *bulk(conn *c, const char *const args[])
{
    char *text = host_say(c, args);

    assert_int_equal(text[0], '$');
    memmove(text, text + 1, strlen(text));
    return text;
}

static void start_node(int i)
{
    char port[16];

    bus[i] = free_port();
    snprintf(port, sizeof port, "%d", bus[i]);
    servers[i] =
        host_start((const char *const[]){ "--cluster-enabled", "yes", "--cluster-port", port, "--bind",
                                          "127.0.0.1", "--cluster-node-timeout", "2000", NULL });
    direct[i] = host_connect(servers[i]);
    ids[i] = bulk(direct[i], (const char *const[]){ "CLUSTER", "MYID", NULL });
}

static bool node_sees_all(int i)
{
    char *info = say(direct[i], "CLUSTER", "INFO");
    bool all = strstr(info, "cluster_state:ok") && strstr(info, "cluster_known_nodes:4");

    free(info);
    return all;
}

static void start_cluster(void)
{
    char text[3][16];

    for (int i = 0; i < nodes; i++)
        start_node(i);
    for (int i = 0; i < primaries; i++) {
        snprintf(text[0], sizeof text[0], "%d", i + 1);
        expect_reply(direct[i], "+OK", "CLUSTER", "SET-CONFIG-EPOCH", text[0]);
        snprintf(text[0], sizeof text[0], "%d", i * slots / primaries);
        snprintf(text[1], sizeof text[1], "%d", (i + 1) * slots / primaries - 1);
        expect_reply(direct[i], "+OK", "CLUSTER", "ADDSLOTSRANGE", text[0], text[1]);
    }
    for (int i = 1; i < nodes; i++) {
        snprintf(text[0], sizeof text[0], "%d", server_port(servers[i]));
        snprintf(text[1], sizeof text[1], "%d", bus[i]);
        expect_reply(direct[0], "+OK", "CLUSTER", "MEET", "127.0.0.1", text[0], text[1]);
    }
    for (int i = 0; i < nodes; i++) {
        while (!node_sees_all(i))
            usleep(20000);
    }
    wait_for(direct[primaries], "+OK", "CLUSTER", "REPLICATE", ids[0]);
    wait_for(direct[0], ":1", "WAIT", "1", "100");
}

static kvc_client *open_cluster(void)
{
    kvc_options options;
    kvc_client *client;
    kvc_error error;

    kvc_options_init(&options);
    options.port = server_port(servers[1]);
    options.cluster = true;
    options.max_redirects = 16;
    if (kvc_open(&options, &client, &error) != KVC_OK)
        fail_msg("%s", error.message);
    return client;
}

/* ---- counting while slots move ---- */

static atomic_bool moved;
static _Atomic long long acknowledged[keys], unknown[keys];

static void *count_up(void *arg)
{
    kvc_client *client = arg;
    char key[16];
    const char *const argv[] = { "KV.INCR", key, "count", NULL };

    for (unsigned i = 0; !atomic_load(&moved); i++) {
        kvc_reply *answer;
        kvc_error error;

        snprintf(key, sizeof key, "key:%u", i % keys);
        if (kvc_command_strings(client, argv, &answer, &error) == KVC_OK)
            atomic_fetch_add(&acknowledged[i % keys], 1);
        else if (error.sent && error.status != KVC_EREPLY)
            atomic_fetch_add(&unknown[i % keys], 1);
        kvc_reply_free(answer);
    }
    return NULL;
}

static int owner_of[keys];

static void move_slot(const char *slot, int from, int to)
{
    char port[16], *found, *key;

    expect_reply(direct[to], "+OK", "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from]);
    expect_reply(direct[from], "+OK", "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to]);
    snprintf(port, sizeof port, "%d", server_port(servers[to]));
    for (;;) {
        found = say(direct[from], "CLUSTER", "GETKEYSINSLOT", slot, "1");
        key = strchr(found, '$');
        if (!key)
            break;
        free(say(direct[from], "MIGRATE", "127.0.0.1", port, key + 1, "0", "5000"));
        free(found);
    }
    free(found);
    expect_reply(direct[to], "+OK", "CLUSTER", "SETSLOT", slot, "NODE", ids[to]);
    for (int i = 0; i < primaries; i++) {
        if (i != to)
            expect_reply(direct[i], "+OK", "CLUSTER", "SETSLOT", slot, "NODE", ids[to]);
    }
}

static long epoch_of(int node)
{
    char *info = say(direct[node], "CLUSTER", "INFO"), *line = strstr(info, "cluster_current_epoch:");
    long epoch = line ? strtol(strchr(line, ':') + 1, NULL, 10) : -1;

    free(info);
    return epoch;
}

/* Until all have heard of the latest claim to a slot: one made before could lose against it. */
static void wait_for_epochs(void)
{
    while (epoch_of(0) != epoch_of(1) || epoch_of(1) != epoch_of(2))
        usleep(10000);
}

/* The slots of all keys go to each primary in turn; those that are to stay at the first come last. */
static void move_slots(void)
{
    char key[16], *slot;

    for (int k = 0; k < keys; k++) {
        snprintf(key, sizeof key, "key:%d", k);
        slot = say(direct[0], "CLUSTER", "KEYSLOT", key);
        owner_of[k] = atoi(slot + 1) * primaries / slots;
        free(slot);
    }
    for (int to = primaries - 1; to >= 0; to--) {
        wait_for_epochs();
        for (int k = 0; k < keys; k++) {
            if (owner_of[k] == to || (to == 0 && k % 2))
                continue;
            snprintf(key, sizeof key, "key:%d", k);
            slot = say(direct[0], "CLUSTER", "KEYSLOT", key);
            move_slot(slot + 1, owner_of[k], to);
            owner_of[k] = to;
            free(slot);
        }
    }
}

static long long count_of(kvc_client *client, int k)
{
    char key[16];
    const char *const argv[] = { "KV.GET", key, "count", NULL };
    kvc_reply *answer;
    kvc_error error;
    long long count;

    snprintf(key, sizeof key, "key:%d", k);
    if (kvc_command_strings(client, argv, &answer, &error) != KVC_OK)
        fail_msg("%s", error.message);
    count = kvc_reply_int(answer);
    kvc_reply_free(answer);
    return count;
}

static void what_moves_under_writes_is_counted_once(kvc_client *client)
{
    pthread_t threads[writers];

    for (int i = 0; i < writers; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count_up, client), 0);
    move_slots();
    atomic_store(&moved, true);
    for (int i = 0; i < writers; i++)
        pthread_join(threads[i], NULL);
    for (int k = 0; k < keys; k++) {
        long long count = count_of(client, k);

        if (count < atomic_load(&acknowledged[k]) ||
            count > atomic_load(&acknowledged[k]) + atomic_load(&unknown[k]))
            fail_msg("key:%d has %lld, acknowledged %lld, unknown %lld", k, count,
                     atomic_load(&acknowledged[k]), atomic_load(&unknown[k]));
        assert_true(count > 0);
    }
}

/* ---- a primary is killed ---- */

/* What the replica has acknowledged is there when it is the primary. */
static void what_a_replica_acknowledged_survives(kvc_client *client)
{
    enum { fields = 200 };
    char key[16], field[16], *digest;
    long long counts[keys];

    for (int k = 0; k < keys; k++)
        counts[k] = count_of(client, k);
    for (int i = 0; i < fields; i++) {
        for (int k = 0; k < keys; k++) {
            if (owner_of[k] != 0)
                continue;
            snprintf(key, sizeof key, "key:%d", k);
            snprintf(field, sizeof field, "field:%d", i);
            expect_reply(direct[0], "+OK", "KV.SET", key, field, field);
        }
    }
    wait_for(direct[0], ":1", "WAIT", "1", "1000");
    digest = say(direct[0], "DEBUG", "DIGEST");
    expect_reply(direct[primaries], digest, "DEBUG", "DIGEST");
    kill(server_pid(servers[0]), SIGKILL);
    server_wait(servers[0]);
    for (;;) {
        char *role = say(direct[primaries], "ROLE");
        bool primary = strstr(role, "$master") != NULL;

        free(role);
        if (primary && node_sees_all(1) && node_sees_all(2))
            break;
        usleep(50000);
    }
    expect_reply(direct[primaries], digest, "DEBUG", "DIGEST");
    for (int k = 0; k < keys; k++) {
        assert_true(count_of(client, k) == counts[k]); /* the client finds the new primary */
        if (owner_of[k] == 0) {
            snprintf(key, sizeof key, "key:%d", k);
            expect_reply(direct[primaries], ":201", "KV.LEN", key);
        }
    }
    free(digest);
}

static void a_cluster_keeps_what_it_acknowledged(void **state)
{
    kvc_client *client;

    (void)state;
    start_cluster();
    client = open_cluster();
    what_moves_under_writes_is_counted_once(client);
    what_a_replica_acknowledged_survives(client);
    kvc_close(client);
    for (int i = 0; i < nodes; i++) {
        conn_close(direct[i]);
        free(ids[i]);
        assert_true(server_stop(servers[i]) || i == 0);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_cluster_keeps_what_it_acknowledged) };

    return run_on_hosts(argc, argv, tests);
}
