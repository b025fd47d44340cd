/* subscription_test.c - messages, and what becomes of them when connections end. SPDX-License-Identifier: MIT */
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

#include "clock.h"
#include "fake_server.h"
#include "kvclient.h"
#include "resp.h"
#include "server.h"

enum { patience_ms = 60000 };

/* ---- events as text: "message news hello", "subscribed news", "disconnected" ---- */

static const char *const kinds[] = { "", "p", "s" };

static char *event_text(const kvc_message *m)
{
    char *text = NULL;
    int len = -1;

    switch (m->event) {
    case KVC_EVENT_MESSAGE:
        len = asprintf(&text, "%smessage %.*s%s%.*s %.*s", kinds[m->kind], (int)m->pattern.len,
                       m->pattern.data, m->pattern.len ? " " : "", (int)m->channel.len, m->channel.data,
                       (int)m->payload.len, m->payload.data);
        break;
    case KVC_EVENT_SUBSCRIBED:
        len = asprintf(&text, "%ssubscribed %.*s", kinds[m->kind], (int)m->channel.len, m->channel.data);
        break;
    case KVC_EVENT_UNSUBSCRIBED:
        len = asprintf(&text, "%sunsubscribed %.*s", kinds[m->kind], (int)m->channel.len, m->channel.data);
        break;
    case KVC_EVENT_DISCONNECTED:
        len = asprintf(&text, "disconnected");
        break;
    case KVC_EVENT_RECONNECTED:
        len = asprintf(&text, "reconnected");
        break;
    }
    assert_true(len > 0);
    return text;
}

static void expect_event(kvc_subscription *s, const char *expected)
{
    kvc_message message;
    kvc_error error;
    char *text;

    if (kvc_subscription_next(s, patience_ms, &message, &error) != KVC_OK)
        fail_msg("instead of \"%s\": %s", expected, error.message);
    text = event_text(&message);
    assert_string_equal(text, expected);
    free(text);
}

static void expect_nothing(kvc_subscription *s)
{
    kvc_message message;

    assert_int_equal(kvc_subscription_next(s, 0, &message, NULL), KVC_ETIMEOUT);
}

/* ---- on real servers ---- */

typedef struct scene {
    server *server;
    kvc_client *client;
    kvc_subscription *subscription;
} scene;

static kvc_options options_for(const server *s)
{
    kvc_options options;

    kvc_options_init(&options);
    options.port = server_port(s);
    options.backoff_max_ms = 50;
    return options;
}

static bool scene_open(scene *sc, const char *name)
{
    const char *program = server_program(name);
    kvc_options options;
    kvc_error error;

    if (!program)
        return false;
    sc->server = server_start_tcp(program, NULL);
    assert_non_null(sc->server);
    options = options_for(sc->server);
    if (kvc_open(&options, &sc->client, &error) != KVC_OK ||
        kvc_subscription_new(sc->client, &sc->subscription, &error) != KVC_OK)
        fail_msg("%s", error.message);
    return true;
}

static void scene_close(scene *sc)
{
    kvc_subscription_free(sc->subscription);
    kvc_close(sc->client);
    assert_true(server_stop(sc->server));
}

static void publish(scene *sc, const char *channel, const char *message)
{
    int64_t receivers;
    kvc_error error;

    if (kvc_publish(sc->client, kvc_str(channel), kvc_str(message), &receivers, &error) != KVC_OK)
        fail_msg("%s", error.message);
}

static void subscribe(scene *sc, kvc_channel_kind kind, const char *channel)
{
    assert_int_equal(kvc_subscribe(sc->subscription, kind, kvc_str(channel), NULL), KVC_OK);
}

static void unsubscribe(scene *sc, kvc_channel_kind kind, const char *channel)
{
    assert_int_equal(kvc_unsubscribe(sc->subscription, kind, kvc_str(channel), NULL), KVC_OK);
}

/* Kills every client connection of the kind, from a connection of its own. */
static void kill_subscribers(scene *sc)
{
    conn *c = conn_open_unix(server_socket(sc->server));
    char *said = ask(c, "CLIENT", "KILL", "TYPE", "pubsub");

    assert_non_null(said);
    free(said);
    conn_close(c);
}

static void a_conversation(scene *sc)
{
    kvc_subscription *s = sc->subscription;

    subscribe(sc, KVC_CHANNEL, "news");
    subscribe(sc, KVC_PATTERN, "w*");
    subscribe(sc, KVC_CHANNEL, "news"); /* is subscribed: no event */
    expect_event(s, "subscribed news");
    expect_event(s, "psubscribed w*");
    publish(sc, "news", "hello");
    publish(sc, "weather", "rain");
    publish(sc, "other", "-");
    expect_event(s, "message news hello");
    expect_event(s, "pmessage w* weather rain");
    expect_nothing(s);
    unsubscribe(sc, KVC_CHANNEL, "news");
    unsubscribe(sc, KVC_CHANNEL, "never");
    expect_event(s, "unsubscribed news");
    publish(sc, "news", "nobody listens");
    publish(sc, "w", "");
    expect_event(s, "pmessage w* w ");
}

