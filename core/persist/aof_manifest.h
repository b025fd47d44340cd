/* aof_manifest.h - which files a log consists of: Redis 7's manifest, with what we know of each file besides.
 *
 *     file appendonly.aof.2.base.rdb seq 2 type b summed yes
 *     file appendonly.aof.7.incr.aof seq 7 type i log 52bdf0e2a1c49b87 first 18f2
 *     #KVSUM 5be1d02c
 *
 * base, then incremental files in order of seq: loaded one after the other they give the state. history: no longer needed, to be
 * deleted. redis-server ignores keys that it does not know, and lines that begin with '#'; a manifest that it has written again has
 * none of ours. The last line sums up all bytes before it; a manifest with keys of ours must have it (each line has one, so that no
 * line that is left of others passes for a manifest of Redis).
 *
 * Threads    One at a time.
 * Errors     0 or -errno; -EBADMSG: it is damaged, and reason says how.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_MANIFEST_H
#define KV_PERSIST_AOF_MANIFEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "aof_frame.h"
#include "fault.h"

#define AOF_NAME_MAX 256

typedef enum aof_file_type { AOF_BASE = 'b', AOF_HISTORY = 'h', AOF_INCREMENT = 'i' } aof_file_type;

typedef struct aof_entry {
    char name[AOF_NAME_MAX]; /* in the directory of the manifest */
    int64_t seq;
    aof_file_type type;
    bool ours; /* it begins with this opening */
    aof_opening opening;
} aof_entry;

typedef struct aof_manifest {
    aof_entry *entries;
    size_t count, capacity;
} aof_manifest;

/* -ENOENT: there is none; -EBADMSG. The entries come in the order in which they are loaded, history last. */
int aof_manifest_read(aof_manifest *manifest, const char *path, char *reason, size_t reason_size);
/* By a temporary file beside it, synced, renamed over it, the directory synced: after a crash it is the old or the new one. */
int aof_manifest_write(const aof_manifest *manifest, const char *directory, const char *name,
                       fault_plan *faults);
/* Text as a manifest; what aof_manifest_read does with a file's. */
int aof_manifest_parse(aof_manifest *manifest, const char *text, size_t len, char *reason,
                       size_t reason_size);
void aof_manifest_done(aof_manifest *manifest);

/* Adds a copy of entry. -ENOMEM. */
int aof_manifest_add(aof_manifest *manifest, const aof_entry *entry);
/* The base, or NULL; the last incremental file, or NULL. */
const aof_entry *aof_manifest_base(const aof_manifest *manifest);
aof_entry *aof_manifest_last(const aof_manifest *manifest);
/* Whether a file must begin in RDB format, by its name: otherwise one that was emptied would pass for a base of no commands. */
bool aof_entry_is_rdb(const aof_entry *entry);
/* The highest seq of a type: the next file has one more. */
int64_t aof_manifest_seq(const aof_manifest *manifest, aof_file_type type);

#endif
