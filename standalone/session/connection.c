/* connection.c - reading, keeping, and sending for one client.
 *
 * The problem: 10,000 idle clients must cost next to nothing, one busy client must cost one read and one
 * write a batch, and a client that sends without reading must not make us remember its replies.
 *
 *     socket --recv--> worker's buffer --parse, run--> worker's output --send--> socket
 *                        | unfinished tail                | what the socket did not take
 *                        v                                v
 *                      c->input                         c->pending
 *
 * Both are NULL nearly always. A short tail is copied back in front of the worker's buffer at the next
 * read; a long one (a big value under way) stays in c->input, which grows with what arrives, and keeps
 * the parser's knowledge of it.
 *
 * Invariants
 *   1. While pending is not NULL, none of its requests run. What arrives meanwhile is kept in c->input, as long as
 *      it and pending together stay below the soft limit of client-output-buffer-limit; then c waits for WRITE
 *      alone, and TCP tells the client to stop.
 *   2. Outside of dispatch_batch the worker's output is empty.
 *   3. READY is set while c->input may begin with a whole request: when its requests were stopped by full
 *      output, by parking, or by the end of c's share of the turn. Without it more bytes are needed first.
 *   4. What is pending of a HELD connection is not sent before the log says so (aof_hold.c).
 *   5. A closed connection stays in memory until the end of the turn, its input too: requests of a running
 *      batch point into it.
 *
 * Fairness: one read of at most 128 KiB (1 MiB into a big value) a turn, and after TURN_MS the rest of it
 * waits in the runnable list for the next turn.
 *
 * SPDX-License-Identifier: MIT */
#include "connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "acl_session.h"
#include "actor_batch.h"
#include "aof.h"
#include "blocking.h"
#include "dispatch.h"
#include "memory.h"
#include "monitor.h"
#include "multi.h"
#include "pubsub.h"
#include "rest.h"
#include "server.h"
#include "socket_io.h"
#include "tls_reload.h"
#include "tracking.h"

#define TAIL_SHORT     (16 * 1024)   /* tails up to here go through the worker's buffer */
#define READ_MAX       (1024 * 1024) /* bytes of one read into c->input */
#define OUTPUT_KEEP    (64 * 1024)   /* the buffer that a worker's output keeps */
#define UNKNOWN_OUTPUT (16 * 1024)   /* what a client that is not authenticated may leave unread */
#define TURN_MS        5
#define UNCOUNTED      1024 /* a connection without buffers has less: its memory need not be looked at */
#define AHEAD_BYTES    (64 * 1024) /* of one read while replies are pending */
#define BLOCKED_INPUT  (64 * 1024) /* what a blocked client may send meanwhile */

/* What makes a flush more than sending. */
#define UNCOMMON                                                                                   \
    (CONNECTION_CLOSING | CONNECTION_CLOSE_AFTER | CONNECTION_PARKED | CONNECTION_READY |          \
     CONNECTION_ACTOR_WAITING | CONNECTION_DRAINING | CONNECTION_UNFINISHED | CONNECTION_BLOCKED | \
     CONNECTION_TLS | CONNECTION_HELD)

/* Those that are handed more than replies. */
#define LISTENS (CONNECTION_SUBSCRIBED | CONNECTION_TRACKING | CONNECTION_MONITOR)

static void on_event(evutil_socket_t fd, short what, void *arg);

/* ---- waiting ---- */

static void set_wait(connection *c, connection_wait wait)
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
                 on_event, c);
    if (event_add(&c->event, NULL) != 0) {
        c->wait = CONNECTION_NOTHING;
        connection_close(c);
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
    c->owner = w;
    c->fd = fd;
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
    set_wait(c, CONNECTION_READ);
    return c;
}

static void drop_input(connection *c)
{
    if (!c->input)
        return;
    resp_parser_done(&c->input->parser);
    free(c->input->data);
    free(c->input);
    c->input = NULL;
}

static void drop_pending(connection *c)
{
    if (c->pending)
        output_done(c->pending);
    free(c->pending);
    c->pending = NULL;
    c->over_soft_since_ms = 0;
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
    drop_pending(c);
    kv_bytes_unref(c->mail);
    c->mail = NULL;
    monitor_leave(c);
    pubsub_forget(c);
    tracking_leave(c);
    memory_forget_client(c);
    unlink_from_owner(c);
    atomic_fetch_sub_explicit(&w->connection_count, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&w->server->client_count, 1, memory_order_relaxed);
    if (c->tls)
        tls_end(c->tls);
    close(c->fd); /* last: who sees the connection end finds nothing of it counted any more */
    c->fd = -1;
    c->next_doomed = w->doomed;
    w->doomed = c;
}

