/* redis_cluster_test.c - three redis-servers whose slots move under load: every increment counts once.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "clock.h"
#include "key_slot.h"
#include "kvclient.h"
#include "server.h"

enum { node_count = 3, patience_ms = 60000, tag_count = 12, threads = 3, rounds_max = 100000 };

static server *nodes[node_count];
static kvc_client *direct[node_count]; /* without following */
static char ids[node_count][64];
static int owners[tag_count]; /* of the slots that the load uses */
static atomic_bool migrated;

/* ---- the cluster ---- */

/* A command to one node; its text, or the number, as text in a static buffer. */
static const char *tell(int node, const char *format, ...) __attribute__((format(printf, 2, 3)));
static const char *tell(int node, const char *format, ...)
{
    static char text[4096];
    char line[512], *rest = NULL;
    const char *argv[32] = { NULL };
    size_t argc = 0;
    kvc_reply *reply;
    kvc_error error;
    va_list args;

    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *w = strtok_r(line, " ", &rest); w && argc < 31; w = strtok_r(NULL, " ", &rest))
        argv[argc++] = w;
    if (kvc_command_strings(direct[node], argv, &reply, &error) != KVC_OK)
        fail_msg("%s: %s", format, error.message);
    snprintf(text, sizeof text, "%s", kvc_reply_text(reply).data);
    kvc_reply_free(reply);
    return text;
}

/* Every node sees a whole cluster of three. */
static bool is_formed(void)
{
    for (int i = 0; i < node_count; i++) {
        const char *info = tell(i, "CLUSTER INFO");

        if (!strstr(info, "cluster_state:ok") || !strstr(info, "cluster_known_nodes:3"))
            return false;
    }
    return true;
}

static bool cluster_start(void)
{
    const char *program = server_program("redis-server");
    int64_t deadline_ms = kvc_now_ms() + patience_ms;
    int bus[node_count];

    if (!program)
        return false;
    for (int i = 0; i < node_count; i++) {
        char bus_text[16];
        kvc_options options;

        bus[i] = free_port();
        snprintf(bus_text, sizeof bus_text, "%d", bus[i]);
        nodes[i] =
            server_start_tcp(program, (const char *const[]){ "--cluster-enabled", "yes", "--cluster-port",
                                                             bus_text, "--bind", "127.0.0.1", NULL });
        assert_non_null(nodes[i]);
        kvc_options_init(&options);
        options.port = server_port(nodes[i]);
        assert_int_equal(kvc_open(&options, &direct[i], NULL), KVC_OK);
        snprintf(ids[i], sizeof ids[i], "%s", tell(i, "CLUSTER MYID"));
        tell(i, "CLUSTER SET-CONFIG-EPOCH %d", i + 1); /* so that no two claims are equal */
        tell(i, "CLUSTER ADDSLOTSRANGE %d %d", i * KVC_SLOT_COUNT / node_count,
             (i + 1) * KVC_SLOT_COUNT / node_count - 1);
    }
    for (int i = 1; i < node_count; i++)
        tell(0, "CLUSTER MEET 127.0.0.1 %d %d", server_port(nodes[i]), bus[i]);
    for (int tag = 0; tag < tag_count; tag++) {
        char key[32];

        snprintf(key, sizeof key, "{tag%d}", tag);
        owners[tag] = (int)(kvc_key_slot(kvc_str(key)) * node_count / KVC_SLOT_COUNT);
    }
    while (!is_formed()) {
        assert_true(kvc_now_ms() < deadline_ms);
        usleep(20000);
    }
    return true;
}

static void cluster_stop(void)
{
    for (int i = 0; i < node_count; i++) {
        kvc_close(direct[i]);
        assert_true(server_stop(nodes[i]));
    }
}

