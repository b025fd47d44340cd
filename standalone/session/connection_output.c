/* connection_output.c - sending replies to one client, and bounding what it leaves unread.
 *
 * The replies of a batch stand in the worker's output, and one write takes them to the socket. What the socket does not
 * take is moved to c->pending, and sent when the socket has room again; nothing of c runs until then.
 *
 *     connection_flush --> guarded by the log? --> hold_output           kept until the log says so
 *                      --> flush_at_once                                 the common case: one send, nothing else
 *                      --> connection_send_held                          TLS, references, leftovers, closing
 *
 * Bounds: client-output-buffer-limit of c's class, and UNKNOWN_OUTPUT for who is not authenticated. Values that are sent
 * by reference are the store's, and do not count for who only has replies coming.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "aof.h"
#include "connection_internal.h"
#include "replica.h"
#include "server.h"
#include "socket_io.h"
#include "tls.h"

#define OUTPUT_KEEP    (64 * 1024) /* the buffer that a worker's output keeps */
#define UNKNOWN_OUTPUT (16 * 1024) /* what a client that is not authenticated may leave unread */

/* What makes a flush more than sending. */
#define UNCOMMON                                                                                   \
    (CONNECTION_CLOSING | CONNECTION_CLOSE_AFTER | CONNECTION_PARKED | CONNECTION_READY |          \
     CONNECTION_ACTOR_WAITING | CONNECTION_DRAINING | CONNECTION_UNFINISHED | CONNECTION_BLOCKED | \
     CONNECTION_TLS | CONNECTION_HELD)

output *connection_output(connection *c)
{
    return c->pending ? c->pending : &c->owner->out;
}

/* ---- what is left unread ---- */

/* Whether c may leave unread what is pending; limits of 0 bytes are none. */
bool connection_within_limits(connection *c)
{
    worker *w = c->owner;
    bool listens = c->flags & CONNECTION_SUBSCRIBED;
    config_output_limit limit =
        config_client_limit(w->server->config, listens ? CONFIG_PUBSUB : CONFIG_NORMAL);
    size_t bytes = c->flags & CONNECTION_LISTENS ? output_unsent(c->pending) : output_excess(c->pending);

    if (replica_is_served(c)) /* what waits for it is elsewhere, and bounded there: feed.c, data_set.c */
        return true;
    if (!(c->flags & CONNECTION_AUTHENTICATED) && output_unsent(c->pending) > UNKNOWN_OUTPUT)
        return false;
    if (limit.hard_bytes && bytes > (size_t)limit.hard_bytes)
        return false;
    if (!limit.soft_bytes || bytes <= (size_t)limit.soft_bytes)
        c->over_soft_since_ms = 0;
    else if (!c->over_soft_since_ms)
        c->over_soft_since_ms = w->now_ms;
    return !c->over_soft_since_ms || w->now_ms - c->over_soft_since_ms <= limit.soft_seconds * 1000;
}

void connection_close_for_output(connection *c)
{
    worker *w = c->owner;

    stats_add(&w->stats.output_limit_disconnections, 1);
    log_limited(&w->server->log, LOG_CLIENT_LIMIT, CONFIG_LOG_WARNING,
                "Client id=%llu closed for overcoming of output buffer limits.", (unsigned long long)c->id);
    connection_close(c);
}

void connection_drop_pending(connection *c)
{
    output_give(&c->owner->spare_outputs, c->pending);
    c->pending = NULL;
    c->over_soft_since_ms = 0;
}

output *connection_pending(connection *c)
{
    if (!c->pending)
        c->pending = output_take(&c->owner->spare_outputs);
    return c->pending;
}

/* Moves what the socket did not take from the worker's output to c. */
static bool keep_pending(connection *c)
{
    if (!connection_pending(c))
        return false;
    output_move(c->pending, &c->owner->out);
    return !c->pending->failed;
}

/* ---- sending ---- */

static inline bool is_common(const connection *c, const output *out)
{
    return !(c->pending || out->reference_count || out->failed || out->len == 0 || (c->flags & UNCOMMON));
}

