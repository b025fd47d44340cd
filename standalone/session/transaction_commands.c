/* transaction_commands.c - MULTI EXEC DISCARD WATCH UNWATCH.
 *
 *     MULTI       from here on dispatch queues what is not in the list of transaction_queues
 *     EXEC        lock all -> check watches and conditions -> run the queue -> release -> the rest
 *
 * All that the queue touches is locked first (core/commands/transaction.h), so nobody sees half of it, readers that take
 * no lock included. Commands about data and nearly all others run there in their order, each as ever; neighbours that are
 * alike (SET, SET, SET) run as one, as they do in a batch. What asks other
 * workers and waits for their answers (CLIENT LIST) must not do so with shards locked: it runs after the
 * release, and the replies that come after its own wait in *parts*:
 *
 *     *5  +OK :1 | CLIENT LIST | $v :2         part 0: command 2, and the replies of 3 and 4
 *
 * An EXEC is one act by definition, and holds its worker until the end: nothing of it can be put off. What bounds it is the memory of
 * its queue, multi-memory-limit (48 MB) for all clients together: about 300,000 short SETs. EXEC of 200,000 takes 80 ms of CPU where
 * all keys are new, 20 where they are there; a client's pipeline of 100,000 commands is well within that.
 *
 * Going through the parts may be interrupted as often as there are such commands, by parking; UNFINISHED says that
 * the connection has to go on there before anything else (connection_resume).
 *
 * With --sharing actor the whole EXEC is one message to the state thread, which runs the commands about data; SELECT is
 * seen to there, and all other session commands are parts, run here when the message is back.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "acl_session.h"
#include "actor_batch.h"
#include "dispatch.h"
#include "monitor.h"
#include "multi.h"
#include "rest.h"
#include "session.h"
#include "tracking.h"

#define AHEAD 64 /* queued commands whose cache misses overlap */

bool transaction_queues(const kv_command *row)
{
    switch (row->id) {
    case KV_COMMAND_exec:
    case KV_COMMAND_discard:
    case KV_COMMAND_multi:
    case KV_COMMAND_watch:
    case KV_COMMAND_quit:
    case KV_COMMAND_reset:
        return false;
    default:
        return true;
    }
}

static void close_for_limit(connection *c)
{
    stats_add(&c->owner->stats.query_limit_disconnections, 1);
    log_limited(&c->owner->server->log, LOG_CLIENT_LIMIT, CONFIG_LOG_WARNING,
                "Closing client that reached max query buffer length with its transaction: id=%llu",
                (unsigned long long)c->id);
    connection_close(c);
}

/* The one reply that is as frequent as requests. */
static void reply_queued(output *out, int n)
{
    static const char text[] = "+QUEUED\r\n";
    const size_t len = sizeof text - 1;
    char *to = output_room(out, (size_t)n * len);

    if (!to)
        return;
    for (int i = 0; i < n; i++)
        memcpy(to + (size_t)i * len, text, len);
    output_commit(out, (size_t)n * len);
}

/* Why nothing was queued: the limit that ends a connection, or an error. */
static void refuse_to_queue(connection *c, const char *reason)
{
    kv_reply *reply = &c->owner->reply.base;

    if (reason) {
        c->multi->failed = true;
        reply->ops->error(reply, kv_str(reason));
    } else {
        close_for_limit(c);
    }
}

void transaction_queue(connection *c, const kv_command *row, const request r[], int n)
{
    const char *reason;

    if (row->flags & KV_CMD_NO_MULTI) {
        c->multi->failed = true;
        kv_reply_errorf(&c->owner->reply.base, "ERR Command not allowed inside a transaction");
    } else if (multi_queue(c, row, r, n, &reason) == 0) {
        reply_queued(c->owner->reply.out, n);
    } else if (n == 1) {
        refuse_to_queue(c, reason);
    } else {
        for (int i = 0; i < n && !(c->flags & CONNECTION_CLOSING); i++) /* some may find room */
            transaction_queue(c, row, &r[i], 1);
    }
}

/* ---- MULTI, DISCARD ---- */

/* MULTI */
void session_multi(kv_call *call)
{
    connection *c = session_connection(call);

    if (c->flags & CONNECTION_MULTI) {
        kv_reply_errorf(call->reply, "ERR MULTI calls can not be nested");
        return;
    }
    if (!multi_of(c)) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    c->flags |= CONNECTION_MULTI;
    kv_reply_ok(call->reply);
}

/* DISCARD */
void session_discard(kv_call *call)
{
    connection *c = session_connection(call);

    if (!(c->flags & CONNECTION_MULTI)) {
        kv_reply_errorf(call->reply, "ERR DISCARD without MULTI");
        return;
    }
    multi_end(c);
    kv_reply_ok(call->reply);
}

