/* threads_test.c - 64 threads share 4 connections, and each gets the replies to its own commands. ThreadSanitizer looks on.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "kvclient.h"
#include "server.h"

enum { threads_n = 64, rounds = 25, connections = 4 };

static kvc_client *client;
static atomic_int up; /* connections, now */

/* Tells what went wrong, and ends the program: cmocka's asserts belong to its own thread. */
#define must(condition)                                                                        \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, error.message); \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

static void set_and_get(const char *key, const char *value)
{
    kvc_error error = { .status = KVC_OK };
    kvc_reply *reply;

    must(kvc_set(client, kvc_str(key), kvc_str(value), NULL, &error) == KVC_OK);
    must(kvc_get(client, kvc_str(key), &reply, &error) == KVC_OK);
    must(strcmp(kvc_reply_text(reply).data, value) == 0);
    kvc_reply_free(reply);
}

static void run_batch(kvc_pipeline_mode mode, const char *key)
{
    kvc_slice incr[] = { kvc_str("INCR"), kvc_str("shared") },
              strlen_of[] = { kvc_str("STRLEN"), kvc_str(key) };
    kvc_error error = { .status = KVC_OK };
    kvc_pipeline *pipeline;
    kvc_reply *replies;

    must(kvc_pipeline_new(client, mode, &pipeline, &error) == KVC_OK);
    for (int i = 0; i < 3; i++) {
        must(kvc_pipeline_add(pipeline, 2, incr, &error) == KVC_OK);
        must(kvc_pipeline_add(pipeline, 2, strlen_of, &error) == KVC_OK);
    }
    must(kvc_pipeline_run(pipeline, &replies, &error) == KVC_OK);
    must(kvc_reply_count(replies) == 6);
    for (size_t i = 1; i < 6; i += 2)
        must(kvc_reply_int(kvc_reply_at(replies, i)) == (int64_t)strlen(key));
    if (mode == KVC_TRANSACTION) /* nobody came between */
        must(kvc_reply_int(kvc_reply_at(replies, 4)) == kvc_reply_int(kvc_reply_at(replies, 0)) + 2);
    kvc_reply_free(replies);
    kvc_pipeline_free(pipeline);
}

/* Every eighth lease is given back dirty, and replaced. */
static void lease(int number, int round)
{
    kvc_slice echo[] = { kvc_str("ECHO"), kvc_str("mine") }, multi = kvc_str("MULTI");
    kvc_error error = { .status = KVC_OK };
    kvc_connection *connection;
    kvc_reply *reply;

    must(kvc_lease(client, 0, &connection, &error) == KVC_OK);
    must(kvc_connection_command(connection, 2, echo, &reply, &error) == KVC_OK);
    must(strcmp(kvc_reply_text(reply).data, "mine") == 0);
    kvc_reply_free(reply);
    if ((number + round) % 8 == 0) {
        must(kvc_connection_command(connection, 1, &multi, &reply, &error) == KVC_OK);
        kvc_reply_free(reply);
    }
    kvc_release(connection);
}

static void *work(void *arg)
{
    int number = *(int *)arg;
    char key[32], value[32];

    snprintf(key, sizeof key, "%d", number);
    for (int round = 0; round < rounds; round++) {
        snprintf(value, sizeof value, "%d", number); /* as long as the key */
        set_and_get(key, value);
        run_batch(round % 2 ? KVC_TRANSACTION : KVC_PIPELINE, key);
        lease(number, round);
    }
    return NULL;
}

static void count(void *arg, const char *address, bool came_up)
{
    (void)arg;
    (void)address;
    if (came_up) {
        if (atomic_fetch_add(&up, 1) >= connections)
            abort(); /* more than pool_max */
    } else {
        atomic_fetch_sub(&up, 1);
    }
}

static void each_thread_gets_its_own_replies(void **state)
{
    server *running = *state;
    pthread_t threads[threads_n];
    int numbers[threads_n];
    kvc_options options;
    kvc_error error;
    int64_t sum;

    kvc_options_init(&options);
    options.unix_path = server_socket(running);
    options.pool_max = connections;
    options.pool_wait_ms = options.command_timeout_ms = 120 * 1000; /* a sanitizer on a busy machine */
    options.on_state = count;
    if (kvc_open(&options, &client, &error) != KVC_OK)
        fail_msg("%s", error.message);
    for (int i = 0; i < threads_n; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &numbers[i]), 0);
    }
    for (int i = 0; i < threads_n; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(kvc_increment(client, kvc_str("shared"), 0, &sum, &error), KVC_OK);
    assert_int_equal(sum, threads_n * rounds * 3);
    kvc_close(client);
    assert_int_equal(atomic_load(&up), 0);
}

int main(void)
{
    const char *program = server_program("kvserver");
    server *running;
    int failed;

    if (!program)
        program = server_program("redis-server");
    if (!program)
        return 77;
    running = server_start(program, NULL);
    if (!running)
        return 1;

    const struct CMUnitTest tests[] = { cmocka_unit_test_prestate(each_thread_gets_its_own_replies,
                                                                  running) };

    failed = cmocka_run_group_tests(tests, NULL, NULL);
    return server_stop(running) ? failed : 1;
}