void connection_free(connection *c)
{
    if (!c)
        return;
    multi_end(c);
    acl_session_end(c);
    rest_end(c);
    drop_input(c);
    drop_pending(c);
    actor_batch_free(c->unfinished);
    tls_session_free(c->tls);
    if (c->names) {
        free(c->names->name);
        free(c->names->library);
        free(c->names->library_version);
    }
    free(c->names);
    free(c);
}

/* ---- output ---- */

output *connection_output(connection *c)
{
    return c->pending ? c->pending : &c->owner->out;
}

/* Whether c may leave unread what is pending; limits of 0 bytes are none. */
static bool within_limits(connection *c)
{
    worker *w = c->owner;
    bool listens = c->flags & CONNECTION_SUBSCRIBED;
    config_output_limit limit =
        config_client_limit(w->server->config, listens ? CONFIG_PUBSUB : CONFIG_NORMAL);
    size_t bytes = c->flags & LISTENS ? output_unsent(c->pending) : output_excess(c->pending);

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

static void close_for_output(connection *c)
{
    worker *w = c->owner;

    stats_add(&w->stats.output_limit_disconnections, 1);
    log_limited(&w->server->log, LOG_CLIENT_LIMIT, CONFIG_LOG_WARNING,
                "Client id=%llu closed for overcoming of output buffer limits.", (unsigned long long)c->id);
    connection_close(c);
}

/* Moves what the socket did not take from the worker's output to c. */
static bool keep_pending(connection *c)
{
    if (!c->pending)
        c->pending = calloc(1, sizeof *c->pending);
    if (!c->pending)
        return false;
    output_move(c->pending, &c->owner->out);
    return !c->pending->failed;
}

/* Whether requests may be kept that come before the replies to earlier ones were taken. */
static bool may_read_ahead(const connection *c)
{
    config_output_limit limit = config_client_limit(c->owner->server->config, CONFIG_NORMAL);
    size_t kept = output_excess(c->pending) + (c->input ? c->input->len : 0);

    if (c->owner->draining || (c->flags & (CONNECTION_PARKED | CONNECTION_ACTOR_WAITING |
                                           CONNECTION_CLOSE_AFTER | CONNECTION_HALF_CLOSED)))
        return false;
    return (c->flags & CONNECTION_AUTHENTICATED) && (!limit.soft_bytes || kept < (size_t)limit.soft_bytes);
}

/* Nothing is unfinished: c waits for requests. What TLS has decrypted already, no socket tells of. */
static void wait_for_requests(connection *c)
{
    if (!c->tls)
        set_wait(c, CONNECTION_READ);
    else if (tls_has_input(c->tls))
        connection_run_later(c);
    else
        set_wait(c, tls_reading_wants_write(c->tls) ? CONNECTION_BOTH : CONNECTION_READ);
}

/* What c waits for, now that its output was sent as far as possible. */
static void wait_for_next(connection *c)
{
    worker *w = c->owner;
    bool busy = c->flags & (CONNECTION_PARKED | CONNECTION_ACTOR_WAITING);

    if (c->pending || c->input || c->counted_bytes > UNCOUNTED)
        memory_count_client(c);
    if (c->flags & CONNECTION_CLOSING)
        return;
    if (c->flags & CONNECTION_HELD) {
        set_wait(c, c->pending && may_read_ahead(c) ? CONNECTION_READ : CONNECTION_NOTHING);
    } else if (c->pending) {
        set_wait(c, may_read_ahead(c) ? CONNECTION_BOTH : CONNECTION_WRITE);
    } else if (c->flags & CONNECTION_BLOCKED) {
        /* It is read from, so that its end is noticed. */
        set_wait(c, c->input && c->input->len >= BLOCKED_INPUT ? CONNECTION_NOTHING : CONNECTION_READ);
    } else if (busy) {
        /* A readable event, if there is one, ends the waiting for it: see on_event. */
        if (c->wait == CONNECTION_WRITE || c->wait == CONNECTION_BOTH)
            set_wait(c, CONNECTION_NOTHING);
    } else if (c->flags & (CONNECTION_READY | CONNECTION_UNFINISHED)) {
        connection_run_later(c);
    } else if (w->draining) {
        connection_close(c);
    } else {
        wait_for_requests(c);
    }
}

/* The common case: a few replies, which the socket takes at once, and nothing else to decide. False: it is
 * not that, or not wholly; then flush does the rest. */
static inline bool flush_at_once(connection *c)
{
    worker *w = c->owner;
    output *out = &w->out;
    ssize_t n;

    if (c->pending || out->reference_count || out->failed || out->len == 0 || (c->flags & UNCOMMON))
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
        wait_for_next(c);
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
    if (c->pending && !within_limits(c))
        close_for_output(c);
    else
        wait_for_next(c);
    return true;
}

void connection_flush(connection *c)
{
    if (__builtin_expect(c->owner->guarded, 0) && hold_output(c))
        return;
    connection_send_held(c);
}

void connection_send_held(connection *c)
{
    worker *w = c->owner;
    output *out = connection_output(c);
    output_status status = OUTPUT_EMPTY;
    size_t sent = 0;

    if (flush_at_once(c))
        return;
    if (c->flags & CONNECTION_CLOSING) {
        output_reset(&w->out, OUTPUT_KEEP);
        return;
    }
    if (out->failed) {
        output_reset(&w->out, OUTPUT_KEEP);
        close_for_output(c);
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
        drop_pending(c);
    output_reset(&w->out, OUTPUT_KEEP);
    if (status == OUTPUT_BROKEN ||
        (status == OUTPUT_EMPTY &&
         (c->flags & (CONNECTION_CLOSE_AFTER | CONNECTION_UNFINISHED)) == CONNECTION_CLOSE_AFTER))
        connection_close(c);
    else if (c->pending && !within_limits(c))
        close_for_output(c);
    else
        wait_for_next(c);
}

/* ---- running requests ---- */

static void fail_protocol(connection *c, const char *reason)
{
    worker *w = c->owner;

    log_limited(&w->server->log, LOG_PROTOCOL, CONFIG_LOG_VERBOSE, "Protocol error from client id=%llu: %s",
                (unsigned long long)c->id, reason);
    resp_reply_set_protocol(&w->reply, c->protocol);
    w->reply.out = connection_output(c);
    w->call.command = NULL;
    kv_reply_errorf(&w->reply.base, "ERR %s", reason);
    c->flags |= CONNECTION_CLOSE_AFTER;
}

/* Whether c has had its share of this turn. */
static bool turn_is_over(connection *c)
{
    return output_unsent(connection_output(c)) >= OUTPUT_ENOUGH || clock_ms() - c->owner->turn_ms >= TURN_MS;
}

/* Runs the whole requests in data. Returns how many bytes are done with. What is left begins with a
 * request that parser has half understood, or, with READY set, with a whole one. */
static size_t run_requests(connection *c, resp_parser *parser, char *data, size_t len)
{
    worker *w = c->owner;
    resp_limits limits = {
        .bulk_max = config_number(w->server->config, CONFIG_ID_proto_max_bulk_len),
        .authenticated = (c->flags & CONNECTION_AUTHENTICATED) != 0,
    };
    size_t done = 0;

    c->flags &= ~(unsigned)CONNECTION_READY;
    for (;;) {
        batch *b = &w->batch;
        batch_end end = batch_parse(b, parser, &limits, w->server->domain, data + done, len - done);
        int ran = dispatch_batch(c, b);

        if (c->flags & (CONNECTION_CLOSING | CONNECTION_CLOSE_AFTER))
            return len;
        if (ran < b->count) {
            resp_parser_reset(parser);
            c->flags |= CONNECTION_READY;
            return done + (ran ? b->requests[ran - 1].end : 0);
        }
        done += b->used;
        if (end == BATCH_MORE)
            return done;
        if ((c->flags & (CONNECTION_PARKED | CONNECTION_BLOCKED | CONNECTION_UNFINISHED)) ||
            (end == BATCH_FULL && turn_is_over(c))) {
            c->flags |= done < len ? CONNECTION_READY : 0;
            return done;
        }
        if (end != BATCH_FULL) {
            fail_protocol(c, end == BATCH_ERROR ? parser->error : "out of memory");
            return len;
        }
        limits.authenticated = (c->flags & CONNECTION_AUTHENTICATED) != 0;
    }
}

/* ---- input ---- */

/* Makes room for more bytes behind those that are kept, and the slack. */
static bool grow_input(connection_input *in, size_t more)
{
    size_t capacity;
    char *data;

    if (in->start && in->start + in->len + more + RESP_SLACK > in->capacity) {
        memmove(in->data, in->data + in->start, in->len);
        in->start = 0;
    }
    if (in->start + in->len + more + RESP_SLACK <= in->capacity)
        return true;
    capacity = in->len + more + RESP_SLACK;
    data = realloc(in->data, capacity);
    if (!data)
        return false;
    in->data = data;
    in->capacity = capacity;
    return true;
}

/* Keeps a tail of the worker's buffer. */
static bool keep_tail(connection *c, const char *tail, size_t len)
{
    worker *w = c->owner;

    if (!c->input)
        c->input = calloc(1, sizeof *c->input);
    if (!c->input || !grow_input(c->input, len))
        return false;
    memcpy(c->input->data + c->input->start + c->input->len, tail, len);
    c->input->len += len;
    if (len > TAIL_SHORT && !(c->flags & CONNECTION_READY)) {
        c->input->parser = w->parser;
        memset(&w->parser, 0, sizeof w->parser);
    }
    resp_parser_reset(&w->parser);
    return true;
}

void connection_close_for_memory(connection *c)
{
    log_limited(&c->owner->server->log, LOG_CLIENT_LIMIT, CONFIG_LOG_WARNING,
                "Out of memory for client id=%llu, closed.", (unsigned long long)c->id);
    connection_close(c);
}

/* Runs what the worker's buffer holds. */
static void run_shared(connection *c, size_t len)
{
    worker *w = c->owner;
    size_t done;

    drop_input(c);
    w->input_len = len;
    done = run_requests(c, &w->parser, w->input, len);
    if (c->flags & (CONNECTION_CLOSING | CONNECTION_CLOSE_AFTER))
        resp_parser_reset(&w->parser);
    else if (done < len && !keep_tail(c, w->input + done, len - done))
        connection_close_for_memory(c);
    connection_flush(c);
}

/* Runs what c->input holds. */
static void run_own(connection *c)
{
    connection_input *in = c->input;
    size_t done = run_requests(c, &in->parser, in->data + in->start, in->len);

    if (!(c->flags & CONNECTION_CLOSING)) {
        in->start += done;
        in->len -= done;
        if (in->len == 0)
            drop_input(c);
    }
    connection_flush(c);
}

static void read_more(connection *c);

void connection_resume(connection *c)
{
    if (c->flags & LISTENS)
        pubsub_send(c->owner);
    if (c->flags & (CONNECTION_CLOSING | CONNECTION_PARKED | CONNECTION_ACTOR_WAITING | CONNECTION_BLOCKED |
                    CONNECTION_HELD) ||
        c->pending)
        return;
    if (c->flags & CONNECTION_UNFINISHED) {
        dispatch_go_on(c);
        connection_flush(c);
    } else if (c->unfinished)
        actor_batch_continue(c);
    else if (c->input && (c->flags & CONNECTION_READY))
        run_own(c);
    else if (c->tls && tls_has_input(c->tls) && !c->owner->draining)
        read_more(c);
    else {
        c->flags &= ~(unsigned)CONNECTION_READY;
        connection_flush(c);
    }
}

/* How many bytes to make room for: what the argument under way still needs, but never more than
 * has arrived so far. */
static size_t wanted_bytes(const connection_input *in)
{
    const resp_parser *parser = &in->parser;
    size_t most = in->len < READ_MAX ? in->len : READ_MAX, missing = most;

    if (parser->base && parser->in_bulk)
        missing = parser->position + parser->bulk_len + 2 - in->len;
    return missing < most && missing > 0 ? missing : most;
}

static inline ssize_t receive(connection *c, void *data, size_t size)
{
    if (__builtin_expect(c->flags & CONNECTION_TLS, 0))
        return tls_receive(c->tls, data, size);
    return socket_receive(c->fd, data, size);
}

/* Looks at what recv said. 0: nothing to run. */
static inline size_t received(connection *c, ssize_t n)
{
    worker *w = c->owner;

    stats_add(&w->stats.reads, 1);
    if (n > 0) {
        stats_add(&w->stats.input_bytes, (uint64_t)n);
        c->active_ms = w->now_ms;
        return (size_t)n;
    }
    if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR))
        connection_close(c);
    return 0;
}