/* Moves the keys of a slot one by one, so that the load meets it half moved. */
static void migrate_slot(unsigned slot, int from, int to)
{
    kvc_reply *keys;
    kvc_error error;
    char slot_text[16];
    const char *const argv[] = { "CLUSTER", "GETKEYSINSLOT", slot_text, "100", NULL };
    size_t left;

    snprintf(slot_text, sizeof slot_text, "%u", slot);
    tell(to, "CLUSTER SETSLOT %u IMPORTING %s", slot, ids[from]);
    tell(from, "CLUSTER SETSLOT %u MIGRATING %s", slot, ids[to]);
    do {
        assert_int_equal(kvc_command_strings(direct[from], argv, &keys, &error), KVC_OK);
        left = kvc_reply_count(keys);
        for (size_t i = 0; i < left; i++)
            tell(from, "MIGRATE 127.0.0.1 %d %s 0 5000", server_port(nodes[to]),
                 kvc_reply_text(kvc_reply_at(keys, i)).data);
        kvc_reply_free(keys);
    } while (left > 0);
    tell(to, "CLUSTER SETSLOT %u NODE %s", slot,
         ids[to]); /* the new owner first, as it then claims the slot */
    for (int i = 0; i < node_count; i++)
        if (i != to)
            tell(i, "CLUSTER SETSLOT %u NODE %s", slot, ids[to]);
}

static long current_epoch(int node)
{
    const char *line = strstr(tell(node, "CLUSTER INFO"), "cluster_current_epoch:");

    assert_non_null(line);
    return strtol(strchr(line, ':') + 1, NULL, 10);
}

/* Waits until all nodes have heard of the latest claim: a claim made earlier could lose against the one before. */
static void wait_for_epochs(void)
{
    int64_t deadline_ms = kvc_now_ms() + patience_ms;

    while (current_epoch(0) != current_epoch(1) || current_epoch(1) != current_epoch(2)) {
        assert_true(kvc_now_ms() < deadline_ms);
        usleep(10000);
    }
}

/* Every slot that the load uses goes to each node in turn. */
static void *migrate_all(void *arg)
{
    (void)arg;
    for (int to = 0; to < node_count; to++) {
        wait_for_epochs();
        for (int tag = 0; tag < tag_count; tag++) {
            char key[32];

            snprintf(key, sizeof key, "{tag%d}", tag);
            if (owners[tag] != to)
                migrate_slot(kvc_key_slot(kvc_str(key)), owners[tag], to);
            owners[tag] = to;
        }
    }
    atomic_store(&migrated, true);
    return NULL;
}

static kvc_options following(void)
{
    kvc_options options;

    kvc_options_init(&options);
    options.port = server_port(nodes[0]);
    options.cluster = true;
    options.max_redirects = 16; /* the slots move faster than the nodes tell each other */
    return options;
}

/* ---- blocking ---- */

typedef struct load {
    kvc_client *client;
    int number;
    int done; /* rounds */
} load;

/* One round: an increment, a pipeline over all slots, a transaction in one. */
static void one_round(load *l, int round)
{
    kvc_pipeline *pipeline;
    kvc_reply *replies;
    kvc_error error;
    int64_t sum;
    char key[64];

    snprintf(key, sizeof key, "{tag%d}single:%d", round % tag_count, l->number);
    if (kvc_increment(l->client, kvc_str(key), 1, &sum, &error) != KVC_OK)
        fail_msg("%s", error.message);
    assert_int_equal(sum, round / tag_count + 1);
    for (int mode = KVC_PIPELINE; mode <= KVC_TRANSACTION; mode++) {
        assert_int_equal(kvc_pipeline_new(l->client, (kvc_pipeline_mode)mode, &pipeline, NULL), KVC_OK);
        for (int i = 0; i < tag_count; i++) {
            kvc_slice argv[2] = { kvc_str("INCR") };

            snprintf(key, sizeof key, "{tag%d}%d:%d:%d", mode == KVC_PIPELINE ? i : round % tag_count, mode,
                     l->number, i);
            argv[1] = kvc_str(key);
            assert_int_equal(kvc_pipeline_add(pipeline, 2, argv, NULL), KVC_OK);
        }
        if (kvc_pipeline_run(pipeline, &replies, &error) != KVC_OK)
            fail_msg("%s", error.message);
        for (size_t i = 0; i < tag_count; i++)
            assert_int_equal(kvc_reply_int(kvc_reply_at(replies, i)),
                             mode == KVC_PIPELINE ? round + 1 : round / tag_count + 1);
        kvc_reply_free(replies);
        kvc_pipeline_free(pipeline);
    }
}

