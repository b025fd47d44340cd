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
 * the client has taken them (connection_resume).
 *
 * Order is kept by parking: a connection has at most one batch under way. Each worker has a fixed share
 * of the queue's capacity, so posting never fails; a connection that finds the share used up waits in a list for
 * a batch of its worker to return.
 *
 * Replies and errors are counted in the stats of the state thread. SPDX-License-Identifier: MIT */
#include "actor_batch.h"

#include <stdlib.h>

#include "dispatch.h"
#include "server.h"

struct actor_batch {
    actor_message message; /* first */
    worker_message back;
    connection *c;
    worker *w;
    int db, protocol;
    bool no_touch, muted;
    size_t value_max;
    const kv_call *call; /* while running: for errors */
    resp_reply reply;
    output out;
    int count, ran;
    request requests[];
};

static server *server_of(const actor_batch *b)
{
    return b->w->server;
}

/* ---- on the state thread ---- */

static void count_error(void *arg, kv_slice text)
{
    actor_batch *b = arg;
    stats *s = &server_of(b)->actor_stats;

    stats_error(s, text);
    stats_add(&s->failed_calls[b->call->command->id], 1);
}

static void run_requests(actor_batch *b, kv_call *call) KV_REQUIRES(kv_epoch_held)
{
    stats *s = &server_of(b)->actor_stats;
    uint64_t hashes[BATCH_REQUESTS];
    map_hint hints[BATCH_REQUESTS];

    b->call = call;
    if (b->count > 1)
        dispatch_prefetch(call->store, b->requests, b->count, hashes, hints);
    while (b->ran < b->count && !b->out.failed && output_unsent(&b->out) < OUTPUT_ENOUGH) {
        int i = b->ran++;
        const request *r = &b->requests[i];
        bool timed = stats_call(s, r->row->id);
        uint64_t start = timed ? clock_ns() : 0;

        call->command = r->row;
        call->argv = r->argv;
        call->argc = r->argc;
        call->key_hash = r->hash;
        call->key_hashed = r->hashed;
        call->key_hint = b->count > 1 ? &hints[i] : NULL;
        r->row->run(call);
        if (timed)
            stats_time(s, r->row->id, 1, clock_ns() - start);
    }
    b->call = NULL;
}

static void run_batch(actor_message *message)
{
    actor_batch *b = (actor_batch *)message;
    server *s = server_of(b);
    int64_t now_ms = clock_ms();
    kv_call call = {
        .db = b->db,
        .store = s->databases.stores[b->db],
        .databases = &s->databases,
        .now_ms = now_ms,
        .access = b->no_touch ? KV_NO_TOUCH : store_access_clock(now_ms),
        .reply = &b->reply.base,
        .counters = &s->actor_stats.keyspace,
        .rng = &s->actor_rng,
        .value_max = b->value_max,
    };

    if (epoch_enter(s->domain) == 0)
        run_requests(b, &call);
    else
        b->out.failed = true;
    epoch_leave(s->domain);
}

static void return_batch(actor_message *message)
{
    actor_batch *b = (actor_batch *)message;

    worker_post(b->w, &b->back);
}

/* ---- on the worker's thread ---- */

void actor_batch_free(actor_batch *b)
{
    if (!b)
        return;
    output_done(&b->out);
    free(b);
}

static void take_back(worker *w, worker_message *message)
{
    actor_batch *b = (actor_batch *)((char *)message - offsetof(actor_batch, back));
    connection *c = b->c;
    bool whole = b->ran == b->count || b->out.failed;

    w->actor_in_flight--;
    if (connection_unpark(c)) {
        if (b->muted && !b->out.failed)
            output_reset(&b->out, 0);
        output_move(connection_output(c), &b->out);
        if (whole) {
            c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
        } else {
            c->unfinished = b;
            c->flags |= CONNECTION_READY;
        }
        connection_flush(c);
    } else
        whole = true;
    if (whole)
        actor_batch_free(b);
    actor_batch_retry(w);
}