/* A socket that was readable is waited for already; TLS may have been asked without. */
static void read_nothing(connection *c)
{
    if (c->tls && !(c->flags & CONNECTION_CLOSING))
        wait_for_next(c);
}

static void read_own(connection *c)
{
    connection_input *in = c->input;
    size_t limit = (size_t)config_number(c->owner->server->config, CONFIG_ID_client_query_buffer_limit);
    size_t room = wanted_bytes(in), n;

    if (in->len >= limit) {
        stats_add(&c->owner->stats.query_limit_disconnections, 1);
        log_limited(&c->owner->server->log, LOG_CLIENT_LIMIT, CONFIG_LOG_WARNING,
                    "Closing client that reached max query buffer length: id=%llu",
                    (unsigned long long)c->id);
        connection_close(c);
        return;
    }
    if (!grow_input(in, room)) {
        connection_close_for_memory(c);
        return;
    }
    n = received(c, receive(c, in->data + in->start + in->len, room));
    in->len += n;
    if (n)
        run_own(c);
    else
        read_nothing(c);
}

static void read_shared(connection *c)
{
    worker *w = c->owner;
    size_t kept = c->input ? c->input->len : 0, n;

    if (kept)
        memcpy(w->input, c->input->data + c->input->start, kept);
    n = received(c, receive(c, w->input + kept, WORKER_INPUT_BYTES - kept));
    if (n)
        run_shared(c, kept + n);
    else
        read_nothing(c);
}

