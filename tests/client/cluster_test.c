/* cluster_test.c - redirections, followed by blocking and asynchronous calls. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "fake_cluster.h"
#include "key_slot.h"
#include "kvclient.h"

enum { patience_ms = 60000 };

/* ---- the two ways to ask: blocking, and on an event loop ---- */

typedef struct door {
    fake_cluster *cluster;
    kvc_options options;
    kvc_client *client;
    struct event_base *base; /* NULL: blocking */
    kvc_async *async;
    kvc_status status; /* of the last answer */
    kvc_error error;
    kvc_reply *reply;
    bool answered;
} door;

static void door_open(door *d, bool asynchronous)
{
    d->cluster = fake_cluster_start();
    kvc_options_init(&d->options);
    d->options.port = fake_cluster_port(d->cluster, 0);
    d->options.cluster = true;
    d->options.backoff_min_ms = 5;
    d->options.backoff_max_ms = 20;
    d->client = NULL;
    d->base = asynchronous ? event_base_new() : NULL;
    d->reply = NULL;
}

/* Connects, after the test has arranged the cluster. */
static void door_connect(door *d)
{
    if (d->base ? kvc_async_open(d->base, &d->options, &d->async, &d->error) != KVC_OK
                : kvc_open(&d->options, &d->client, &d->error) != KVC_OK)
        fail_msg("%s", d->error.message);
}

static void door_close(door *d)
{
    if (d->base) {
        kvc_async_close(d->async, true);
        event_base_dispatch(d->base);
        event_base_free(d->base);
    }
    kvc_close(d->client);
    kvc_reply_free(d->reply);
    fake_cluster_stop(d->cluster);
}

static void on_answer(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *error,
                      void *arg)
{
    door *d = arg;

    (void)async;
    assert_false(d->answered);
    d->answered = true;
    d->status = status;
    d->reply = reply;
    d->error = *error;
}

static void ask(door *d, const char *name, const char *key)
{
    const kvc_slice argv[] = { kvc_str(name), kvc_str(key) };

    kvc_reply_free(d->reply);
    d->reply = NULL;
    if (!d->base) {
        d->status = kvc_command(d->client, 2, argv, &d->reply, &d->error);
        return;
    }
    d->answered = false;
    assert_int_equal(kvc_async_command(d->async, 2, argv, 0, on_answer, d), KVC_OK);
    while (!d->answered)
        event_base_loop(d->base, EVLOOP_ONCE);
}

static void expect_incr(door *d, const char *key, int sum)
{
    ask(d, "INCR", key);
    if (d->status != KVC_OK)
        fail_msg("%s: %s", key, d->error.message);
    assert_int_equal(kvc_reply_int(d->reply), sum);
}

/* The first attempt may be sent before the loss is seen; nothing executes it. */
static void expect_incr_after_loss(door *d, const char *key, int sum)
{
    int tries = 0;

    do
        ask(d, "INCR", key);
    while (d->status != KVC_OK && d->error.sent && ++tries < 3);
    if (d->status != KVC_OK)
        fail_msg("%s: %s", key, d->error.message);
    assert_int_equal(kvc_reply_int(d->reply), sum);
}

static void on_each_door(void (*test)(door *))
{
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        door d;

        door_open(&d, asynchronous);
        test(&d);
        door_close(&d);
    }
}

/* ---- following ---- */

static void spread(door *d)
{
    char key[16];

    door_connect(d);
    expect_incr(d, "first", 1); /* the map is there now, or soon */
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "key:%d", i);
        expect_incr(d, key, 1);
    }
    assert_in_range(fake_cluster_redirects(d->cluster), 0, 2);
    for (int i = 0; i < fake_nodes; i++)
        assert_in_range(fake_arrivals(fake_cluster_node(d->cluster, i)), 1, 2);
}

static void commands_go_to_the_owner_of_their_slot(void **state)
{
    (void)state;
    on_each_door(spread);
}

