/* peer.c - see peer.h. SPDX-License-Identifier: MIT */
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "resp.h"
#include "socket_io.h"
#include "tls.h"

#define READ_BYTES    ((size_t)64 * 1024)
#define COMMAND_BYTES 1024 /* of a short command, which is sent in one piece */

int64_t peer_clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static peer_status fail(peer *p, peer_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static peer_status fail(peer *p, peer_status status, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(p->error, sizeof p->error, format, args);
    va_end(args);
    return status;
}

void peer_init(peer *p, int cancel_fd)
{
    *p = (peer){ .fd = -1, .cancel_fd = cancel_fd };
}

void peer_encrypt(peer *p, tls_context *context)
{
    p->context = context;
    p->encrypted = true;
}

static void close_socket(peer *p)
{
    if (p->tls)
        tls_end(p->tls);
    tls_session_free(p->tls);
    p->tls = NULL;
    p->tls_bytes = 0;
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

void peer_done(peer *p)
{
    close_socket(p);
    tls_context_unref(p->context);
    p->context = NULL;
    free(p->data);
    p->data = NULL;
    p->start = p->len = p->capacity = 0;
}

/* ---- waiting ---- */

/* Until fd is ready for events, or something else happens. */
static peer_status wait_for(peer *p, int fd, short events, int64_t deadline_ms)
{
    struct pollfd fds[2] = { { .fd = fd, .events = events }, { .fd = p->cancel_fd, .events = POLLIN } };

    for (;;) {
        int64_t left_ms = deadline_ms - peer_clock_ms();
        int ready;

        if (left_ms <= 0)
            return fail(p, PEER_TIMEOUT, "timeout");
        ready = poll(fds, 2, left_ms > 60000 ? 60000 : (int)left_ms);
        if (ready < 0 && errno != EINTR)
            return fail(p, PEER_LOST, "poll: %s", strerror(errno));
        if (ready > 0 && fds[1].revents)
            return fail(p, PEER_CANCELLED, "cancelled");
        if (ready > 0)
            return PEER_OK;
    }
}

/* ---- connecting ---- */

static int bind_source(int fd, const char *source, int family)
{
    struct addrinfo hints = { .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST },
                    *found;
    int result;

    if (getaddrinfo(source, NULL, &hints, &found) != 0)
        return -1;
    result = bind(fd, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return result;
}

static peer_status shake_hands(peer *p, int64_t deadline_ms)
{
    tls_progress progress;
    peer_status status = PEER_OK;
    const char *reason = "";

    p->tls = p->context ? tls_session_to(p->context, p->fd) : NULL;
    if (!p->tls)
        return fail(p, PEER_LOST, "TLS is not set up, or out of memory");
    while (status == PEER_OK && (progress = tls_handshake(p->tls, &reason)) != TLS_DONE) {
        if (progress == TLS_FAILED)
            return fail(p, PEER_LOST, "TLS: %s", reason);
        status = wait_for(p, p->fd, progress == TLS_WANTS_READ ? POLLIN : POLLOUT, deadline_ms);
    }
    p->tls_bytes = tls_session_memory(p->tls);
    return status;
}

static peer_status connect_to(peer *p, const struct addrinfo *address, const char *source,
                              int64_t deadline_ms)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1,
        error = 0;
    socklen_t size = sizeof error;
    peer_status status;

    if (fd < 0)
        return fail(p, PEER_LOST, "socket: %s", strerror(errno));
    p->fd = fd;
    if (source && bind_source(fd, source, address->ai_family) != 0)
        return fail(p, PEER_LOST, "can't come from %s: %s", source, strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (connect(fd, address->ai_addr, address->ai_addrlen) == 0)
        return PEER_OK;
    if (errno != EINPROGRESS)
        return fail(p, PEER_LOST, "%s", strerror(errno));
    status = wait_for(p, fd, POLLOUT, deadline_ms);
    if (status != PEER_OK)
        return status;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error)
        return fail(p, PEER_LOST, "%s", strerror(error ? error : errno));
    return PEER_OK;
}

peer_status peer_connect(peer *p, const char *host, int port, const char *source, int64_t deadline_ms)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM }, *found;
    peer_status status = PEER_LOST;
    char service[16];
    int error;

    close_socket(p);
    p->start = p->len = 0;
    snprintf(service, sizeof service, "%d", port);
    error = getaddrinfo(host, service, &hints, &found);
    if (error)
        return fail(p, PEER_NO_HOST, "%s: %s", host, gai_strerror(error));
    for (struct addrinfo *at = found; at && status == PEER_LOST; at = at->ai_next) {
        close_socket(p);
        status = connect_to(p, at, source, deadline_ms);
        if (status == PEER_OK && p->encrypted)
            status = shake_hands(p, deadline_ms);
    }
    freeaddrinfo(found);
    if (status != PEER_OK)
        close_socket(p);
    return status;
}

/* ---- sending ---- */

peer_status peer_send(peer *p, kv_slice bytes, int64_t deadline_ms)
{
    size_t sent = 0;

    while (sent < bytes.len) {
        ssize_t n = p->tls ? tls_send(p->tls, bytes.data + sent, bytes.len - sent)
                           : socket_send(p->fd, bytes.data + sent, bytes.len - sent);

        if (n > 0) {
            sent += (size_t)n;
        } else if (errno == EAGAIN) {
            peer_status status = wait_for(p, p->fd, POLLOUT, deadline_ms);

            if (status != PEER_OK)
                return status;
        } else if (errno != EINTR) {
            return fail(p, PEER_LOST, "%s", strerror(errno));
        }
    }
    return PEER_OK;
}

