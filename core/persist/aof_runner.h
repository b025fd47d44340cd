/* aof_runner.h - runs commands of a log on the databases, one after the other, and notes the first that fails.
 *
 *     aof_runner_init(&runner, &databases, now_ms);
 *     aof_runner_run(&runner, &command);
 *     if (runner.failed) ... runner.reason ...
 *
 * A log tells what happened, so no deadline passes while it is read: a key that a later command changes must still be there.
 * (Deadlines that are given as a span of time, as in logs of old versions, count from now, as in Redis.)
 *
 * Threads    Each runner is one thread's; several may run at once. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_RUNNER_H
#define KV_PERSIST_AOF_RUNNER_H

#include "command.h"

#define AOF_REASON_MAX 256

typedef struct aof_runner {
    kv_reply reply; /* first: replies go nowhere, errors end it */
    const kv_databases *databases;
    int64_t now_ms;
    uint64_t rng;
    kv_counters counters;
    bool failed;
    char reason[AOF_REASON_MAX];
} aof_runner;

/* A command of the table that writes, taken apart; its arity has been checked. */
typedef struct aof_todo {
    const kv_command *row;
    const kv_slice *argv;
    int argc, db;
    bool hashed; /* hash is that of argv[row->keys.first] */
    uint64_t hash;
} aof_todo;

void aof_runner_init(aof_runner *runner, const kv_databases *databases, int64_t now_ms);
void aof_runner_run(aof_runner *runner, const aof_todo *todo, const map_hint *hint) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
/* Whether it is SET key value, and aof_runner_set takes it. */
static inline bool aof_todo_is_set(const aof_todo *todo)
{
    return todo->row->id == KV_COMMAND_set && todo->argc == 3 && todo->hashed;
}
/* n of those, of one database: the arguments of the next ones follow those of the first. */
void aof_runner_set(aof_runner *runner, const aof_todo *first, size_t n, const uint64_t hashes[],
                    const map_hint hints[]) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

#endif
