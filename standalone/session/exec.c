/* exec.c - EXEC.
 *
 *     lock all -> check watches and conditions -> run the queue -> release -> the rest
 *
 * All that the queue touches is locked first (core/commands/transaction.h), so nobody sees half of it, readers that take
 * no lock included. Commands about data and nearly all others run there in their order, each as ever (exec_queue.c). What asks other
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
#include "exec_queue.h"
#include "monitor.h"
#include "multi.h"
#include "rest.h"
#include "session.h"
#include "tracking.h"

/* ---- what comes after ---- */

static void finish(connection *c)
{
    multi_end(c);
    if (!(c->flags & CONNECTION_PARKED))
        c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
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
            exec_run_part(c, &m->queue[part->command]);
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

/* ---- what comes before ---- */

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

/* What keeps EXEC from beginning, or NULL. "": previous errors. What has changed since the commands were queued counts, in the order
 * in which a command alone is looked at (dispatch_checks.c). */
static const char *obstacle(const worker *w, const multi *m)
{
    if (m->failed)
        return "";
    if ((m->flags & KV_CMD_DENYOOM) && w->refuse_memory)
        return "OOM command not allowed when used memory > 'maxmemory'.";
    if ((m->flags & KV_CMD_WRITE) && (w->restrictions & SERVER_DISK_ERROR))
        return DISPATCH_MISCONF;
    if ((m->flags & KV_CMD_WRITE) && dispatch_is_lonely(w))
        return DISPATCH_NOREPLICAS;
    if ((m->flags & KV_CMD_WRITE) && (w->restrictions & SERVER_READ_ONLY))
        return DISPATCH_READONLY;
    if ((m->flags & KV_CMD_WRITE) && (w->restrictions & SERVER_LOG_BROKEN))
        return "MISCONF Errors writing to the AOF file";
    if ((m->lacks & KV_CMD_STALE) && (w->restrictions & SERVER_STALE))
        return DISPATCH_STALE;
    return NULL; /* nothing is queued before the data set is loaded, and what a replica loads replaces its own at once */
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
        err = exec_run_queue(p) ? 0 : KV_ENOMEM;
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
    w->slow.holding = w->notices.acting = true;
    err = exec_locked(t, w->hold, &place);
    w->slow.holding = w->notices.acting = false;
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

        if (!exec_runs_later(&there, q->row))
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
        reason = obstacle(c->owner, c->multi);
    if (reason)
        abort_for(call, reason);
    else if (session_server(call)->actor)
        exec_there(call, &t);
    else
        exec_here(call, &t);
}