/* Keeps what arrives while the client has replies to take. The end of the stream is left for later: its replies
 * are sent first. */
static void read_ahead(connection *c)
{
    ssize_t n;

    if (!c->input)
        c->input = calloc(1, sizeof *c->input);
    if (!c->input || !grow_input(c->input, AHEAD_BYTES)) {
        connection_close_for_memory(c);
        return;
    }
    n = receive(c, c->input->data + c->input->start + c->input->len, AHEAD_BYTES);
    if (n == 0 && c->pending)
        c->flags |= CONNECTION_HALF_CLOSED;
    else
        n = (ssize_t)received(c, n);
    if (c->flags & CONNECTION_CLOSING)
        return;
    c->input->len += (size_t)n;
    if (c->input->len > 0)
        c->flags |= CONNECTION_READY;
    else
        drop_input(c);
    wait_for_next(c);
}

#define BUSY (CONNECTION_PARKED | CONNECTION_RUNNABLE | CONNECTION_ACTOR_WAITING | CONNECTION_HELD)

static inline __attribute__((always_inline)) void read_requests(connection *c)
{
    if (c->pending)
        read_ahead(c);
    else if (c->flags & BUSY)
        set_wait(c, CONNECTION_NOTHING);
    else if (c->input && c->input->len > TAIL_SHORT)
        read_own(c);
    else
        read_shared(c);
}

