/* connection_input.c - reading from one client, keeping what is unfinished, and running the whole requests.
 *
 *     readable --recv--> worker's buffer --> batch_parse --> dispatch_batch --> connection_flush
 *                             ^   | unfinished tail              | stopped: output full, parked, end of the share
 *                  next read  |   v                              v
 *                             c->input                      c->input, READY  --> connection_resume
 *
 * One short request by itself waits for those of other clients that can be read in the same pass, see gather.c.
 *
 * A short tail is copied back in front of the worker's buffer at the next read; a long one (a request of many arguments)
 * stays in c->input, which grows with what arrives, never with what was announced, and keeps the parser's knowledge of
 * it. A long argument goes past that, into memory of its own that a command may store as it is (resp_long.c): no
 * command has it to copy, however long it is.
 *
 * Fairness: one read of at most 128 KiB (1 MiB into a long argument) a turn, and after TURN_MS the rest of it
 * waits in the runnable list for the next turn.
 *
 * Cost: the common event (a client without pending output, no TLS, nothing to listen to) is one copy of
 * read_requests of its own, which has no call in it but those that do the work.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>

#include "actor_batch.h"
#include "connection_internal.h"
#include "dispatch.h"
#include "memory.h"
#include "pubsub.h"
#include "replica.h"
#include "server.h"
#include "socket_io.h"
#include "tls.h"

#define TAIL_SHORT    (16 * 1024)       /* tails up to here go through the worker's buffer */
#define READ_MAX      (1024 * 1024)     /* bytes of one read into c->input */
#define AHEAD_BYTES   (64 * 1024)       /* of one read while replies are pending */
#define COUNTED_INPUT (64 * 1024)       /* a request of so many bytes is counted before it runs */
#define LATER_BYTES   (4 * 1024 * 1024) /* of a buffer that the kernel takes too long to take back */
#define TURN_MS       5

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

/* A request with arguments that are not in the input began what is at data, and so is the only one of its batch: when it has to wait,
 * it is not parsed again. */
static void keep_waiting(const batch *b, resp_parser *parser, const char *data)
{
    if (parser->owned.count)
        resp_parser_repeat(parser, data, b->requests[0].end);
    else
        resp_parser_reset(parser);
}

/* Runs the whole requests in data. Returns how many bytes are done with. What is left begins with a
 * request that parser has half understood, or, with READY set, with a whole one. */
__attribute__((always_inline)) static inline size_t run_requests(connection *c, resp_parser *parser,
                                                                 char *data, size_t len)
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
            keep_waiting(b, parser, data + done);
            c->flags |= CONNECTION_READY;
            return done + (ran ? b->requests[ran - 1].end : 0);
        }
        if (__builtin_expect(parser->owned.count && !parser->base, 0))
            resp_drop_own(parser);
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

/* ---- what is kept ---- */

void connection_drop_input(connection *c)
{
    if (!c->input)
        return;
    resp_parser_done(&c->input->parser);
    if (c->input->capacity >= LATER_BYTES)
        domain_defer(c->owner->server->domain, free, c->input->data);
    else
        free(c->input->data);
    free(c->input);
    c->input = NULL;
}

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

/* Where long arguments of c go. */
static account *account_of(const connection *c)
{
    return domain_account(c->owner->server->domain);
}

/* Moves what c->input has of a long argument to where that belongs. False: memory is out. */
static bool absorb(connection *c)
{
    connection_input *in = c->input;
    size_t before = in->parser.position, after;
    char *at = in->data + in->start + before;
    ptrdiff_t n = resp_long_absorb(&in->parser, account_of(c), at, in->len - before);

    if (n < 0)
        return false;
    in->len -= (size_t)n;
    after = in->len - before;
    if (after <= before) {
        memmove(at, at + n, after);
    } else { /* the shorter part moves */
        memmove(in->data + in->start + n, in->data + in->start, before);
        in->start += (size_t)n;
    }
    return true;
}

/* Keeps a tail of the worker's buffer. */
static bool keep_tail(connection *c, const char *tail, size_t len)
{
    worker *w = c->owner;
    bool known = !(c->flags & CONNECTION_READY), in_long = known && resp_in_long(&w->parser, KV_OWNED_MIN);
    size_t head = in_long ? w->parser.position : len;
    connection_input *in;

    if (!c->input)
        c->input = calloc(1, sizeof *c->input);
    in = c->input;
    if (!in || !grow_input(in, head))
        return false;
    memcpy(in->data + in->start + in->len, tail, head);
    in->len += head;
    if (known && (in_long || len > TAIL_SHORT)) {
        in->parser = w->parser;
        memset(&w->parser, 0, sizeof w->parser);
    }
    resp_parser_reset(&w->parser);
    return !in_long || resp_long_absorb(&in->parser, account_of(c), tail + head, len - head) >= 0;
}

/* Runs what the worker's buffer holds at data. */
__attribute__((always_inline)) static inline void run_shared(connection *c, char *data, size_t len)
{
    worker *w = c->owner;
    size_t done;

    w->input_len = len;
    done = run_requests(c, &w->parser, data, len);
    if (c->flags & (CONNECTION_CLOSING | CONNECTION_CLOSE_AFTER))
        resp_parser_reset(&w->parser);
    else if (done < len && !keep_tail(c, data + done, len - done))
        connection_close_for_memory(c);
    connection_flush(c);
}

__attribute__((noinline)) void connection_run_input(connection *c, char *data, size_t len)
{
    run_shared(c, data, len);
}