static void moved(door *d)
{
    int before;

    door_connect(d);
    expect_incr(d, "foo", 1);
    fake_cluster_own(d->cluster, 0, KVC_SLOT_COUNT - 1, 1);
    before = fake_cluster_redirects(d->cluster);
    expect_incr(d, "foo", 2);
    expect_incr(d, "foo", 3);
    assert_int_equal(fake_cluster_redirects(d->cluster), before + 1);
}

static void moved_is_followed_and_remembered(void **state)
{
    (void)state;
    on_each_door(moved);
}

/* All of the fakes are on one host, so that one left out is the right one. */
static void moved_to_same_host(door *d)
{
    fake_cluster_hide_host(d->cluster);
    fake_cluster_set_slots_reply(d->cluster, "-ERR no map today\r\n");
    door_connect(d);
    expect_incr(d, "foo", 1);
    expect_incr(d, "bar", 1);
    expect_incr(d, "hello", 1);
    assert_true(fake_cluster_redirects(d->cluster) > 0);
}

static void a_host_that_is_left_out_is_the_one_that_answered(void **state)
{
    (void)state;
    on_each_door(moved_to_same_host);
}

static void asked(door *d)
{
    unsigned slot = kvc_key_slot(kvc_str("foo"));
    int before;

    fake_cluster_own(d->cluster, 0, KVC_SLOT_COUNT - 1, 0);
    door_connect(d);
    expect_incr(d, "foo", 1);
    fake_cluster_migrate(d->cluster, slot, 2);
    before = fake_cluster_redirects(d->cluster);
    expect_incr(d, "foo", 2);
    expect_incr(d, "foo", 3); /* the owner is asked first again */
    assert_int_equal(fake_cluster_redirects(d->cluster), before + 2);
    fake_cluster_own(d->cluster, slot, slot, 2);
    fake_cluster_migrate(d->cluster, slot, -1);
    expect_incr(d, "foo", 4);
}

static void ask_is_followed_once_behind_asking(void **state)
{
    (void)state;
    on_each_door(asked);
}

static void later(door *d)
{
    door_connect(d);
    expect_incr(d, "foo", 1);
    fake_cluster_answer(d->cluster, "TRYAGAIN Multiple keys request during rehashing of slot", 3);
    expect_incr(d, "foo", 2);
    fake_cluster_answer(d->cluster, "CLUSTERDOWN Hash slot not served", 3);
    expect_incr(d, "foo", 3);
    fake_cluster_answer(d->cluster, "TRYAGAIN for ever", 1000);
    ask(d, "INCR", "foo");
    assert_int_equal(d->status, KVC_EREPLY);
    assert_string_equal(d->error.code, "TRYAGAIN");
    fake_cluster_answer(d->cluster, NULL, 0);
}

static void what_the_cluster_cannot_do_now_is_tried_again(void **state)
{
    (void)state;
    on_each_door(later);
}

static void round_and_round(door *d)
{
    char error[64];

    door_connect(d);
    expect_incr(d, "foo", 1);
    snprintf(error, sizeof error, "MOVED 12182 127.0.0.1:%d", fake_cluster_port(d->cluster, 1));
    fake_cluster_answer(d->cluster, error, 1000);
    ask(d, "INCR", "foo");
    assert_int_equal(d->status, KVC_EREDIRECT);
    assert_non_null(strstr(d->error.message, "MOVED 12182"));
    fake_cluster_answer(d->cluster, NULL, 0);
    expect_incr(d, "foo", 2);
}

static void redirections_that_do_not_end_are_given_up(void **state)
{
    (void)state;
    on_each_door(round_and_round);
}

static void other_errors(door *d)
{
    door_connect(d);
    fake_cluster_answer(d->cluster, "WRONGTYPE no", 1);
    ask(d, "INCR", "foo");
    assert_int_equal(d->status, KVC_EREPLY);
    assert_string_equal(d->error.code, "WRONGTYPE");
    fake_cluster_answer(d->cluster, "MOVED 1 nonsense", 1);
    ask(d, "INCR", "foo");
    assert_int_equal(d->status, KVC_EREPLY);
    assert_string_equal(d->error.code, "MOVED");
}

