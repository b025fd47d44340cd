/* dispatch.h - runs the requests of a batch, on this thread or on the state thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_DISPATCH_H
#define KV_STANDALONE_DISPATCH_H

#include "connection.h"
#include "server.h"
#include "slow.h"

/* What a replica says to commands that write. */
#define DISPATCH_READONLY   "READONLY You can't write against a read only replica."
#define DISPATCH_NOREPLICAS "NOREPLICAS Not enough good replicas to write."
#define DISPATCH_MISCONF                                                                                 \
    "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. "  \
    "Commands that may modify the data set are disabled, because this instance is configured to report " \
    "errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check " \
    "the Redis logs for details about the RDB error."
#define DISPATCH_STALE "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'."

/* Runs the requests of b, which are c's, in order, replying into connection_output(c). Returns how many it ran:
 * fewer than all when c was parked, closed or told to close, or when it has written enough for now. */
int dispatch_batch(connection *c, const batch *b) KV_EXCLUDES(kv_shard_held);

/* Runs one request of input_bytes with a row that is direct; hint may be NULL. False: something is special about it, or about c, and
 * it has not run; dispatch_batch says what is to be done. */
bool dispatch_one(connection *c, const request *r, size_t input_bytes, const map_hint *hint)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* Brings what requests need to know of clock and configuration up to date, for all of this turn. */
void dispatch_begin_turn(worker *w);

/* Prefetches what the first keys of the requests will touch: ret_hashes gets their hashes, ret_hints what was learned
 * of them. */
void dispatch_prefetch(kv_store *store, const request requests[], int count, uint64_t ret_hashes[],
                       map_hint ret_hints[]) KV_REQUIRES(kv_epoch_held);

/* The row that a request runs, or NULL after replying why not: unknown, wrong arguments, not authenticated, out of
 * memory. */
const kv_command *dispatch_resolve(connection *c, const request *r);
/* Replies why the row does not run, and counts that. Returns NULL. */
const kv_command *dispatch_reject(connection *c, const kv_command *row, kv_slice reason);

/* Too few replicas of ours are near (replica_guard.h); who is a replica itself has other rules. */
static inline bool dispatch_is_lonely(const worker *w)
{
    return (w->restrictions & (SERVER_LONELY | SERVER_REPLICA)) == SERVER_LONELY;
}

/* Whether rows of this kind are refused in this batch: for want of memory, because this is a replica. */
static inline bool dispatch_refuses(const worker *w, const kv_command *row)
{
    return ((row->flags & KV_CMD_DENYOOM) && w->refuse_memory) ||
           ((row->flags & KV_CMD_WRITE) && (w->restrictions & SERVER_NO_WRITES)) ||
           ((w->restrictions & SERVER_DISK_ERROR) &&
            ((row->flags & KV_CMD_WRITE) || row->id == KV_COMMAND_ping)) ||
           (!(row->flags & KV_CMD_STALE) && (w->restrictions & SERVER_STALE)) ||
           (!(row->flags & KV_CMD_LOADING) && (w->restrictions & SERVER_LOADING));
}

/* Whether a request for the row runs it without a look at further arguments: it is no container, and nothing protects it. */
bool dispatch_is_direct(const kv_command *row);

/* Runs one request on the worker's thread, whatever the sharing; what dispatch_batch begins must have begun. */
void dispatch_session(connection *c, const request *r) KV_EXCLUDES(kv_shard_held);

/* Round the requests of a batch: finds out whether one of those that were not timed was slow (slow.c). */
static inline uint64_t dispatch_time_begin(stats *s)
{
    s->timed_ticks = 0;
    return ticks_now(&s->clock);
}
static inline void dispatch_time_end(stats *s, uint64_t start, const request requests[], int ran,
                                     connection *c)
{
    int64_t took = (int64_t)(ticks_now(&s->clock) - start - s->timed_ticks);

    if (__builtin_expect(took >= (int64_t)s->slow_ticks, 0))
        slow_batch(s, requests, ran, (uint64_t)took, c);
}

/* Whether what the row says are pushes, each whole by itself: they go to clients that want no replies, too. */
bool dispatch_replies_by_push(const kv_command *row);

/* Counts a call of the row, runs it, and times it when stats.h says so. */
void dispatch_run_row(kv_call *call, const kv_command *row, stats *s) KV_REQUIRES(kv_epoch_held);
/* Runs up to n calls of call->command, whose row has a form for many: call->argv holds the arguments of all, one after the other.
 * Counts and times them as above; returns how many ran, at least one. */
size_t dispatch_run_many(kv_call *call, size_t n, const uint64_t hashes[], const map_hint hints[], stats *s)
    KV_REQUIRES(kv_epoch_held);
/* Whether the request must wait for the end of a pause; then c is blocked. */
bool dispatch_is_postponed(connection *c, const request *r);
/* Whether no further request of c may run now. */
bool dispatch_must_stop(connection *c);

/* A request of the batch that runs has changed settings: the next ones go by them. */
void dispatch_settings_changed(worker *w);
/* Goes on with a request that was interrupted (CONNECTION_UNFINISHED). */
void dispatch_go_on(connection *c);

#endif