/* Copies requests into one block. NULL: memory is out. */
static actor_batch *copy_requests(const request requests[], int count)
{
    size_t slices = 0, bytes = 0;
    actor_batch *b;
    kv_slice *slice;
    char *p;

    for (int i = 0; i < count; i++) {
        slices += (size_t)requests[i].argc;
        for (int j = 0; j < requests[i].argc; j++)
            bytes += requests[i].argv[j].len;
    }
    b = malloc(sizeof *b + (size_t)count * sizeof *requests + slices * sizeof *slice + bytes);
    if (!b)
        return NULL;
    memset(b, 0, sizeof *b);
    memcpy(b->requests, requests, (size_t)count * sizeof *requests);
    slice = (kv_slice *)(b->requests + count);
    p = (char *)(slice + slices);
    for (int i = 0; i < count; i++) {
        b->requests[i].argv = slice;
        for (int j = 0; j < requests[i].argc; j++) {
            kv_slice from = requests[i].argv[j];

            if (from.len)
                memcpy(p, from.data, from.len);
            *slice++ = kv_slice_of(p, from.len);
            p += from.len;
        }
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

/* Posts b, whose output is empty, and parks c. */
static void post_batch(connection *c, actor_batch *b)
{
    if (actor_post(c->owner->server->actor, &b->message)) {
        c->owner->actor_in_flight++;
        connection_park(c);
    } else {
        /* Not reached while the shares add up to the capacity. */
        actor_batch_free(b);
        connection_close(c);
    }
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
    post_batch(c, b);
}

/* Posts count requests, and parks c. */
static void post(connection *c, const request requests[], int count)
{
    worker *w = c->owner;
    actor_batch *b = copy_requests(requests, count);

    if (!b) {
        connection_close(c);
        return;
    }
    b->message.run = run_batch;
    b->message.done = return_batch;
    b->back.run = take_back;
    b->c = c;
    b->w = w;
    b->db = c->db;
    b->protocol = c->protocol;
    b->no_touch = (c->flags & CONNECTION_NO_TOUCH) != 0;
    b->muted = (c->flags & (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP)) != 0;
    b->value_max = w->call.value_max;
    b->out.limit = w->reply.out->limit;
    resp_reply_init(&b->reply, &b->out, c->protocol);
    b->reply.on_error = count_error;
    b->reply.arg = b;
    c->last_command = requests[count - 1].row;
    post_batch(c, b);
}

/* The number of requests at the front that are data commands and may run, their rows resolved. */
static int data_run(connection *c, const batch *b, request run[])
{
    bool memory_ok = !c->owner->refuse_memory;
    int n = 0;

    if ((c->flags & (CONNECTION_AUTHENTICATED | CONNECTION_RESTRICTED)) != CONNECTION_AUTHENTICATED)
        return 0;
    for (; n < b->count; n++) {
        const request *r = &b->requests[n];

        if (!r->direct || !r->row->run || (!memory_ok && (r->row->flags & KV_CMD_DENYOOM)))
            break;
        run[n] = *r;
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

    if (!row)
        return false;
    kv_command_subcommands(row, &subcommands);
    if (subcommands && from->argc > 1)
        row = kv_command_find_sub(row, from->argv[1]);
    if (!row || (c->owner->refuse_memory && (row->flags & KV_CMD_DENYOOM)) || !row->run ||
        !kv_command_arity_ok(row, from->argc) ||
        (c->flags & (CONNECTION_AUTHENTICATED | CONNECTION_RESTRICTED)) != CONNECTION_AUTHENTICATED)
        return false;
    *to = *from;
    to->row = row;
    to->hashed = false;
    return true;
}

int actor_batch_dispatch(connection *c, const batch *b)
{
    worker *w = c->owner;
    request run[BATCH_REQUESTS];
    int n = data_run(c, b, run);

    if (n == 0 && resolve_one(c, &b->requests[0], &run[0]))
        n = 1;
    if (n == 0) {
        dispatch_session(c, &b->requests[0]);
        stats_add(&w->stats.commands, 1);
        return 1;
    }
    if (w->actor_in_flight >= w->server->actor_share) {
        wait_for_place(c);
        return 0;
    }
    if (c->flags & CONNECTION_REPLY_SKIP_NEXT) {
        c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP_NEXT;
        c->flags |= CONNECTION_REPLY_SKIP;
    }
    post(c, run, n);
    stats_add(&w->stats.commands, (uint64_t)n);
    return n;
}