static void everything_is_subscribed_again_after_a_reconnect(scene *sc)
{
    kvc_subscription *s = sc->subscription;

    subscribe(sc, KVC_CHANNEL, "news");
    subscribe(sc, KVC_PATTERN, "w*");
    expect_event(s, "subscribed news");
    expect_event(s, "psubscribed w*");
    kill_subscribers(sc);
    expect_event(s, "disconnected");
    subscribe(sc, KVC_CHANNEL, "meanwhile");
    unsubscribe(sc, KVC_PATTERN, "w*");
    expect_event(s, "punsubscribed w*");
    expect_event(s, "subscribed meanwhile");
    expect_event(s, "reconnected");
    publish(sc, "news", "again");
    publish(sc, "weather", "-");
    publish(sc, "meanwhile", "too");
    expect_event(s, "message news again");
    expect_event(s, "message meanwhile too");
}

static void on_each_server(void (*conversation)(scene *))
{
    const char *const names[] = { "redis-server", "kvserver" };

    for (size_t i = 0; i < 2; i++) {
        scene sc;

        if (!scene_open(&sc, names[i]))
            continue;
        conversation(&sc);
        scene_close(&sc);
    }
}

static void messages_come_of_channels_and_patterns(void **state)
{
    (void)state;
    on_each_server(a_conversation);
}

static void a_reconnect_subscribes_everything_again(void **state)
{
    (void)state;
    on_each_server(everything_is_subscribed_again_after_a_reconnect);
}

static void shard_channels_are_heard(void **state)
{
    scene sc;
    kvc_reply *got;
    const char *const spublish[] = { "SPUBLISH", "shard", "hello", NULL };

    (void)state;
    if (!scene_open(&sc, "redis-server"))
        skip();
    subscribe(&sc, KVC_SHARD_CHANNEL, "shard");
    expect_event(sc.subscription, "ssubscribed shard");
    assert_int_equal(kvc_command_strings(sc.client, spublish, &got, NULL), KVC_OK);
    kvc_reply_free(got);
    expect_event(sc.subscription, "smessage shard hello");
    scene_close(&sc);
}

static void a_server_that_was_killed_and_came_back_is_found_again(void **state)
{
    const char *program = server_program("redis-server");
    scene sc;
    server *second;
    char port[16];

    (void)state;
    if (!scene_open(&sc, "redis-server"))
        skip();
    subscribe(&sc, KVC_CHANNEL, "news");
    expect_event(sc.subscription, "subscribed news");
    snprintf(port, sizeof port, "%d", server_port(sc.server));
    assert_true(server_stop(sc.server));
    expect_event(sc.subscription, "disconnected");
    expect_nothing(sc.subscription);
    second = server_start(program, (const char *const[]){ "--port", port, NULL });
    assert_non_null(second);
    sc.server = second;
    expect_event(sc.subscription, "reconnected");
    publish(&sc, "news", "back");
    expect_event(sc.subscription, "message news back");
    scene_close(&sc);
}

/* ---- waking ---- */

typedef struct sleeper {
    kvc_subscription *subscription;
    atomic_int woken;
} sleeper;

static void *sleep_until_woken(void *arg)
{
    sleeper *s = arg;
    kvc_message message;
    kvc_error error;

    for (int i = 0; i < 100; i++) {
        assert_int_equal(kvc_subscription_next(s->subscription, UINT32_MAX, &message, &error), KVC_ESTATE);
        atomic_fetch_add(&s->woken, 1);
    }
    return NULL;
}

static void another_thread_wakes_it(void **state)
{
    scene sc;
    sleeper s;
    pthread_t thread;

    (void)state;
    if (!scene_open(&sc, "redis-server"))
        skip();
    s.subscription = sc.subscription;
    atomic_init(&s.woken, 0);
    assert_int_equal(pthread_create(&thread, NULL, sleep_until_woken, &s), 0);
    for (int i = 0; i < 100; i++) {
        kvc_subscription_wake(sc.subscription);
        while (atomic_load(&s.woken) <= i)
            sched_yield();
    }
    pthread_join(thread, NULL);
    scene_close(&sc);
}

/* ---- on a server that misbehaves ---- */

typedef struct script {
    _Atomic int subscribes;
    int refuse_at; /* this SUBSCRIBE is answered with an error */
    bool deaf;     /* no answer to PING */
    _Atomic int pings;
} script;

