/* persistence_watch.c - what the server looks at: whether a save point is reached, whether writers must be slowed, and what
 * INFO tells.
 *
 * A save point is reached when as many changes as it says were made since the last snapshot, and as much time has
 * passed; after a failure it is tried again every RETRY_AFTER_S. While a snapshot is taken, a tick compares what it keeps
 * with snapshot-keep-bytes, and restricts the server or lifts that (SERVER_PRESSED).
 *
 * Threads: any; persistence_tick is worker 0's. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "persistence_internal.h"

#define RETRY_AFTER_S   5 /* of a save point, after a failure */
#define POINTS_MAX      32
#define PRESSED_WAIT_MS 1

/* ---- save points ---- */

typedef struct point {
    int64_t seconds, changes;
} point;

/* The pairs of the directive save. */
static int read_points(server *s, point points[POINTS_MAX])
{
    char *text = config_text(s->config, CONFIG_ID_save), *at = text;
    int n = 0, used = 0;
    long long seconds, changes;

    for (; at && n < POINTS_MAX && sscanf(at, "%lld %lld%n", &seconds, &changes, &used) == 2; at += used)
        points[n++] = (point){ seconds, changes };
    free(text);
    return n;
}

bool persistence_has_points(persistence *p)
{
    point points[POINTS_MAX];

    return read_points(p->server, points) > 0;
}

/* Whether one of the points is reached; and, after a failure, some time has passed. */
static bool is_due(persistence *p, const point points[], int n)
{
    uint64_t changes = n > 0 ? persistence_count_changes(p->server) : 0;
    bool due;

    pthread_mutex_lock(&p->lock);
    due = p->scheduled;
    if (!p->saving && !p->loading) {
        int64_t since_s = persistence_now_s() - p->last_save_s;

        changes -= p->saved_changes;
        for (int i = 0; i < n; i++)
            due = due || (changes >= (uint64_t)points[i].changes && since_s > points[i].seconds &&
                          (p->last_ok || persistence_now_s() - p->last_try_s > RETRY_AFTER_S));
    }
    pthread_mutex_unlock(&p->lock);
    return due;
}

/* Says whether writers must be slowed. */
static void watch_pressure(persistence *p)
{
    if (!atomic_load_explicit(&p->snapshot, memory_order_relaxed))
        return;
    persistence_apply(p->server);
}

void persistence_tick(persistence *p)
{
    point points[POINTS_MAX];
    int n = read_points(p->server, points);

    watch_pressure(p);
    if (atomic_load(&p->emptied) && (n == 0 || persistence_begin(p, false) == PERSISTENCE_STARTED))
        atomic_store(&p->emptied, false);
    else if (!is_due(p, points, n) || persistence_begin(p, false) != PERSISTENCE_STARTED)
        return;
    else
        log_write(&p->server->log, CONFIG_LOG_NOTICE, "A save point is reached. Saving...");
}

/* ---- changes ---- */

uint64_t persistence_count_changes(const server *s)
{
    uint64_t changes = 0;

    for (int i = 0; i < s->databases.count; i++)
        changes += store_changes(s->databases.stores[i]);
    return changes;
}

void persistence_reset_changes(persistence *p)
{
    uint64_t changes = persistence_count_changes(p->server);

    pthread_mutex_lock(&p->lock);
    p->saved_changes = changes;
    pthread_mutex_unlock(&p->lock);
}

uint64_t persistence_changes(persistence *p)
{
    uint64_t changes = persistence_count_changes(p->server), saved;

    pthread_mutex_lock(&p->lock);
    saved = p->loading ? changes : p->saved_changes;
    pthread_mutex_unlock(&p->lock);
    return changes > saved ? changes - saved : 0;
}

/* ---- pressure ---- */

static uint64_t kept_bytes(persistence *p)
{
    const snapshot *snap;
    uint64_t kept = 0;

    if (!atomic_load_explicit(&p->snapshot, memory_order_relaxed))
        return 0;
    pthread_mutex_lock(&p->kept_lock);
    snap = atomic_load_explicit(&p->snapshot, memory_order_relaxed);
    if (snap)
        kept = snapshot_kept_bytes(snap);
    pthread_mutex_unlock(&p->kept_lock);
    return kept;
}

static bool is_pressed(persistence *p)
{
    return kept_bytes(p) > (uint64_t)config_number(p->server->config, CONFIG_ID_snapshot_keep_bytes);
}

void persistence_wait_for_room(persistence *p)
{
    struct timespec pause = { 0, PRESSED_WAIT_MS * 1000000 };

    if (is_pressed(p))
        nanosleep(&pause, NULL);
    else
        persistence_apply(p->server);
}

void persistence_apply(server *s)
{
    persistence *p = s->persistence;
    unsigned set = 0;

    pthread_mutex_lock(&p->lock);
    if (p->loading)
        set |= SERVER_LOADING;
    if (!p->last_ok && config_number(s->config, CONFIG_ID_stop_writes_on_bgsave_error))
        set |= SERVER_DISK_ERROR;
    pthread_mutex_unlock(&p->lock);
    if ((set & SERVER_DISK_ERROR) && !persistence_has_points(p))
        set &= ~(unsigned)SERVER_DISK_ERROR;
    if (is_pressed(p))
        set |= SERVER_PRESSED;
    server_restrict(s, SERVER_LOADING | SERVER_DISK_ERROR | SERVER_PRESSED, set);
}

/* ---- figures ---- */

bool persistence_is_loading(persistence *p)
{
    bool loading;

    pthread_mutex_lock(&p->lock);
    loading = p->loading;
    pthread_mutex_unlock(&p->lock);
    return loading;
}

bool persistence_is_saving(persistence *p)
{
    bool saving;

    pthread_mutex_lock(&p->lock);
    saving = p->saving;
    pthread_mutex_unlock(&p->lock);
    return saving;
}

void persistence_read_figures(persistence *p, persistence_figures *figures)
{
    persistence_progress progress = persistence_loaded_so_far(p);

    memset(figures, 0, sizeof *figures);
    figures->changes = persistence_changes(p);
    pthread_mutex_lock(&p->lock);
    figures->loading = p->loading;
    figures->saving = p->saving;
    figures->last_ok = p->last_ok;
    figures->last_save_s = p->last_save_s;
    figures->last_duration_s = p->last_duration_s;
    figures->current_duration_s = p->saving ? persistence_now_s() - p->begun_s : -1;
    figures->saves = p->saves;
    figures->load_started_s = (uint64_t)p->load_started_s;
    if (p->save) {
        figures->keys_done = atomic_load_explicit(&p->save->keys_done, memory_order_relaxed);
        figures->keys_total = p->keys_total;
    }
    pthread_mutex_unlock(&p->lock);
    figures->kept_bytes = kept_bytes(p);
    figures->load_bytes = progress.bytes;
    figures->load_bytes_total = progress.bytes_total;
    figures->load_keys = progress.keys;
    figures->load_expired = progress.expired;
}
