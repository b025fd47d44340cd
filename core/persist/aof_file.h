/* aof_file.h - a log file that is being written: whole batches, and the syncs of the disk.
 *
 *     aof_file file = { .fd = -1, .id = random, .sequence = first };
 *     err = aof_file_create(&file, "appendonlydir/appendonly.aof.1.incr.aof");
 *     err = aof_file_write(&file, &queue);       // one batch: what the queue holds
 *     err = aof_file_sync(&file);                // it is on disk
 *     err = aof_file_mark(&file);                // and whoever reads the file can know that
 *
 * Threads    One at a time; aof_file_sync also while another writes.
 * Errors     0 or -errno. After a failed write the file ends, for whoever reads it, with the batch before, and the same queue may
 *            be written again. After a failed sync nothing may be said of the file any more: the system may have
 *            forgotten what was to be written.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_FILE_H
#define KV_PERSIST_AOF_FILE_H

#include <stdatomic.h>

#include "aof_frame.h"
#include "aof_queue.h"
#include "fault.h"

typedef struct aof_file {
    int fd;                    /* -1: there is none */
    uint64_t id;               /* drawn at random */
    uint64_t size;             /* bytes up to the end of the last batch */
    uint64_t prepared;         /* up to here the file has filler behind that, where this is more than size */
    bool torn;                 /* there may be more behind it: a write has failed */
    bool marked;               /* there is nothing that a mark could say */
    bool bare;                 /* it could not be prepared, and that is not tried again */
    _Atomic uint64_t sequence; /* of the next batch */
    _Atomic uint64_t durable;  /* those below are on disk */
    fault_plan *faults;
    char *block; /* room for what one call writes */
} aof_file;

/* A new file, with its opening line, synced; its name in the directory is not yet. file has its id, sequence and faults.
 * -EEXIST. */
int aof_file_create(aof_file *file, const char *path) KV_EXCLUDES(kv_shard_held);
/* An existing one, to go on at file->size, where its last whole batch ends; what is behind is cut off. */
int aof_file_reopen(aof_file *file, const char *path) KV_EXCLUDES(kv_shard_held);
/* Filler is cut off. */
void aof_file_close(aof_file *file);
/* Cuts a file off at `size`, and syncs it. */
int aof_file_cut(const char *path, uint64_t size, fault_plan *faults) KV_EXCLUDES(kv_shard_held);

/* Before a batch of batch_bytes: writes filler (aof_filler.h) for it and for step bytes behind it, unless it has room already, or is
 * longer than step. 0: none is wanted. The next sync takes longer, those after it less long. After an error, which comes once, the file
 * goes on without. */
int aof_file_prepare(aof_file *file, uint64_t batch_bytes, uint64_t step) KV_EXCLUDES(kv_shard_held);
/* Appends a batch; an empty queue is none. The queue stays as it is. */
int aof_file_write(aof_file *file, const aof_queue *queue) KV_EXCLUDES(kv_shard_held);
int aof_file_sync(aof_file *file) KV_EXCLUDES(kv_shard_held);
/* Says behind the last batch that it is on disk, if it is, and nothing behind it says so yet. That need not be synced. */
int aof_file_mark(aof_file *file) KV_EXCLUDES(kv_shard_held);

/* The names in a directory are on disk. */
int aof_directory_sync(const char *path, fault_plan *faults) KV_EXCLUDES(kv_shard_held);

#endif