static void other_errors_are_told(void **state)
{
    (void)state;
    on_each_door(other_errors);
}

static void lost_node(door *d)
{
    unsigned slot = kvc_key_slot(kvc_str("foo"));
    int owner = (int)(slot * fake_nodes / KVC_SLOT_COUNT);

    assert_int_not_equal(owner, 0);
    door_connect(d);
    expect_incr(d, "foo", 1);
    fake_close_door(fake_cluster_node(d->cluster, owner));
    fake_drop_all(fake_cluster_node(d->cluster, owner));
    fake_cluster_own(d->cluster, 0, KVC_SLOT_COUNT - 1, 0);
    expect_incr_after_loss(d, "foo", 2);
}

static void when_a_node_is_lost_another_knows_the_new_owner(void **state)
{
    (void)state;
    on_each_door(lost_node);
}

static void lost_first_node(door *d)
{
    door_connect(d);
    for (int i = 0; i < 20; i++) { /* every node is known */
        char key[16];

        snprintf(key, sizeof key, "key:%d", i);
        expect_incr(d, key, 1);
    }
    fake_close_door(fake_cluster_node(d->cluster, 0));
    fake_drop_all(fake_cluster_node(d->cluster, 0));
    fake_cluster_own(d->cluster, 0, KVC_SLOT_COUNT - 1, 1);
    expect_incr_after_loss(d, "hello", 1); /* slot 866 was node 0's */
    ask(d, "PING", "x");                   /* no key: any node that is there */
    assert_int_equal(d->status, KVC_OK);
}

static void the_node_it_began_with_may_be_lost(void **state)
{
    (void)state;
    on_each_door(lost_first_node);
}

static void bad_map(door *d)
{
    fake_cluster_set_slots_reply(d->cluster, "*1\r\n*2\r\n:1\r\n:99999\r\n");
    door_connect(d);
    expect_incr(d, "bar", 1);
    expect_incr(d, "foo", 1);
}

static void asynchronously_a_map_that_is_none_does_no_harm(void **state)
{
    door d;

    (void)state;
    door_open(&d, true);
    bad_map(&d);
    door_close(&d);
}

static void opening_tells_of_a_map_that_is_none(void **state)
{
    door d;

    (void)state;
    door_open(&d, false);
    fake_cluster_set_slots_reply(d.cluster, "*1\r\n*2\r\n:1\r\n:99999\r\n");
    assert_int_equal(kvc_open(&d.options, &d.client, &d.error), KVC_EPROTOCOL);
    door_close(&d);
}

static void no_cluster(door *d)
{
    fake_cluster_own(d->cluster, 0, KVC_SLOT_COUNT - 1, 0);
    fake_cluster_set_slots_reply(d->cluster, "-ERR This instance has cluster support disabled\r\n");
    door_connect(d);
    expect_incr(d, "foo", 1);
    expect_incr(d, "bar", 1);
}

static void a_server_that_is_no_cluster_will_do(void **state)
{
    (void)state;
    on_each_door(no_cluster);
}

static void without_the_option_a_redirection_is_an_error(void **state)
{
    for (int asynchronous = 0; asynchronous < 2; asynchronous++) {
        door d;

        (void)state;
        door_open(&d, asynchronous);
        d.options.cluster = false;
        door_connect(&d);
        ask(&d, "INCR", "foo");
        assert_int_equal(d.status, KVC_EREPLY);
        assert_string_equal(d.error.code, "MOVED");
        door_close(&d);
    }
}

/* ---- pipelines and transactions ---- */

static kvc_pipeline *pipeline_of(door *d, kvc_pipeline_mode mode, int n, const char *key_format)
{
    kvc_pipeline *pipeline;
    char key[32];
    const kvc_slice incr = kvc_str("INCR");

    assert_int_equal(kvc_pipeline_new(d->client, mode, &pipeline, &d->error), KVC_OK);
    for (int i = 0; i < n; i++) {
        kvc_slice argv[2];

        snprintf(key, sizeof key, key_format, i);
        argv[0] = incr;
        argv[1] = kvc_str(key);
        assert_int_equal(kvc_pipeline_add(pipeline, 2, argv, &d->error), KVC_OK);
    }
    return pipeline;
}

