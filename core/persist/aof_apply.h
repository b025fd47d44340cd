/* aof_apply.h - carries out the commands of a log.
 *
 *     aof_apply_init(&apply, &databases, now_ms);
 *     if (aof_apply_run(&apply, unit.bytes, &at) != 0) ... apply.reason, at byte `at` of the unit ...
 *
 * All data commands of the table that write are understood, and SELECT, MULTI and EXEC. A log tells what happened, so no
 * deadline passes while it is read: a key that a later command changes must still be there. (Deadlines that are given as a span of
 * time, as in logs of old versions, count from now, as in Redis.)
 *
 * Threads    One at a time; the stores may be read meanwhile. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_APPLY_H
#define KV_PERSIST_AOF_APPLY_H

#include "aof_reader.h"
#include "command.h"

typedef struct aof_apply {
    kv_reply reply; /* first: replies go nowhere, errors end it */
    const kv_databases *databases;
    kv_domain *domain;
    int db;
    int64_t now_ms;
    uint64_t rng;
    kv_counters counters;
    aof_command command;
    uint64_t commands;        /* carried out */
    bool (*go_on)(void *arg); /* NULL, or asked before each command */
    void *arg;
    bool failed, stopped; /* stopped: go_on said so */
    char reason[256];
} aof_apply;

void aof_apply_init(aof_apply *apply, const kv_databases *databases, int64_t now_ms);
void aof_apply_done(aof_apply *apply);
/* Before another file: database 0 is selected. */
void aof_apply_begin_file(aof_apply *apply);
/* 0, or KV_EINVAL: the command at *ret_at cannot be carried out, apply->reason says why; those before it were; or
 * apply->stopped. KV_ENOMEM. */
int aof_apply_run(aof_apply *apply, kv_slice bytes, size_t *ret_at) KV_EXCLUDES(kv_shard_held);

#endif
