/* transport.c - sockets: set up the way a request and reply protocol wants them.
 *
 * TCP_NODELAY, because a command must not wait for the acknowledgement of the one before; keepalive, so that a server that
 * vanished without a word is noticed; MSG_NOSIGNAL, because a library must not let a closed connection end the program;
 * close-on-exec, because a child has no business with the connection.
 *
 * SPDX-License-Identifier: MIT */
#include "transport.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "failure.h"

struct kvc_transport {
    int fd;
    bool connected;
    kvc_tls_session *tls; /* or NULL */
};

/* Options that a socket may refuse without harm. */
static void tune(int fd, int family, uint32_t keepalive_s)
{
    const int on = 1, probes = 3;
    int idle_s = keepalive_s > INT16_MAX ? INT16_MAX : (int)keepalive_s;
    int interval_s = idle_s / probes ? idle_s / probes : 1;

    if (family == AF_UNIX)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

kvc_status kvc_transport_open(const struct sockaddr *address, socklen_t address_len,
                              const kvc_options *options, kvc_tls *tls, kvc_transport **ret_transport,
                              kvc_error *error)
{
    kvc_transport *transport = calloc(1, sizeof *transport);
    kvc_status status = KVC_OK;

    *ret_transport = NULL;
    if (!transport)
        return kvc_fail_nomem(error);
    transport->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (transport->fd < 0) {
        status = kvc_fail_errno(error, KVC_ECONNECT, errno, "socket");
        goto out;
    }
    tune(transport->fd, address->sa_family, options->keepalive_s);
    if (tls)
        status = kvc_tls_session_new(tls, options, transport->fd, &transport->tls, error);
    if (status != KVC_OK)
        goto out;
    if (connect(transport->fd, address, address_len) == 0)
        transport->connected = true;
    else if (errno != EINPROGRESS && errno != EINTR)
        status = kvc_fail_errno(error, KVC_ECONNECT, errno, "connect");
out:
    if (status != KVC_OK) {
        kvc_transport_close(transport);
        return status;
    }
    *ret_transport = transport;
    return KVC_OK;
}

/* Has connect come to its end? */
static kvc_status finish_connect(kvc_transport *transport, short *ret_events, kvc_error *error)
{
    struct pollfd ready = { .fd = transport->fd, .events = POLLOUT };
    int err = 0;
    socklen_t len = sizeof err;

    if (transport->connected)
        return KVC_OK;
    *ret_events = POLLOUT;
    if (poll(&ready, 1, 0) <= 0)
        return KVC_NIL;
    if (getsockopt(transport->fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
        err = errno;
    if (err)
        return kvc_fail_errno(error, KVC_ECONNECT, err, "connect");
    transport->connected = true;
    return KVC_OK;
}

kvc_status kvc_transport_establish(kvc_transport *transport, short *ret_events, kvc_error *error)
{
    kvc_status status = finish_connect(transport, ret_events, error);

    if (status == KVC_OK && transport->tls)
        status = kvc_tls_handshake(transport->tls, ret_events, error);
    return status;
}

kvc_status kvc_transport_read(kvc_transport *transport, void *data, size_t size, size_t *ret_n,
                              short *ret_events, kvc_error *error)
{
    ssize_t n;

    *ret_n = 0;
    if (transport->tls)
        return kvc_tls_read(transport->tls, data, size, ret_n, ret_events, error);
    do
        n = recv(transport->fd, data, size, 0);
    while (n < 0 && errno == EINTR);
    if (n > 0) {
        *ret_n = (size_t)n;
        return KVC_OK;
    }
    if (n == 0)
        return kvc_fail(error, KVC_ECLOSED, "the server closed the connection");
    *ret_events = POLLIN;
    return errno == EAGAIN || errno == EWOULDBLOCK ? KVC_NIL : kvc_fail_io(error, errno, "reading");
}

kvc_status kvc_transport_write(kvc_transport *transport, const void *data, size_t len, size_t *ret_n,
                               short *ret_events, kvc_error *error)
{
    ssize_t n;

    *ret_n = 0;
    if (transport->tls)
        return kvc_tls_write(transport->tls, data, len, ret_n, ret_events, error);
    do
        n = send(transport->fd, data, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n >= 0) {
        *ret_n = (size_t)n;
        return KVC_OK;
    }
    *ret_events = POLLOUT;
    return errno == EAGAIN || errno == EWOULDBLOCK ? KVC_NIL : kvc_fail_io(error, errno, "writing");
}

bool kvc_transport_has_bytes(const kvc_transport *transport)
{
    return transport->tls && kvc_tls_has_bytes(transport->tls);
}

int kvc_transport_fd(const kvc_transport *transport)
{
    return transport->fd;
}

void kvc_transport_close(kvc_transport *transport)
{
    if (!transport)
        return;
    kvc_tls_session_free(transport->tls);
    if (transport->fd >= 0)
        close(transport->fd);
    free(transport);
}
