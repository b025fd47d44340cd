/* connection.c - one client's life, and what it waits for.
 *
 * The problem: 10,000 idle clients must cost next to nothing, one busy client must cost one read and one
 * write a batch, and a client that sends without reading must not make us remember its replies.
 *
 *     socket --recv--> worker's buffer --parse, run--> worker's output --send--> socket
 *                        | unfinished tail                | what the socket did not take
 *                        v                                v
 *                      c->input                         c->pending
 *
 * Both are NULL nearly always. The way in is connection_input.c, the way out connection_output.c, and what is handed to a
 * connection that is no reply to it goes through connection_mail.c.
 *
 * Invariants
 *   1. While pending is not NULL, none of its requests run. What arrives meanwhile is kept in c->input, as long as
 *      it and pending together stay below the soft limit of client-output-buffer-limit, and all clients together below
 *      client-read-ahead-limit (beyond which each may still have AHEAD_SURE); then c waits for WRITE alone, and TCP tells
 *      the client to stop. When others have given memory back, a tick finds that it may be read from again.
 *   2. Outside of dispatch_batch the worker's output is empty.
 *   3. READY is set while c->input may begin with a whole request: when its requests were stopped by full
 *      output, by parking, or by the end of c's share of the turn. Without it more bytes are needed first.
 *   4. What is pending of a HELD connection is not sent before the log says so (aof_hold.c).
 *   5. A closed connection stays in memory until the end of the turn, its input too: requests of a running
 *      batch point into it. Its socket, which is the dearest of it to close, is closed then: who sees the connection end
 *      finds nothing of it counted any more; and thousands that are closed at once go in several turns.
 *
 * Threads: the owner's alone. Cost: an idle connection is this struct and its place in epoll's set; the ones
 * that wait for the same thing as before cost no system call.
 *
 * SPDX-License-Identifier: MIT */
#include "connection_internal.h"

#include <stdlib.h>
#include <unistd.h>

#include "acl_session.h"
#include "actor_batch.h"
#include "aof.h"
#include "blocking.h"
#include "memory.h"
#include "monitor.h"
#include "multi.h"
#include "pubsub.h"
#include "replica.h"
#include "rest.h"
#include "server.h"
#include "tls_reload.h"
#include "tracking.h"

#define UNCOUNTED     1024 /* a connection without buffers has less: its memory need not be looked at */
#define AHEAD_SURE    (64 * 1024) /* requests that a client may send ahead of its replies whatever others do */
#define BLOCKED_INPUT (64 * 1024) /* what a blocked client may send meanwhile */

/* ---- waiting ---- */

void connection_wait_for(connection *c, connection_wait wait)
{
    if (c->wait == wait)
        return;
    if (c->wait != CONNECTION_NOTHING)
        event_del(&c->event);
    c->wait = wait;
    if (wait == CONNECTION_NOTHING)
        return;
    event_assign(&c->event, c->owner->base, c->fd,
                 EV_PERSIST | (wait == CONNECTION_WRITE ? 0 : EV_READ) |
                     (wait == CONNECTION_READ ? 0 : EV_WRITE),
                 connection_on_event, c);
    if (event_add(&c->event, NULL) != 0) {
        c->wait = CONNECTION_NOTHING;
        connection_close(c);
    }
}

/* Whether the clients together have less than what stops reading ahead. */
static bool has_room_ahead(const server *s)
{
    return memory_of_clients(s) < (uint64_t)config_number(s->config, CONFIG_ID_client_read_ahead_limit);
}

/* Whether requests may be kept that come before the replies to earlier ones were taken. */
static bool may_read_ahead(const connection *c)
{
    config_output_limit limit = config_client_limit(c->owner->server->config, CONFIG_NORMAL);
    size_t input = c->input ? c->input->len : 0, kept = output_excess(c->pending) + input;

    if (c->owner->draining || (c->flags & (CONNECTION_PARKED | CONNECTION_ACTOR_WAITING |
                                           CONNECTION_CLOSE_AFTER | CONNECTION_HALF_CLOSED)))
        return false;
    if (!(c->flags & CONNECTION_AUTHENTICATED) || (limit.soft_bytes && kept >= (size_t)limit.soft_bytes))
        return false;
    return input < AHEAD_SURE || has_room_ahead(c->owner->server);
}

