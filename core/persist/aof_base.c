/* aof_base.c - see aof_base.h. SPDX-License-Identifier: MIT */
#include "aof_base.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "aof_buffer.h"
#include "aof_file.h"
#include "rdb.h"

#define BATCH_BYTES (1024u * 1024)      /* of commands */
#define SYNC_BYTES  (32u * 1024 * 1024) /* so that the last sync has little to do */

/* ---- writing: both formats ---- */

typedef struct base {
    snapshot *snap;
    fault_plan *faults;
    const _Atomic bool *stop;
    int fd;
    rdb_writer *rdb;
    size_t store;      /* whose records come now */
    uint64_t unsynced; /* bytes since the last sync */
    aof_file file;     /* of commands */
    aof_queue queue;
    int db;
    int err;
} base;

static int write_bytes(void *arg, const void *bytes, size_t len)
{
    base *b = arg;
    const char *at = bytes;

    for (size_t left = len; left > 0;) {
        ssize_t n = fault_write(b->faults, b->fd, at, left);

        if (n == 0 || (n < 0 && errno != EINTR))
            return n == 0 ? ENOSPC : errno;
        at += n > 0 ? n : 0;
        left -= n > 0 ? (size_t)n : 0;
    }
    b->unsynced += len;
    if (b->unsynced < SYNC_BYTES)
        return 0;
    b->unsynced = 0;
    return fault_fdatasync(b->faults, b->fd) == 0 ? 0 : errno;
}

static int write_rdb(void *arg, const snapshot_record *record)
{
    base *b = arg;
    rdb_record out = { .key = record->key,
                       .value = record->value,
                       .deadline_ms = record->deadline_ms,
                       .idle_s = RDB_IDLE_NONE,
                       .freq = RDB_FREQ_NONE };

    if (b->store != record->store)
        b->err = rdb_write_db(b->rdb, (unsigned)record->store, snapshot_keys(b->snap, record->store),
                              snapshot_keys_with_deadline(b->snap, record->store));
    b->store = record->store;
    if (!b->err)
        b->err = rdb_write_string(b->rdb, &out);
    return b->err;
}

static void end_batch(base *b)
{
    if (!b->err)
        b->err = -aof_file_write(&b->file, &b->queue);
    aof_queue_clear(&b->queue);
}

static int write_command(void *arg, const snapshot_record *record)
{
    base *b = arg;
    kv_change change = {
        .kind = KV_CHANGE_SET, .key = record->key, .value = record->value, .deadline_ms = record->deadline_ms
    };

    if (!aof_record_write(&b->queue, &b->db, &change, (int)record->store, 0))
        b->err = ENOMEM;
    if (b->queue.bytes >= BATCH_BYTES)
        end_batch(b);
    return b->err;
}

/* Goes through the snapshot. 0, or -errno. */
static int visit_all(base *b, snapshot_visit_fn *visit)
{
    int found;

    while ((found = snapshot_next(b->snap, visit, b)) > 0 && !b->err)
        if (b->stop && atomic_load_explicit((_Atomic bool *)b->stop, memory_order_relaxed))
            return -ECANCELED;
    if (b->err)
        return -b->err;
    return found < 0 ? -ENOMEM : 0;
}

/* ---- RDB ---- */

static int write_facts(base *b)
{
    int err = rdb_write_aux(b->rdb, KV_STR("redis-ver"), KV_STR("7.0.0"));

    if (!err)
        err = rdb_write_aux_int(b->rdb, KV_STR("redis-bits"), (int64_t)sizeof(void *) * 8);
    if (!err)
        err = rdb_write_aux_int(b->rdb, KV_STR("ctime"), (int64_t)time(NULL));
    if (!err)
        err = rdb_write_aux_int(b->rdb, KV_STR("aof-base"), 1);
    return -err;
}

static int write_as_rdb(base *b, const char *path, uint64_t *ret_bytes)
{
    rdb_write_options options = { .compress = true };
    int err;

    b->fd = fault_open(b->faults, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (b->fd < 0)
        return -errno;
    b->rdb = rdb_writer_new(&options, write_bytes, b);
    err = b->rdb ? write_facts(b) : -ENOMEM;
    if (!err)
        err = visit_all(b, write_rdb);
    if (!err)
        err = -rdb_write_end(b->rdb);
    if (!err) {
        *ret_bytes = rdb_writer_bytes(b->rdb);
        err = fault_fsync(b->faults, b->fd) == 0 ? 0 : -errno;
    }
    rdb_writer_free(b->rdb);
    close(b->fd);
    return err;
}

/* ---- commands ---- */

static int write_as_commands(base *b, const char *path, aof_opening *ret_opening, uint64_t *ret_bytes)
{
    uint64_t id = 0;
    int err;

    while (getrandom(&id, sizeof id, 0) != sizeof id && errno == EINTR)
        ;
    *ret_opening = (aof_opening){ id, 1 };
    b->file = (aof_file){ .fd = -1, .id = id, .sequence = 1, .faults = b->faults };
    unlink(path);
    err = aof_file_create(&b->file, path);
    if (err)
        return err;
    err = visit_all(b, write_command);
    if (!err) {
        end_batch(b);
        err = -b->err;
    }
    if (!err)
        err = aof_file_sync(&b->file);
    *ret_bytes = b->file.size;
    aof_queue_clear(&b->queue);
    aof_file_close(&b->file);
    return err;
}

int aof_base_write(snapshot *snap, const char *path, bool rdb, fault_plan *faults, const _Atomic bool *stop,
                   aof_opening *ret_opening, uint64_t *ret_bytes)
{
    base b = { .snap = snap, .faults = faults, .stop = stop, .fd = -1, .store = SIZE_MAX, .db = -1 };

    *ret_bytes = 0;
    return rdb ? write_as_rdb(&b, path, ret_bytes) : write_as_commands(&b, path, ret_opening, ret_bytes);
}
