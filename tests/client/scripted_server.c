/* scripted_server.c - see scripted_server.h. SPDX-License-Identifier: MIT */
#include "scripted_server.h"

#include <stdlib.h>
#include <string.h>

static void answer(fake_request *request, void *arg)
{
    scripted *s = arg;
    script now;

    pthread_mutex_lock(&s->lock);
    now = s->plan;
    pthread_mutex_unlock(&s->lock);
    if (now.hello) {
        fake_say(request, "%s", now.hello);
        fake_hang_up(request);
        return;
    }
    if (fake_handshake(request))
        return;
    if (!fake_is(request, "GET") && !fake_is(request, "INCR")) {
        fake_say(request, "+OK\r\n");
        return;
    }
    atomic_fetch_add(&s->asked, 1);
    fake_say_bytes(request, now.bytes, now.len);
    if (now.then == THEN_HANG_UP)
        fake_hang_up(request);
    if (now.then == THEN_RESET)
        fake_reset(request);
}

static void follow(scripted *s, script plan)
{
    pthread_mutex_lock(&s->lock);
    s->plan = plan;
    pthread_mutex_unlock(&s->lock);
}

void say_then(scripted *s, const char *bytes, size_t len, enum then then)
{
    follow(s, (script){ .bytes = bytes, .len = len, .then = then });
}

void say(scripted *s, const char *bytes)
{
    say_then(s, bytes, strlen(bytes), THEN_GO_ON);
}

void greet(scripted *s, const char *hello)
{
    follow(s, (script){ .hello = hello });
}

int scripted_set_up(void **state)
{
    scripted *s = calloc(1, sizeof *s);

    if (!s)
        return -1;
    pthread_mutex_init(&s->lock, NULL);
    say(s, "$5\r\nhello\r\n");
    s->server = fake_start(answer, s);
    kvc_options_init(&s->options);
    s->options.port = fake_port(s->server);
    s->options.protocol = 2;
    s->options.backoff_max_ms = 20;
    *state = s;
    return 0;
}

int scripted_tear_down(void **state)
{
    scripted *s = *state;

    fake_stop(s->server);
    pthread_mutex_destroy(&s->lock);
    free(s);
    return 0;
}

kvc_client *open_client(const scripted *s)
{
    kvc_client *client;
    kvc_error error;

    if (kvc_open(&s->options, &client, &error) != KVC_OK)
        fail_msg("%s", error.message);
    return client;
}

void expect_get(kvc_client *client, kvc_status expected, bool sent)
{
    kvc_error error = { .status = KVC_OK };
    kvc_reply *value;
    kvc_status status = kvc_get(client, scripted_key, &value, &error);

    if (status != expected)
        fail_msg("%s, not %s: %s", kvc_status_name(status), kvc_status_name(expected), error.message);
    if (status < 0) {
        assert_null(value);
        assert_int_equal(error.status, expected);
        assert_int_equal(error.sent, sent);
        assert_string_not_equal(error.message, "");
    }
    kvc_reply_free(value);
}
