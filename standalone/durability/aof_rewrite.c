/* aof_rewrite.c - a new base for the log, while writes go on: BGREWRITEAOF, and how the log is switched on.
 *
 *     rewrite's thread                                   task
 *     snapshot_begin: at its moment, under all locks,
 *       the buffer is sealed
 *                                                        writes what was told before the moment to the old file,
 *                                                        syncs it, makes a new file, names it in the manifest,
 *                                                        opens the seal: what was told since goes to the new file
 *     writes what the snapshot visits to a temporary file, syncs it, renames it to prefix.<n>.base.rdb
 *     manifest: the new base and the files since the moment; those before are history
 *     removes them
 *
 * A crash at any point leaves a manifest that names either the old base with all files behind it, or the new one with those
 * since the moment: the same state. If anything fails, the old base stays, with one more file behind it.
 *
 * Switching on is the same with nothing before: what was told before the moment is dropped, and no manifest names the new file until the
 * base is there. Until then the log promises nothing.
 *
 * While appendonly is no, BGREWRITEAOF writes a base, too, as redis-server does: the manifest then names it and nothing else, and a
 * start with appendonly yes begins with it. Nothing is sealed, and no file goes on behind it. Who switches the log on meanwhile
 * waits: a tick begins the rewrite that does.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "aof_base.h"
#include "aof_internal.h"
#include "persistence.h"

#define RETRY_NS ((uint64_t)60 * 1000000000) /* after a rewrite that failed */

/* ---- the moment ---- */

static void seal(void *arg)
{
    aof *a = arg;

    aof_buffer_seal(&a->buffer);
    /* Whatever is told from now on is told to the new file. Meanwhile the ends of acts were not heard, either. */
    if (atomic_exchange(&a->deaf, false))
        atomic_fetch_add(&a->age, 1);
}

/* Tells the rewriting thread which file begins at the seal. */
static void tell_rotated(aof *a, const aof_entry *item, int err)
{
    pthread_mutex_lock(&a->lock);
    a->rotated_entry = *item;
    a->rotate_error = err;
    a->rotated = true;
    pthread_mutex_unlock(&a->lock);
    pthread_cond_broadcast(&a->was_rotated);
}

int aof_rotate(aof *a)
{
    /* What is in the files before, if any, is worth nothing until the base is there. */
    bool apart = atomic_load(&a->state) == AOF_WAITING || a->spoilt;
    aof_file fresh;
    aof_entry item;
    int err, made;

    if (atomic_load(
            &a->deaf)) { /* since the moment: what was told after it was dropped, the rewrite cannot be whole */
        aof_buffer_open(&a->buffer);
        tell_rotated(a, &(aof_entry){ 0 }, -EIO);
        return -EIO;
    }
    err = apart ? 0 : aof_write_sealed(a);
    if (err)
        return err;
    made = aof_log_new_file(&a->log, apart ? 1 : a->file.sequence, &fresh, &item);
    if (!made && !apart)
        made = aof_log_add(&a->log, &item);
    if (!made) {
        atomic_fetch_add(&a->older_bytes, a->file.fd >= 0 ? a->file.size : 0);
        aof_file_close(&a->file);
        a->file = fresh;
        a->spoilt = a->retry = false;
        atomic_store(&a->apart, apart);
        aof_queue_clear(&a->batch);
    } else if (!apart) {
        aof_file_close(&fresh); /* the old file goes on */
    } else {
        atomic_store(&a->deaf, true);
    }
    aof_buffer_open(&a->buffer);
    tell_rotated(a, &item, made);
    return 0;
}

static int wait_for_rotation(aof *a, aof_entry *ret_item)
{
    int err;

    aof_ask(a);
    pthread_mutex_lock(&a->lock);
    while (!a->rotated && !atomic_load(&a->stop_rewriting))
        pthread_cond_wait(&a->was_rotated, &a->lock);
    err = a->rotated ? a->rotate_error : -ECANCELED;
    *ret_item = a->rotated_entry;
    pthread_mutex_unlock(&a->lock);
    return err;
}

/* ---- the manifest ---- */

/* A name for the new base that no file has. */
static bool name_base(const aof *a, bool rdb, aof_entry *item, char path[AOF_PATH_MAX])
{
    *item = (aof_entry){ .type = AOF_BASE, .seq = aof_manifest_seq(&a->log.manifest, AOF_BASE) };
    do {
        item->seq++;
        if (snprintf(item->name, AOF_NAME_MAX, "%s.%lld.base.%s", a->prefix, (long long)item->seq,
                     rdb ? "rdb" : "aof") >= AOF_NAME_MAX ||
            !aof_log_path(&a->log, item->name, path))
            return false;
    } while (access(path, F_OK) == 0);
    return true;
}

