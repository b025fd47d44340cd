/* persistence.c - the snapshot task: one thread that owns dump.rdb.
 *
 *     worker: BGSAVE ----+                        +----> reply to who asked for SAVE, on its worker
 *     tick: save point --+--> request --> task ---+----> figures, MISCONF or not
 *
 * The task waits for a request, takes a snapshot (snapshot.c: one moment, no fork) and writes it (rdb_save.c: whole and
 * durable, or not at all). Nothing else of the server waits for it: SAVE only keeps its own client waiting, where
 * redis-server serves nobody meanwhile.
 *
 * At the start the task loads the file, or the log, on all cores, while the workers already listen and answer -LOADING.
 *
 * Where a disk cannot keep up with the writers, they are slowed: when more than snapshot-keep-bytes of overwritten
 * entries wait to be written, a worker waits PRESSED_WAIT_MS before a batch. With twice as much the snapshot fails, and says so.
 *
 * Locks: p->lock is a leaf, held for a few loads and stores. The claim (p->claimed) says who has the one snapshot that a
 * domain can have at a time; the log's rewriting claims it, too.
 *
 * One idea a file: here the task's life and the claim; persistence_requests.c who asks and waits; persistence_save.c and
 * persistence_load.c the two jobs; persistence_watch.c save points, pressure and figures.
 *
 * SPDX-License-Identifier: MIT */
#include "persistence.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "persistence_internal.h"
#include "steady_cond.h"

char *persistence_path(const server *s)
{
    return config_text(s->config, CONFIG_ID_dbfilename);
}

/* ---- the task ---- */

/* Waits until a snapshot is wanted and may be taken; false: the server ends. Takes those that wait for it along. */
static bool wait_for_request(persistence *p, persistence_waiting **ret_waiting)
{
    bool go_on;

    pthread_mutex_lock(&p->lock);
    while (!p->stop && !p->wanted)
        pthread_cond_wait(&p->wake, &p->lock);
    go_on = !p->stop;
    p->wanted = false;
    *ret_waiting = p->waiting;
    p->waiting = NULL;
    pthread_mutex_unlock(&p->lock);
    return go_on;
}

/* Who asks for a snapshot at the end of the server does not find out first whether it may be taken. */
static void begin_saving(persistence *p)
{
    struct timespec pause = { 0, 20000000 };
    bool claimed = false;

    while (!claimed) {
        pthread_mutex_lock(&p->lock);
        claimed = p->saving || p->stop || persistence_claim(p);
        p->saving = claimed;
        if (!claimed)
            persistence_cancel_locked(p);
        pthread_mutex_unlock(&p->lock);
        if (!claimed)
            nanosleep(&pause, NULL);
    }
}

static void end_saving(persistence *p)
{
    pthread_mutex_lock(&p->lock);
    p->saving = false;
    pthread_mutex_unlock(&p->lock);
    persistence_unclaim(p);
}

static void *run(void *arg)
{
    persistence *p = arg;
    persistence_waiting *list;

    if (persistence_is_loading(p))
        persistence_load_first(p);
    while (wait_for_request(p, &list)) {
        begin_saving(p);
        bool saved = (list && list->reload ? persistence_reload(p, list->how) : persistence_save(p)) == 0;

        end_saving(p);
        persistence_answer_all(p->server, list, saved);
    }
    persistence_answer_all(p->server, list, false);
    return NULL;
}

/* ---- life ---- */

persistence *persistence_new(server *s)
{
    persistence *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->server = s;
    p->last_ok = true;
    p->last_save_s = persistence_now_s();
    p->last_duration_s = -1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->kept_lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    steady_cond_init(&p->loaded);
    return p;
}

bool persistence_prepare(persistence *p)
{
    char *path = persistence_path(p->server);
    bool logged = config_number(p->server->config, CONFIG_ID_appendonly) != 0;
    bool loads = logged || !path || access(path, F_OK) == 0 || errno != ENOENT;

    free(path);
    pthread_mutex_lock(&p->lock);
    p->loading = loads;
    p->loads_log = logged;
    p->load_started_s = persistence_now_s();
    pthread_mutex_unlock(&p->lock);
    if (!loads)
        persistence_reset_changes(p);
    persistence_apply(p->server);
    return loads;
}

int persistence_start(persistence *p)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    p->started = pthread_create(&p->thread, NULL, run, p) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return p->started ? 0 : -1;
}

void persistence_await_load(persistence *p, int64_t ms)
{
    struct timespec until = steady_after((uint64_t)ms * 1000000);

    pthread_mutex_lock(&p->lock);
    while (!atomic_load(&p->server->loaded) && pthread_cond_timedwait(&p->loaded, &p->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&p->lock);
}

void persistence_cancel_locked(persistence *p)
{
    if (p->save)
        atomic_store_explicit(&p->save->cancel, true, memory_order_relaxed);
}

void persistence_cancel(persistence *p)
{
    pthread_mutex_lock(&p->lock);
    persistence_cancel_locked(p);
    pthread_mutex_unlock(&p->lock);
}

void persistence_stop(persistence *p)
{
    if (!p->started)
        return;
    atomic_store_explicit(&p->ending, true, memory_order_relaxed);
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    persistence_cancel(p);
    pthread_join(p->thread, NULL);
    p->started = false;
}

void persistence_free(persistence *p)
{
    if (!p)
        return;
    persistence_stop(p);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->kept_lock);
    pthread_cond_destroy(&p->wake);
    pthread_cond_destroy(&p->loaded);
    free(p);
}

int persistence_save_now(persistence *p)
{
    persistence_stop(p);
    return persistence_save(p);
}

/* ---- the claim ---- */

bool persistence_claim(persistence *p)
{
    return !atomic_exchange_explicit(&p->claimed, true, memory_order_acquire);
}

void persistence_hold_off(persistence *p)
{
    struct timespec pause = { 0, 5000000 };

    for (persistence_cancel(p); !persistence_claim(p); persistence_cancel(p))
        nanosleep(&pause, NULL);
}

void persistence_unclaim(persistence *p)
{
    atomic_store_explicit(&p->claimed, false, memory_order_release);
}
