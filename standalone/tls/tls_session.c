/* tls_session.c - one connection's TLS, between OpenSSL and a socket that does not wait.
 *
 * The problem: OpenSSL hides bytes from the event loop. What it has read from the socket and not handed out is no longer
 * seen by epoll, so a server that waits for the socket after a read that filled its buffer waits for ever. And an idle
 * connection must cost as little as it can.
 *
 *     socket --recv--> OpenSSL's buffer, while a record is incomplete --decrypt--> the caller's buffer
 *     the caller's bytes --encrypt, a record of 16 KiB at most--> send --> socket
 *
 * The BIO is ours, for three reasons: it raises no SIGPIPE, it has not the cost of glibc's cancellation points, and it
 * knows when the socket is empty: after a recv that brought less than was asked for it answers "later" by itself, so that a
 * request costs one recv and no second one to hear EAGAIN. Reading ahead takes header and body of records in that one recv, too.
 * OpenSSL frees its buffers (SSL_MODE_RELEASE_BUFFERS) when it hears "later" with nothing half read: every tls_receive goes on
 * until then, unless the caller's buffer is full.
 *
 * Invariants
 *   1. When tls_receive has answered, either the socket's readiness tells when there is more, or tls_has_input does: the
 *      caller's buffer was full, a record that is no data was in between (a flood of those is so cut into turns), or the end or
 *      an error was seen behind bytes that had to be delivered first.
 *   2. After a failure nothing is asked of OpenSSL any more.
 *
 * Before the handshake is done a stranger decides what is remembered: OpenSSL makes room for a ClientHello of the
 * announced length, of up to 128 KiB, so the first one may announce 16 KiB at most, and all that may arrive until the end
 * of the handshake is limited, too. How long it may take is connection_check_limits' business.
 *
 * SPDX-License-Identifier: MIT */
#include "tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "socket_io.h"
#include "tls_internal.h"

#define HELLO_MAX     (16 * 1024)
#define HANDSHAKE_MAX (128 * 1024) /* bytes from the client until the handshake is done */
#define HEAD_BYTES    9            /* of a record and its first message: kinds and lengths */
#define SESSION_BYTES (14 * 1024)  /* what an idle one was seen to take, with OpenSSL 3.0 */
#define PEER_BYTES    (6 * 1024)   /* and the client's certificate */

struct tls_session {
    SSL *ssl;
    tls_context *context;
    int fd;
    unsigned greeting_bytes; /* received before the handshake was done */
    unsigned char head[HEAD_BYTES];
    unsigned char head_len;
    bool immodest;    /* the greeting passed a limit */
    bool open;        /* the handshake is done */
    bool empty;       /* this call: the socket has no more */
    bool starved;     /* this call: OpenSSL was told so */
    bool more;        /* there may be bytes that only OpenSSL knows of */
    bool ended;       /* the client will send no more */
    bool broken;      /* of no further use */
    bool wants_write; /* reading does */
};

const bool tls_available = true;

const char *tls_library(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

/* ---- the socket under OpenSSL ---- */

/* Whether what arrived of the greeting so far keeps within the limits. */
static bool greeting_is_modest(tls_session *s, const char *data, size_t n)
{
    const unsigned char *head = s->head;

    s->greeting_bytes += (unsigned)n;
    for (size_t i = 0; i < n && s->head_len < HEAD_BYTES; i++)
        s->head[s->head_len++] = (unsigned char)data[i];
    if (s->greeting_bytes > HANDSHAKE_MAX)
        return false;
    return s->head_len < HEAD_BYTES || head[0] != SSL3_RT_HANDSHAKE || head[5] != SSL3_MT_CLIENT_HELLO ||
           (head[6] << 16 | head[7] << 8 | head[8]) <= HELLO_MAX;
}

static int read_socket(BIO *bio, char *data, int size)
{
    tls_session *s = BIO_get_data(bio);
    ssize_t n = -1;

    BIO_clear_retry_flags(bio);
    if (!s->empty)
        do
            n = socket_receive(s->fd, data, (size_t)size);
        while (n < 0 && errno == EINTR);
    if (n < size)
        s->empty = s->empty || n > 0 || (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK));
    if (n < 0 && s->empty) {
        s->starved = true;
        BIO_set_retry_read(bio);
    }
    if (n == 0)
        s->ended = true;
    s->immodest = n > 0 && !s->open && !greeting_is_modest(s, data, (size_t)n);
    return s->immodest ? -1 : (int)n;
}

static int write_socket(BIO *bio, const char *data, int len)
{
    tls_session *s = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    do
        n = socket_send(s->fd, data, (size_t)len);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_write(bio);
    return (int)n;
}