/* Puts the new base in place: the manifest then names it, and the files from `since` on. */
static int install(aof *a, const char *temporary, aof_entry *base, const aof_entry *since, const char *path)
{
    if (fault_rename(a->log.faults, temporary, path) != 0)
        return -errno;
    fault_point(a->log.faults, "base-renamed");
    return aof_log_replace(&a->log, base, since);
}

/* ---- the thread ---- */

static void ended(aof *a, int err, uint64_t start_ns, uint64_t base_bytes)
{
    server *s = a->server;

    atomic_store(&a->last_rewrite_s, (int64_t)((clock_ns() - start_ns) / 1000000000));
    atomic_store(&a->rewrite_ok, err == 0);
    if (err) {
        atomic_fetch_add(&a->rewrites_failed, 1);
        if (!a->bare) /* who switches it on need not wait for that */
            atomic_store(&a->no_rewrite_before_ns, clock_ns() + RETRY_NS);
        log_write(&s->log, CONFIG_LOG_WARNING, "Rewriting the log of changes failed: %s", strerror(-err));
    } else {
        atomic_store(&a->rewrites_failed, 0);
        atomic_store(&a->base_bytes, base_bytes);
        atomic_store(&a->older_bytes, base_bytes);
        log_write(&s->log, CONFIG_LOG_NOTICE, "The log of changes was rewritten: its base has %llu bytes",
                  (unsigned long long)base_bytes);
    }
}

static int know_older(aof *a)
{
    int err;

    pthread_mutex_lock(&a->file_lock);
    err = aof_log_know(&a->log);
    pthread_mutex_unlock(&a->file_lock);
    return err;
}

/* From the moment on. */
static int rewrite(aof *a, uint64_t *ret_bytes)
{
    server *s = a->server;
    bool rdb = config_number(s->config, CONFIG_ID_aof_use_rdb_preamble) != 0;
    snapshot_options options = { .keep_bytes =
                                     (size_t)config_number(s->config, CONFIG_ID_aof_rewrite_keep_bytes),
                                 .at_moment = a->bare ? NULL : seal,
                                 .at_moment_arg = a };
    char temporary[AOF_PATH_MAX], path[AOF_PATH_MAX];
    aof_entry base, since;
    snapshot *snap = snapshot_new(&options, (size_t)s->databases.count, s->databases.stores);
    int err = snap ? know_older(a) : -ENOMEM;

    if (!aof_log_path(&a->log, "temp-rewrite.base", temporary) || !name_base(a, rdb, &base, path))
        err = -ENAMETOOLONG;
    if (!err && a->bare)
        err = aof_log_make_directory(&a->log);
    if (!err && snapshot_begin(snap) != 0)
        err = -ENOMEM;
    if (!err && !a->bare)
        err = wait_for_rotation(a, &since);
    fault_point(a->log.faults, "log-rotated");
    if (!err)
        err =
            aof_base_write(snap, temporary, rdb, a->log.faults, &a->stop_rewriting, &base.opening, ret_bytes);
    base.ours = !rdb;
    snapshot_free(snap);
    fault_point(a->log.faults, "base-written");
    if (!err)
        err = install(a, temporary, &base, a->bare ? NULL : &since, path);
    if (err && temporary[0])
        unlink(temporary);
    return err;
}

/* As soon as no other snapshot is taken. */
static int rewrite_in_turn(aof *a, uint64_t *ret_bytes)
{
    const struct timespec pause = { .tv_nsec = 20000000 };
    int err;

    while (!persistence_claim(a->server->persistence)) {
        if (atomic_load(&a->stop_rewriting))
            return -ECANCELED;
        nanosleep(&pause, NULL);
    }
    err = rewrite(a, ret_bytes);
    persistence_unclaim(a->server->persistence);
    return err;
}

/* The manifest names the base and the file that is written: from now on the log keeps its promise, unless that file has
 * failed meanwhile: then it takes another rewrite. */
static void is_whole(aof *a, bool enabling)
{
    pthread_mutex_lock(&a->file_lock);
    atomic_store(&a->apart, false);
    if (!a->spoilt && enabling) {
        atomic_store(&a->state, AOF_ON);
        aof_tell_waiting(a);
        log_write(&a->server->log, CONFIG_LOG_NOTICE, "The log of changes is on");
    } else if (!a->spoilt) {
        aof_mend(a);
    }
    pthread_mutex_unlock(&a->file_lock);
}

/* It failed. A file that no manifest names is worth nothing without the base. */
static void begin_again(aof *a)
{
    if (!atomic_exchange(&a->apart, false))
        return;
    pthread_mutex_lock(&a->file_lock);
    aof_spoil(a);
    pthread_mutex_unlock(&a->file_lock);
}

