/* rdb_save.h - a snapshot as an RDB file that is there whole and durable, or not at all.
 *
 *     temp-<pid>.rdb   written, synced      ->  renamed to the path  ->  directory synced
 *
 * Whatever goes wrong, and wherever the process ends, the file that was there before is untouched until the new one is
 * complete on the disk. Files are 0600.
 *
 * Threads    The thread that calls; any thread may read progress and set cancel.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_RDB_SAVE_H
#define KV_PERSIST_RDB_SAVE_H

#include <stdatomic.h>

#include "fault.h"
#include "rdb.h"
#include "snapshot.h"

typedef enum rdb_use { RDB_USE_NONE, RDB_USE_IDLE, RDB_USE_FREQ } rdb_use;

typedef struct rdb_save {
    const char *path;
    rdb_write_options format;
    const char *version;  /* for readers: what server we are compatible with, "7.0.15" */
    uint64_t used_memory; /* for readers */
    bool aof_base;        /* it is the base of a log */
    unsigned
        stream_db; /* 1 + the database that is selected in the stream of changes which follows; 0: not told */
    rdb_use use;   /* what to tell of how keys were used */
    bool
        incremental_sync; /* hand what is written to the disk every few MiB, so that the sync at the end is short */
    uint64_t bytes_per_second; /* no faster than this; 0: as fast as it goes */
    int64_t now_ms;            /* at the moment of the snapshot */
    fault_plan *faults;        /* or NULL */

    _Atomic uint64_t keys_done, bytes_done; /* progress */
    _Atomic bool cancel;                    /* ends it with ECANCELED */
    char reason[256];                       /* after a failure: what failed */
} rdb_save;

/* Writes a snapshot that has begun, of n databases; the stores' indexes are the databases' numbers. 0, or the errno with
 * save->reason. */
int rdb_save_snapshot(rdb_save *save, snapshot *snap, size_t n) KV_EXCLUDES(kv_shard_held);

/* Hands the same bytes to sink instead, which may wait; path and incremental_sync do not matter. 0 or an errno (of the sink, too), and
 * save->reason is not touched. */
int rdb_save_to(rdb_save *save, snapshot *snap, size_t n, rdb_sink_fn *sink, void *arg)
    KV_EXCLUDES(kv_shard_held);
/* What such an errno means, EOVERFLOW above all. */
const char *rdb_save_error(int err);

/* Syncs the directory of a path, so that a rename in it is durable. 0 or the errno. */
int rdb_sync_directory(fault_plan *faults, const char *path);

#endif
