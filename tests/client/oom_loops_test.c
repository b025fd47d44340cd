/* oom_loops_test.c - every allocation fails once, where calls wait for loops: asynchronous calls, subscriptions, clusters, and
 * a store in this process.
 *
 * As oom_test.c: the n-th allocation fails, n = 1, 2, ... until a run needs fewer. What meets the failure answers
 * KVC_ENOMEM or gets by; a connection may be lost over it. Every callback comes once, and nothing leaks
 * (AddressSanitizer looks on).
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <stdlib.h>

#include "clock.h"
#include "fake_cluster.h"
#include "fault.h"
#include "kvclient.h"
#include "kvstore/kvstore.h"

enum { patience_ms = 60000, runs_max = 20000 };

/* One run with the n-th allocation failing; true: it came to that. */
typedef bool run_fn(long n, bool stay_failed, void *arg);

static void with_every_fault(run_fn *run, void *arg)
{
    for (int stay_failed = 0; stay_failed <= 1; stay_failed++) {
        long n = 1;

        while (run(n, stay_failed, arg))
            assert_true(++n < runs_max);
        assert_true(n > 20); /* it did allocate */
    }
}

static void check_status(kvc_status status, const kvc_error *error, const char *what)
{
    if (status == KVC_OK || status == KVC_ENOMEM)
        return;
    fault_disarm();
    fail_msg("%s: %s: %s", what, kvc_status_name(status), error->message);
}