static void *run(void *arg)
{
    aof *a = arg;
    server *s = a->server;
    uint64_t start_ns = clock_ns(), bytes = 0;
    bool enabling = atomic_load(&a->state) == AOF_WAITING;
    int err;

    if (kv_thread_register(s->domain) != 0)
        err = -ENOMEM;
    else {
        err = rewrite_in_turn(a, &bytes);
        kv_thread_unregister(s->domain);
    }
    ended(a, err, start_ns, bytes);
    if (!a->bare && err)
        begin_again(a);
    else if (!a->bare)
        is_whole(a, enabling);
    atomic_store(&a->rewriting, false);
    return NULL;
}

/* With rewriter_lock, and `rewriting` set. */
static int start_rewriter(aof *a)
{
    if (a->rewriter_started)
        pthread_join(a->rewriter, NULL); /* it has ended */
    a->bare = !aof_listens(a->server);
    pthread_mutex_lock(&a->lock);
    a->rotated = false;
    pthread_mutex_unlock(&a->lock);
    atomic_store(&a->rewrite_started_ns, clock_ns());
    a->rewriter_started = pthread_create(&a->rewriter, NULL, run, a) == 0;
    return a->rewriter_started ? 0 : -1;
}

/* It is neither being loaded nor being switched off. */
static bool may_rewrite(const aof *a)
{
    return aof_listens(a->server) || (atomic_load(&a->state) == AOF_OFF && !atomic_load(&a->loading));
}

int aof_rewrite_start(server *s)
{
    aof *a = s->aof;
    bool busy = false;
    int err;

    if (pthread_mutex_trylock(&a->rewriter_lock) != 0)
        return -EBUSY;
    err = !may_rewrite(a) ? -1 : atomic_compare_exchange_strong(&a->rewriting, &busy, true) ? 0 : -EBUSY;
    if (!err) {
        err = start_rewriter(a);
        if (err)
            atomic_store(&a->rewriting, false);
        else
            atomic_fetch_add(&a->rewrites, 1);
    }
    pthread_mutex_unlock(&a->rewriter_lock);
    return err;
}

/* appendonly is no, and the task has not yet closed the file. */
static bool is_being_switched_off(const aof *a)
{
    return !aof_listens(a->server) && atomic_load(&a->state) != AOF_OFF;
}

int aof_rewrite_ask(server *s)
{
    aof *a = s->aof;
    int err = is_being_switched_off(a) ? -1 : aof_rewrite_start(s);

    if (err != -1 || atomic_load(&a->loading))
        return err;
    if (!is_being_switched_off(a)) /* it was a moment ago, or no thread can be had */
        return aof_rewrite_start(s);
    atomic_store(&a->scheduled, true);
    return -EAGAIN;
}

void aof_rewrite_stop(aof *a)
{
    pthread_mutex_lock(&a->lock);
    atomic_store(&a->stop_rewriting, true);
    pthread_mutex_unlock(&a->lock);
    pthread_cond_broadcast(&a->was_rotated);
    pthread_mutex_lock(&a->rewriter_lock);
    if (a->rewriter_started)
        pthread_join(a->rewriter, NULL);
    a->rewriter_started = false;
    pthread_mutex_unlock(&a->rewriter_lock);
}

/* ---- when ---- */

void aof_rewrite_soon(server *s)
{
    atomic_store(&s->aof->wanted, true);
}

void aof_tick(server *s)
{
    aof *a = s->aof;
    int64_t percentage = config_number(s->config, CONFIG_ID_auto_aof_rewrite_percentage);
    uint64_t least = (uint64_t)config_number(s->config, CONFIG_ID_auto_aof_rewrite_min_size),
             now = atomic_load(&a->older_bytes) + atomic_load(&a->file_bytes),
             base = atomic_load(&a->base_bytes);

    if (atomic_load(&a->rewriting))
        return;
    if (atomic_load(&a->scheduled) && aof_rewrite_start(s) == 0)
        atomic_store(&a->scheduled, false);
    if (atomic_load(&a->rewriting) || clock_ns() < atomic_load(&a->no_rewrite_before_ns))
        return;
    if (atomic_load(&a->state) == AOF_ON && atomic_exchange(&a->wanted, false)) {
        aof_rewrite_start(s);
        return;
    }
    if (atomic_load(&a->state) == AOF_WAITING) { /* switching it on has failed so far */
        aof_rewrite_start(s);
        return;
    }
    if (atomic_load(&a->state) != AOF_ON || percentage == 0 || now <= least)
        return;
    base = base ? base : 1;
    if (now < base || (now - base) * 100 / base < (uint64_t)percentage)
        return;
    log_write(&s->log, CONFIG_LOG_NOTICE, "Rewriting the log of changes: it has grown to %llu bytes",
              (unsigned long long)now);
    aof_rewrite_start(s);
}
