/* peer.h - a socket to another server, as a task sees it that has a thread of its own: it waits in each step, but never
 * past the step's deadline, and never once it is to give up.
 *
 *     peer p;
 *     peer_init(&p, cancel_fd);
 *     peer_encrypt(&p, context);                    // if that is to be TLS
 *     if (peer_connect(&p, "10.0.0.7", 6379, NULL, deadline) == PEER_OK &&
 *         peer_send_command(&p, 1, &(kv_slice){ "PING", 4 }, deadline) == PEER_OK &&
 *         peer_line(&p, PEER_LINE_MAX, &line, deadline) == PEER_OK)
 *         ... line is "+PONG" ...
 *     peer_done(&p);
 *
 * Threads    One at a time.
 * Errors     After anything but PEER_OK the connection is of no use, and p->error says what happened.
 * Memory     The buffer grows with what has arrived, up to what the caller allows; never by a number that was announced.
 * Time       Deadlines are of peer_clock_ms.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_PEER_H
#define KV_STANDALONE_PEER_H

#include "kvstore/kvstore.h"

#define PEER_LINE_MAX 4096

typedef enum peer_status {
    PEER_OK,
    PEER_TIMEOUT,
    PEER_LOST,      /* refused, closed, an error of the socket */
    PEER_NO_HOST,   /* the name does not resolve */
    PEER_CANCELLED, /* cancel_fd is readable */
    PEER_TOO_LONG,  /* more than the caller allows */
    PEER_NOMEM,
} peer_status;

typedef struct peer {
    int fd;                      /* -1: not connected */
    bool encrypted;              /* to be: */
    struct tls_context *context; /* NULL: it fails */
    struct tls_session *tls;     /* of a connection, */
    size_t tls_bytes;            /* and about what that takes */
    int cancel_fd;               /* readable: give up; -1: never */
    char *
        data; /* bytes start .. start + len were received and not yet taken; RESP_SLACK readable ones behind */
    size_t start, len, capacity;
    char error[256]; /* a sentence about the last failure */
} peer;

/* Milliseconds of a clock that nobody sets. */
int64_t peer_clock_ms(void);

void peer_init(peer *p, int cancel_fd);
/* Connections are made with TLS; takes over a reference to context, which may be NULL: then every connection fails. */
void peer_encrypt(peer *p, struct tls_context *context);
/* Closes, and frees the buffer. */
void peer_done(peer *p);

/* Looks the name up (which waits as long as the resolver does) and connects to the first address that accepts. source: the
 * local address to come from, or NULL. */
peer_status peer_connect(peer *p, const char *host, int port, const char *source, int64_t deadline_ms)
    KV_EXCLUDES(kv_shard_held);
/* Sends all of it. */
peer_status peer_send(peer *p, kv_slice bytes, int64_t deadline_ms) KV_EXCLUDES(kv_shard_held);
/* Sends a request: an array of bulks. */
peer_status peer_send_command(peer *p, int argc, const kv_slice argv[], int64_t deadline_ms)
    KV_EXCLUDES(kv_shard_held);
/* Receives at least one byte more, unless max_bytes are there already: PEER_TOO_LONG. */
peer_status peer_receive(peer *p, size_t max_bytes, int64_t deadline_ms) KV_EXCLUDES(kv_shard_held);
/* Takes a line of at most max_bytes, without its CR LF; valid until the next call. */
peer_status peer_line(peer *p, size_t max_bytes, kv_slice *ret_line, int64_t deadline_ms)
    KV_EXCLUDES(kv_shard_held);
/* n received bytes are done with. */
void peer_take(peer *p, size_t n);
/* Puts bytes that were taken back in front of what is there. PEER_NOMEM. */
peer_status peer_put_back(peer *p, kv_slice bytes);
/* Whether an idle connection was closed, or has said something unasked: without waiting. */
bool peer_is_stale(peer *p);

#endif
