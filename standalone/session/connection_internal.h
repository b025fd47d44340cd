/* connection_internal.h - what the files of a connection share: connection.c (life, waiting), connection_input.c,
 * connection_output.c, connection_mail.c, connection_describe.c. All on the owner's thread.
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_CONNECTION_INTERNAL_H
#define KV_STANDALONE_CONNECTION_INTERNAL_H

#include "connection.h"

/* Those that are handed more than replies. */
#define CONNECTION_LISTENS (CONNECTION_SUBSCRIBED | CONNECTION_TRACKING | CONNECTION_MONITOR)

/* Waits for that and nothing else; closes c when the loop cannot. */
void connection_wait_for(connection *c, connection_wait wait) KV_EXCLUDES(kv_shard_held);
/* Waits for whatever c needs now, when its output was sent as far as possible. */
void connection_wait_next(connection *c) KV_EXCLUDES(kv_shard_held);
/* What the loop calls. */
void connection_on_event(evutil_socket_t fd, short what, void *arg);

/* Whether c, which has something pending, may leave that unread. */
bool connection_within_limits(connection *c);
void connection_close_for_output(connection *c) KV_EXCLUDES(kv_shard_held);

/* Runs what was read of c, which nothing is kept of, in the worker's buffer, and flushes. */
void connection_run_input(connection *c, char *data, size_t len) KV_EXCLUDES(kv_shard_held);
/* Whether to send what is in the worker's output is all that is to be done for c, and may be done at once. */
bool connection_only_sends(connection *c);

void connection_drop_input(connection *c);
void connection_drop_pending(connection *c);
/* What is pending, be it nothing yet; NULL: memory is out. */
output *connection_pending(connection *c);

#endif
