/* gather.c - see gather.h.
 *
 * The problem: a client without a pipeline sends one request and waits. Run as it is read, each pays for its own cache misses
 * (its bucket, then its entry, one after the other), and each reply wakes a client that has just fallen asleep, which is part of
 * what its send(2) costs.
 *
 * The idea: the loop knows of many ready sockets at once. All of them are read before any request runs, as a pipeline's requests are
 * parsed before the first runs; then
 *
 *     prefetch buckets of all -> prefetch entries of all -> run each, its reply put aside -> send all
 *
 * What is gathered is only what cannot meddle with others: a data command for a key, whole, short, of a client about which
 * nothing is special. All else runs where it is read, before what was gathered earlier in the pass; these are requests of other
 * clients, none of which has been answered, so nobody can tell in which order they came.
 *
 * Invariants
 *   1. A connection is gathered at most once: it has one event a pass, and gather_run comes before anything that reads from
 *      connections otherwise (the runnable ones; a drain).
 *   2. What was gathered runs in the turn in which it was read, so its hints are good: the turn holds the epoch (worker.c).
 *   3. A reply is put aside only when sending it is all that is left to do for the client. Whatever else there is to do
 *      (closing, parking, the log, a long reply) is done by connection_flush at once.
 *   4. Replies that were put aside are sent when the clock has moved on (worker_read_clock), should a command take long.
 *
 * Cost: about 30 instructions a request, the prefetch included, part of which comes back since what it learned saves the lookup
 * most of its way. What it gains is in the kernel and in the cache: with 50 clients and a million keys about a tenth of the server's
 * CPU time per request on a quiet machine, a quarter and more on one whose cores are wanted by others (kvbench server, GET without a
 * pipeline, beside the build before).
 *
 * SPDX-License-Identifier: MIT */
#include "gather.h"

#include "connection_internal.h"
#include "dispatch.h"
#include "server.h"
#include "socket_io.h"

#define ALIGN 8u
/* Whoever has one of these is served at once. */
#define AT_ONCE                                                                           \
    (CONNECTION_CLOSING | CONNECTION_CLOSE_AFTER | CONNECTION_DRAINING | CONNECTION_TLS | \
     CONNECTION_LISTENS | CONNECTION_MULTI | CONNECTION_HALF_CLOSED)

bool gather_add(connection *c, char *data, size_t len)
{
    worker *w = c->owner;
    gathering *all = &w->gathering;
    gathered *g = &all->those[all->count];
    const request *r = &g->request;

    if (len > GATHER_BYTES || (c->flags & AT_ONCE) || w->draining || w->server->actor ||
        !batch_parse_alone(&w->batch, w->server->domain, &g->request, g->argv, data, len))
        return false;
    if (!r->hashed || !r->direct || !r->row->run || (all->count && c->db != all->those[0].of->db))
        return false;
    g->of = c;
    g->data = data;
    g->len = len;
    all->hashes[all->count] = r->hash;
    all->used += (len + RESP_SLACK + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (++all->count == GATHER_MAX)
        gather_run(w);
    return true;
}

/* ---- replies ---- */

/* Puts the reply to c aside, when there is nothing to do but to send it. */
static bool put_aside(connection *c, gathering *all)
{
    worker *w = c->owner;
    output *out = &w->out;

    if (!connection_only_sends(c) || out->len > GATHER_REPLIES - all->reply_bytes)
        return false;
    memcpy(all->replies + all->reply_bytes, out->data, out->len);
    all->to[all->reply_count++] = (gathered_reply){ c, out->len };
    all->reply_bytes += out->len;
    out->len = 0;
    return true;
}

/* Keeps what the socket did not take. */
__attribute__((noinline)) static void send_slowly(connection *c, const char *data, size_t len)
{
    output *out = connection_output(c);
    char *room = output_room(out, len);

    if (room) {
        memcpy(room, data, len);
        output_commit(out, len);
    }
    connection_send_held(c);
}

static void send_replies(worker *w)
{
    gathering *all = &w->gathering;
    const char *at = all->replies;
    size_t total = 0;

    for (int i = 0; i < all->reply_count; i++) {
        connection *c = all->to[i].to;
        size_t len = all->to[i].len;

        if (!(c->flags & CONNECTION_CLOSING)) {
            ssize_t n = socket_send(c->fd, at, len);
            size_t sent = n > 0 ? (size_t)n : 0;

            total += sent;
            if (__builtin_expect(sent < len, 0))
                send_slowly(c, at + sent, len - sent);
        }
        at += len;
    }
    stats_add(&w->stats.writes, (uint64_t)all->reply_count);
    stats_add(&w->stats.output_bytes, total);
    all->reply_count = 0;
    all->reply_bytes = 0;
}

/* ---- running ---- */

/* Runs the i-th. hints: NULL, or of all. */
static inline void run_one(worker *w, int i, const map_hint hints[]) KV_REQUIRES(kv_epoch_held)
{
    gathering *all = &w->gathering;
    gathered *g = &all->those[i];
    connection *c = g->of;

    if (c->flags & CONNECTION_CLOSING)
        return;
    if (!dispatch_one(c, &g->request, g->len, hints ? &hints[i] : NULL))
        connection_run_input(c, g->data, g->len);
    else if (i + 1 == all->count || !put_aside(c, all))
        connection_flush(c);
}

void gather_run(worker *w)
{
    gathering *all = &w->gathering;
    map_hint hints[GATHER_MAX];
    uint64_t begun = w->clock_ticks;
    bool ahead = all->count > 1;

    if (all->count == 0)
        return;
    if (epoch_enter(w->server->domain) == 0) {
        if (ahead)
            store_prefetch(w->server->databases.stores[all->those[0].of->db], (size_t)all->count, all->hashes,
                           hints);
        for (int i = 0; i < all->count; i++) {
            run_one(w, i, ahead ? hints : NULL);
            if (w->clock_ticks != begun && all->reply_count) {
                send_replies(w);
                begun = w->clock_ticks;
            }
        }
    } else {
        for (int i = 0; i < all->count; i++)
            connection_close(all->those[i].of);
    }
    epoch_leave(w->server->domain);
    if (all->reply_count)
        send_replies(w);
    all->count = 0;
    all->used = 0;
}
