/* aof_replay.h - what was taken from a buffer, carried out by plain means: SET, DEL, FLUSHDB, SWAPDB.
 *
 *     aof_replay replay = { .stores = copies };
 *     if (!aof_replay_run(&replay, &queue)) ...        // something in it is no such command
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_AOF_REPLAY_H
#define TESTS_AOF_REPLAY_H

#include "aof_queue.h"

typedef struct aof_replay {
    kv_store **stores; /* by database */
    int db;            /* that is selected */
    size_t commands;
} aof_replay;

bool aof_replay_run(aof_replay *replay, const aof_queue *queue) KV_EXCLUDES(kv_shard_held);

#endif