/* Repeats step until it has the memory. */
#define UNTIL_DONE(step)                    \
    do {                                    \
        kvc_status done_ = (step);          \
        check_status(done_, &error, #step); \
        if (done_ == KVC_OK)                \
            break;                          \
        fault_disarm();                     \
    } while (true)

/* ---- asynchronous calls ---- */

static void echo(fake_request *request, void *arg)
{
    (void)arg;
    if (fake_handshake(request))
        return;
    if (fake_is(request, "SUBSCRIBE"))
        fake_say(request,
                 "*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n");
    else
        fake_say(request, "*2\r\n$%zu\r\n%s\r\n:1\r\n", strlen(fake_arg(request, 1)), fake_arg(request, 1));
}

typedef struct outcome {
    int answers, messages;
} outcome;

static void on_answer(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *error,
                      void *arg)
{
    outcome *o = arg;

    (void)async;
    check_status(status, error, "answer");
    assert_true(status == KVC_OK || !reply);
    o->answers++;
    kvc_reply_free(reply);
}

static void on_message(kvc_async *async, const kvc_message *message, void *arg)
{
    outcome *o = arg;

    (void)async;
    o->messages += message->event == KVC_EVENT_MESSAGE;
}

/* A loop that waits for nothing would end: this lets it look again. */
static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static void run_loop_until(struct event_base *base, const int *count, int n)
{
    int64_t deadline_ms = kvc_now_ms() + patience_ms;

    while (*count < n && kvc_now_ms() < deadline_ms) {
        event_base_loop(base, EVLOOP_ONCE);
        if (fault_struck())
            fault_disarm();
    }
    assert_true(*count >= n);
}

static bool run_async(long n, bool stay_failed, const kvc_options *options, bool subscribe)
{
    const kvc_slice keys[] = { kvc_str("foo"), kvc_str("bar"), kvc_str("hello"), kvc_str("key:1") };
    const struct timeval soon = { .tv_usec = 1000 };
    struct event_base *base = event_base_new();
    struct event *tick = event_new(base, -1, EV_PERSIST, on_tick, NULL);
    outcome o = { 0 };
    kvc_error error;
    kvc_async *async;
    bool reached;

    event_add(tick, &soon);
    fault_arm(n, stay_failed);
    UNTIL_DONE(kvc_async_open(base, options, &async, &error));
    kvc_async_on_message(async, on_message, &o);
    for (int i = 0; i < 4; i++) {
        const kvc_slice argv[] = { kvc_str("INCR"), keys[i] };

        UNTIL_DONE(kvc_async_command(async, 2, argv, 0, on_answer, &o));
    }
    if (subscribe)
        UNTIL_DONE(kvc_async_subscribe(async, KVC_CHANNEL, kvc_str("c")));
    run_loop_until(base, &o.answers, 4);
    if (subscribe)
        run_loop_until(base, &o.messages, 1);
    reached = fault_disarm();
    kvc_async_close(async, true);
    event_del(tick);
    event_base_dispatch(base);
    event_free(tick);
    event_base_free(base);
    assert_int_equal(o.answers, 4);
    return reached;
}

static kvc_options options_for(int port)
{
    kvc_options options;

    kvc_options_init(&options);
    options.port = port;
    options.backoff_min_ms = 1;
    options.backoff_max_ms = 2;
    return options;
}

static bool run_async_single(long n, bool stay_failed, void *arg)
{
    kvc_options options = options_for(fake_port(arg));

    return run_async(n, stay_failed, &options, true);
}

static void asynchronous_calls_and_messages(void **state)
{
    fake_server *fake = fake_start(echo, NULL);

    (void)state;
    with_every_fault(run_async_single, fake);
    fake_stop(fake);
}

static bool run_async_cluster(long n, bool stay_failed, void *arg)
{
    kvc_options options = options_for(fake_cluster_port(arg, 0));

    options.cluster = true;
    return run_async(n, stay_failed, &options, false);
}

static void asynchronous_calls_to_a_cluster(void **state)
{
    fake_cluster *cluster = fake_cluster_start();

    (void)state;
    with_every_fault(run_async_cluster, cluster);
    fake_cluster_stop(cluster);
}

/* ---- subscriptions ---- */

static bool run_subscription(long n, bool stay_failed, void *arg)
{
    kvc_options options = options_for(fake_port(arg));
    kvc_client *client;
    kvc_subscription *subscription;
    kvc_message message = { .event = KVC_EVENT_DISCONNECTED };
    kvc_error error;
    bool reached;

    assert_int_equal(kvc_open(&options, &client, &error), KVC_OK);
    fault_arm(n, stay_failed);
    UNTIL_DONE(kvc_subscription_new(client, &subscription, &error));
    UNTIL_DONE(kvc_subscribe(subscription, KVC_CHANNEL, kvc_str("c"), &error));
    while (message.event != KVC_EVENT_MESSAGE) {
        kvc_status status = kvc_subscription_next(subscription, 20, &message, &error);

        if (status != KVC_ETIMEOUT)
            check_status(status, &error, "next");
        if (fault_struck())
            fault_disarm();
    }
    UNTIL_DONE(kvc_unsubscribe(subscription, KVC_CHANNEL, kvc_str("c"), &error));
    reached = fault_disarm();
    kvc_subscription_free(subscription);
    kvc_close(client);
    return reached;
}

static void subscriptions(void **state)
{
    fake_server *fake = fake_start(echo, NULL);

    (void)state;
    with_every_fault(run_subscription, fake);
    fake_stop(fake);
}

/* ---- a cluster ---- */

static kvc_status run_batch(kvc_client *client, kvc_pipeline_mode mode, const kvc_slice keys[4],
                            kvc_error *error)
{
    kvc_pipeline *pipeline;
    kvc_reply *replies;
    kvc_status status = kvc_pipeline_new(client, mode, &pipeline, error);

    if (status != KVC_OK)
        return status;
    if (mode == KVC_TRANSACTION)
        status = kvc_pipeline_watch(pipeline, keys, 1, error);
    for (int i = 0; i < 4 && status == KVC_OK; i++) {
        const kvc_slice argv[] = { kvc_str("INCR"), keys[i] };

        status = kvc_pipeline_add(pipeline, 2, argv, error);
    }
    if (status == KVC_OK) {
        status = kvc_pipeline_run(pipeline, &replies, error);
        kvc_reply_free(replies);
    }
    kvc_pipeline_free(pipeline);
    return status;
}

static kvc_status increment_each(kvc_client *client, const kvc_slice keys[4], kvc_error *error)
{
    kvc_status status = KVC_OK;
    int64_t sum;

    for (int i = 0; i < 4 && status == KVC_OK; i++)
        status = kvc_increment(client, keys[i], 1, &sum, error);
    return status;
}

static bool run_cluster(long n, bool stay_failed, void *arg)
{
    static const kvc_slice spread[] = { { "foo", 3 }, { "bar", 3 }, { "hello", 5 }, { "key:1", 5 } },
                           together[] = { { "{t}1", 4 }, { "{t}2", 4 }, { "{t}3", 4 }, { "{t}4", 4 } };
    kvc_options options = options_for(fake_cluster_port(arg, 0));
    kvc_client *client;
    kvc_error error;
    bool reached;

    options.cluster = true;
    fake_cluster_own(arg, 0, 8191, 0);
    fault_arm(n, stay_failed);
    UNTIL_DONE(kvc_open(&options, &client, &error));
    fake_cluster_own(arg, 0, 8191, 2); /* what it learned is half wrong now */
    UNTIL_DONE(increment_each(client, spread, &error));
    fake_cluster_own(arg, 0, 8191, 1);
    UNTIL_DONE(run_batch(client, KVC_PIPELINE, spread, &error));
    UNTIL_DONE(run_batch(client, KVC_TRANSACTION, together, &error));
    reached = fault_disarm();
    kvc_close(client);
    return reached;
}

static void calls_to_a_cluster(void **state)
{
    fake_cluster *cluster = fake_cluster_start();

    (void)state;
    with_every_fault(run_cluster, cluster);
    fake_cluster_stop(cluster);
}

/* ---- a store ---- */

static bool run_store(long n, bool stay_failed, void *arg)
{
    static const kvc_slice keys[] = { { "a", 1 }, { "b", 1 }, { "c", 1 }, { "d", 1 } };
    kvc_client *client;
    kvc_reply *values;
    kvc_error error;
    bool reached;

    fault_arm(n, stay_failed);
    UNTIL_DONE(kvc_open_store(arg, &client, &error));
    UNTIL_DONE(increment_each(client, keys, &error));
    UNTIL_DONE(kvc_get_many(client, keys, 4, &values, &error));
    kvc_reply_free(values);
    UNTIL_DONE(run_batch(client, KVC_PIPELINE, keys, &error));
    UNTIL_DONE(run_batch(client, KVC_TRANSACTION, keys, &error));
    reached = fault_disarm();
    kvc_close(client);
    return reached;
}

static void calls_on_a_store(void **state)
{
    kv_store *store = kv_store_new(NULL);

    (void)state;
    with_every_fault(run_store, store);
    kv_store_unref(store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asynchronous_calls_and_messages),
        cmocka_unit_test(asynchronous_calls_to_a_cluster),
        cmocka_unit_test(subscriptions),
        cmocka_unit_test(calls_to_a_cluster),
        cmocka_unit_test(calls_on_a_store),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
