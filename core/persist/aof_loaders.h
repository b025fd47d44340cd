/* aof_loaders.h - threads that run the commands of a log, each those of its keys.
 *
 *     aof_loaders *loaders = aof_loaders_new(&databases, now_ms, 4);       // NULL: no thread could be started
 *     int which = aof_loaders_of(loaders, hash);                           // who has the keys with that hash
 *     if (aof_loaders_take(&todo)) aof_loaders_give(loaders, which, &todo, offset);
 *     if (!aof_loaders_settle(loaders, &failure)) ... failure.offset, failure.reason ...
 *     aof_loaders_free(loaders);
 *
 * What one loader is given, it runs in that order; what two are given, at any time until settle. All keys of a command must
 * belong to the loader that it is given to.
 *
 * Threads    One at a time gives and settles.
 * Memory     Commands that wait are copies: at most AOF_LOADER_BLOCKS blocks for each loader, of 128 KiB, or of the longest command
 *            that was given, which is below 1 MiB. Who gives waits for room.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_LOADERS_H
#define KV_PERSIST_AOF_LOADERS_H

#include "aof_runner.h"

#define AOF_LOADERS_MAX       16
#define AOF_LOADER_BLOCKS     4
#define AOF_LOADER_BYTES_MAX  (1u << 20)
#define AOF_LOADER_SLICES_MAX (16u << 10)

typedef struct aof_loaders aof_loaders;

/* The first command that failed, in the order in which they were given. */
typedef struct aof_failure {
    uint64_t offset;
    bool no_memory; /* nothing was wrong with the command */
    char reason[AOF_REASON_MAX];
} aof_failure;

/* Up to AOF_LOADERS_MAX, or as many as can be started. */
aof_loaders *aof_loaders_new(const kv_databases *databases, int64_t now_ms, int threads);
/* Drops what was given and not run, and ends the threads. */
void aof_loaders_free(aof_loaders *loaders);
int aof_loaders_of(const aof_loaders *loaders, uint64_t hash);
/* Whether a command is short enough to be copied. */
bool aof_loaders_take(const aof_todo *todo);
/* Copies it; offset is what a failure tells, and grows. False: a loader has failed (settle tells), or memory is out. */
bool aof_loaders_give(aof_loaders *loaders, int which, const aof_todo *todo, uint64_t offset)
    KV_EXCLUDES(kv_shard_held);
/* Waits until all that was given before is done; false: *ret_failure. */
bool aof_loaders_settle(aof_loaders *loaders, aof_failure *ret_failure) KV_EXCLUDES(kv_shard_held);

#endif
