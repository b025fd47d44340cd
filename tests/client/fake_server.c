/* fake_server.c - one thread, one poll loop, one mutex round everything.
 *
 * SPDX-License-Identifier: MIT */
#include "fake_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "resp.h"

enum { connections_max = 256, read_bytes = 16 * 1024 };

typedef struct bytes {
    char *data;
    size_t len, room;
} bytes;

typedef struct connection {
    int fd; /* -1: over */
    unsigned number;
    bool closing;
    bytes input, output;
} connection;

struct fake_server {
    pthread_mutex_t mutex;
    pthread_t thread;
    fake_handler *handler;
    void *arg;
    int listener; /* -1: the door is closed */
    int wake;     /* eventfd: look again */
    int port;
    bool ending;
    size_t piece;
    unsigned arrivals;
    connection connections[connections_max];
};

struct fake_request {
    fake_server *server;
    connection *from;
    const reply *words;
};

static void check(bool ok, const char *what)
{
    if (!ok) {
        fprintf(stderr, "fake server: %s: %s\n", what, strerror(errno));
        abort();
    }
}

/* ---- bytes ---- */

static void bytes_add(bytes *b, const void *data, size_t len)
{
    if (b->len + len > b->room) {
        b->room = 2 * (b->len + len);
        b->data = realloc(b->data, b->room);
        check(b->data != NULL, "memory");
    }
    if (len)
        memcpy(b->data + b->len, data, len);
    b->len += len;
}

