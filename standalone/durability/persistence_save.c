/* persistence_save.c - taking one snapshot and writing it.
 *
 * The moment is that of snapshot_begin: what was changed by then is in the file, what comes later is not. Figures see the
 * save while it runs (p->save, p->keys_total, under p->lock), and p->snapshot tells how much of what was overwritten it keeps
 * (under kept_lock, since who looks must not find it freed).
 *
 * Threads: the task's, or the one that ends the server; for a copy, whose it is. SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "persistence_internal.h"

static rdb_use use_of(const server *s)
{
    switch (atomic_load_explicit(&((server *)s)->access_mode, memory_order_relaxed)) {
    case ACCESS_USES:
        return RDB_USE_FREQ;
    case ACCESS_FINE:
        return RDB_USE_IDLE;
    default:
        return RDB_USE_NONE;
    }
}

static void describe(server *s, rdb_save *save, const char *path)
{
    const config *c = s->config;

    *save = (rdb_save){ .path = path,
                        .format = { .compress = config_number(c, CONFIG_ID_rdbcompression) != 0,
                                    .no_checksum = !config_number(c, CONFIG_ID_rdbchecksum) },
                        .version = SERVER_REDIS_VERSION,
                        .used_memory = server_memory(s),
                        .use = use_of(s),
                        .incremental_sync = config_number(c, CONFIG_ID_rdb_save_incremental_fsync) != 0,
                        .bytes_per_second = (uint64_t)config_number(c, CONFIG_ID_snapshot_max_rate),
                        .now_ms = clock_ms(),
                        .faults = s->faults };
}

static void publish_snapshot(persistence *p, snapshot *snap)
{
    pthread_mutex_lock(&p->kept_lock);
    atomic_store_explicit(&p->snapshot, snap, memory_order_relaxed);
    pthread_mutex_unlock(&p->kept_lock);
}

static uint64_t sum_keys(const snapshot *snap, int count)
{
    uint64_t keys = 0;

    for (int i = 0; i < count; i++)
        keys += snapshot_keys(snap, (size_t)i);
    return keys;
}

/* Tells the figures that it runs, or that it does no longer. */
static void set_current(persistence *p, rdb_save *save, uint64_t keys_total)
{
    pthread_mutex_lock(&p->lock);
    p->save = save;
    p->keys_total = keys_total;
    pthread_mutex_unlock(&p->lock);
}

/* With the claim. 0 or an errno with save->reason. *ret_changes: as of the moment. */
static int take_and_write(persistence *p, rdb_save *save, uint64_t *ret_changes)
{
    server *s = p->server;
    size_t n = (size_t)s->databases.count;
    snapshot_options options = { .keep_bytes =
                                     (size_t)config_number(s->config, CONFIG_ID_snapshot_keep_bytes) };
    snapshot *snap = snapshot_new(&options, n, s->databases.stores);
    int err = ENOMEM;

    snprintf(save->reason, sizeof save->reason, "memory is out");
    *ret_changes = persistence_count_changes(s); /* before: rather one too many that is not yet saved */
    if (snap && snapshot_begin(snap) == 0) {
        publish_snapshot(p, snap);
        set_current(p, save, sum_keys(snap, (int)n));
        err = rdb_save_snapshot(save, snap, n);
        set_current(p, NULL, 0);
        publish_snapshot(p, NULL);
    }
    snapshot_free(snap);
    return err;
}

static void note_result(persistence *p, bool saved, int64_t duration_s, uint64_t changes)
{
    pthread_mutex_lock(&p->lock);
    p->last_ok = saved;
    p->last_duration_s = duration_s;
    if (saved) {
        p->saves++;
        p->last_save_s = persistence_now_s();
        p->saved_changes = changes;
    }
    pthread_mutex_unlock(&p->lock);
    persistence_apply(p->server);
}

int persistence_save(persistence *p)
{
    server *s = p->server;
    char *path = persistence_path(s);
    rdb_save *job = calloc(1, sizeof *job);
    uint64_t changes = 0, start = clock_ns();
    int err = ENOMEM;

    if (path && job) {
        describe(s, job, path);
        err = take_and_write(p, job, &changes);
    }
    int64_t took_ns = (int64_t)(clock_ns() - start);

    if (err)
        log_write(&s->log, CONFIG_LOG_WARNING, "The snapshot failed: %s", job ? job->reason : strerror(err));
    else
        log_write(&s->log, CONFIG_LOG_NOTICE, "DB saved on disk: %llu keys, %llu bytes in %.3f seconds",
                  (unsigned long long)atomic_load(&job->keys_done),
                  (unsigned long long)atomic_load(&job->bytes_done), (double)took_ns / 1e9);
    note_result(p, err == 0, took_ns / 1000000000, changes);
    free(job);
    free(path);
    return err ? -1 : 0;
}

/* ---- copies for others ---- */

/* Takes the claim for a copy, unless a snapshot for the file is wanted. */
static bool claim_for_copy(persistence *p, rdb_save *save)
{
    bool claimed;

    pthread_mutex_lock(&p->lock);
    claimed = !p->wanted && !p->scheduled && !p->saving && !p->stop && !p->loading && persistence_claim(p);
    if (claimed)
        p->save = save;
    pthread_mutex_unlock(&p->lock);
    return claimed;
}

static bool begin_copy(persistence_copy *copy, snapshot *snap)
{
    bool has_come;

    copy->before_moment(copy->arg);
    has_come = snapshot_begin(snap) == 0;
    copy->after_moment(copy->arg, has_come);
    return has_come;
}

int persistence_make_copy(persistence *p, persistence_copy *copy)
{
    server *s = p->server;
    size_t n = (size_t)s->databases.count;
    snapshot_options options = {
        .keep_bytes = (size_t)config_number(s->config, CONFIG_ID_snapshot_keep_bytes),
        .at_moment = copy->at_moment,
        .at_moment_arg = copy->arg,
    };
    snapshot *snap;
    int err = ENOMEM;

    describe(s, &copy->save, NULL);
    if (!claim_for_copy(p, &copy->save))
        return EBUSY;
    snap = snapshot_new(&options, n, s->databases.stores);
    if (snap && begin_copy(copy, snap)) {
        set_current(p, &copy->save, sum_keys(snap, (int)n));
        copy->snap = snap;
        err = rdb_save_to(&copy->save, snap, n, copy->sink, copy->arg);
        copy->snap = NULL;
    }
    snapshot_free(snap);
    set_current(p, NULL, 0);
    persistence_unclaim(p);
    return err;
}