/* The same for who is not in a hurry: only on_event has a copy of its own. */
static __attribute__((noinline)) void read_more(connection *c)
{
    read_requests(c);
}

/* What was published comes before what is answered now. */
static void read_subscriber(connection *c)
{
    pubsub_send(c->owner);
    if (!(c->flags & CONNECTION_CLOSING))
        read_more(c);
}

/* Goes on with the handshake; what came behind it is read at once. */
static void shake_hands(connection *c)
{
    server *s = c->owner->server;
    char address[CONNECTION_ADDRESS_MAX];
    const char *reason = NULL;

    switch (tls_handshake(c->tls, &reason)) {
    case TLS_DONE:
        c->flags &= ~(unsigned)CONNECTION_HANDSHAKE;
        c->active_ms = c->owner->now_ms;
        read_more(c);
        return;
    case TLS_WANTS_READ:
        set_wait(c, CONNECTION_READ);
        return;
    case TLS_WANTS_WRITE:
        set_wait(c, CONNECTION_WRITE);
        return;
    default:
        connection_address(c, address);
        log_limited(&s->log, LOG_ACCEPT, CONFIG_LOG_VERBOSE,
                    "Error accepting a client connection: %s (addr=%s)", reason, address);
        connection_close(c);
    }
}

/* Those whose events mean more than requests. */
static __attribute__((noinline)) void read_special(connection *c)
{
    if (c->flags & CONNECTION_HANDSHAKE)
        shake_hands(c);
    else if (c->flags & LISTENS)
        read_subscriber(c);
    else
        read_more(c);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    connection *c = arg;

    (void)fd;
    worker_begin(c->owner);
    if ((what & EV_WRITE) && !(c->tls && !c->pending))
        connection_flush(c);
    else if (c->flags & (LISTENS | CONNECTION_TLS))
        read_special(c);
    else
        read_requests(c);
}

