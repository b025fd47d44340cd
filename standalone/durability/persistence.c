/* persistence.c - the snapshot task: one thread that owns dump.rdb.
 *
 *     worker: BGSAVE ----+                        +----> reply to who asked for SAVE, on its worker
 *     tick: save point --+--> request --> task ---+----> figures, MISCONF or not
 *
 * The task waits for a request, takes a snapshot (snapshot.c: one moment, no fork) and writes it (rdb_save.c: whole and
 * durable, or not at all). Nothing else of the server waits for it: SAVE only keeps its own client waiting, where
 * redis-server serves nobody meanwhile.
 *
 * At the start the task loads the file on all cores, while the workers already listen and answer -LOADING.
 *
 * Where a disk cannot keep up with the writers, they are slowed: when more than snapshot-keep-bytes of overwritten
 * entries wait to be written, a worker waits PRESSED_WAIT_MS before a batch. With twice as much the snapshot fails, and says so.
 *
 * Locks: p->lock is a leaf, held for a few loads and stores. The claim (p->claimed) says who has the one snapshot that a
 * domain can have at a time; the log's rewriting claims it, too.
 *
 * SPDX-License-Identifier: MIT */
#include "persistence.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "rdb_load.h"
#include "rdb_save.h"
#include "server.h"
#include "session.h"

#define RETRY_AFTER_S   5 /* of a save point, after a failure */
#define POINTS_MAX      32
#define PRESSED_WAIT_MS 1
#define PROGRESS_MS     1000

/* A client that waits for its SAVE. */
typedef struct waiting {
    worker_message message;
    struct waiting *next;
    connection *connection; /* NULL: it is a signal that is to stop the server */
    bool saved;
    bool stop, force; /* stop the server then; also if it failed */
} waiting;

typedef struct point {
    int64_t seconds, changes;
} point;

struct persistence {
    server *server;
    pthread_t thread;
    bool started;
    _Atomic bool claimed;
    _Atomic(snapshot *) snapshot; /* while one is taken; see kept_lock */

    pthread_mutex_t lock; /* guards the following */
    pthread_cond_t wake;
    bool wanted, scheduled, saving, stop, loading, last_ok;
    waiting *waiting;
    int64_t last_save_s, last_try_s, last_duration_s, begun_s, load_started_s;
    uint64_t saves, saved_changes; /* of store_changes, at the moment of the last snapshot */
    rdb_save *save;                /* under way */
    uint64_t keys_total;
    pthread_mutex_t kept_lock; /* held while *snapshot is looked at, or goes */

    rdb_load load;
};

static int64_t now_s(void)
{
    return clock_ms() / 1000;
}

/* Changes since the start, of all databases. */
static uint64_t count_changes(const server *s)
{
    uint64_t changes = 0;

    for (int i = 0; i < s->databases.count; i++)
        changes += store_changes(s->databases.stores[i]);
    return changes;
}

/* ---- one snapshot ---- */

typedef struct moment {
    persistence *p;
    uint64_t changes;
} moment;

/* The path of the snapshot, to be freed. */
static char *snapshot_path(const server *s)
{
    return config_text(s->config, CONFIG_ID_dbfilename);
}

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
    *ret_changes = count_changes(s); /* before: rather one too many that is not yet saved */
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
        p->last_save_s = now_s();
        p->saved_changes = changes;
    }
    pthread_mutex_unlock(&p->lock);
    persistence_apply(p->server);
}

