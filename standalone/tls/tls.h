/* tls.h - TLS on the sockets of clients, and of servers that we are a client of, by OpenSSL. In a build without it, tls_available is false and every context fails.
 *
 *     tls_context *context;
 *     if (tls_context_new(config, &context, &error) != 0) ... error.text says which directive, which file, why ...
 *     tls_session *session = tls_session_new(context, fd);    // or tls_session_to(context, fd)
 *     switch (tls_handshake(session, &reason)) ...           // as often as the socket is ready for what it wants
 *     n = tls_receive(session, data, size);                  // as recv(2), and tls_send as send(2)
 *
 * Threads    A context may be used from any thread and never changes: a change of the configuration makes a new one. A session
 *            belongs to one thread at a time.
 * Ownership  Contexts are counted; a session keeps its own, so that connections survive a change. The descriptor stays the
 *            caller's.
 * Errors     -1 with a sentence in config_error, or -1 with errno, as for sockets: EAGAIN, or ECONNRESET for all that ends
 *            the connection.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_TLS_H
#define KV_STANDALONE_TLS_H

#include <sys/types.h>

#include "config.h"

typedef struct tls_context tls_context;
typedef struct tls_session tls_session;

/* Whether this build has TLS; "OpenSSL 3.0.19", or "none". */
extern const bool tls_available;
const char *tls_library(void);

/* Reads what the tls-... directives name. */
int tls_context_new(config *c, tls_context **ret_context, config_error *ret_error) KV_EXCLUDES(kv_shard_held);
tls_context *tls_context_ref(tls_context *context);
void tls_context_unref(tls_context *context);

/* Whether the directives ask for TLS anywhere: on tls-port, to a primary, to a target of MIGRATE. */
bool tls_is_wanted(config *c);

/* The server's side of a connection on fd; NULL when memory is out. */
tls_session *tls_session_new(tls_context *context, int fd);
/* The client's side: whoever answers must have a certificate of our authorities, whatever name stands in it. */
tls_session *tls_session_to(tls_context *context, int fd);
void tls_session_free(tls_session *session);

typedef enum tls_progress { TLS_DONE, TLS_WANTS_READ, TLS_WANTS_WRITE, TLS_FAILED } tls_progress;

/* Goes on with the handshake. TLS_FAILED: *ret_reason says why, and lives until the next call on this thread. */
tls_progress tls_handshake(tls_session *session, const char **ret_reason) KV_EXCLUDES(kv_shard_held);
/* Up to size bytes that the other side sent; 0 at its end. */
ssize_t tls_receive(tls_session *session, void *data, size_t size) KV_EXCLUDES(kv_shard_held);
/* Sends the first bytes of data, up to 16 KiB. After EAGAIN the next call must begin with the same bytes, at least as many. arg is
 * the session: this is an output_sink. */
ssize_t tls_send(void *arg, const char *data, size_t len) KV_EXCLUDES(kv_shard_held);
/* Whether tls_receive has something to say that the socket's readiness does not tell. */
bool tls_has_input(const tls_session *session);
/* Whether the last tls_receive must write before it can read on. */
bool tls_reading_wants_write(const tls_session *session);
/* Tells the other side that no more will come, if the socket takes that. */
void tls_end(tls_session *session) KV_EXCLUDES(kv_shard_held);
/* About what an idle session takes. */
size_t tls_session_memory(const tls_session *session);

#endif
