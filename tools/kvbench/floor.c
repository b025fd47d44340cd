/* floor.c - see floor.h.
 *
 * One thread, one buffer for reading and one for writing that all connections share, one read and one
 * write per readable socket. A command that is not all there is kept by its connection. Requests are
 * walked by their announced lengths and not looked at: *n, then n times $length. Anything else closes
 * the connection. Output that the socket does not take at once closes it too: the load that this is for
 * always reads.
 *
 * SPDX-License-Identifier: MIT */
#include "floor.h"

#include <errno.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_SIZE (256u * 1024)

typedef struct floor_server {
    struct event_base *base;
    struct event *signals[2];
    struct evconnlistener *listener;
    char *in, *out; /* shared by the connections: used only within one event */
    size_t out_size;
    char *reply; /* to a command of two words */
    size_t reply_len;
    bool failed; /* the listener broke down */
} floor_server;

typedef struct floor_client {
    floor_server *server;
    struct event *event;
    char *rest; /* the beginning of a command, when a read ended within it */
    size_t rest_len;
} floor_client;

/* A number and its CR LF. NULL: not all there yet. */
static inline const char *number(const char *at, const char *end, size_t *ret_number)
{
    size_t n = 0;

    while (at < end && *at >= '0' && *at <= '9' && n < 1u << 30)
        n = n * 10 + (size_t)(*at++ - '0');
    *ret_number = n;
    return end - at < 2 ? NULL : at + 2;
}

/* Where the command at `at` ends, and its number of words; NULL: not all there, or no command. */
static inline const char *command_end(const char *at, const char *end, size_t *ret_words)
{
    size_t words, len;

    if (at == end || *at != '*' || !(at = number(at + 1, end, &words)))
        return NULL;
    for (size_t i = 0; i < words; i++) {
        if (at == end || *at != '$' || !(at = number(at + 1, end, &len)) || (size_t)(end - at) < len + 2)
            return NULL;
        at += len + 2;
    }
    *ret_words = words;
    return at;
}

static void client_free(floor_client *c)
{
    close(event_get_fd(c->event));
    event_free(c->event);
    free(c->rest);
    free(c);
}

/* Answers the complete commands in [at, end) and returns where they end. */
static const char *answer(floor_server *s, const char *at, const char *end, char **ret_out)
{
    char *out = s->out, *out_end = s->out + s->out_size - s->reply_len - 8;
    const char *next;
    size_t words;

    while (out < out_end && (next = command_end(at, end, &words))) {
        if (words == 2) {
            memcpy(out, s->reply, s->reply_len);
            out += s->reply_len;
        } else {
            size_t len = words == 1 ? 7 : 5;

            memcpy(out, words == 1 ? "+PONG\r\n" : "+OK\r\n", len);
            out += len;
        }
        at = next;
    }
    *ret_out = out;
    return at;
}

/* Keeps the unfinished command for the next read. Anything as long as the buffer is none of ours. */
static bool keep_rest(floor_client *c, const char *at, size_t len)
{
    free(c->rest);
    c->rest = NULL;
    c->rest_len = len;
    if (len == 0)
        return true;
    c->rest = malloc(len);
    if (!c->rest || *at != '*' || len >= IN_SIZE)
        return false;
    memcpy(c->rest, at, len);
    return true;
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    floor_client *c = arg;
    floor_server *s = c->server;
    char *out;
    const char *at, *end;

    (void)what;
    memcpy(s->in, c->rest ? c->rest : "", c->rest_len);

    ssize_t got = recv(fd, s->in + c->rest_len, IN_SIZE - c->rest_len, 0);

    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        client_free(c);
        return;
    }
    end = s->in + c->rest_len + (size_t)got;
    at = answer(s, s->in, end, &out);
    if ((out > s->out && send(fd, s->out, (size_t)(out - s->out), MSG_NOSIGNAL) != out - s->out) ||
        !keep_rest(c, at, (size_t)(end - at)))
        client_free(c);
}

static void on_accept(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *from, int len, void *arg)
{
    floor_server *s = arg;
    floor_client *c = calloc(1, sizeof *c);
    int one = 1;

    (void)l;
    (void)from;
    (void)len;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (c) {
        c->server = s;
        c->event = event_new(s->base, fd, EV_READ | EV_PERSIST, on_readable, c);
        if (c->event && event_add(c->event, NULL) == 0)
            return;
        if (c->event)
            event_free(c->event);
    }
    free(c);
    close(fd);
}

static void on_accept_error(struct evconnlistener *l, void *arg)
{
    floor_server *s = arg;

    (void)l;
    s->failed = true;
    event_base_loopbreak(s->base);
}

static void on_signal(evutil_socket_t number_, short what, void *arg)
{
    (void)number_;
    (void)what;
    event_base_loopbreak(arg);
}

static int setup(floor_server *s, int port, size_t value_size, fault *f)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    s->in = malloc(IN_SIZE);
    s->out_size = (IN_SIZE / 32) * (value_size + 16);
    s->out = malloc(s->out_size);
    s->reply = malloc(value_size + 64);
    s->base = event_base_new();
    if (!s->in || !s->out || !s->reply || !s->base)
        return fault_set(f, "out of memory");
    s->reply_len = (size_t)sprintf(s->reply, "$%zu\r\n", value_size);
    memset(s->reply + s->reply_len, 'x', value_size);
    memcpy(s->reply + s->reply_len + value_size, "\r\n", 2);
    s->reply_len += value_size + 2;
    for (int i = 0; i < 2; i++) {
        s->signals[i] = evsignal_new(s->base, i ? SIGINT : SIGTERM, on_signal, s->base);
        if (!s->signals[i] || event_add(s->signals[i], NULL))
            return fault_set(f, "cannot watch for signals");
    }
    s->listener = evconnlistener_new_bind(s->base, on_accept, s,
                                          LEV_OPT_CLOSE_ON_FREE | LEV_OPT_REUSEABLE | LEV_OPT_CLOSE_ON_EXEC,
                                          4096, (struct sockaddr *)&address, (int)sizeof address);
    if (!s->listener)
        return fault_set(f, "cannot listen on 127.0.0.1:%d: %s", port, strerror(errno));
    evconnlistener_set_error_cb(s->listener, on_accept_error);
    return 0;
}

int floor_serve(int port, size_t value_size, fault *f)
{
    floor_server s = { 0 };
    int err = setup(&s, port, value_size, f);

    if (!err && (event_base_dispatch(s.base) < 0 || s.failed))
        err = fault_set(f, "the event loop of the floor server failed");
    if (s.listener)
        evconnlistener_free(s.listener);
    for (int i = 0; i < 2; i++)
        if (s.signals[i])
            event_free(s.signals[i]);
    if (s.base)
        event_base_free(s.base);
    free(s.reply);
    free(s.out);
    free(s.in);
    return err;
}