static void play(fake_request *request, void *arg)
{
    script *s = arg;

    if (fake_is(request, "PING")) {
        s->pings++;
        if (!s->deaf)
            fake_say(request, "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
        return;
    }
    if (fake_handshake(request))
        return;
    if (fake_is(request, "SUBSCRIBE") || fake_is(request, "UNSUBSCRIBE")) {
        int n = s->subscribes++;

        if (s->refuse_at && n == s->refuse_at - 1) {
            fake_say(request, "-NOPERM this channel is not for you\r\n");
            return;
        }
        fake_say(request, "*3\r\n$%zu\r\n%s\r\n$%zu\r\n%s\r\n:%d\r\n", strlen(fake_arg(request, 0)),
                 fake_is(request, "SUBSCRIBE") ? "subscribe" : "unsubscribe", strlen(fake_arg(request, 1)),
                 fake_arg(request, 1), n + 1);
    }
}

static kvc_subscription *subscription_to(fake_server *fake, kvc_client **ret_client, uint32_t keepalive_s,
                                         uint32_t command_timeout_ms)
{
    kvc_options options;
    kvc_subscription *s = NULL;
    kvc_error error;

    kvc_options_init(&options);
    options.port = fake_port(fake);
    options.protocol = 2;
    options.keepalive_s = keepalive_s;
    options.command_timeout_ms = command_timeout_ms;
    options.backoff_max_ms = 50;
    if (kvc_open(&options, ret_client, &error) != KVC_OK ||
        kvc_subscription_new(*ret_client, &s, &error) != KVC_OK)
        fail_msg("%s", error.message);
    return s;
}

#define MESSAGE "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n"

static void a_message_may_come_in_pieces(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 40; piece += 3) {
        script s = { .deaf = false };
        fake_server *fake = fake_start(play, &s);
        kvc_client *client;
        kvc_subscription *subscription;

        fake_set_piece(fake, piece);
        subscription = subscription_to(fake, &client, 60, 5000);
        assert_int_equal(kvc_subscribe(subscription, KVC_CHANNEL, kvc_str("news"), NULL), KVC_OK);
        expect_event(subscription, "subscribed news");
        for (unsigned c = 0; c < fake_arrivals(fake); c++)
            if (c > 0) /* the first is the pool's */
                fake_push(fake, c, MESSAGE MESSAGE, 2 * strlen(MESSAGE));
        expect_event(subscription, "message news hello");
        expect_event(subscription, "message news hello");
        kvc_subscription_free(subscription);
        kvc_close(client);
        fake_stop(fake);
    }
}

static void a_refused_channel_is_told_and_dropped(void **state)
{
    script s = { .refuse_at = 2 };
    fake_server *fake = fake_start(play, &s);
    kvc_client *client;
    kvc_subscription *subscription = subscription_to(fake, &client, 60, 5000);
    kvc_message message;
    kvc_error error;

    (void)state;
    assert_int_equal(kvc_subscribe(subscription, KVC_CHANNEL, kvc_str("a"), NULL), KVC_OK);
    assert_int_equal(kvc_subscribe(subscription, KVC_CHANNEL, kvc_str("b"), NULL), KVC_OK);
    assert_int_equal(kvc_subscribe(subscription, KVC_CHANNEL, kvc_str("c"), NULL), KVC_OK);
    expect_event(subscription, "subscribed a");
    assert_int_equal(kvc_subscription_next(subscription, patience_ms, &message, &error), KVC_EREPLY);
    assert_string_equal(error.code, "NOPERM");
    expect_event(subscription, "subscribed c");
    fake_drop_all(fake);
    expect_event(subscription, "disconnected");
    expect_event(subscription, "reconnected");
    assert_int_equal(s.subscribes, 5);
    kvc_subscription_free(subscription);
    kvc_close(client);
    fake_stop(fake);
}

static void a_silent_server_is_asked_and_given_up(void **state)
{
    script s = { .deaf = true };
    fake_server *fake = fake_start(play, &s);
    kvc_client *client;
    kvc_subscription *subscription = subscription_to(fake, &client, 1, 100);

    (void)state;
    assert_int_equal(kvc_subscribe(subscription, KVC_CHANNEL, kvc_str("a"), NULL), KVC_OK);
    expect_event(subscription, "subscribed a");
    expect_event(subscription, "disconnected");
    assert_int_equal(s.pings, 1);
    expect_event(subscription, "reconnected");
    kvc_subscription_free(subscription);
    kvc_close(client);
    fake_stop(fake);
}

