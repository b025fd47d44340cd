/* exec_queue.h - running what a transaction has queued.
 *
 * Private to this folder. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_EXEC_QUEUE_H
#define KV_STANDALONE_EXEC_QUEUE_H

#include "acl_user.h"
#include "multi.h"
#include "resp_reply.h"
#include "stats.h"

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

/* Whether a command has to wait for the release of the locks: it asks other workers. */
bool exec_runs_later(const exec_place *p, const kv_command *row);
/* Runs all that can run here, in order, with all shards of the queue held; the replies of a full output are dropped, but not the
 * commands. False: memory for a part is out, and the replies are incomplete. */
bool exec_run_queue(const exec_place *p) KV_REQUIRES(kv_epoch_held);
/* On c's worker: runs a command that had to wait for the release, and replies to c's output. */
void exec_run_part(connection *c, const queued_command *q) KV_REQUIRES(kv_epoch_held);

#endif