static long control_socket(BIO *bio, int command, long number, void *pointer)
{
    const tls_session *s = BIO_get_data(bio);

    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return s->ended;
    return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *tls_socket_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "kvserver");

    if (!method)
        return NULL;
    BIO_meth_set_read(method, read_socket);
    BIO_meth_set_write(method, write_socket);
    BIO_meth_set_ctrl(method, control_socket);
    return method;
}

/* ---- life ---- */

static tls_session *session_of(tls_context *context, SSL_CTX *ssl, int fd)
{
    tls_session *s = calloc(1, sizeof *s);
    BIO *bio;

    if (!s)
        return NULL;
    s->fd = fd;
    s->context = tls_context_ref(context);
    s->ssl = SSL_new(ssl);
    bio = s->ssl ? BIO_new(context->socket) : NULL;
    if (!bio) {
        tls_session_free(s);
        ERR_clear_error();
        return NULL;
    }
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    SSL_set_bio(s->ssl, bio, bio);
    return s;
}

tls_session *tls_session_new(tls_context *context, int fd)
{
    tls_session *s = session_of(context, context->ssl, fd);

    if (s)
        SSL_set_accept_state(s->ssl);
    return s;
}

tls_session *tls_session_to(tls_context *context, int fd)
{
    tls_session *s = context->outgoing ? session_of(context, context->outgoing, fd) : NULL;

    if (s)
        SSL_set_connect_state(s->ssl);
    return s;
}

void tls_session_free(tls_session *s)
{
    if (!s)
        return;
    SSL_free(s->ssl);
    tls_context_unref(s->context);
    free(s);
}

void tls_end(tls_session *s)
{
    if (!s->open || s->broken)
        return;
    ERR_clear_error();
    SSL_shutdown(s->ssl);
    ERR_clear_error();
}

size_t tls_session_memory(const tls_session *s)
{
    return sizeof *s + SESSION_BYTES + (SSL_get0_peer_certificate(s->ssl) ? PEER_BYTES : 0);
}

/* ---- bytes ---- */

static const char *reason_of(const tls_session *s)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;

    if (s->immodest)
        return "the greeting is too long";
    if (reason)
        return reason;
    return SSL_is_server(s->ssl) ? "the client closed the connection" : "the server closed the connection";
}

tls_progress tls_handshake(tls_session *s, const char **ret_reason)
{
    int result;

    s->empty = s->starved = false;
    ERR_clear_error();
    result = SSL_do_handshake(s->ssl);
    if (result == 1) {
        s->open = true;
        s->more = SSL_has_pending(s->ssl);
        return TLS_DONE;
    }
    switch (SSL_get_error(s->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANTS_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANTS_WRITE;
    default:
        *ret_reason = reason_of(s);
        s->broken = true;
        ERR_clear_error();
        return TLS_FAILED;
    }
}

/* Why a read gave nothing. */
static void note_read_failure(tls_session *s)
{
    switch (SSL_get_error(s->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        s->more = !s->starved;
        break;
    case SSL_ERROR_WANT_WRITE:
        s->wants_write = true;
        break;
    case SSL_ERROR_ZERO_RETURN:
        s->ended = true;
        break;
    default:
        s->broken = true;
    }
    ERR_clear_error();
}

ssize_t tls_receive(tls_session *s, void *data, size_t size)
{
    size_t done = 0, n = 0;

    s->empty = s->starved = s->more = s->wants_write = false;
    if (!s->broken && !s->ended) {
        ERR_clear_error();
        while (done < size && SSL_read_ex(s->ssl, (char *)data + done, size - done, &n) == 1)
            done += n;
        if (done < size)
            note_read_failure(s);
        else
            s->more = SSL_has_pending(s->ssl);
    }
    if (done)
        return (ssize_t)done;
    if (s->ended && !s->broken)
        return 0;
    errno = s->broken ? ECONNRESET : EAGAIN;
    return -1;
}

ssize_t tls_send(void *arg, const char *data, size_t len)
{
    tls_session *s = arg;
    size_t n = 0;

    if (s->broken || len == 0) {
        errno = ECONNRESET;
        return s->broken ? -1 : 0;
    }
    ERR_clear_error();
    if (SSL_write_ex(s->ssl, data, len, &n) == 1)
        return (ssize_t)n;
    if (SSL_get_error(s->ssl, 0) == SSL_ERROR_WANT_WRITE) {
        errno = EAGAIN;
        return -1;
    }
    s->broken = true;
    ERR_clear_error();
    errno = ECONNRESET;
    return -1;
}

bool tls_has_input(const tls_session *s)
{
    return s->more || s->ended || s->broken;
}

bool tls_reading_wants_write(const tls_session *s)
{
    return s->wants_write;
}
