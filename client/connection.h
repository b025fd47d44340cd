/* connection.h - a blocking connection: a session, and poll around it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_CONNECTION_H
#define KVC_CONNECTION_H

#include "session.h"

struct kvc_pool;

/* Connects and shakes hands, by the deadline (of kvc_now_ms's clock). options and tls are borrowed. pool is where kvc_release
 * gives it back. */
kvc_status kvc_connection_open(struct kvc_pool *pool, const kvc_options *options, kvc_tls *tls,
                               int64_t deadline_ms, kvc_connection **ret_connection, kvc_error *error);
void kvc_connection_close(kvc_connection *connection);
struct kvc_pool *kvc_connection_pool(const kvc_connection *connection);

/* The next user finds it as the handshake left it. */
bool kvc_connection_reusable(const kvc_connection *connection);
/* A wake that nobody waited for is not for the next user. */
void kvc_connection_forget_wake(kvc_connection *connection);
/* The server has neither closed it nor said anything unasked: a look that costs one system call. */
bool kvc_connection_alive(const kvc_connection *connection);
/* Of an idle connection, the pool's: since when, and the next in its list. */
typedef struct kvc_idle {
    int64_t since_ms;
    kvc_connection *next;
} kvc_idle;
kvc_idle *kvc_connection_idle(kvc_connection *connection);

/* One command and its reply, which may be an error reply. error->sent is set. After a failure of any kind but KVC_EARG and
 * KVC_ENOMEM with nothing sent, the connection is broken. */
kvc_status kvc_connection_call(kvc_connection *connection, int64_t deadline_ms, size_t argc,
                               const kvc_slice *argv, kvc_reply **ret_reply, kvc_error *error);
/* The steps of it, by a deadline. */
kvc_status kvc_connection_flush_by(kvc_connection *connection, int64_t deadline_ms, kvc_error *error);
kvc_status kvc_connection_next_by(kvc_connection *connection, int64_t deadline_ms, kvc_reply **ret_reply,
                                  kvc_error *error);
kvc_link *kvc_connection_link(const kvc_connection *connection);

#endif