static void run_pipeline(door *d, kvc_pipeline *pipeline, int n, int sum)
{
    kvc_reply *replies;

    if (kvc_pipeline_run(pipeline, &replies, &d->error) != KVC_OK)
        fail_msg("%s", d->error.message);
    assert_int_equal(kvc_reply_count(replies), n);
    for (int i = 0; i < n; i++)
        assert_int_equal(kvc_reply_int(kvc_reply_at(replies, (size_t)i)), sum);
    kvc_reply_free(replies);
    kvc_pipeline_free(pipeline);
}

static void a_pipeline_is_cut_by_node_and_joined_again(void **state)
{
    door d;

    (void)state;
    door_open(&d, false);
    door_connect(&d);
    run_pipeline(&d, pipeline_of(&d, KVC_PIPELINE, 50, "key:%d"), 50, 1);
    /* Half of the slots move: only what moved is sent again. */
    fake_cluster_own(d.cluster, 0, KVC_SLOT_COUNT / 2, 2);
    run_pipeline(&d, pipeline_of(&d, KVC_PIPELINE, 50, "key:%d"), 50, 2);
    for (int i = 0; i < 50; i++) {
        char key[16];

        snprintf(key, sizeof key, "key:%d", i);
        assert_int_equal(fake_cluster_value(d.cluster, key), 2);
    }
    fake_cluster_migrate(d.cluster, kvc_key_slot(kvc_str("key:7")), 0);
    fake_cluster_answer(d.cluster, "TRYAGAIN later", 2);
    run_pipeline(&d, pipeline_of(&d, KVC_PIPELINE, 50, "key:%d"), 50, 3);
    door_close(&d);
}

static void a_pipeline_survives_a_lost_node(void **state)
{
    door d;

    (void)state;
    door_open(&d, false);
    door_connect(&d);
    run_pipeline(&d, pipeline_of(&d, KVC_PIPELINE, 50, "key:%d"), 50, 1);
    fake_close_door(fake_cluster_node(d.cluster, 1));
    fake_drop_all(fake_cluster_node(d.cluster, 1));
    fake_cluster_own(d.cluster, 0, KVC_SLOT_COUNT - 1, 2);
    run_pipeline(&d, pipeline_of(&d, KVC_PIPELINE, 50, "key:%d"), 50, 2);
    door_close(&d);
}

static void a_transaction_of_one_slot_follows_it(void **state)
{
    door d;
    kvc_pipeline *pipeline;
    kvc_reply *replies;

    (void)state;
    door_open(&d, false);
    door_connect(&d);
    run_pipeline(&d, pipeline_of(&d, KVC_TRANSACTION, 5, "{foo}%d"), 5, 1);
    fake_cluster_own(d.cluster, 0, KVC_SLOT_COUNT - 1, 1);
    run_pipeline(&d, pipeline_of(&d, KVC_TRANSACTION, 5, "{foo}%d"), 5, 2);
    pipeline = pipeline_of(&d, KVC_TRANSACTION, 5, "key:%d");
    assert_int_equal(kvc_pipeline_run(pipeline, &replies, &d.error), KVC_EARG);
    assert_non_null(strstr(d.error.message, "must share a slot"));
    kvc_pipeline_free(pipeline);
    door_close(&d);
}

