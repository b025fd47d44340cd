/* aof_staging.h - the records that one thread notes without meeting another.
 *
 *     if (aof_staging_put(staging, put, db, &epoch)) ...                 // under the lock of the shard
 *     aof_staging_lock(staging); ... move staging->queue ... aof_staging_unlock(staging);
 *
 * See aof_buffer.c for what may be noted so.
 *
 * Threads    One puts; whoever takes holds the lock, as the one does while it puts.
 * Private to core/persist. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_STAGING_H
#define KV_PERSIST_AOF_STAGING_H

#include <stdatomic.h>

#include "aof_queue.h"
#include "store.h"

#define AOF_STAGED_MAX 4096u /* bytes of a key and its value; longer ones are not staged */

/* Time as a buffer counts it: what has entered between two moments of taking. It changes only while all stagings are locked. */
typedef struct aof_epoch {
    _Atomic uint64_t now;   /* from 1 on */
    _Atomic uint64_t mixed; /* the last one in which something else than puts has entered */
} aof_epoch;

/* A lock for some hundred instructions that mostly one thread takes: the release is a plain store, and nobody sleeps for it. */
typedef struct KV_CAPABILITY("lock") aof_brief_lock {
    _Atomic bool held;
} aof_brief_lock;

typedef struct aof_staging {
    aof_brief_lock lock;              /* guards the following but for next; a leaf */
    bool lost;                        /* something, for want of memory */
    int first_db, db;                 /* that its first record takes for selected, and that is at its end */
    aof_queue queue;                  /* what was not yet taken */
    _Atomic uint64_t appended, taken; /* bytes that entered since the beginning; and of them were taken */
    aof_queue spares;                 /* empty chunks */
    size_t spare_count;
    struct aof_staging *next; /* of the same buffer; never changes */
} aof_staging;

/* NULL: memory is out. */
aof_staging *aof_staging_new(void);
void aof_staging_free(aof_staging *staging);

void aof_staging_lock(aof_staging *staging) KV_ACQUIRES(&staging->lock);
void aof_staging_unlock(aof_staging *staging) KV_RELEASES(&staging->lock);

/* Takes down a put, unless something else that has entered in this epoch may be about its key. False: it was not taken down. */
bool aof_staging_put(aof_staging *staging, const store_put_told *put, int db,
                     const aof_epoch *epoch) KV_UNDER_LOCK;
/* Notes at the shard that there was a put in the epoch `now`. Whether there was none of its key before, in that epoch. */
bool aof_staging_claim(const store_put_told *put, uint64_t now) KV_UNDER_LOCK;

#endif