/* Runs what c->input holds. */
__attribute__((noinline)) static void run_own(connection *c)
{
    connection_input *in = c->input;
    size_t done;

    if (resp_in_long(&in->parser, KV_OWNED_MIN) && !absorb(c)) { /* what was read ahead */
        connection_close_for_memory(c);
        return;
    }
    done = run_requests(c, &in->parser, in->data + in->start, in->len);
    if (!(c->flags & CONNECTION_CLOSING)) {
        in->start += done;
        in->len -= done;
        if (in->len == 0)
            connection_drop_input(c);
        else if (resp_in_long(&in->parser, KV_OWNED_MIN) && !absorb(c))
            connection_close_for_memory(c);
    }
    connection_flush(c);
}

static void read_more(connection *c);

void connection_resume(connection *c)
{
    if (c->flags & CONNECTION_LISTENS)
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

/* ---- reading ---- */

/* How many bytes to make room for: what the argument under way still needs, but never more than
 * has arrived so far, or is next to nothing. */
static size_t wanted_bytes(const connection_input *in)
{
    const resp_parser *parser = &in->parser;
    size_t most = in->len < READ_MAX ? in->len : READ_MAX, missing;

    if (most < TAIL_SHORT)
        most = TAIL_SHORT;
    missing = most;
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
        if (__builtin_expect(c->replica != NULL, 0))
            replica_heard(c);
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
        connection_wait_next(c);
}

/* What has arrived of the request under way, and what came behind it. */
static size_t arrived_bytes(const connection_input *in)
{
    return in->len + resp_own_arrived(&in->parser);
}

/* Reads once into what grows. False: memory is out. */
static bool read_into(connection *c, size_t *ret_n)
{
    connection_input *in = c->input;
    size_t room = wanted_bytes(in);
    char *to;

    if (resp_in_long(&in->parser, KV_OWNED_MIN)) {
        to = resp_long_room(&in->parser, account_of(c), READ_MAX, &room);
        if (!to)
            return false;
        *ret_n = received(c, receive(c, to, room));
        return (c->flags & CONNECTION_CLOSING) || resp_long_received(&in->parser, *ret_n);
    }
    if (!grow_input(in, room))
        return false;
    *ret_n = received(c, receive(c, in->data + in->start + in->len, room));
    in->len += *ret_n;
    return true;
}

__attribute__((noinline)) static void read_own(connection *c)
{
    size_t limit = (size_t)config_number(c->owner->server->config, CONFIG_ID_client_query_buffer_limit), n;

    if (arrived_bytes(c->input) >= limit) {
        stats_add(&c->owner->stats.query_limit_disconnections, 1);
        log_limited(&c->owner->server->log, LOG_CLIENT_LIMIT, CONFIG_LOG_WARNING,
                    "Closing client that reached max query buffer length: id=%llu",
                    (unsigned long long)c->id);
        connection_close(c);
        return;
    }
    if (!read_into(c, &n)) {
        connection_close_for_memory(c);
        return;
    }
    if (n &&
        arrived_bytes(c->input) > COUNTED_INPUT) /* once it has run, nothing of it is left to be counted */
        memory_count_client(c);
    if (c->flags & CONNECTION_CLOSING)
        return;
    if (n)
        run_own(c);
    else
        read_nothing(c);
}

__attribute__((always_inline)) static inline void read_shared(connection *c)
{
    worker *w = c->owner;
    char *data = w->input + w->gathering.used;
    size_t kept = c->input ? c->input->len : 0, n;

    if (kept)
        memcpy(data, c->input->data + c->input->start, kept);
    n = received(c, receive(c, data + kept, WORKER_INPUT_BYTES - w->gathering.used - kept));
    if (n == 0) {
        read_nothing(c);
        return;
    }
    if (__builtin_expect(c->input != NULL, 0))
        connection_drop_input(c);
    if (!gather_add(c, data, kept + n))
        run_shared(c, data, kept + n);
}

/* Keeps what arrives while the client has replies to take, or waits for one. The end of the stream is left for later: its
 * replies are sent first. */
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
        connection_drop_input(c);
    connection_wait_next(c);
}

#define BUSY (CONNECTION_PARKED | CONNECTION_RUNNABLE | CONNECTION_ACTOR_WAITING | CONNECTION_HELD)

/* No request of c may run now. One that is blocked is read from, so that its end is noticed. */
static __attribute__((noinline)) void read_busy(connection *c)
{
    if (c->flags & BUSY)
        connection_wait_for(c, CONNECTION_NOTHING);
    else
        read_ahead(c);
}

static inline __attribute__((always_inline)) void read_requests(connection *c)
{
    if (c->pending)
        read_ahead(c);
    else if (c->flags & (BUSY | CONNECTION_BLOCKED))
        read_busy(c);
    else if (c->input && (c->input->len > TAIL_SHORT || resp_has_own(&c->input->parser)))
        read_own(c);
    else
        read_shared(c);
}

/* The same for who is not in a hurry: only connection_on_event has a copy of its own. */
static __attribute__((noinline)) void read_more(connection *c)
{
    read_requests(c);
}

/* ---- events ---- */

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
        c->tls_bytes = (unsigned)tls_session_memory(c->tls);
        read_more(c);
        return;
    case TLS_WANTS_READ:
        connection_wait_for(c, CONNECTION_READ);
        return;
    case TLS_WANTS_WRITE:
        connection_wait_for(c, CONNECTION_WRITE);
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
    else if (c->flags & CONNECTION_LISTENS)
        read_subscriber(c);
    else
        read_more(c);
}

void connection_on_event(evutil_socket_t fd, short what, void *arg)
{
    connection *c = arg;

    (void)fd;
    worker_begin(c->owner);
    if ((what & EV_WRITE) && !(c->tls && !c->pending))
        connection_flush(c);
    else if (c->flags & (CONNECTION_LISTENS | CONNECTION_TLS))
        read_special(c);
    else
        read_requests(c);
}
