/* actor_batch.c - see actor_batch.h.
 *
 * The requests of a batch point into a worker's buffer, which the next connection overwrites, so they are
 * copied, once, into one block together with the room for their replies:
 *
 *     actor_batch | requests | slices | bytes          output: grows on the state thread
 *
 *     worker: copy, post, park c --> state thread: run all, format the replies --> worker: append, send, go on
 *
 * A batch whose replies have become many stops early; its rest stays with the connection, and is posted again when
 * the client has taken them (connection_resume). So does one with a command that is run in parts (kv_rest): between two of
 * them it makes the way to the worker and back, and others have their turn.
 *
 * Order is kept by parking: a connection has at most one batch under way. Each worker has a fixed share
 * of the queue's capacity, so posting never fails; a connection that finds the share used up waits in a list for
 * a batch of its worker to return.
 *
 * Replies and errors are counted in the stats of the state thread. SPDX-License-Identifier: MIT */
#include "actor_batch.h"

#include <stdlib.h>

#include "acl_session.h"
#include "arguments.h"
#include "dispatch.h"
#include "monitor.h"
#include "server.h"
#include "tracking.h"

struct actor_batch {
    actor_errand errand; /* first */
    int count, ran;
    kv_rest *rest;  /* what is left of requests[ran], or NULL */
    output replies; /* of its parts so far */
    kv_owned owned; /* of the arguments, what is not copied */
    request requests[];
};

/* Who is anything but authenticated has its requests run one by one (dispatch_session). */
#define SPECIAL                                                                                \
    (CONNECTION_AUTHENTICATED | CONNECTION_RESTRICTED | CONNECTION_MULTI | CONNECTION_PAUSED | \
     CONNECTION_MONITOR)

static server *server_of(const actor_errand *e)
{
    return e->w->server;
}

/* ---- on the state thread ---- */

static void count_error(void *arg, kv_slice text)
{
    actor_errand *e = arg;
    stats *s = &server_of(e)->actor_stats;

    stats_error(s, text);
    stats_add(&s->failed_calls[e->call->command->id], 1);
}

static bool put_off(kv_call *call, kv_rest *rest)
{
    resp_reply *reply = (resp_reply *)call->reply;

    ((actor_batch *)reply->arg)->rest = rest;
    return true;
}

/* Runs the next part of requests[ran]. */
KV_REQUIRES(kv_epoch_held) static void go_on(actor_batch *b, kv_call *call)
{
    actor_errand *e = &b->errand;
    const request *r = &b->requests[b->ran];
    bool done;

    call->command = r->row;
    call->argv = r->argv;
    call->argc = r->argc;
    b->replies.limit = e->out.limit;
    e->reply.out = &b->replies;
    done = b->rest->go_on(b->rest, call) || b->replies.failed;
    e->reply.out = &e->out;
    if (!done)
        return;
    output_move(&e->out, &b->replies);
    b->rest->free(b->rest);
    b->rest = NULL;
    b->ran++;
}

KV_REQUIRES(kv_epoch_held) static void run_batch(actor_errand *errand, kv_call *call)
{
    actor_batch *b = (actor_batch *)errand;
    stats *s = &server_of(errand)->actor_stats;
    uint64_t hashes[BATCH_REQUESTS];
    map_hint hints[BATCH_REQUESTS];
    uint64_t start;
    int first;

    call->put_off = put_off;
    call->owned = &b->owned;
    if (b->rest)
        go_on(b, call);
    first = b->ran;
    start = dispatch_time_begin(s);
    if (b->count > 1)
        dispatch_prefetch(call->store, b->requests, b->count, hashes, hints);
    while (b->ran < b->count && !b->rest && !errand->out.failed &&
           output_unsent(&errand->out) < OUTPUT_ENOUGH) {
        int i = b->ran;
        const request *r = &b->requests[i];

        call->command = r->row;
        call->argv = r->argv;
        call->argc = r->argc;
        call->key_hash = r->hash;
        call->key_hashed = r->hashed;
        call->key_hint = b->count > 1 ? &hints[i] : NULL;
        dispatch_run_row(call, r->row, s);
        b->ran += !b->rest;
    }
    dispatch_time_end(s, start, b->requests + first, b->ran - first, NULL);
}

static void run_errand(actor_message *message)
{
    actor_errand *e = (actor_errand *)message;
    server *s = server_of(e);
    int64_t now_ms = clock_ms();
    kv_call call = {
        .db = e->db,
        .store = s->databases.stores[e->db],
        .databases = &s->databases,
        .now_ms = now_ms,
        .access = e->no_touch ? KV_NO_TOUCH : server_access(s, now_ms),
        .reply = &e->reply.base,
        .counters = &s->actor_stats.keyspace,
        .rng = &s->actor_rng,
        .value_max = e->value_max,
        .renames = config_renames(s->config),
    };

    e->call = &call;
    slow_ask(&s->actor_stats, atomic_load_explicit(&s->slow_version, memory_order_relaxed), now_ms);
    s->actor_notices =
        (notices){ .server = s, .call = &call, .client_id = e->c->id, .writer = &s->actor_writer };
    notify_thread(&s->actor_notices);
    if (atomic_load_explicit(&s->notify_classes, memory_order_relaxed) & NOTIFY_MISS)
        call.on_miss = notify_miss;
    e->reply.on_error = count_error;
    if (epoch_enter(s->domain) == 0)
        e->run(e, &call);
    else
        e->out.failed = true;
    epoch_leave(s->domain);
    if (s->actor_notices.some)
        notify_flush(s, NULL, &s->actor_notices);
    s->actor_notices.call = NULL;
    e->call = NULL;
    e->slow = s->actor_slow.held;
    s->actor_slow.held = NULL;
}

