/* exec_queue.c - the commands of a transaction, one after the other, while all that they touch is locked. See exec_queue.h.
 *
 * Their cache misses overlap, as those of a batch do; neighbours that are alike (SET, SET, SET) run as one where nothing has to
 * be looked at one by one.
 *
 * SPDX-License-Identifier: MIT */
#include "exec_queue.h"

#include "acl_session.h"
#include "dispatch.h"
#include "rest.h"
#include "session.h"
#include "tracking.h"

#define AHEAD 64 /* queued commands whose cache misses overlap */

/* Users may have changed since a command was queued. False: that was replied. */
static bool still_allowed(const exec_place *p, const queued_command *q)
{
    connection *c = p->c;
    acl_verdict verdict;
    char text[ACL_REASON_MAX];
    int position;

    if (!p->session_commands) {
        verdict = p->user ? acl_check(p->user, q->row, q->argc, q->argv, &position) : ACL_ALLOWED;
        if (verdict == ACL_ALLOWED)
            return true;
        kv_reply_errorf(&p->reply->base, "%s", acl_session_reason(verdict, q->row, true, text));
        *p->denied = true;
        return false;
    }
    if (!(c->flags & CONNECTION_LIMITED) || acl_session_allows(c, q->row, q->argc, q->argv, true, text))
        return true;
    kv_reply_errorf(&p->reply->base, "%s", text);
    return false;
}

/* SELECT on the state thread; the connection follows when it is back. */
static void select_there(kv_call *call)
{
    int db;

    if (!kv_arg_db(call, 1, &db))
        return;
    call->db = db;
    call->store = call->databases->stores[db];
    kv_reply_ok(call->reply);
}

bool exec_runs_later(const exec_place *p, const kv_command *row)
{
    if (row->run)
        return false;
    /* A message is told with the changes (notify_say), but for one that its publisher may hear before the reply. */
    if (p->session_commands && (row->id == KV_COMMAND_publish || row->id == KV_COMMAND_spublish))
        return p->c->flags & CONNECTION_SUBSCRIBED;
    return p->session_commands ? session_parks(row->id) : row->id != KV_COMMAND_select;
}

/* What a client with a cache is about to read is remembered here, in its place among the writes. */
static void remember_reads(const exec_place *p, const queued_command *q)
{
    unsigned mode = p->session_commands ? tracking_mode_of(p->c) : p->tracking;

    if (mode && !tracking_within_act(p->c->owner->server, p->c->id, mode, q->row, q->argc, q->argv))
        *p->untracked = true;
}

KV_REQUIRES(kv_epoch_held)
static void run_queued(const exec_place *p, const queued_command *q, const map_hint *hint)
{
    kv_call *call = p->call;

    call->command = q->row;
    if (!still_allowed(p, q))
        return;
    remember_reads(p, q);
    call->argv = q->argv;
    call->argc = q->argc;
    call->key_hash = q->hash;
    call->key_hashed = q->hashed;
    call->key_hint = q->hashed ? hint : NULL;
    if (q->row->run || p->session_commands)
        dispatch_run_row(call, q->row, p->stats);
    else
        select_there(call);
}

/* Whether commands of the queue may run as one where they are alike: nothing has to be looked at one by one. */
static bool runs_many(const exec_place *p)
{
    return !p->stats->each && !p->user && !p->tracking &&
           !(p->session_commands && (p->c->flags & (CONNECTION_LIMITED | CONNECTION_TRACKING)));
}

/* What is known ahead of some commands of the queue. */
typedef struct look_ahead {
    uint64_t hashes[AHEAD];
    map_hint hints[AHEAD];
} look_ahead;

KV_REQUIRES(kv_epoch_held)
static void prefetch(const kv_call *call, const queued_command *queue, size_t n, look_ahead *ahead)
{
    for (size_t i = 0; i < n; i++)
        ahead->hashes[i] = queue[i].hash;
    store_prefetch(call->store, n, ahead->hashes, ahead->hints);
}

/* Runs the n commands from q on, which are alike. A full output makes reads end early: their replies are dropped, but
 * they run. */
KV_REQUIRES(kv_epoch_held)
static void run_alike(const exec_place *p, const queued_command *q, size_t n, const uint64_t hashes[],
                      const map_hint hints[])
{
    kv_call *call = p->call;

    call->command = q->row;
    call->argc = q->argc;
    for (size_t ran = 0; ran < n;) {
        call->argv = q[ran].argv;
        ran += dispatch_run_many(call, n - ran, hashes + ran, hints + ran, p->stats);
    }
}

/* Tells of the n commands that have run since *at when they were slow and were not timed by themselves. */
static void tell_slow(const exec_place *p, const queued_command *q, size_t n, uint64_t *at)
{
    stats *s = p->stats;
    uint64_t now = ticks_now(&s->clock), took = now - *at - s->timed_ticks;

    if (__builtin_expect((int64_t)took >= (int64_t)s->slow_ticks && !s->each, 0))
        slow_alike(s, q->row, q->argc, q->argv, n, took, p->call->host);
    s->timed_ticks = 0;
    *at = now;
}

/* Runs what is next at q, up to end: several when they are alike. Returns how many. */
KV_REQUIRES(kv_epoch_held)
static size_t run_next(const exec_place *p, const queued_command *q, const queued_command *end,
                       const uint64_t hashes[], const map_hint hints[])
{
    size_t n = q->row->run_many && q->hashed && runs_many(p) ? queued_alike(q, end) : 1;

    if (n > 1)
        run_alike(p, q, n, hashes, hints);
    else
        run_queued(p, q, hints);
    return n;
}

KV_REQUIRES(kv_epoch_held) bool exec_run_queue(const exec_place *p)
{
    multi *m = p->c->multi;
    look_ahead ahead;
    size_t limit = p->reply->out->limit, some = 0, n;
    bool complete = true;
    uint64_t at = ticks_now(&p->stats->clock);

    p->stats->timed_ticks = 0;
    p->call->owned = &m->owned;
    for (size_t i = 0, from = 0; i < m->count; i += n) {
        const queued_command *q = &m->queue[i];

        if (i == from + some) {
            from = i;
            some = m->count - i < AHEAD ? m->count - i : AHEAD;
            prefetch(p->call, q, some, &ahead);
        }
        n = 1;
        if (exec_runs_later(p, q->row)) {
            complete = multi_part_new(m, i) != NULL && complete;
        } else {
            if (m->part_count) {
                p->reply->out = &m->parts[m->part_count - 1].replies; /* parts move when there is another */
                p->reply->out->limit = limit;
            }
            n = run_next(p, q, &m->queue[from + some], &ahead.hashes[i - from], &ahead.hints[i - from]);
            tell_slow(p, q, n, &at);
        }
    }
    p->call->owned = NULL; /* EXEC itself has none that it still needs */
    return complete;
}

KV_REQUIRES(kv_epoch_held) void exec_run_part(connection *c, const queued_command *q)
{
    worker *w = c->owner;
    exec_place place = { .c = c, .reply = &w->reply, .session_commands = true };

    w->reply.out = connection_output(c);
    w->call.command = q->row;
    if (!still_allowed(&place, q))
        return;
    w->call.argv = q->argv;
    w->call.argc = q->argc;
    w->call.key_hashed = false;
    w->call.put_off = NULL; /* what is UNFINISHED is the transaction */
    dispatch_run_row(&w->call, q->row, &w->stats);
    w->call.put_off = rest_put_off;
}