static void *run_load(void *arg)
{
    load *l = arg;

    while (l->done < tag_count || (!atomic_load(&migrated) && l->done < rounds_max))
        one_round(l, l->done++);
    return NULL;
}

static void blocking_calls_count_once_while_slots_move(void **state)
{
    kvc_options options;
    kvc_client *client;
    kvc_error error;
    pthread_t mover, workers[threads];
    load loads[threads];

    (void)state;
    if (!nodes[0])
        skip();
    options = following();
    atomic_store(&migrated, false);
    if (kvc_open(&options, &client, &error) != KVC_OK)
        fail_msg("%s", error.message);
    for (int i = 0; i < threads; i++) {
        loads[i] = (load){ .client = client, .number = i };
        assert_int_equal(pthread_create(&workers[i], NULL, run_load, &loads[i]), 0);
    }
    assert_int_equal(pthread_create(&mover, NULL, migrate_all, NULL), 0);
    pthread_join(mover, NULL);
    for (int i = 0; i < threads; i++) {
        pthread_join(workers[i], NULL);
        assert_true(loads[i].done >= tag_count);
    }
    kvc_close(client);
}

/* ---- asynchronous ---- */

typedef struct counting {
    int sent, answered;
    int64_t highest[tag_count];
} counting;

typedef struct one_count {
    counting *all;
    int tag;
} one_count;

static void on_count(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *error, void *arg)
{
    one_count *one = arg;
    int64_t sum = kvc_reply_int(reply);

    (void)async;
    if (status != KVC_OK)
        fail_msg("%s", error->message);
    one->all->answered++;
    if (sum > one->all->highest[one->tag])
        one->all->highest[one->tag] = sum;
    kvc_reply_free(reply);
}

static void asynchronous_calls_count_once_while_slots_move(void **state)
{
    struct event_base *base = event_base_new();
    kvc_options options;
    kvc_async *async;
    pthread_t mover;
    counting all = { 0 };
    one_count each[tag_count];

    (void)state;
    if (!nodes[0])
        skip();
    options = following();
    atomic_store(&migrated, false);
    for (int i = 0; i < tag_count; i++)
        each[i] = (one_count){ &all, i };
    assert_int_equal(kvc_async_open(base, &options, &async, NULL), KVC_OK);
    assert_int_equal(pthread_create(&mover, NULL, migrate_all, NULL), 0);
    while (!atomic_load(&migrated) && all.sent < rounds_max) {
        for (int i = 0; i < tag_count && all.sent - all.answered < 10 * tag_count; i++) {
            char key[32];
            kvc_slice argv[2] = { kvc_str("INCR") };

            snprintf(key, sizeof key, "{tag%d}async", i);
            argv[1] = kvc_str(key);
            assert_int_equal(kvc_async_command(async, 2, argv, 0, on_count, &each[i]), KVC_OK);
            all.sent++;
        }
        event_base_loop(base, EVLOOP_ONCE);
    }
    kvc_async_close(async, true);
    event_base_dispatch(base);
    event_base_free(base);
    pthread_join(mover, NULL);
    assert_int_equal(all.answered, all.sent);
    for (int i = 1; i < tag_count; i++)
        all.highest[0] += all.highest[i];
    assert_int_equal(all.highest[0], all.sent); /* nothing was lost, and nothing counted twice */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocking_calls_count_once_while_slots_move),
        cmocka_unit_test(asynchronous_calls_count_once_while_slots_move),
    };
    bool there = cluster_start();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    if (there)
        cluster_stop();
    return failed;
}