static void a_watch_finds_the_node_of_its_key(void **state)
{
    const kvc_slice key = kvc_str("foo");
    const kvc_slice argv[] = { kvc_str("INCR"), kvc_str("foo") };
    door d;
    kvc_pipeline *pipeline;
    kvc_reply *got;

    (void)state;
    door_open(&d, false);
    door_connect(&d);
    fake_cluster_own(d.cluster, 0, KVC_SLOT_COUNT - 1, 1);
    assert_int_equal(kvc_pipeline_new(d.client, KVC_TRANSACTION, &pipeline, NULL), KVC_OK);
    if (kvc_pipeline_watch(pipeline, &key, 1, &d.error) != KVC_OK)
        fail_msg("%s", d.error.message);
    assert_int_equal(kvc_pipeline_read(pipeline, 2, argv, &got, NULL), KVC_OK);
    kvc_reply_free(got);
    assert_int_equal(kvc_pipeline_add(pipeline, 2, argv, NULL), KVC_OK);
    run_pipeline(&d, pipeline, 1, 2);
    door_close(&d);
}

/* ---- all nodes ---- */

static int note_key(void *arg, kvc_slice key)
{
    int *seen = arg;

    assert_int_equal(key.len, 5);
    seen[key.data[4] - '0']++;
    return 0;
}

static int stop_at_once(void *arg, kvc_slice key)
{
    (void)key;
    return ++*(int *)arg;
}

static void a_scan_visits_every_node_that_owns_slots(void **state)
{
    int seen[fake_nodes] = { 0 }, first = 0;
    door d;

    (void)state;
    door_open(&d, false);
    fake_cluster_own(d.cluster, 0, 8191, 0);
    fake_cluster_own(d.cluster, 8192, KVC_SLOT_COUNT - 1, 2);
    door_connect(&d);
    assert_int_equal(kvc_scan(d.client, NULL, 0, note_key, seen, &d.error), KVC_OK);
    assert_int_equal(seen[0], 1);
    assert_int_equal(seen[1], 0);
    assert_int_equal(seen[2], 1);
    assert_int_equal(kvc_scan(d.client, NULL, 0, stop_at_once, &first, &d.error), KVC_OK);
    assert_int_equal(first, 1);
    door_close(&d);
    door_open(&d, false);
    fake_cluster_set_slots_reply(d.cluster, "-ERR This instance has cluster support disabled\r\n");
    door_connect(&d);
    assert_int_equal(kvc_scan(d.client, NULL, 0, note_key, seen, &d.error), KVC_OK);
    assert_int_equal(seen[0], 2);
    door_close(&d);
}

/* ---- shard channels ---- */

static void a_shard_channel_is_found_where_it_is_served(void **state)
{
    door d;
    kvc_subscription *subscription;
    kvc_message message;

    (void)state;
    door_open(&d, false);
    d.options.protocol = 2;
    door_connect(&d);
    assert_int_equal(kvc_subscription_new(d.client, &subscription, NULL), KVC_OK);
    fake_cluster_own(d.cluster, 0, KVC_SLOT_COUNT - 1, 2); /* what it learned is wrong now */
    assert_int_equal(kvc_subscribe(subscription, KVC_SHARD_CHANNEL, kvc_str("hello"), NULL), KVC_OK);
    assert_int_equal(kvc_subscription_next(subscription, patience_ms, &message, &d.error), KVC_OK);
    assert_int_equal(message.event, KVC_EVENT_SUBSCRIBED);
    assert_int_equal(fake_cluster_redirects(d.cluster), 1);
    kvc_subscription_free(subscription);
    door_close(&d);
}

/* The next event is this one. */
static void expect_event(kvc_subscription *subscription, kvc_event event)
{
    kvc_message message;
    kvc_error error;

    if (kvc_subscription_next(subscription, patience_ms, &message, &error) != KVC_OK)
        fail_msg("%s", error.message);
    assert_int_equal(message.event, event);
}

