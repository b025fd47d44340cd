/* aof.h - the server's log of changes: who writes it, when replies may be sent, what becomes of failures.
 *
 *     if (aof_prepare(s) != 0) ...                    // before the workers: which files they are
 *     if (aof_load(s, go_on, arg) != 0) ...           // while they refuse to serve: what the log tells
 *     aof_start(s);                                   // the task runs, and changes are told
 *     ... stores tell aof_note of each change; replies wait in held connections until aof_covers says so ...
 *     aof_stop(s);                                    // everything is on disk
 *
 * The promise. With appendfsync always, no reply and no message leaves the server before everything that whoever made it can have seen
 * is on disk; with everysec and no, before it was handed to the system, so that it survives the end of the process.
 *
 * Threads    As said with each function. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_AOF_H
#define KV_STANDALONE_AOF_H

#include "aof_log.h"
#include "connection.h"
#include "server.h"

typedef struct aof aof;

/* In the order of the words of appendfsync and aof-error-action in config.c. */
enum aof_policy { AOF_SYNC_EVERYSEC, AOF_SYNC_ALWAYS, AOF_SYNC_NO };
enum aof_error_action { AOF_ERROR_AUTO, AOF_ERROR_EXIT, AOF_ERROR_REFUSE };

/* ---- life: on the thread that starts and ends the server ---- */

/* With the databases, before the workers. 0, or -1: memory is out. */
int aof_new(struct server *s);
void aof_free(struct server *s);
/* Takes the names of its files from the configuration. 0, or -1 after logging why. */
int aof_prepare(struct server *s);
/* The workers have ended: writes and syncs what is left, and ends the task. */
void aof_stop(struct server *s) KV_EXCLUDES(kv_shard_held);

/* ---- loading, when appendonly is yes at the start: on the thread that loads ---- */

/* Loads the log, and opens it to go on. go_on is asked again and again; when it says no, or the log cannot be used, which was logged: -1. */
int aof_load(struct server *s, bool (*go_on)(void *arg), void *arg) KV_EXCLUDES(kv_shard_held);
/* The same again later, in place of what is in the databases, while nobody writes and a snapshot is claimed: first everything is on
 * disk, or -1 (there is no log, or it has failed); then it is loaded. */
int aof_flush(struct server *s) KV_EXCLUDES(kv_shard_held);
int aof_reload(struct server *s, bool (*go_on)(void *arg), void *arg) KV_EXCLUDES(kv_shard_held);
/* Then: starts the task, and changes are told from now on; 0, or -1 after logging why. */
int aof_start(struct server *s);

/* ---- the threads that change something ---- */

/* A change, from the stores' listener. */
void aof_note(struct server *s, aof_writer *writer, const kv_change *change) KV_UNDER_LOCK;
/* The same of a put in short. False: it is told to aof_note. */
bool aof_note_put(struct server *s, aof_writer *writer, const store_put_told *put) KV_UNDER_LOCK;
/* Whether changes are to be told. */
static inline bool aof_listens(const struct server *s)
{
    /* Pairs with the store that switches it on: aof_note then sees that its writers begin anew. */
    return atomic_load_explicit(&((struct server *)s)->aof_guards, memory_order_acquire);
}

/* A thread that is no worker has told changes: has them written, and waits while too much is not. Not within a lock. */
void aof_task_wrote(struct server *s) KV_EXCLUDES(kv_shard_held);

/* ---- replies (aof_hold.c): on the thread of the connection's worker ---- */

/* Whether c must keep its output for now, since what it may tell is not yet safe. If so c holds it, and sends it when it is. */
bool aof_hold(struct connection *c) KV_EXCLUDES(kv_shard_held);
/* Whether aof_hold would say so now; this changes nothing. */
bool aof_would_hold(const struct connection *c);
/* Before a batch of c: whether it may run now. Not so, and then c is held: too much waits to be written. */
bool aof_admits(struct connection *c) KV_EXCLUDES(kv_shard_held);
/* c is closed. */
void aof_forget(struct connection *c);
/* The turn of a worker ends that has held connections: sees to it that they are released. */
void aof_turn_ends(worker *w) KV_EXCLUDES(kv_shard_held);

/* ---- for commands and INFO: any thread ---- */

/* BGREWRITEAOF: as the next, but that while the log is being switched off one is scheduled for when it is: -EAGAIN. */
int aof_rewrite_ask(struct server *s) KV_EXCLUDES(kv_shard_held);
/* Begins a rewrite; while appendonly is no, of the base alone. -EBUSY: one is under way; -1: it cannot be begun. */
int aof_rewrite_start(struct server *s) KV_EXCLUDES(kv_shard_held);
/* The databases were exchanged for others, of which nothing was told: a rewrite brings them into the log. Until it ends,
 * the log does not have them. Any thread. */
void aof_rewrite_soon(struct server *s);
/* Worker 0, a few times a second: begins a rewrite when the log has grown enough. */
void aof_tick(struct server *s) KV_EXCLUDES(kv_shard_held);

typedef struct aof_figures {
    bool enabled, rewriting, rewrite_scheduled, last_rewrite_ok, last_write_ok;
    int64_t last_rewrite_s, current_rewrite_s; /* -1: none */
    uint64_t rewrites, rewrites_failed_in_a_row;
    uint64_t current_bytes, base_bytes, buffered_bytes;
    uint64_t syncing; /* 1: a sync is under way */
    uint64_t delayed_syncs, syncs, batches, batch_sequence;
    uint64_t loaded_bytes, total_bytes; /* while it is loaded */
    char reason[256];                   /* of the last failure; "": none */
} aof_figures;
/* Where the log would be when all that was told so far is in it; and whether that is on disk. */
uint64_t aof_position(struct server *s);
bool aof_is_synced(struct server *s, uint64_t position);
/* More is on disk than was: ends each WAITAOF of the worker that has what it waits for (blocking_commands.c). */
void waitaof_look(worker *w) KV_EXCLUDES(kv_shard_held);
/* Has w do that soon: for one that has begun to wait while what it waits for came. */
void aof_look_soon(worker *w) KV_EXCLUDES(kv_shard_held);
/* Why writes are refused, as an error. */
#define AOF_REFUSAL_MAX 512
kv_slice aof_refusal(struct server *s, char text[AOF_REFUSAL_MAX]);
void aof_read_figures(struct server *s, aof_figures *ret_figures);
/* After a change of the configuration: appendonly, appendfsync and what else matters to the log. */
int aof_apply_config(struct server *s, config_error *ret_error) KV_EXCLUDES(kv_shard_held);

#endif