/* ---- mail ---- */

#define MAIL_COPIED 512 /* behind other output, mail up to here is copied: a reference costs as much */

static void append_mail(output *out, kv_bytes *bytes)
{
    kv_slice slice = kv_bytes_slice(bytes);
    char *room;

    if (slice.len > MAIL_COPIED) {
        output_reference(out, bytes, slice);
        return;
    }
    room = output_room(out, slice.len);
    if (!room)
        return;
    memcpy(room, slice.data, slice.len);
    output_commit(out, slice.len);
}

/* Puts c->mail, but for its first sent bytes, behind what is pending. */
static bool move_mail(connection *c, size_t sent)
{
    kv_slice slice;

    if (!c->pending)
        c->pending = calloc(1, sizeof *c->pending);
    if (!c->pending)
        return false;
    if (c->mail) {
        slice = kv_bytes_slice(c->mail);
        output_reference(c->pending, c->mail, kv_slice_of(slice.data + sent, slice.len - sent));
        kv_bytes_unref(c->mail);
        c->mail = NULL;
    }
    return !c->pending->failed;
}

void connection_mail(connection *c, kv_bytes *bytes, bool serving)
{
    if (c->flags & (CONNECTION_CLOSING | CONNECTION_CLOSE_AFTER))
        return;
    if (serving) {
        append_mail(connection_output(c), bytes);
        return;
    }
    pubsub_mailed(c);
    if (!c->pending && !c->mail) {
        c->mail = kv_bytes_ref(bytes);
        return;
    }
    if (!move_mail(c, 0)) {
        connection_close_for_memory(c);
        return;
    }
    append_mail(c->pending, bytes);
    if (c->pending->failed || !within_limits(c))
        close_for_output(c);
    else
        memory_count_client(c);
}

/* The common case: nothing else is pending, and the socket takes all of it at once. False: it did not, c is closed or has
 * it pending. */
static bool send_mail_at_once(connection *c)
{
    worker *w = c->owner;
    kv_slice slice = kv_bytes_slice(c->mail);
    ssize_t n = c->tls ? tls_send(c->tls, slice.data, slice.len) : socket_send(c->fd, slice.data, slice.len);

    stats_add(&w->stats.writes, 1);
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
        connection_close(c);
        return false;
    }
    n = n < 0 ? 0 : n;
    stats_add(&w->stats.output_bytes, (uint64_t)n);
    if ((size_t)n == slice.len) {
        kv_bytes_unref(c->mail);
        c->mail = NULL;
        c->active_ms = w->now_ms;
        return true;
    }
    if (!move_mail(c, (size_t)n))
        connection_close_for_memory(c);
    else if (!within_limits(c))
        close_for_output(c);
    return false;
}

/* What it was handed may tell of changes that are not yet in the log. False: it may be sent. */
static bool hold_mail(connection *c)
{
    if (!aof_hold(c))
        return false;
    if (c->flags & CONNECTION_CLOSING)
        return true;
    if (!move_mail(c, 0))
        connection_close_for_memory(c);
    else if (!within_limits(c))
        close_for_output(c);
    else
        wait_for_next(c);
    return true;
}

void connection_send_mail(connection *c)
{
    if (c->flags & CONNECTION_CLOSING || (__builtin_expect(c->owner->guarded, 0) && hold_mail(c)))
        return;
    if (c->mail && !c->pending) {
        if (!send_mail_at_once(c) && !(c->flags & CONNECTION_CLOSING))
            wait_for_next(c);
        return;
    }
    if (!move_mail(c, 0))
        connection_close_for_memory(c);
    else if (c->wait != CONNECTION_WRITE && c->wait != CONNECTION_BOTH)
        connection_flush(c);
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
    else if (c->pending && !within_limits(c))
        close_for_output(c);
    else if (timeout_s && !c->in_flight && !(c->flags & CONNECTION_BLOCKED) &&
             !(c->flags & (CONNECTION_SUBSCRIBED | CONNECTION_MONITOR)) &&
             w->now_ms - c->active_ms > timeout_s * 1000) {
        log_write(&w->server->log, CONFIG_LOG_VERBOSE, "Closing idle client id=%llu",
                  (unsigned long long)c->id);
        connection_close(c);
    }
}