static void a_subscription_leaves_a_lost_node(void **state)
{
    door d;
    kvc_subscription *subscription;

    (void)state;
    door_open(&d, false);
    d.options.protocol = 2;
    door_connect(&d);
    assert_int_equal(kvc_subscription_new(d.client, &subscription, NULL), KVC_OK);
    assert_int_equal(kvc_subscribe(subscription, KVC_CHANNEL, kvc_str("news"), NULL), KVC_OK);
    expect_event(subscription, KVC_EVENT_SUBSCRIBED);
    assert_int_equal(kvc_subscribe(subscription, KVC_SHARD_CHANNEL, kvc_str("hello"), NULL),
                     KVC_OK); /* node 0's */
    expect_event(subscription, KVC_EVENT_SUBSCRIBED);
    fake_close_door(fake_cluster_node(d.cluster, 0));
    fake_drop_all(fake_cluster_node(d.cluster, 0));
    fake_cluster_own(d.cluster, 0, KVC_SLOT_COUNT - 1, 2);
    for (int events = 0;
         events < 4;) { /* of both connections; and that the shard channel is subscribed at its new node */
        kvc_message message;

        assert_int_equal(kvc_subscription_next(subscription, patience_ms, &message, &d.error), KVC_OK);
        events += message.event == KVC_EVENT_RECONNECTED || message.event == KVC_EVENT_DISCONNECTED;
    }
    kvc_subscription_free(subscription);
    door_close(&d);
}

static void on_event(kvc_async *async, const kvc_message *message, void *arg)
{
    (void)async;
    ((int *)arg)[message->event]++;
}

static void asynchronous_subscriptions_leave_a_lost_node(void **state)
{
    door d;
    int events[KVC_EVENT_RECONNECTED + 1] = { 0 };
    int64_t deadline_ms = kvc_now_ms() + patience_ms;

    (void)state;
    door_open(&d, true);
    d.options.protocol = 2; /* the fake confirms in RESP2 */
    door_connect(&d);
    expect_incr(&d, "foo", 1);
    kvc_async_on_message(d.async, on_event, events);
    assert_int_equal(kvc_async_subscribe(d.async, KVC_CHANNEL, kvc_str("news")), KVC_OK);
    while (events[KVC_EVENT_SUBSCRIBED] < 1 && kvc_now_ms() < deadline_ms)
        event_base_loop(d.base, EVLOOP_ONCE);
    fake_close_door(fake_cluster_node(d.cluster, 0));
    fake_drop_all(fake_cluster_node(d.cluster, 0));
    fake_cluster_own(d.cluster, 0, KVC_SLOT_COUNT - 1, 2);
    while (events[KVC_EVENT_RECONNECTED] < 1 && kvc_now_ms() < deadline_ms)
        event_base_loop(d.base, EVLOOP_ONCE);
    assert_int_equal(events[KVC_EVENT_DISCONNECTED], 1);
    assert_int_equal(events[KVC_EVENT_RECONNECTED], 1);
    door_close(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_go_to_the_owner_of_their_slot),
        cmocka_unit_test(moved_is_followed_and_remembered),
        cmocka_unit_test(a_host_that_is_left_out_is_the_one_that_answered),
        cmocka_unit_test(ask_is_followed_once_behind_asking),
        cmocka_unit_test(what_the_cluster_cannot_do_now_is_tried_again),
        cmocka_unit_test(redirections_that_do_not_end_are_given_up),
        cmocka_unit_test(other_errors_are_told),
        cmocka_unit_test(when_a_node_is_lost_another_knows_the_new_owner),
        cmocka_unit_test(the_node_it_began_with_may_be_lost),
        cmocka_unit_test(asynchronously_a_map_that_is_none_does_no_harm),
        cmocka_unit_test(opening_tells_of_a_map_that_is_none),
        cmocka_unit_test(a_server_that_is_no_cluster_will_do),
        cmocka_unit_test(without_the_option_a_redirection_is_an_error),
        cmocka_unit_test(a_pipeline_is_cut_by_node_and_joined_again),
        cmocka_unit_test(a_pipeline_survives_a_lost_node),
        cmocka_unit_test(a_transaction_of_one_slot_follows_it),
        cmocka_unit_test(a_watch_finds_the_node_of_its_key),
        cmocka_unit_test(a_scan_visits_every_node_that_owns_slots),
        cmocka_unit_test(a_shard_channel_is_found_where_it_is_served),
        cmocka_unit_test(a_subscription_leaves_a_lost_node),
        cmocka_unit_test(asynchronous_subscriptions_leave_a_lost_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