/* Nothing is unfinished: c waits for requests. What TLS has decrypted already, no socket tells of. */
static void wait_for_requests(connection *c)
{
    if (!c->tls)
        connection_wait_for(c, CONNECTION_READ);
    else if (tls_has_input(c->tls))
        connection_run_later(c);
    else
        connection_wait_for(c, tls_reading_wants_write(c->tls) ? CONNECTION_BOTH : CONNECTION_READ);
}

void connection_wait_next(connection *c)
{
    worker *w = c->owner;
    bool busy = c->flags & (CONNECTION_PARKED | CONNECTION_ACTOR_WAITING);

    if (c->pending || c->input || c->counted_bytes > UNCOUNTED)
        memory_count_client(c);
    if (c->flags & CONNECTION_CLOSING)
        return;
    if (c->flags & CONNECTION_HELD) {
        connection_wait_for(c, c->pending && may_read_ahead(c) ? CONNECTION_READ : CONNECTION_NOTHING);
    } else if (c->pending) {
        connection_wait_for(c, may_read_ahead(c) ? CONNECTION_BOTH : CONNECTION_WRITE);
    } else if (c->flags & CONNECTION_BLOCKED) {
        /* It is read from, so that its end is noticed. */
        connection_wait_for(c, c->input && c->input->len >= BLOCKED_INPUT ? CONNECTION_NOTHING
                                                                          : CONNECTION_READ);
    } else if (busy) {
        /* A readable event, if there is one, ends the waiting for it: see connection_on_event. */
        if (c->wait == CONNECTION_WRITE || c->wait == CONNECTION_BOTH)
            connection_wait_for(c, CONNECTION_NOTHING);
    } else if (c->flags & (CONNECTION_READY | CONNECTION_UNFINISHED)) {
        connection_run_later(c);
    } else if (w->draining) {
        connection_close(c);
    } else {
        wait_for_requests(c);
    }
}

void connection_run_later(connection *c)
{
    worker *w = c->owner;

    if (c->flags & (CONNECTION_RUNNABLE | CONNECTION_CLOSING))
        return;
    c->flags |= CONNECTION_RUNNABLE;
    c->next_runnable = NULL;
    *w->runnable_tail = c;
    w->runnable_tail = &c->next_runnable;
}

void connection_park(connection *c)
{
    c->flags |= CONNECTION_PARKED;
    c->in_flight++;
}

bool connection_unpark(connection *c)
{
    c->in_flight--;
    c->flags &= ~(unsigned)CONNECTION_PARKED;
    if (c->tracker && !(c->flags & CONNECTION_CLOSING))
        tracking_catch_up(c); /* sent at the end of the turn: after the replies that have come */
    return !(c->flags & CONNECTION_CLOSING);
}

/* ---- life ---- */

connection *connection_new(worker *w, int fd, listener_kind kind)
{
    server *s = w->server;
    connection *c = calloc(1, sizeof *c);

    if (c && kind == LISTENER_TLS) {
        c->flags = CONNECTION_TLS | CONNECTION_HANDSHAKE;
        c->tls = tls_reload_session(s, fd);
    }
    if (!c || (kind == LISTENER_TLS && !c->tls)) {
        close(fd);
        free(c);
        return NULL;
    }
    if (c->tls)
        c->tls_bytes = (unsigned)tls_session_memory(c->tls);
    c->owner = w;
    c->fd = fd;
    c->closing_fd = -1;
    c->id = atomic_fetch_add_explicit(&s->next_client_id, 1, memory_order_relaxed) + 1;
    c->protocol = 2;
    c->created_ms = c->active_ms = w->now_ms;
    c->flags |= kind == LISTENER_UNIX ? CONNECTION_UNIX : 0;
    acl_session_begin(c);
    c->link = w->connections_tail;
    *w->connections_tail = c;
    w->connections_tail = &c->next;
    atomic_fetch_add_explicit(&w->connection_count, 1, memory_order_relaxed);
    c->wait = CONNECTION_NOTHING;
    memory_count_client(c);
    tracking_enter(c);
    connection_wait_for(c, CONNECTION_READ);
    return c;
}