/* ---- what CLIENT LIST tells ---- */

connection_names *connection_names_of(connection *c)
{
    if (!c->names)
        c->names = calloc(1, sizeof *c->names);
    return c->names;
}

static void write_address(const connection *c, const struct sockaddr_storage *from,
                          char address[CONNECTION_ADDRESS_MAX])
{
    char ip[INET6_ADDRSTRLEN] = "?";

    if (from->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)from;

        inet_ntop(AF_INET, &in->sin_addr, ip, sizeof ip);
        snprintf(address, CONNECTION_ADDRESS_MAX, "%s:%d", ip, ntohs(in->sin_port));
    } else if (from->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)from;

        inet_ntop(AF_INET6, &in->sin6_addr, ip, sizeof ip);
        snprintf(address, CONNECTION_ADDRESS_MAX, "[%s]:%d", ip, ntohs(in->sin6_port));
    } else {
        snprintf(address, CONNECTION_ADDRESS_MAX, "%.108s:0", c->owner->server->listener.unix_path);
    }
}

void connection_address(const connection *c, char address[CONNECTION_ADDRESS_MAX])
{
    struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof from;

    if (getpeername(c->fd, (struct sockaddr *)&from, &len) != 0 && !(c->flags & CONNECTION_UNIX))
        snprintf(address, CONNECTION_ADDRESS_MAX, "?:0");
    else
        write_address(c, &from, address);
}

void connection_local_address(const connection *c, char address[CONNECTION_ADDRESS_MAX])
{
    struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof from;

    getsockname(c->fd, (struct sockaddr *)&from, &len);
    write_address(c, &from, address);
}

/* The arguments of a request that has arrived in part, as far as the parser knows them. */
static size_t partial_arguments(const connection_input *in)
{
    size_t bytes = 0;

    for (int i = 0; in && in->parser.base && i < in->parser.argc; i++)
        bytes += in->parser.argv[i].len;
    return bytes;
}

void connection_usage(const connection *c, connection_use *ret_use)
{
    const connection_input *in = c->input;
    const output *pending = c->pending;

    *ret_use = (connection_use){ .argument_bytes = partial_arguments(in) };
    if (in) {
        ret_use->query_bytes = in->len;
        ret_use->query_free_bytes = in->capacity - in->len;
    }
    if (pending) {
        ret_use->list_length = pending->reference_count - pending->references_sent;
        ret_use->list_length += pending->len > pending->sent;
        ret_use->list_bytes = pending->capacity + pending->reference_bytes +
                              pending->reference_capacity * sizeof *pending->references;
    }
    ret_use->total_bytes =
        connection_memory(c) + (pending ? pending->reference_bytes : 0) + ret_use->argument_bytes;
}

void connection_usage_running(const connection *c, const kv_call *call, connection_use *ret_use)
{
    const worker *w = c->owner;

    connection_usage(c, ret_use);
    ret_use->argument_bytes = 0;
    for (int i = 0; i < call->argc; i++)
        ret_use->argument_bytes += call->argv[i].len;
    if (!c->input) {
        ret_use->query_bytes = w->input_len;
        ret_use->query_free_bytes = WORKER_INPUT_BYTES - w->input_len;
        ret_use->total_bytes += WORKER_INPUT_BYTES;
    }
    ret_use->buffer_size = ret_use->buffer_peak = w->out.capacity;
    ret_use->buffer_bytes = output_unsent(&w->out);
    ret_use->total_bytes += ret_use->argument_bytes + w->out.capacity + w->out.reference_bytes;
}

size_t connection_memory(const connection *c)
{
    const output *pending = c->pending;
    size_t bytes = sizeof *c + (c->names ? sizeof *c->names : 0) + multi_memory(c) + rest_memory(c) +
                   tracking_memory_of(c);

    if (c->input)
        bytes += sizeof *c->input + c->input->capacity;
    if (pending)
        bytes +=
            sizeof *pending + pending->capacity + pending->reference_capacity * sizeof *pending->references;
    if (c->subscriber)
        bytes += sizeof *c->subscriber + c->subscriber->bytes;
    if (c->tls)
        bytes += tls_session_memory(c->tls);
    return bytes;
}