static void return_errand(actor_message *message)
{
    actor_errand *e = (actor_errand *)message;

    worker_post(e->w, &e->back);
}

/* ---- on the worker's thread ---- */

static void end_rest(actor_batch *b)
{
    if (b->rest)
        b->rest->free(b->rest);
    b->rest = NULL;
    output_done(&b->replies);
    arguments_drop(&b->owned);
}

void actor_batch_free(actor_batch *b)
{
    if (!b)
        return;
    end_rest(b);
    output_done(&b->errand.out);
    free(b);
}

/* With requests left that did not run, c keeps the batch. */
static void batch_is_back(actor_errand *e, connection *c, kv_reply *reply)
{
    actor_batch *b = (actor_batch *)e;

    (void)reply;
    if (b->ran == b->count || e->out.failed || (c->flags & CONNECTION_CLOSING)) {
        end_rest(b);
        return;
    }
    e->kept = true;
    c->unfinished = b;
    c->flags |= CONNECTION_READY;
}

/* Sends the replies of a connection that is still there. */
static void take_replies(actor_errand *e, connection *c)
{
    if (!e->kept && !(c->flags & CONNECTION_UNFINISHED))
        c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
    if (e->muted && !e->out.failed)
        output_reset(&e->out, 0);
    output_move(connection_output(c), &e->out);
    connection_flush(c);
}

static void take_back(worker *w, worker_message *message)
{
    actor_errand *e = (actor_errand *)((char *)message - offsetof(actor_errand, back));
    connection *c = e->c;

    w->actor_in_flight--;
    connection_unpark(c);
    if (e->slow)
        slow_release(w->server, e->slow, c);
    e->slow = NULL;
    resp_reply_set_protocol(&e->reply, c->protocol);
    e->reply.on_error = NULL;
    e->kept = false;
    e->done(e, c, &e->reply.base);
    if (!(c->flags & CONNECTION_CLOSING))
        take_replies(e, c);
    if (!e->kept) {
        output_done(&e->out);
        free(e);
    }
    actor_batch_retry(w);
}

/* Copies requests into one block. NULL: memory is out. */
static actor_batch *copy_requests(const request requests[], int count, const kv_owned *owned)
{
    arguments_sizes sizes = { 0 };
    size_t slices = 0;
    actor_batch *b;
    kv_slice *slice;
    char *p;

    for (int i = 0; i < count; i++) {
        slices += (size_t)requests[i].argc;
        arguments_measure(owned, requests[i].argc, requests[i].argv, &sizes);
    }
    b = malloc(sizeof *b + (size_t)count * sizeof *requests + slices * sizeof *slice +
               sizes.owners * sizeof(kv_bytes *) + sizes.bytes);
    if (!b)
        return NULL;
    memset(b, 0, sizeof *b);
    memcpy(b->requests, requests, (size_t)count * sizeof *requests);
    slice = (kv_slice *)(b->requests + count);
    b->owned.bytes = (kv_bytes **)(slice + slices);
    p = (char *)(b->owned.bytes + sizes.owners);
    for (int i = 0; i < count; i++) {
        b->requests[i].argv = slice;
        p = arguments_keep(owned, requests[i].argc, requests[i].argv, slice, p, &b->owned);
        slice += requests[i].argc;
    }
    b->count = count;
    return b;
}

static void wait_for_place(connection *c)
{
    worker *w = c->owner;

    c->flags |= CONNECTION_ACTOR_WAITING;
    c->next_waiting = NULL;
    *w->actor_waiting_tail = c;
    w->actor_waiting_tail = &c->next_waiting;
}

void actor_batch_retry(worker *w)
{
    while (w->actor_waiting && w->actor_in_flight < w->server->actor_share) {
        connection *c = w->actor_waiting;

        w->actor_waiting = c->next_waiting;
        if (!w->actor_waiting)
            w->actor_waiting_tail = &w->actor_waiting;
        c->flags &= ~(unsigned)CONNECTION_ACTOR_WAITING;
        connection_resume(c);
    }
}

/* Posts e, whose output is empty, and parks c. */
static void post_errand(actor_errand *e, connection *c)
{
    if (actor_post(c->owner->server->actor, &e->message)) {
        c->owner->actor_in_flight++;
        connection_park(c);
    } else {
        /* Not reached while the shares add up to the capacity. */
        output_done(&e->out);
        free(e);
        connection_close(c);
    }
}

