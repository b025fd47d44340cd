/* transaction_commands.c - MULTI DISCARD WATCH UNWATCH, and what stands in a queue until EXEC (exec.c).
 *
 * From MULTI on dispatch hands here what is not in the list of transaction_queues.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "actor_batch.h"
#include "dispatch.h"
#include "multi.h"
#include "session.h"

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