static void a_server_that_lets_nobody_in_is_told_at_once(void **state)
{
    kvc_options options;
    kvc_client *client;
    kvc_subscription *subscription;
    kvc_error error;
    script s = { .deaf = false };
    fake_server *fake = fake_start(play, &s);

    (void)state;
    kvc_options_init(&options);
    options.port = fake_port(fake);
    assert_int_equal(kvc_open(&options, &client, &error), KVC_OK);
    fake_close_door(fake);
    assert_int_equal(kvc_subscription_new(client, &subscription, &error), KVC_ECONNECT);
    assert_null(subscription);
    kvc_close(client);
    fake_stop(fake);
}

static void what_is_no_resp_costs_the_connection_only(void **state)
{
    script s = { .deaf = false };
    fake_server *fake = fake_start(play, &s);
    kvc_client *client;
    kvc_subscription *subscription = subscription_to(fake, &client, 60, 5000);

    (void)state;
    assert_int_equal(kvc_subscribe(subscription, KVC_CHANNEL, kvc_str("a"), NULL), KVC_OK);
    expect_event(subscription, "subscribed a");
    fake_push(fake, 1, "garbage\r\n", 9);
    expect_event(subscription, "disconnected");
    expect_event(subscription, "reconnected");
    kvc_subscription_free(subscription);
    kvc_close(client);
    fake_stop(fake);
}

/* ---- on an event loop ---- */

typedef struct listener {
    char *events; /* their texts, a line each */
    size_t len;
    FILE *out;
    int n;
} listener;

static void on_message(kvc_async *async, const kvc_message *message, void *arg)
{
    listener *l = arg;
    char *text = event_text(message);

    (void)async;
    fprintf(l->out, "%s\n", text);
    fflush(l->out);
    l->n++;
    free(text);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    (void)arg;
}

static void run_until(struct event_base *base, const listener *l, int n)
{
    int64_t deadline_ms = kvc_now_ms() + patience_ms;

    while (l->n < n && kvc_now_ms() < deadline_ms)
        event_base_loop(base, EVLOOP_ONCE);
    if (l->n < n)
        fail_msg("only: %s", l->events);
}

static void on_done(kvc_async *async, kvc_status status, kvc_reply *got, const kvc_error *error, void *arg)
{
    (void)async;
    (void)error;
    assert_int_equal(status, KVC_OK);
    kvc_reply_free(got);
    ++*(int *)arg;
}

static void messages_come_on_an_event_loop_beside_commands(void **state)
{
    const char *const names[] = { "redis-server", "kvserver" };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        scene sc;
        struct event_base *base = event_base_new();
        struct event *tick = event_new(base, -1, EV_PERSIST, on_tick, NULL);
        const struct timeval soon = { .tv_usec = 20000 };
        const kvc_slice argv[] = { kvc_str("PUBLISH"), kvc_str("news"), kvc_str("one") };
        listener l = { .n = 0 };
        kvc_options options;
        kvc_async *async;
        int published = 0;

        l.out = open_memstream(&l.events, &l.len);
        if (scene_open(&sc, names[i])) {
            event_add(tick, &soon);
            options = options_for(sc.server);
            assert_int_equal(kvc_async_open(base, &options, &async, NULL), KVC_OK);
            kvc_async_on_message(async, on_message, &l);
            assert_int_equal(kvc_async_subscribe(async, KVC_CHANNEL, kvc_str("news")), KVC_OK);
            run_until(base, &l, 1);
            assert_int_equal(kvc_async_command(async, 3, argv, 0, on_done, &published), KVC_OK);
            run_until(base, &l, 2);
            kill_subscribers(&sc);
            run_until(base, &l, 4);
            publish(&sc, "news", "two");
            run_until(base, &l, 5);
            assert_int_equal(kvc_async_unsubscribe(async, KVC_CHANNEL, kvc_str("news")), KVC_OK);
            run_until(base, &l, 6);
            assert_string_equal(l.events, "subscribed news\nmessage news one\ndisconnected\nreconnected\n"
                                          "message news two\nunsubscribed news\n");
            assert_int_equal(published, 1);
            kvc_async_close(async, true);
            event_del(tick);
            event_base_dispatch(base);
            scene_close(&sc);
        }
        event_free(tick);
        event_base_free(base);
        fclose(l.out);
        free(l.events);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_of_channels_and_patterns),
        cmocka_unit_test(a_reconnect_subscribes_everything_again),
        cmocka_unit_test(shard_channels_are_heard),
        cmocka_unit_test(a_server_that_was_killed_and_came_back_is_found_again),
        cmocka_unit_test(another_thread_wakes_it),
        cmocka_unit_test(a_message_may_come_in_pieces),
        cmocka_unit_test(a_refused_channel_is_told_and_dropped),
        cmocka_unit_test(a_silent_server_is_asked_and_given_up),
        cmocka_unit_test(a_server_that_lets_nobody_in_is_told_at_once),
        cmocka_unit_test(what_is_no_resp_costs_the_connection_only),
        cmocka_unit_test(messages_come_on_an_event_loop_beside_commands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