bool connection_only_sends(connection *c)
{
    return is_common(c, &c->owner->out) && c->wait == CONNECTION_READ &&
           !(c->owner->guarded && aof_would_hold(c));
}

/* The common case: a few replies, which the socket takes at once, and nothing else to decide. False: it is
 * not that, or not wholly; then connection_send_held does the rest. */
__attribute__((always_inline)) static inline bool flush_at_once(connection *c)
{
    worker *w = c->owner;
    output *out = &w->out;
    ssize_t n;

    if (!is_common(c, out))
        return false;
    n = socket_send(c->fd, out->data, out->len);
    stats_add(&w->stats.writes, 1);
    if (n < 0)
        return false;
    stats_add(&w->stats.output_bytes, (uint64_t)n);
    if ((size_t)n < out->len || out->capacity > OUTPUT_KEEP) {
        out->sent = (size_t)n;
        return false;
    }
    out->len = 0;
    if (c->wait != CONNECTION_READ)
        connection_wait_next(c);
    return true;
}

/* Keeps the output, when what it tells is not yet in the log. False: it may be sent. */
static bool hold_output(connection *c)
{
    worker *w = c->owner;
    const output *out = connection_output(c);

    if ((c->flags & CONNECTION_CLOSING) || out->failed ||
        (output_is_empty(out) && !(c->flags & CONNECTION_HELD)) || !aof_hold(c))
        return false;
    if (c->flags & CONNECTION_CLOSING) {
        output_reset(&w->out, OUTPUT_KEEP);
        return true;
    }
    if (!output_is_empty(&w->out) && !keep_pending(c)) {
        connection_close_for_memory(c);
        return true;
    }
    output_reset(&w->out, OUTPUT_KEEP);
    if (c->pending && !connection_within_limits(c))
        connection_close_for_output(c);
    else
        connection_wait_next(c);
    return true;
}

__attribute__((noinline)) void connection_send_held(connection *c)
{
    worker *w = c->owner;
    output *out = connection_output(c);
    output_status status = OUTPUT_EMPTY;
    size_t sent = 0;

    if (c->flags & CONNECTION_CLOSING) {
        output_reset(&w->out, OUTPUT_KEEP);
        return;
    }
    if (out->failed) {
        output_reset(&w->out, OUTPUT_KEEP);
        connection_close_for_output(c);
        return;
    }
    if (!output_is_empty(out)) {
        status = c->tls ? output_send_through(out, tls_send, c->tls, &sent) : output_send(out, c->fd, &sent);
        stats_add(&w->stats.output_bytes, sent);
        stats_add(&w->stats.writes, 1);
        if (sent)
            c->active_ms = w->now_ms;
    }
    if (status == OUTPUT_BLOCKED && out == &w->out && !keep_pending(c))
        status = OUTPUT_BROKEN;
    if (status == OUTPUT_EMPTY && c->pending)
        connection_drop_pending(c);
    output_reset(&w->out, OUTPUT_KEEP);
    if (status == OUTPUT_BROKEN ||
        (status == OUTPUT_EMPTY &&
         (c->flags & (CONNECTION_CLOSE_AFTER | CONNECTION_UNFINISHED)) == CONNECTION_CLOSE_AFTER))
        connection_close(c);
    else if (c->pending && !connection_within_limits(c))
        connection_close_for_output(c);
    else
        connection_wait_next(c);
    if (c->replica && !c->pending && !(c->flags & CONNECTION_CLOSING))
        replica_drained(c);
}

void connection_queue_bytes(connection *c, kv_bytes *owner, kv_slice bytes)
{
    if (c->flags & CONNECTION_CLOSING)
        return;
    if (connection_pending(c))
        output_reference(c->pending, owner, bytes);
    if (!c->pending || c->pending->failed)
        connection_close_for_memory(c);
}

void connection_send_bytes(connection *c, kv_bytes *owner, kv_slice bytes)
{
    connection_queue_bytes(c, owner, bytes);
    connection_flush(c);
}

void connection_flush(connection *c)
{
    if (__builtin_expect(c->owner->guarded, 0) && hold_output(c))
        return;
    if (!flush_at_once(c))
        connection_send_held(c);
}
