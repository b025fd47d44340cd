/* killed_test.c - a server is killed under load, again and again: no command is executed twice, none that was acknowledged is
 * lost, and none that the client calls unsent was executed.
 *
 * The server is redis-server with appendfsync always: what it acknowledged survives kill -9. Each INCR has a key of its own, so
 * that the key's value afterwards is the number of times it was executed.
 *
 * SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <poll.h>
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

enum { threads_n = 24, kills = 8, least_done = 2000, tokens_max = 100 * 1000 };

typedef enum outcome { NOT_TRIED, ACKNOWLEDGED, UNKNOWN, UNSENT } outcome;

typedef struct worker {
    pthread_t thread;
    int number;
    int done; /* tokens used */
    outcome *outcomes;
} worker;

static kvc_client *client;
static atomic_bool ending;
static atomic_int acknowledged;
static char *directory;
static char port_text[16];

static void token(char *text, size_t size, int number, int i)
{
    snprintf(text, size, "token:%d:%d", number, i);
}

static void *work(void *arg)
{
    worker *w = arg;
    kvc_error error;
    char key[48];
    int64_t sum;

    while (!atomic_load(&ending) && w->done < tokens_max) {
        kvc_status status;

        token(key, sizeof key, w->number, w->done);
        status = kvc_increment(client, kvc_str(key), 1, &sum, &error);
        if (status == KVC_OK && sum != 1) {
            fprintf(stderr, "%s was executed %" PRId64 " times\n", key, sum);
            abort();
        }
        if (status == KVC_OK)
            atomic_fetch_add(&acknowledged, 1);
        /* An error reply (-LOADING) is an answer: it was not executed. */
        w->outcomes[w->done++] = status == KVC_OK                     ? ACKNOWLEDGED
                                 : error.sent && status != KVC_EREPLY ? UNKNOWN
                                                                      : UNSENT;
    }
    return NULL;
}

static server *start(void)
{
    return server_start(server_program("redis-server"),
                        (const char *const[]){ "--port", port_text, "--bind", "127.0.0.1", "--dir", directory,
                                               "--appendonly", "yes", "--appendfsync", "always", NULL });
}

/* Lets the threads work for a while, counted in commands, then kills the server and starts it again. */
static server *kill_and_restart(server *running)
{
    int before = atomic_load(&acknowledged);

    while (atomic_load(&acknowledged) < before + least_done / kills)
        poll(NULL, 0, 1);
    return server_kill(running) ? start() : NULL;
}

static int executed(const worker *w, int i)
{
    kvc_error error;
    kvc_reply *value;
    char key[48];
    int times;
    kvc_status status;

    token(key, sizeof key, w->number, i);
    do
        status = kvc_get(client, kvc_str(key), &value, &error);
    while (status == KVC_EREPLY && strcmp(error.code, "LOADING") == 0 && poll(NULL, 0, 1) == 0);
    if (status < 0)
        fail_msg("%s", error.message);
    times = (int)kvc_reply_int(value);
    kvc_reply_free(value);
    return times;
}

static void nothing_is_executed_twice(void **state)
{
    worker workers[threads_n] = { 0 };
    int counts[UNSENT + 1] = { 0 }, in_doubt = 0;
    server *running;
    kvc_options options;
    kvc_error error;

    (void)state;
    running = start();
    assert_non_null(running);
    kvc_options_init(&options);
    options.port = atoi(port_text);
    options.pool_max = 16;
    options.backoff_max_ms = 20;
    options.max_retries = 1000; /* what may be repeated will be, and shows when it should not have been */
    if (kvc_open(&options, &client, &error) != KVC_OK)
        fail_msg("%s", error.message);
    for (int i = 0; i < threads_n; i++) {
        workers[i].number = i;
        workers[i].outcomes = calloc(tokens_max, sizeof(outcome));
        assert_non_null(workers[i].outcomes);
        assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
    }
    for (int i = 0; i < kills && running; i++)
        running = kill_and_restart(running);
    atomic_store(&ending, true);
    for (int i = 0; i < threads_n; i++)
        pthread_join(workers[i].thread, NULL);
    assert_non_null(running);
    for (int t = 0; t < threads_n; t++) {
        for (int i = 0; i < workers[t].done; i++) {
            outcome expected = workers[t].outcomes[i];
            int times = executed(&workers[t], i);

            counts[expected]++;
            if (expected == ACKNOWLEDGED)
                assert_int_equal(times, 1);
            else if (expected == UNSENT)
                assert_int_equal(times, 0);
            else
                assert_in_range(times, 0, 1);
            in_doubt += expected == UNKNOWN && times == 1;
        }
        free(workers[t].outcomes);
    }
    print_message("%d acknowledged, %d unknown (of which %d were executed), %d unsent\n",
                  counts[ACKNOWLEDGED], counts[UNKNOWN], in_doubt, counts[UNSENT]);
    assert_true(counts[ACKNOWLEDGED] >= least_done);
    kvc_close(client);
    assert_true(server_stop(running));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(nothing_is_executed_twice) };
    char *output = NULL;
    int failed;

    if (!server_program("redis-server"))
        return 77;
    directory = new_directory();
    snprintf(port_text, sizeof port_text, "%d", free_port());
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    run_program((const char *const[]){ "/bin/rm", "-rf", "appendonlydir", NULL }, directory, &output);
    free(output);
    remove_directory(directory);
    return failed;
}