/* Short arguments are gathered; a long one is sent from where it is. */
peer_status peer_send_command(peer *p, int argc, const kv_slice argv[], int64_t deadline_ms)
{
    char text[COMMAND_BYTES];
    size_t len = (size_t)snprintf(text, sizeof text, "*%d\r\n", argc);
    peer_status status = PEER_OK;

    for (int i = 0; i < argc && status == PEER_OK; i++) {
        if (len + argv[i].len + 64 > sizeof text) {
            status = peer_send(p, kv_slice_of(text, len), deadline_ms);
            len = 0;
        }
        len += (size_t)snprintf(text + len, sizeof text - len, "$%zu\r\n", argv[i].len);
        if (argv[i].len + 64 <= sizeof text) {
            if (argv[i].len)
                memcpy(text + len, argv[i].data, argv[i].len);
            len += argv[i].len;
        } else if (status == PEER_OK) {
            status = peer_send(p, kv_slice_of(text, len), deadline_ms);
            len = 0;
            if (status == PEER_OK)
                status = peer_send(p, argv[i], deadline_ms);
        }
        memcpy(text + len, "\r\n", 2);
        len += 2;
    }
    return status == PEER_OK ? peer_send(p, kv_slice_of(text, len), deadline_ms) : status;
}

/* ---- receiving ---- */

/* Room for some bytes more; the buffer doubles only when it is full of what has arrived. */
static bool make_room(peer *p, size_t max_bytes)
{
    size_t capacity = p->capacity ? p->capacity * 2 : READ_BYTES;
    char *data;

    if (p->start && (p->len == 0 || p->start + p->len == p->capacity)) {
        if (p->len)
            memmove(p->data, p->data + p->start, p->len);
        p->start = 0;
    }
    if (p->start + p->len < p->capacity)
        return true;
    if (capacity > max_bytes && max_bytes > p->capacity)
        capacity = max_bytes;
    data = realloc(p->data, capacity + RESP_SLACK);
    if (!data)
        return false;
    memset(data + capacity, 0, RESP_SLACK);
    p->data = data;
    p->capacity = capacity;
    return true;
}

/* As recv(2). */
static ssize_t receive(peer *p, char *data, size_t size)
{
    return p->tls ? tls_receive(p->tls, data, size) : socket_receive(p->fd, data, size);
}

/* There was nothing: until there may be. */
static peer_status wait_for_input(peer *p, int64_t deadline_ms)
{
    if (p->tls && tls_has_input(p->tls))
        return PEER_OK;
    return wait_for(p, p->fd, p->tls && tls_reading_wants_write(p->tls) ? POLLOUT : POLLIN, deadline_ms);
}

peer_status peer_receive(peer *p, size_t max_bytes, int64_t deadline_ms)
{
    if (p->len >= max_bytes)
        return fail(p, PEER_TOO_LONG, "more than %zu bytes without an end", max_bytes);
    if (!make_room(p, max_bytes))
        return fail(p, PEER_NOMEM, "out of memory");
    for (;;) {
        size_t at = p->start + p->len;
        ssize_t n = receive(p, p->data + at, p->capacity - at);
        peer_status status;

        if (n > 0) {
            p->len += (size_t)n;
            return PEER_OK;
        }
        if (n == 0)
            return fail(p, PEER_LOST, "it closed the connection");
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return fail(p, PEER_LOST, "%s", strerror(errno));
        status = wait_for_input(p, deadline_ms);
        if (status != PEER_OK)
            return status;
    }
}

void peer_take(peer *p, size_t n)
{
    p->start += n;
    p->len -= n;
    if (p->len == 0)
        p->start = 0;
}

peer_status peer_put_back(peer *p, kv_slice bytes)
{
    size_t capacity = bytes.len + p->len;
    char *data = malloc(capacity + RESP_SLACK);

    if (!data)
        return fail(p, PEER_NOMEM, "out of memory");
    if (bytes.len)
        memcpy(data, bytes.data, bytes.len);
    if (p->len)
        memcpy(data + bytes.len, p->data + p->start, p->len);
    memset(data + capacity, 0, RESP_SLACK);
    free(p->data);
    p->data = data;
    p->start = 0;
    p->len = p->capacity = capacity;
    return PEER_OK;
}

peer_status peer_line(peer *p, size_t max_bytes, kv_slice *ret_line, int64_t deadline_ms)
{
    size_t looked = 0;

    for (;;) {
        char *from = p->data ? p->data + p->start : NULL;
        char *end = p->len > looked ? memchr(from + looked, '\n', p->len - looked) : NULL;
        peer_status status;

        if (end) {
            size_t len = (size_t)(end - from);

            peer_take(p, len + 1);
            *ret_line = kv_slice_of(from, len && from[len - 1] == '\r' ? len - 1 : len);
            return PEER_OK;
        }
        looked = p->len;
        status = peer_receive(p, max_bytes, deadline_ms);
        if (status != PEER_OK)
            return status;
    }
}

bool peer_is_stale(peer *p)
{
    char byte;
    ssize_t n = p->fd < 0 ? 0 : receive(p, &byte, 1);

    return n >= 0 || errno != EAGAIN || p->len > 0;
}