/* ---- WATCH, UNWATCH ---- */

/* The keys of one WATCH, from ready on the caller's to the store's. */
typedef struct watch_task {
    actor_errand errand;
    watched_key *keys, **last;
    watched_key *failed; /* the first one whose watching could not begin, or NULL */
} watch_task;

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static void begin_watching(watch_task *task, int64_t now_ms)
{
    task->failed = task->keys;
    while (task->failed && store_watch_begin(&task->failed->watch, now_ms) == 0)
        task->failed = task->failed->next;
}

/* Takes over what was begun, and replies. */
static void end_watching(watch_task *task, connection *c, kv_reply *reply)
{
    watched_key *next;

    for (watched_key *w = task->keys; w != task->failed; w = next) {
        next = w->next;
        multi_watch_begun(c, w);
    }
    if (task->failed)
        kv_reply_error(reply, KV_ENOMEM);
    else
        kv_reply_ok(reply);
}

KV_REQUIRES(kv_epoch_held) static void watch_on_actor(actor_errand *errand, kv_call *call)
{
    begin_watching((watch_task *)errand, call->now_ms);
}

static void watch_is_back(actor_errand *errand, connection *c, kv_reply *reply)
{
    watch_task *task = (watch_task *)errand;

    end_watching(task, c, reply); /* of a closed connection, too: it ends them when it is freed */
}

/* Makes all keys ready. False: that failed, and why was replied. */
static bool prepare_watching(watch_task *task, kv_call *call)
{
    connection *c = session_connection(call);
    const char *reason;

    task->last = &task->keys;
    for (int i = 1; i < call->argc; i++) {
        if (multi_watch(c, call->argv[i], task->keys, task->last, &reason) != 0) {
            if (reason)
                call->reply->ops->error(call->reply, kv_str(reason));
            else
                close_for_limit(c);
            return false;
        }
        if (*task->last)
            task->last = &(*task->last)->next;
    }
    return true;
}

/* WATCH key [key ...] */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) void session_watch(kv_call *call)
{
    connection *c = session_connection(call);
    watch_task *task, here = { .last = NULL };

    if (c->flags & CONNECTION_MULTI) {
        kv_reply_errorf(call->reply, "ERR WATCH inside MULTI is not allowed");
        return;
    }
    task = session_server(call)->actor ? calloc(1, sizeof *task) : &here;
    if (!task) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    if (!prepare_watching(task, call)) {
        if (task != &here)
            free(task);
    } else if (task != &here) {
        actor_errand_post(&task->errand, c, watch_on_actor, watch_is_back);
    } else {
        begin_watching(task, call->now_ms);
        end_watching(task, c, call->reply);
    }
}

/* UNWATCH */
void session_unwatch(kv_call *call)
{
    multi_unwatch(session_connection(call));
    kv_reply_ok(call->reply);
}

/* ---- EXEC: running the queue ---- */

/* Where a queue runs: a worker's thread, or the state thread. */
typedef struct exec_place {
    connection *c;
    kv_call *call;
    resp_reply *reply;
    stats *stats;
    bool session_commands;
    const acl_user *user; /* on the state thread: whom c acts for, NULL: he may do everything */
    bool *denied;         /* there: set when he may not do something */
    unsigned tracking;    /* there: the mode of c's cache, 0: it has none */
    bool *untracked;      /* set when what c has read could not be remembered */
} exec_place;

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

