/* aof_staging.c - see aof_staging.h. SPDX-License-Identifier: MIT */
#include "aof_staging.h"

#include <sched.h>
#include <stdlib.h>

#include "aof_record.h"

#define LINE  64u
#define SPINS 100 /* looks at a lock before the thread is given up */

aof_staging *aof_staging_new(void)
{
    /* Lines of its own: nobody else writes to them between two moments of taking. */
    aof_staging *staging = aligned_alloc(LINE, (sizeof *staging + LINE - 1) / LINE * LINE);

    if (staging)
        *staging = (aof_staging){ 0 };
    return staging;
}

void aof_staging_free(aof_staging *staging)
{
    if (!staging)
        return;
    aof_queue_clear(&staging->queue);
    aof_queue_clear(&staging->spares);
    free(staging);
}

/* ---- the lock ---- */

__attribute__((noinline)) static void wait_until_free(const aof_brief_lock *lock)
{
    for (int looks = 0; atomic_load_explicit(&((aof_brief_lock *)lock)->held, memory_order_relaxed); looks++)
        if (looks >= SPINS)
            sched_yield();
}

KV_UNCHECKED void aof_staging_lock(aof_staging *staging)
{
    while (atomic_exchange_explicit(&staging->lock.held, true, memory_order_acquire))
        wait_until_free(&staging->lock);
}

KV_UNCHECKED void aof_staging_unlock(aof_staging *staging)
{
    atomic_store_explicit(&staging->lock.held, false, memory_order_release);
}

/* ---- putting ---- */

bool aof_staging_claim(const store_put_told *put, uint64_t now)
{
    map_mark *mark = put->mark;

    if (mark->epoch != now) {
        /* Of a shard that is new nobody knows since when its keys are what they are. */
        mark->version = mark->epoch ? put->version - 1 : 0;
        mark->epoch = now;
    }
    return put->before_version <= mark->version;
}

/* A record that is not short, or the first in a chunk, or the first of a database. */
__attribute__((noinline)) static bool write_any(aof_staging *staging, const store_put_told *put, int db)
{
    const kv_change change = {
        .kind = KV_CHANGE_SET, .key = put->key, .value = put->value, .deadline_ms = KV_FOREVER
    };
    const aof_chunk *last = staging->queue.last;

    if (!last || last->capacity - last->len < AOF_RECORD_HEADS + AOF_STAGED_MAX)
        staging->spare_count -= aof_queue_take_spare(&staging->queue, &staging->spares);
    if (staging->queue.bytes == 0)
        staging->first_db = staging->db = db;
    return aof_record_write(&staging->queue, &staging->db, &change, db, 0);
}

static void write_put(aof_staging *staging, const store_put_told *put, int db)
{
    size_t before = staging->queue.bytes;
    uint64_t appended = atomic_load_explicit(&staging->appended, memory_order_relaxed);

    if (!(before && staging->db == db && aof_record_write_short(&staging->queue, put->key, put->value)) &&
        !write_any(staging, put, db))
        staging->lost = true;
    atomic_store_explicit(&staging->appended, appended + staging->queue.bytes - before, memory_order_release);
}

bool aof_staging_put(aof_staging *staging, const store_put_told *put, int db, const aof_epoch *epoch)
{
    bool first;

    aof_staging_lock(staging);
    uint64_t now = atomic_load_explicit(&((aof_epoch *)epoch)->now, memory_order_relaxed);

    first = aof_staging_claim(put, now) &&
            atomic_load_explicit(&((aof_epoch *)epoch)->mixed, memory_order_relaxed) != now;
    if (first)
        write_put(staging, put, db);
    aof_staging_unlock(staging);
    return first;
}
