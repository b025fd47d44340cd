/* aof_base.h - the base of a log: what the databases held at one moment, in RDB format or as commands.
 *
 * Threads    One at a time.
 * Errors     0 or -errno; -EBADMSG: the file is damaged, or has what is not supported: *ret_bytes is where, reason says what.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_BASE_H
#define KV_PERSIST_AOF_BASE_H

#include "aof_manifest.h"
#include "snapshot.h"

/* Writes what a snapshot, which has begun, visits into a new file, and syncs it. rdb: in RDB format; otherwise as commands, in
 * batches of a file with the opening *ret_opening. *ret_bytes: its size. stop: becomes true when it is no longer wanted (-ECANCELED). */
int aof_base_write(snapshot *snap, const char *path, bool rdb, fault_plan *faults, const _Atomic bool *stop,
                   aof_opening *ret_opening, uint64_t *ret_bytes) KV_EXCLUDES(kv_shard_held);

#endif