static void unlink_from_owner(connection *c)
{
    worker *w = c->owner;

    if (w->sweep == c)
        w->sweep = c->next;
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    else
        w->connections_tail = c->link;
}

void connection_close(connection *c)
{
    worker *w = c->owner;

    if (c->flags & CONNECTION_CLOSING)
        return;
    c->flags |= CONNECTION_CLOSING;
    blocking_forget(c);
    aof_forget(c);
    if (c->wait != CONNECTION_NOTHING)
        event_del(&c->event);
    c->wait = CONNECTION_NOTHING;
    connection_drop_pending(c);
    kv_bytes_unref(c->mail);
    c->mail = NULL;
    monitor_leave(c);
    pubsub_forget(c);
    tracking_leave(c);
    memory_forget_client(c);
    unlink_from_owner(c);
    atomic_fetch_sub_explicit(&w->connection_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&w->server->client_count, 1, memory_order_relaxed);
    if (c->replica)
        replica_closed(c);
    if (c->tls)
        tls_end(c->tls);
    c->closing_fd = c->fd;
    c->fd = -1;
    c->next_doomed = w->doomed;
    w->doomed = c;
}

void connection_free(connection *c)
{
    if (!c)
        return;
    multi_end(c);
    replica_free(c);
    acl_session_end(c);
    rest_end(c);
    connection_drop_input(c);
    if (c->pending)
        output_done(c->pending);
    free(c->pending);
    actor_batch_free(c->unfinished);
    tls_session_free(c->tls);
    if (c->names) {
        free(c->names->name);
        free(c->names->library);
        free(c->names->library_version);
    }
    free(c->names);
    if (c->closing_fd >= 0)
        close(c->closing_fd);
    free(c);
}

void connection_close_for_memory(connection *c)
{
    log_limited(&c->owner->server->log, LOG_CLIENT_LIMIT, CONFIG_LOG_WARNING,
                "Out of memory for client id=%llu, closed.", (unsigned long long)c->id);
    connection_close(c);
}

/* ---- limits of time ---- */

static void close_for_slowness(connection *c)
{
    log_limited(&c->owner->server->log, LOG_ACCEPT, CONFIG_LOG_VERBOSE,
                "Client id=%llu closed: it did not end the TLS handshake within tls-handshake-timeout",
                (unsigned long long)c->id);
    connection_close(c);
}

void connection_check_limits(connection *c)
{
    worker *w = c->owner;
    int64_t timeout_s = config_number(w->server->config, CONFIG_ID_timeout),
            handshake_s = config_number(w->server->config, CONFIG_ID_tls_handshake_timeout);

    memory_count_client(c);
    if (c->flags & CONNECTION_CLOSING)
        return;
    if ((c->flags & CONNECTION_HANDSHAKE) && w->now_ms - c->created_ms > handshake_s * 1000)
        close_for_slowness(c);
    else if (c->pending && !connection_within_limits(c))
        connection_close_for_output(c);
    else if (timeout_s && !c->in_flight && !(c->flags & CONNECTION_BLOCKED) &&
             !(c->flags & (CONNECTION_SUBSCRIBED | CONNECTION_MONITOR)) &&
             w->now_ms - c->active_ms > timeout_s * 1000) {
        log_write(&w->server->log, CONFIG_LOG_VERBOSE, "Closing idle client id=%llu",
                  (unsigned long long)c->id);
        connection_close(c);
    } else if (c->pending && c->wait == CONNECTION_WRITE)
        connection_wait_next(c); /* it may have been stopped for what others had */
}