static bool runs_later(const exec_place *p, const kv_command *row)
{
    if (row->run)
        return false;
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

/* Runs all that can run here, in order; the replies of a full output are dropped, but not the commands. False:
 * memory for a part is out, and the replies are incomplete. */
KV_REQUIRES(kv_epoch_held) static bool run_queue(const exec_place *p)
{
    multi *m = p->c->multi;
    look_ahead ahead;
    size_t limit = p->reply->out->limit, some = 0, n;
    bool complete = true;
    uint64_t at = ticks_now(&p->stats->clock);

    p->stats->timed_ticks = 0;
    for (size_t i = 0, from = 0; i < m->count; i += n) {
        const queued_command *q = &m->queue[i];

        if (i == from + some) {
            from = i;
            some = m->count - i < AHEAD ? m->count - i : AHEAD;
            prefetch(p->call, q, some, &ahead);
        }
        n = 1;
        if (runs_later(p, q->row)) {
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
    return complete;
}

/* ---- EXEC: what comes after ---- */

static void finish(connection *c)
{
    multi_end(c);
    if (!(c->flags & CONNECTION_PARKED))
        c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
}

/* Runs a command that had to wait for the release. */
KV_REQUIRES(kv_epoch_held) static void run_part(connection *c, const queued_command *q)
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

void transaction_go_on(connection *c)
{
    worker *w = c->owner;
    multi *m = c->multi;
    bool muted = c->flags & (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP);

    c->flags &= ~(unsigned)CONNECTION_UNFINISHED;
    for (; m->part < m->part_count; m->part++, m->part_ran = false) {
        multi_part *part = &m->parts[m->part];

        if (!m->part_ran) {
            m->part_ran = true;
            run_part(c, &m->queue[part->command]);
            if (c->flags & CONNECTION_CLOSING)
                return;
            if (c->flags & CONNECTION_PARKED) {
                c->flags |= CONNECTION_UNFINISHED;
                return;
            }
        }
        if (muted)
            output_done(&part->replies);
        else
            output_move(connection_output(c), &part->replies);
    }
    w->reply.out = connection_output(c);
    finish(c);
}

/* ---- EXEC ---- */

void transaction_abort(connection *c, kv_slice reason)
{
    kv_reply *reply = &c->owner->reply.base;

    multi_end(c);
    if (reason.len > 4 && memcmp(reason.data, "ERR ", 4) == 0) /* only codes that mean something are told */
        reason = kv_slice_of(reason.data + 4, reason.len - 4);
    kv_reply_errorf(reply, "EXECABORT Transaction discarded because of: %.*s", (int)reason.len, reason.data);
}

static void abort_for(kv_call *call, const char *reason)
{
    multi_end(session_connection(call));
    kv_reply_errorf(call->reply, "EXECABORT Transaction discarded because of%s%s", *reason ? ": " : " ",
                    *reason ? reason : "previous errors.");
}

/* What keeps EXEC from beginning, or NULL. "": previous errors. */
static const char *obstacle(const kv_call *call, const multi *m)
{
    if (m->failed)
        return "";
    if ((m->flags & KV_CMD_DENYOOM) && session_connection(call)->owner->refuse_memory)
        return "OOM command not allowed when used memory > 'maxmemory'.";
    if ((m->flags & KV_CMD_WRITE) && (session_connection(call)->owner->restrictions & SERVER_DISK_ERROR))
        return DISPATCH_MISCONF;
    if ((m->flags & KV_CMD_WRITE) && dispatch_is_lonely(session_connection(call)->owner))
        return DISPATCH_NOREPLICAS;
    if ((m->flags & KV_CMD_WRITE) && (session_connection(call)->owner->restrictions & SERVER_READ_ONLY))
        return DISPATCH_READONLY;
    if ((m->flags & KV_CMD_WRITE) && (session_connection(call)->owner->restrictions & SERVER_LOG_BROKEN))
        return "MISCONF Errors writing to the AOF file";
    return NULL;
}

static transaction transaction_of(const kv_call *call, const multi *m)
{
    return (transaction){
        .databases = call->databases,
        .db = call->db,
        .commands = m->queue,
        .count = m->count,
        .watched = m->watched,
    };
}

/* Locks, checks, and if all is well runs the queue. Returns what transaction_check said; KV_ENOMEM: replies are missing. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held)
static int exec_locked(const transaction *t, store_hold *hold, const exec_place *p)
{
    int err;

    transaction_lock(t, hold);
    err = transaction_check(t, p->call->now_ms);
    if (!err) {
        kv_reply_array(&p->reply->base, t->count);
        err = run_queue(p) ? 0 : KV_ENOMEM;
    }
    store_hold_release(hold);
    return err;
}

static void reply_unmet(kv_reply *reply, int err)
{
    if (err == KV_ECOND)
        reply->ops->null_array(reply);
    else
        kv_reply_error(reply, err);
}

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held) static void exec_here(kv_call *call, const transaction *t)
{
    connection *c = session_connection(call);
    worker *w = c->owner;
    bool untracked = false;
    exec_place place = { .c = c,
                         .call = call,
                         .reply = &w->reply,
                         .stats = &w->stats,
                         .session_commands = true,
                         .untracked = &untracked };
    output *out = w->reply.out;
    int err;

    call->put_off = NULL; /* all at once */
    w->slow.holding = true;
    err = exec_locked(t, w->hold, &place);
    w->slow.holding = false;
    if (__builtin_expect(w->slow.held != NULL, 0)) {
        slow_release(w->server, w->slow.held, c);
        w->slow.held = NULL;
    }
    call->put_off = rest_put_off;
    w->reply.out = out;
    if (c->flags & CONNECTION_TRACKING)
        tracking_act_ends(w->server, c->id, !untracked);
    if (err == KV_ENOMEM) {
        connection_close(c);
        return;
    }
    if (err) {
        reply_unmet(call->reply, err);
        finish(c);
    } else {
        stats_add(&w->stats.commands, c->multi->count);
        if (c->flags & CONNECTION_WATCHED)
            monitor_show_queue(c);
        transaction_go_on(c);
    }
}

/* The same as a message. */
typedef struct exec_task {
    actor_errand errand;
    transaction transaction;
    acl_user *user; /* a reference; NULL: may do everything */
    bool denied;    /* he tried what he may not */
    unsigned tracking;
    bool untracked;
    int err, db;
} exec_task;

KV_REQUIRES(kv_epoch_held) static void exec_on_actor(actor_errand *errand, kv_call *call)
{
    exec_task *task = (exec_task *)errand;
    server *s = errand->c->owner->server;
    exec_place place = {
        .c = errand->c,
        .call = call,
        .reply = &errand->reply,
        .stats = &s->actor_stats,
        .user = task->user,
        .denied = &task->denied,
        .tracking = task->tracking,
        .untracked = &task->untracked,
    };

    task->err = exec_locked(&task->transaction, s->actor_hold, &place);
    task->db = call->db;
    errand->reply.out = &errand->out;
}

/* What the state thread refused is logged and counted here, where the client can be described. */
static void tell_denied(const exec_task *task, connection *c)
{
    const exec_place there = { .session_commands = false };

    for (size_t i = 0; task->denied && i < c->multi->count; i++) {
        const queued_command *q = &c->multi->queue[i];

        if (!runs_later(&there, q->row))
            acl_session_check(c, task->user, q->row, q->argc, q->argv);
    }
}

static void exec_is_back(actor_errand *errand, connection *c, kv_reply *reply)
{
    exec_task *task = (exec_task *)errand;

    if (!(c->flags & CONNECTION_CLOSING))
        tell_denied(task, c);
    acl_user_unref(task->user);
    if (c->flags & CONNECTION_CLOSING)
        return;
    if (task->tracking)
        tracking_act_ends(c->owner->server, c->id, !task->untracked);
    if (task->err == KV_ENOMEM) {
        connection_close(c);
    } else if (task->err) {
        reply_unmet(reply, task->err);
        finish(c);
    } else {
        c->db = task->db;
        stats_add(&c->owner->stats.commands, c->multi->count);
        if (c->flags & CONNECTION_WATCHED) {
            monitor_show_queue(c);
            monitor_show(c, &kv_command_table[KV_COMMAND_exec], 1, &(kv_slice){ "EXEC", 4 });
        }
        if (c->multi->part_count)
            c->flags |= CONNECTION_UNFINISHED;
        else
            finish(c); /* before the reply is sent: who has it finds the queue's memory returned */
    }
}

static void exec_there(kv_call *call, const transaction *t)
{
    exec_task *task = calloc(1, sizeof *task);

    if (!task) {
        abort_for(call, kv_error_text(KV_ENOMEM));
        return;
    }
    task->transaction = *t;
    if (session_connection(call)->flags & CONNECTION_LIMITED)
        task->user = acl_user_ref(session_connection(call)->user);
    task->tracking = tracking_mode_of(session_connection(call));
    actor_errand_post(&task->errand, session_connection(call), exec_on_actor, exec_is_back);
}

/* Reads the conditions, out of a copy: on the way to the state thread the input does not wait. NULL, or why not. */
static const char *take_checks(const kv_call *call, transaction *t)
{
    connection *c = session_connection(call);
    const char *reason = NULL;
    const kv_slice *argv;
    key_check *checks;
    int n;

    if (call->argc == 1)
        return NULL;
    argv = multi_copy(c, call->argc, call->argv, &reason);
    checks = argv ? multi_take(c, (size_t)call->argc / 2 * sizeof *checks, &reason) : NULL;
    if (!checks)
        return reason ? reason : kv_error_text(KV_ENOMEM);
    n = transaction_parse_checks(call->argc - 1, argv + 1, checks);
    if (n < 0)
        return "invalid check condition syntax";
    t->checks = checks;
    t->check_count = (size_t)n;
    return NULL;
}

/* EXEC [IFEQ key value | IFNE key value | IFVER key version | NX key | XX key] ... */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held, kv_hold_held) void session_exec(kv_call *call)
{
    connection *c = session_connection(call);
    const char *reason;
    transaction t;

    if (!(c->flags & CONNECTION_MULTI)) {
        kv_reply_errorf(call->reply, "ERR EXEC without MULTI");
        return;
    }
    t = transaction_of(call, c->multi);
    reason = take_checks(call, &t);
    if (!reason)
        reason = obstacle(call, c->multi);
    if (reason)
        abort_for(call, reason);
    else if (session_server(call)->actor)
        exec_there(call, &t);
    else
        exec_here(call, &t);
}