/* 0 or -1 after logging why. */
static int save(persistence *p)
{
    server *s = p->server;
    char *path = snapshot_path(s);
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

/* ---- who waits ---- */

static void reply_to(worker *w, const waiting *one)
{
    connection *c = one->connection;
    kv_reply *reply = &w->reply.base;

    if (one->stop && (one->saved || one->force))
        connection_close(c);
    else if (one->stop)
        reply->ops->error(reply, KV_STR("ERR Errors trying to SHUTDOWN. Check logs."));
    else if (one->saved)
        reply->ops->simple(reply, KV_STR("OK"));
    else
        reply->ops->error(reply, KV_STR("ERR"));
}

/* The next signal is not a second one. */
static void refuse_to_stop(server *s)
{
    log_write(&s->log, CONFIG_LOG_WARNING, "Error trying to save the DB, can't exit.");
    atomic_store(&s->save_at_end, false);
    s->stop_signals = 0;
}

static void answer(worker *w, worker_message *message)
{
    waiting *one = (waiting *)message;
    connection *c = one->connection;

    if (one->stop && (one->saved || one->force))
        server_stop(w->server);
    else if (one->stop)
        refuse_to_stop(w->server);
    if (c && connection_unpark(c)) {
        output_mark_at mark = output_mark(connection_output(c));

        w->reply.out = connection_output(c);
        w->call.command = c->last_command;
        resp_reply_set_protocol(&w->reply, c->protocol);
        reply_to(w, one);
        if (c->flags & (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP))
            output_rewind(w->reply.out, mark);
        c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
        connection_flush(c);
    }
    free(one);
}

static void answer_all(server *s, waiting *list, bool saved)
{
    while (list) {
        waiting *one = list;

        list = one->next;
        one->saved = saved;
        worker_post(one->connection ? one->connection->owner : &s->workers[0], &one->message);
    }
}

/* ---- loading ---- */

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

/* Says once a second how far it is. */
static void *report_progress(void *arg)
{
    persistence *p = arg;
    int waited_ms = 0;

    while (persistence_is_loading(p)) {
        struct timespec pause = { 0, 20000000 };

        nanosleep(&pause, NULL);
        waited_ms += 20;
        if (waited_ms % PROGRESS_MS == 0)
            log_write(&p->server->log, CONFIG_LOG_NOTICE, "Loading: %llu keys, %llu of %llu bytes",
                      (unsigned long long)atomic_load(&p->load.keys_loaded),
                      (unsigned long long)atomic_load(&p->load.bytes_done),
                      (unsigned long long)atomic_load(&p->load.bytes_total));
    }
    return NULL;
}

static void end_loading(persistence *p)
{
    uint64_t changes = count_changes(p->server);

    pthread_mutex_lock(&p->lock);
    p->loading = false;
    p->saved_changes = changes;
    pthread_mutex_unlock(&p->lock);
}

/* 0, or -1 after logging why. */
static int load_snapshot(persistence *p)
{
    server *s = p->server;
    char *path = snapshot_path(s);
    rdb_load *load = &p->load;
    uint64_t start = clock_ns();
    int err;

    load->stores = s->databases.stores;
    load->count = s->databases.count;
    load->threads = s->worker_count;
    load->now_ms = clock_ms();
    load->options =
        (rdb_read_options){ .pass_unsupported = config_number(s->config, CONFIG_ID_rdb_skip_unsupported) != 0,
                            .no_checksum = !config_number(s->config, CONFIG_ID_rdbchecksum) };
    err = path ? rdb_load_file(load, path) : RDB_ENOMEM;
    free(path);
    if (err < 0) {
        log_write(&s->log, CONFIG_LOG_WARNING,
                  "Fatal error loading the DB: %s. Nothing was served, and the file is as it was. Exiting.",
                  load->reason);
        if (err == RDB_EUNSUPPORTED)
            log_write(&s->log, CONFIG_LOG_WARNING,
                      "With rdb-skip-unsupported yes, keys of types that are not supported are left out.");
        return -1;
    }
    if (err == 0)
        log_write(&s->log, CONFIG_LOG_NOTICE, "DB loaded from disk: %llu keys (%llu expired) in %.3f seconds",
                  (unsigned long long)atomic_load(&load->keys_loaded),
                  (unsigned long long)atomic_load(&load->keys_expired), (double)(clock_ns() - start) / 1e9);
    if (err == 0 && atomic_load(&load->keys_passed))
        log_write(&s->log, CONFIG_LOG_WARNING,
                  "Left out %llu keys or functions of types that are not supported: %s",
                  (unsigned long long)atomic_load(&load->keys_passed), load->passed);
    return 0;
}

static void load_first(persistence *p)
{
    pthread_t reporter;
    bool reports = pthread_create(&reporter, NULL, report_progress, p) == 0;

    if (load_snapshot(p) != 0)
        _exit(1);
    end_loading(p);
    persistence_apply(p->server);
    server_loaded(p->server);
    if (reports)
        pthread_join(reporter, NULL);
}

/* ---- the task ---- */

/* Waits until a snapshot is wanted and may be taken; false: the server ends. Takes those that wait for it along. */
static bool wait_for_request(persistence *p, waiting **ret_waiting)
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
    waiting *list;

    if (persistence_is_loading(p))
        load_first(p);
    while (wait_for_request(p, &list)) {
        begin_saving(p);
        bool saved = save(p) == 0;

        end_saving(p);
        answer_all(p->server, list, saved);
    }
    answer_all(p->server, list, false);
    return NULL;
}

