/* aof_apply.h - carries out the commands of a log, on several threads.
 *
 *     aof_apply_options how = { .databases = &databases, .now_ms = now_ms, .threads = 4 };
 *     aof_apply_init(&apply, &how);
 *     while (... a unit was read, and believed ...)
 *         if (aof_apply_run(&apply, unit.bytes, unit.offset) != 0) ... apply.reason, at byte apply.failed_at ...
 *     if (aof_apply_end_file(&apply) != 0) ... the same ...
 *     aof_apply_done(&apply);
 *
 * All data commands of the table that write are understood, and SELECT, MULTI and EXEC. What the databases hold after
 * aof_apply_end_file is what one thread would have made of the commands, one after the other.
 *
 * Threads    One at a time; the stores may be read meanwhile. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_APPLY_H
#define KV_PERSIST_AOF_APPLY_H

#include "aof_loaders.h"
#include "aof_reader.h"

#define AOF_ALONE 1000

typedef struct aof_apply_options {
    const kv_databases *databases;
    int64_t now_ms;
    int threads; /* loaders beside the calling thread; 0: it does all by itself */
    /* So many commands it runs by itself in any case: at first, and after each that all loaders had to wait for. 0: AOF_ALONE. */
    unsigned alone;
    bool (*go_on)(void *arg); /* NULL, or asked before each command; false: stop */
    void *arg;
} aof_apply_options;

typedef struct aof_apply {
    aof_apply_options how;
    kv_domain *domain;
    aof_runner runner;    /* of the calling thread */
    aof_loaders *loaders; /* NULL: none was needed yet */
    unsigned alone;       /* commands that are not given to loaders, yet */
    int db;
    aof_command command;
    uint64_t commands; /* understood */
    bool stopped;      /* go_on said so */
    uint64_t failed_at;
    char reason[AOF_REASON_MAX]; /* "": none failed */
} aof_apply;

void aof_apply_init(aof_apply *apply, const aof_apply_options *how);
void aof_apply_done(aof_apply *apply);
/* Takes in whole commands, which stand at byte offset of their file. 0, or KV_EINVAL: the command at apply->failed_at cannot be carried
 * out, apply->reason says why; those before it were; or apply->stopped. KV_ENOMEM. The first that cannot may be of an earlier call. */
int aof_apply_run(aof_apply *apply, kv_slice bytes, uint64_t offset) KV_EXCLUDES(kv_shard_held);
/* All that was taken in is carried out; what follows begins in database 0. As above. */
int aof_apply_end_file(aof_apply *apply) KV_EXCLUDES(kv_shard_held);

#endif