void actor_errand_post(actor_errand *e, connection *c, actor_errand_run *run, actor_errand_done *done)
{
    worker *w = c->owner;

    e->message.run = run_errand;
    e->message.done = return_errand;
    e->back.run = take_back;
    e->run = run;
    e->done = done;
    e->c = c;
    e->w = w;
    e->db = c->db;
    e->no_touch = (c->flags & CONNECTION_NO_TOUCH) != 0;
    e->muted = (c->flags & (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP)) != 0;
    e->value_max = w->call.value_max;
    e->out.limit = w->reply.out->limit;
    resp_reply_init(&e->reply, &e->out, c->protocol);
    e->reply.arg = e;
    post_errand(e, c);
}

void actor_batch_continue(connection *c)
{
    actor_batch *b = c->unfinished;

    if (c->owner->actor_in_flight >= c->owner->server->actor_share) {
        wait_for_place(c);
        return;
    }
    c->unfinished = NULL;
    memmove(b->requests, b->requests + b->ran, (size_t)(b->count - b->ran) * sizeof *b->requests);
    b->count -= b->ran;
    b->ran = 0;
    post_errand(&b->errand, c);
}

/* Posts count requests, and parks c. */
static void post(connection *c, const request requests[], int count)
{
    actor_batch *b = copy_requests(requests, count, c->owner->call.owned);

    if (!b) {
        connection_close(c);
        return;
    }
    for (int i = 0; (c->flags & CONNECTION_WATCHED) && i < count; i++)
        monitor_show(c, requests[i].row, requests[i].argc, requests[i].argv);
    c->last_command = requests[count - 1].row;
    actor_errand_post(&b->errand, c, run_batch, batch_is_back);
}

/* The number of requests from r on that are data commands and may run, their rows resolved. */
static int data_run(connection *c, const request *r, int count, request run[])
{
    bool limited = c->flags & CONNECTION_LIMITED;
    int n = 0;

    if ((c->flags & SPECIAL) != CONNECTION_AUTHENTICATED)
        return 0;
    for (; n < count; n++, r++) {
        if (limited && !(r->direct && acl_session_permits(c, r->row, r->argc, r->argv)))
            break;
        if (!r->direct || !r->row->run || dispatch_refuses(c->owner, r->row))
            break;
        run[n] = *r;
        if (c->flags & CONNECTION_TRACKING) {
            tracking_before(c, r->row, r->argc, r->argv);
            tracking_after(c, r->row);
        }
        if (c->flags & CONNECTION_REPLY_SKIP_NEXT)
            return 1; /* the next one alone is not answered */
    }
    return n;
}

/* Data commands that are subcommands, such as OBJECT ENCODING, are resolved one at a time. */
static bool resolve_one(connection *c, const request *from, request *to)
{
    const kv_command *row = from->row;
    size_t subcommands;

    if (!row || (c->flags & SPECIAL & ~(unsigned)CONNECTION_PAUSED) != CONNECTION_AUTHENTICATED)
        return false;
    kv_command_subcommands(row, &subcommands);
    if (subcommands && from->argc > 1)
        row = kv_command_find_sub(row, from->argv[1]);
    if (!row || dispatch_refuses(c->owner, row) || !row->run || (row->flags & KV_CMD_PROTECTED) ||
        !kv_command_arity_ok(row, from->argc))
        return false;
    if ((c->flags & CONNECTION_LIMITED) && !acl_session_permits(c, row, from->argc, from->argv))
        return false;
    *to = *from;
    to->row = row;
    to->hashed = false;
    if (c->flags & CONNECTION_TRACKING) {
        tracking_before(c, row, from->argc, from->argv);
        tracking_after(c, row);
    }
    return true;
}

/* Whether a session command needs the state thread. */
static bool sends_errand(const request *r)
{
    return r->row && (r->row->id == KV_COMMAND_exec || r->row->id == KV_COMMAND_watch);
}

/* Goes on with the requests from r on. Returns how many are done with, or 0: c waits for a place in the queue. */
static int dispatch_some(connection *c, const request *r, int count)
{
    worker *w = c->owner;
    request run[BATCH_REQUESTS];
    int n = data_run(c, r, count, run);

    if (dispatch_is_postponed(c, r))
        return 0;
    if (n == 0 && resolve_one(c, r, &run[0]))
        n = 1;
    if ((n || sends_errand(r)) && w->actor_in_flight >= w->server->actor_share) {
        wait_for_place(c);
        return 0;
    }
    if (n == 0) {
        dispatch_session(c, r);
        stats_add(&w->stats.commands, 1);
        return 1;
    }
    if (c->flags & CONNECTION_REPLY_SKIP_NEXT) {
        c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP_NEXT;
        c->flags |= CONNECTION_REPLY_SKIP;
    }
    post(c, run, n);
    stats_add(&w->stats.commands, (uint64_t)n);
    return n;
}

/* Kept out of dispatch_batch, which is short without it. */
__attribute__((noinline)) int actor_batch_dispatch(connection *c, const batch *b)
{
    int ran = 0, n;

    do {
        n = dispatch_some(c, b->requests + ran, b->count - ran);
        ran += n;
    } while (n && ran < b->count && !dispatch_must_stop(c));
    return ran;
}