persistence *persistence_new(server *s)
{
    persistence *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->server = s;
    p->last_ok = true;
    p->last_save_s = now_s();
    p->last_duration_s = -1;
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->kept_lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    return p;
}

bool persistence_prepare(persistence *p)
{
    char *path = snapshot_path(p->server);
    bool loads = !config_number(p->server->config, CONFIG_ID_appendonly) &&
                 (!path || access(path, F_OK) == 0 || errno != ENOENT);

    free(path);
    pthread_mutex_lock(&p->lock);
    p->loading = loads;
    p->load_started_s = now_s();
    pthread_mutex_unlock(&p->lock);
    if (!loads) /* what the log has brought is no change */
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

/* Ends a snapshot under way; the task goes on. */
static void cancel(persistence *p)
{
    pthread_mutex_lock(&p->lock);
    if (p->save)
        atomic_store_explicit(&p->save->cancel, true, memory_order_relaxed);
    pthread_mutex_unlock(&p->lock);
}

static void stop_task(persistence *p)
{
    if (!p->started)
        return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    cancel(p);
    pthread_join(p->thread, NULL);
    p->started = false;
}

void persistence_free(persistence *p)
{
    if (!p)
        return;
    stop_task(p);
    pthread_mutex_destroy(&p->lock);
    pthread_mutex_destroy(&p->kept_lock);
    pthread_cond_destroy(&p->wake);
    free(p);
}

/* ---- requests ---- */

bool persistence_claim(persistence *p)
{
    return !atomic_exchange_explicit(&p->claimed, true, memory_order_acquire);
}

void persistence_hold_off(persistence *p)
{
    struct timespec pause = { 0, 5000000 };

    cancel(p);
    while (!persistence_claim(p))
        nanosleep(&pause, NULL);
}

void persistence_unclaim(persistence *p)
{
    atomic_store_explicit(&p->claimed, false, memory_order_release);
}

/* With the claim. */
static void start_locked(persistence *p)
{
    p->saving = p->wanted = true;
    p->scheduled = false;
    p->begun_s = p->last_try_s = now_s();
    pthread_cond_signal(&p->wake);
}

enum persistence_answer persistence_begin(persistence *p, bool schedule)
{
    enum persistence_answer result = PERSISTENCE_BUSY;

    pthread_mutex_lock(&p->lock);
    if (p->saving) {
        result = PERSISTENCE_BUSY;
    } else if (persistence_claim(p)) {
        start_locked(p);
        result = PERSISTENCE_STARTED;
    } else if (schedule) { /* the log is being rewritten: the tick will do it */
        p->scheduled = true;
        result = PERSISTENCE_SCHEDULED;
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

enum persistence_answer persistence_save_for(persistence *p, connection *c)
{
    waiting *one = calloc(1, sizeof *one);
    enum persistence_answer result = PERSISTENCE_BUSY;

    if (!one)
        return PERSISTENCE_BUSY;
    one->message.run = answer;
    one->connection = c;
    pthread_mutex_lock(&p->lock);
    if (!p->saving && persistence_claim(p)) {
        connection_park(c);
        one->next = p->waiting;
        p->waiting = one;
        start_locked(p);
        result = PERSISTENCE_STARTED;
    }
    pthread_mutex_unlock(&p->lock);
    if (result == PERSISTENCE_BUSY)
        free(one);
    return result;
}

int persistence_save_and_stop(persistence *p, connection *c, bool force)
{
    waiting *one = calloc(1, sizeof *one);

    if (!one)
        return -1;
    *one = (waiting){ .message.run = answer, .connection = c, .stop = true, .force = force };
    if (c)
        connection_park(c);
    cancel(p);
    pthread_mutex_lock(&p->lock);
    one->next = p->waiting;
    p->waiting = one;
    p->wanted = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    return 0;
}

int persistence_save_now(persistence *p)
{
    stop_task(p);
    return save(p);
}

/* ---- save points ---- */

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
    uint64_t changes = n > 0 ? count_changes(p->server) : 0;
    bool due;

    pthread_mutex_lock(&p->lock);
    due = p->scheduled;
    if (!p->saving && !p->loading) {
        int64_t since_s = now_s() - p->last_save_s;

        changes -= p->saved_changes;
        for (int i = 0; i < n; i++)
            due = due || (changes >= (uint64_t)points[i].changes && since_s > points[i].seconds &&
                          (p->last_ok || now_s() - p->last_try_s > RETRY_AFTER_S));
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
    if (!is_due(p, points, n) || persistence_begin(p, false) != PERSISTENCE_STARTED)
        return;
    log_write(&p->server->log, CONFIG_LOG_NOTICE, "A save point is reached. Saving...");
}

void persistence_reset_changes(persistence *p)
{
    uint64_t changes = count_changes(p->server);

    pthread_mutex_lock(&p->lock);
    p->saved_changes = changes;
    pthread_mutex_unlock(&p->lock);
}

uint64_t persistence_changes(persistence *p)
{
    uint64_t changes = count_changes(p->server), saved;

    pthread_mutex_lock(&p->lock);
    saved = p->loading ? changes : p->saved_changes;
    pthread_mutex_unlock(&p->lock);
    return changes > saved ? changes - saved : 0;
}

/* ---- what others ask ---- */

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

void persistence_read_figures(persistence *p, persistence_figures *figures)
{
    rdb_load *load = &p->load;

    memset(figures, 0, sizeof *figures);
    figures->changes = persistence_changes(p);
    pthread_mutex_lock(&p->lock);
    figures->loading = p->loading;
    figures->saving = p->saving;
    figures->last_ok = p->last_ok;
    figures->last_save_s = p->last_save_s;
    figures->last_duration_s = p->last_duration_s;
    figures->current_duration_s = p->saving ? now_s() - p->begun_s : -1;
    figures->saves = p->saves;
    figures->load_started_s = (uint64_t)p->load_started_s;
    if (p->save) {
        figures->keys_done = atomic_load_explicit(&p->save->keys_done, memory_order_relaxed);
        figures->keys_total = p->keys_total;
    }
    pthread_mutex_unlock(&p->lock);
    figures->kept_bytes = kept_bytes(p);
    figures->load_bytes = atomic_load_explicit(&load->bytes_done, memory_order_relaxed);
    figures->load_bytes_total = atomic_load_explicit(&load->bytes_total, memory_order_relaxed);
    figures->load_keys = atomic_load_explicit(&load->keys_loaded, memory_order_relaxed);
    figures->load_expired = atomic_load_explicit(&load->keys_expired, memory_order_relaxed);
}