static void bytes_drop(bytes *b, size_t n)
{
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

static void bytes_free(bytes *b)
{
    free(b->data);
    *b = (bytes){ 0 };
}

/* ---- connections ---- */

static void connection_end(connection *c)
{
    if (c->fd >= 0)
        close(c->fd);
    bytes_free(&c->input);
    bytes_free(&c->output);
    c->fd = -1;
}

static void connection_reset(connection *c)
{
    struct linger at_once = { .l_onoff = 1 };

    if (c->fd >= 0)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    connection_end(c);
}

static void connection_send(fake_server *server, connection *c)
{
    while (c->fd >= 0 && c->output.len > 0) {
        size_t n = server->piece && server->piece < c->output.len ? server->piece : c->output.len;
        ssize_t sent = send(c->fd, c->output.data, n, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (sent < 0) {
            connection_end(c);
            return;
        }
        bytes_drop(&c->output, (size_t)sent);
    }
    if (c->fd >= 0 && c->closing)
        connection_end(c);
}

static void connection_requests(fake_server *server, connection *c)
{
    while (c->fd >= 0 && !c->closing && c->input.len > 0) {
        fake_request request = { .server = server, .from = c };
        reply *words = NULL;
        const char *why = NULL;
        size_t used = 0;
        reply_state state = reply_parse(kv_slice_of(c->input.data, c->input.len), &words, &used, &why);

        if (state == REPLY_PARTIAL)
            return;
        if (state == REPLY_MALFORMED) {
            fprintf(stderr, "fake server: a request that is none: %s\n", why);
            abort();
        }
        bytes_drop(&c->input, used);
        request.words = words;
        server->handler(&request, server->arg);
        reply_free(words);
    }
}

static void connection_read(fake_server *server, connection *c)
{
    char data[read_bytes];
    ssize_t n = recv(c->fd, data, sizeof data, MSG_DONTWAIT);

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        connection_end(c);
        return;
    }
    bytes_add(&c->input, data, (size_t)n);
    connection_requests(server, c);
}

static void take_connection(fake_server *server)
{
    int one = 1, fd = accept4(server->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    for (size_t i = 0; i < connections_max; i++)
        if (server->connections[i].fd < 0) {
            server->connections[i] = (connection){ .fd = fd, .number = server->arrivals++ };
            return;
        }
    check(false, "too many connections");
}

/* ---- the thread ---- */

/* Fills polled with what to wait for; polled[i + 2] is connection i. */
static void list_polled(fake_server *server, struct pollfd polled[connections_max + 2])
{
    polled[0] = (struct pollfd){ .fd = server->wake, .events = POLLIN };
    polled[1] = (struct pollfd){ .fd = server->listener, .events = POLLIN };
    for (size_t i = 0; i < connections_max; i++) {
        connection *c = &server->connections[i];

        polled[i + 2] = (struct pollfd){ .fd = c->fd, .events = POLLIN };
        if (c->output.len > 0)
            polled[i + 2].events |= POLLOUT;
    }
}

static void serve(fake_server *server, const struct pollfd polled[connections_max + 2])
{
    uint64_t count;

    if (polled[0].revents && read(server->wake, &count, sizeof count) < 0)
        check(errno == EAGAIN, "eventfd");
    if (polled[1].revents && polled[1].fd == server->listener && server->listener >= 0)
        take_connection(server);
    for (size_t i = 0; i < connections_max; i++) {
        connection *c = &server->connections[i];

        if (c->fd < 0)
            continue;
        if (polled[i + 2].fd == c->fd && polled[i + 2].revents & ~POLLOUT)
            connection_read(server, c);
        connection_send(server, c);
    }
}

static void *run(void *arg)
{
    fake_server *server = arg;
    struct pollfd polled[connections_max + 2];

    pthread_mutex_lock(&server->mutex);
    while (!server->ending) {
        list_polled(server, polled);
        pthread_mutex_unlock(&server->mutex);
        poll(polled, connections_max + 2, -1);
        pthread_mutex_lock(&server->mutex);
        serve(server, polled);
    }
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

static void wake(fake_server *server)
{
    uint64_t one = 1;

    if (write(server->wake, &one, sizeof one) < 0)
        check(errno == EAGAIN, "eventfd");
}

static void listen_again(fake_server *server)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                   .sin_port = htons((uint16_t)server->port) };
    socklen_t len = sizeof address;
    int one = 1;

    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    check(server->listener >= 0, "socket");
    setsockopt(server->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    check(bind(server->listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
    check(listen(server->listener, 128) == 0, "listen");
    check(getsockname(server->listener, (struct sockaddr *)&address, &len) == 0, "getsockname");
    server->port = ntohs(address.sin_port);
}

fake_server *fake_start(fake_handler *handler, void *arg)
{
    fake_server *server = calloc(1, sizeof *server);

    check(server != NULL, "memory");
    server->handler = handler;
    server->arg = arg;
    for (size_t i = 0; i < connections_max; i++)
        server->connections[i].fd = -1;
    server->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    check(server->wake >= 0, "eventfd");
    listen_again(server);
    pthread_mutex_init(&server->mutex, NULL);
    check(pthread_create(&server->thread, NULL, run, server) == 0, "thread");
    return server;
}

void fake_stop(fake_server *server)
{
    if (!server)
        return;
    pthread_mutex_lock(&server->mutex);
    server->ending = true;
    pthread_mutex_unlock(&server->mutex);
    wake(server);
    pthread_join(server->thread, NULL);
    for (size_t i = 0; i < connections_max; i++)
        connection_end(&server->connections[i]);
    if (server->listener >= 0)
        close(server->listener);
    close(server->wake);
    pthread_mutex_destroy(&server->mutex);
    free(server);
}

int fake_port(const fake_server *server)
{
    return server->port;
}

/* ---- in a handler ---- */

size_t fake_argc(const fake_request *request)
{
    return request->words->count;
}

const char *fake_arg(const fake_request *request, size_t i)
{
    return i < request->words->count ? request->words->elements[i].text : "";
}

size_t fake_arg_len(const fake_request *request, size_t i)
{
    return i < request->words->count ? request->words->elements[i].len : 0;
}

bool fake_is(const fake_request *request, const char *words)
{
    const char *space = strchr(words, ' ');

    if (!space)
        return strcasecmp(fake_arg(request, 0), words) == 0;
    return strlen(fake_arg(request, 0)) == (size_t)(space - words) &&
           strncasecmp(fake_arg(request, 0), words, (size_t)(space - words)) == 0 &&
           strcasecmp(fake_arg(request, 1), space + 1) == 0;
}

unsigned fake_connection(const fake_request *request)
{
    return request->from->number;
}

fake_server *fake_server_of(const fake_request *request)
{
    return request->server;
}

void fake_say_bytes(fake_request *request, const void *data, size_t len)
{
    bytes_add(&request->from->output, data, len);
}

void fake_say(fake_request *request, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    int len;

    va_start(args, format);
    len = vasprintf(&text, format, args);
    va_end(args);
    check(len >= 0, "memory");
    fake_say_bytes(request, text, (size_t)len);
    free(text);
}

void fake_hang_up(fake_request *request)
{
    request->from->closing = true;
}

void fake_reset(fake_request *request)
{
    connection_reset(request->from);
}

static void say_hello(fake_request *request)
{
    const char *protocol = fake_argc(request) > 1 ? fake_arg(request, 1) : "2";

    fake_say(request,
             "%s\r\n$6\r\nserver\r\n$4\r\nfake\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:%s\r\n",
             protocol[0] == '3' ? "%3" : "*6", protocol);
}

bool fake_handshake(fake_request *request)
{
    static const char *const plain[] = { "AUTH", "SELECT", "CLIENT", "ASKING" };

    if (fake_is(request, "HELLO")) {
        say_hello(request);
        return true;
    }
    if (fake_is(request, "PING")) {
        fake_say(request, "+PONG\r\n");
        return true;
    }
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        if (fake_is(request, plain[i])) {
            fake_say(request, "+OK\r\n");
            return true;
        }
    return false;
}

/* ---- from the test ---- */

void fake_set_piece(fake_server *server, size_t size_bytes)
{
    pthread_mutex_lock(&server->mutex);
    server->piece = size_bytes;
    pthread_mutex_unlock(&server->mutex);
}

void fake_push(fake_server *server, unsigned number, const void *data, size_t len)
{
    pthread_mutex_lock(&server->mutex);
    for (size_t i = 0; i < connections_max; i++)
        if (server->connections[i].fd >= 0 && server->connections[i].number == number)
            bytes_add(&server->connections[i].output, data, len);
    pthread_mutex_unlock(&server->mutex);
    wake(server);
}

void fake_drop_all(fake_server *server)
{
    pthread_mutex_lock(&server->mutex);
    for (size_t i = 0; i < connections_max; i++)
        connection_reset(&server->connections[i]);
    pthread_mutex_unlock(&server->mutex);
    wake(server);
}

void fake_close_door(fake_server *server)
{
    pthread_mutex_lock(&server->mutex);
    if (server->listener >= 0) {
        shutdown(server->listener, SHUT_RDWR); /* at once, although the thread polls it */
        close(server->listener);
    }
    server->listener = -1;
    pthread_mutex_unlock(&server->mutex);
    wake(server);
}

void fake_open_door(fake_server *server)
{
    pthread_mutex_lock(&server->mutex);
    if (server->listener < 0)
        listen_again(server);
    pthread_mutex_unlock(&server->mutex);
    wake(server);
}

unsigned fake_arrivals(fake_server *server)
{
    unsigned n;

    pthread_mutex_lock(&server->mutex);
    n = server->arrivals;
    pthread_mutex_unlock(&server->mutex);
    return n;
}

unsigned fake_open_connections(fake_server *server)
{
    unsigned n = 0;

    pthread_mutex_lock(&server->mutex);
    for (size_t i = 0; i < connections_max; i++)
        n += server->connections[i].fd >= 0;
    pthread_mutex_unlock(&server->mutex);
    return n;
}
