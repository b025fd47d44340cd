/* server.c - putting the process together, and taking it apart.
 *
 *     config -> domain, databases -> workers (loops, buffers) -> listening sockets -> threads -> "Ready"
 *
 * Worker 0 runs on the main thread: it accepts, hears signals, and ticks for the whole server. The others are
 * threads that know only their own connections. How it is told to stop is server_stop.c; what CONFIG SET changes,
 * server_apply.c; what is counted, server_figures.c.
 *
 * SPDX-License-Identifier: MIT */
#include "server.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "acl_file.h"
#include "acl_session.h"
#include "aof.h"
#include "blocking.h"
#include "crash.h"
#include "data_set.h"
#include "dispatch.h"
#include "feed.h"
#include "local_keys.h"
#include "lockstat.h"
#include "memory.h"
#include "metrics.h"
#include "migrate.h"
#include "monitor.h"
#include "oom_score.h"
#include "persistence.h"
#include "random_hex.h"
#include "replica_guard.h"
#include "replication.h"
#include "server_internal.h"
#include "tls_reload.h"
#include "tracking.h"
#include "wait_table.h"

#define ACTOR_CAPACITY 1024
#define SHORT_LOAD_MS  100 /* a load may take before clients are told of it: until then they wait */

uint64_t clock_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int64_t clock_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* ---- what requests look at ---- */

uint32_t server_access(const server *s, int64_t now_ms)
{
    uint32_t clock = store_access_clock(now_ms);

    switch (atomic_load_explicit(&s->access_mode, memory_order_relaxed)) {
    case ACCESS_USES:
        return KV_COUNT_USES;
    case ACCESS_FINE:
        return clock;
    default:
        return clock & ~(STORE_ACCESS_COARSE - 1);
    }
}

const char *server_unready(server *s)
{
    if (atomic_load(&s->stopping))
        return "stopping";
    if (!atomic_load(&s->loaded))
        return "loading";
    if (atomic_load_explicit(&s->restrictions, memory_order_relaxed) & SERVER_STALE)
        return "not in step with its primary";
    return NULL;
}

void server_restrict(server *s, unsigned mask, unsigned set)
{
    unsigned before = atomic_load_explicit(&s->restrictions, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(&s->restrictions, &before, (before & ~mask) | set,
                                                  memory_order_release, memory_order_relaxed))
        ;
}

/* ---- starting ---- */

static int fail(server *s, const char *reason)
{
    log_write(&s->log, CONFIG_LOG_WARNING, "%s", reason);
    return -1;
}

/* With --sharing actor the databases are one state: one thread owns them all, over stores that are shared by
 * shards. Versions go on from the clock, so that a client which kept one over a restart does not meet it again, and
 * no two databases give out the same one, whatever SWAPDB does. As numbers they stay below 2^53 until the year
 * 3084: some clients know only doubles. */
static int open_databases(server *s)
{
    int count = (int)config_number(s->config, CONFIG_ID_databases);
    kv_sharing sharing = (kv_sharing)config_number(s->config, CONFIG_ID_sharing);
    uint64_t versions = ((uint64_t)s->started_ms << 8) / (uint64_t)count * (uint64_t)count;
    kv_domain_options domain = { .siphash = config_number(s->config, CONFIG_ID_siphash) != 0,
                                 .helper = true };

    pthread_mutex_init(&s->pause_lock, NULL);
    s->waits = wait_table_new();
    if (!s->waits)
        return -1;
    s->domain = kv_domain_new(&domain);
    s->databases.stores = calloc((size_t)count, sizeof *s->databases.stores);
    if (!s->domain || !s->databases.stores)
        return -1;
    s->databases.emptied = persistence_emptied;
    s->databases.arg = s;
    for (; s->databases.count < count; s->databases.count++) {
        kv_store_options options = {
            .domain = s->domain,
            .sharing = sharing == KV_SHARING_ACTOR ? KV_SHARING_SHARDED : sharing,
            .version_start = versions + (uint64_t)s->databases.count,
            .version_step = (uint64_t)count,
        };

        s->databases.stores[s->databases.count] = kv_store_new(&options);
        if (!s->databases.stores[s->databases.count])
            return -1;
    }
    if (sharing != KV_SHARING_ACTOR)
        return 0;
    s->actor_hold = store_hold_new(s->domain, (size_t)count);
    s->actor = s->actor_hold ? actor_new(s->domain, ACTOR_CAPACITY) : NULL;
    return s->actor ? 0 : -1;
}

static int open_users(server *s)
{
    config_error error;

    pthread_mutex_init(&s->acl_lock, NULL);
    acl_log_init(&s->acl_log);
    s->acl = acl_new(s->config);
    if (!s->acl)
        return fail(s, "Out of memory for the users");
    return acl_load_at_start(s->acl, s->config, &error) == 0 ? 0 : fail(s, error.text);
}

/* As many as asked for, or as there are cores. */
static int count_workers(const server *s)
{
    int64_t threads = config_number(s->config, CONFIG_ID_threads);
    long cores = sysconf(_SC_NPROCESSORS_ONLN);

    if (threads)
        return (int)threads;
    return cores < 1 ? 1 : cores > 128 ? 128 : (int)cores;
}

static int open_workers(server *s)
{
    int count = count_workers(s);

    s->machine_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    s->workers = aligned_alloc(64, (sizeof(worker) * (size_t)count + 63) / 64 * 64);
    s->topics = topics_new(s->domain, count);
    s->tracking = tracking_new(s);
    if (!s->workers || !s->topics || !s->tracking)
        return -1;
    for (; s->worker_count < count; s->worker_count++)
        if (worker_init(&s->workers[s->worker_count], s, s->worker_count) != 0) {
            s->worker_count++; /* server_done undoes what was done of it */
            return -1;
        }
    s->actor_share = ACTOR_CAPACITY / 2 / count;
    s->actor_share = s->actor_share ? s->actor_share : 1;
    return 0;
}

/* What is told of commands: how long they take, which were slow. */
static int open_watching(server *s)
{
    ticks_init(&s->ticks);
    s->slowlog = slowlog_new();
    s->latency = latency_new();
    s->monitors = monitor_open();
    s->actor_slow.server = s;
    error_words_init(&s->error_words);
    stats_init(&s->actor_stats, &s->ticks, &s->actor_slow, &s->error_words);
    if (!s->slowlog || !s->latency || !s->monitors)
        return -1;
    slow_apply(s);
    return 0;
}

int server_init(server *s, config *c)
{
    s->config = c;
    pthread_mutex_init(&s->config_lock, NULL);
    pthread_mutex_init(&s->stats_lock, NULL);
    pthread_mutex_init(&s->tls_lock, NULL);
    pthread_mutex_init(&s->shutdown.lock, NULL);
    s->started_ms = s->rates_at_ms = clock_ms();
    random_hex(s->run_id, sizeof s->run_id - 1);
    if (getrandom(&s->actor_rng, sizeof s->actor_rng, 0) != sizeof s->actor_rng)
        s->actor_rng = (uint64_t)s->started_ms;
    for (int i = 0; i < KV_COMMAND_COUNT; i++)
        s->direct[i] = dispatch_is_direct(&kv_command_table[i]);
    if (open_users(s) != 0)
        return -1;
    server_limit_clients(s);
    if (open_watching(s) != 0)
        return fail(s, "Out of memory for the slow log");
    if (open_databases(s) != 0)
        return fail(s, "Out of memory for the databases");
    if (lockstat_start(s) != 0)
        return fail(s, "Out of memory for lockstat");
    if (open_workers(s) != 0)
        return fail(s, "Can't make the event loops: out of memory or of descriptors");
    s->persistence = persistence_new(s);
    if (!s->persistence)
        return fail(s, "Out of memory for the snapshot task");
    if (aof_new(s) != 0)
        return fail(s, "Out of memory for the log of changes");
    if (aof_prepare(s) != 0)
        return fail(s, "The log of changes cannot be used, exiting.");
    if (feed_new(s) != 0)
        return fail(s, "Out of memory for the stream to replicas");
    s->local_keys = local_keys_new(s);
    if (!s->local_keys)
        return fail(s, "Out of memory for the keys of a writable replica");
    notify_open(s);
    memory_apply(s);
    replica_guard_look(s);
    s->replication = replication_new(s);
    s->migrations = migrations_new(s);
    s->data_sets = data_sets_new(s);
    if (!s->replication || !s->migrations || !s->data_sets)
        return fail(s, "Out of memory, or of descriptors, for tasks that talk to other servers");
    s->startup_memory = server_memory(s);
    return 0;
}

static void *run_worker(void *arg)
{
    worker *w = arg;

    if (kv_thread_register(w->server->domain) != 0) {
        log_write(&w->server->log, CONFIG_LOG_WARNING, "Out of memory for a worker, exiting");
        exit(1);
    }
    notify_thread(&w->notices);
    w->thread = pthread_self();
    crash_thread(&w->crash_stack);
    worker_run(w);
    crash_thread_done(&w->crash_stack);
    kv_thread_unregister(w->server->domain);
    return NULL;
}

/* Signals are worker 0's business: the other threads are started with all of them blocked. */
static int start_threads(server *s)
{
    sigset_t all, before;
    int started = 1, err = 0;

    sigfillset(&all);
    crash_unblock(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (; started < s->worker_count && !err; started++)
        err = pthread_create(&s->workers[started].thread, NULL, run_worker, &s->workers[started]);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err) {
        log_write(&s->log, CONFIG_LOG_WARNING, "Can't start a thread: %s", strerror(err));
        exit(1);
    }
    return 0;
}

static void set_complete(server *s, bool complete)
{
    atomic_store(&s->complete, complete);
    blocking_apply_reaping(s);
    notify_apply(s);
}

void server_complete(server *s)
{
    set_complete(s, true);
}

void server_incomplete(server *s)
{
    set_complete(s, false);
}

void server_loaded(server *s)
{
    if (replication_start(s) != 0) {
        log_write(&s->log, CONFIG_LOG_WARNING, "Can't follow the primary of the configuration, exiting.");
        exit(1);
    }
    atomic_store(&s->loaded, true);
    log_write(&s->log, CONFIG_LOG_NOTICE, "Ready to accept connections");
    supervise_ready(s);
}

/* What was written between the snapshot and the end of the last connection. */
static int save_the_rest(server *s)
{
    if (!atomic_load(&s->save_at_end) || persistence_changes(s->persistence) == 0)
        return 0;
    return persistence_save_now(s->persistence);
}

int server_run(server *s)
{
    config_error error;

    crash_watch(s);
    oom_score_apply(s);
    title_show(s);
    if (tls_reload_prepare(s, &s->tls, &error) != 0)
        return fail(s, "Failed to configure TLS, aborting.");
    if (listener_open(s, &error) != 0) {
        log_write(&s->log, CONFIG_LOG_WARNING, "Warning: %s", error.text);
        return fail(s, "Failed listening, aborting.");
    }
    if (s->listener.open.count == 0)
        return fail(s, "Configured to not listen anywhere, exiting.");
    if (server_apply(s, CONFIG_ID_dbfilename, &error) != 0)
        return fail(s, error.text);
    bool loads = persistence_prepare(s->persistence);

    listener_watch(s);
    s->metrics = metrics_start(s, &error);
    if (!s->metrics && error.text[0])
        return fail(s, error.text);
    if (!loads) {
        if (aof_start(s) != 0)
            return -1;
        server_complete(s);
    }
    if (server_watch_signals(s) != 0)
        return fail(s, "Can't watch signals, exiting.");
    if (persistence_start(s->persistence) != 0)
        return fail(s, "Can't start the snapshot task, exiting.");
    if (loads)
        persistence_await_load(s->persistence, SHORT_LOAD_MS);
    else
        server_loaded(s);
    if (start_threads(s) != 0)
        return -1;
    run_worker(&s->workers[0]);
    for (int i = 1; i < s->worker_count; i++)
        pthread_join(s->workers[i].thread, NULL);
    persistence_stop(s->persistence);
    replication_stop(s->replication);
    data_sets_stop(s->data_sets);
    aof_stop(s);
    return save_the_rest(s);
}

void server_done(server *s)
{
    metrics_stop(s->metrics);
    listener_stop(s);
    replication_stop(s->replication);
    migrations_free(s->migrations);
    data_sets_stop(s->data_sets);
    persistence_free(s->persistence);
    for (int i = 0; i < SERVER_SIGNALS; i++)
        if (s->signals[i])
            event_free(s->signals[i]);
    for (int i = 0; i < s->worker_count; i++)
        worker_done(&s->workers[i]);
    free(s->workers);
    data_sets_free(s->data_sets);
    if (s->acl) {
        acl_free(s->acl);
        acl_log_done(&s->acl_log);
        pthread_mutex_destroy(&s->acl_lock);
    }
    topics_free(s->topics);
    tracking_free(s->tracking);
    actor_free(s->actor);
    aof_free(s);
    replication_free(s->replication);
    feed_free(s);
    local_keys_free(s->local_keys);
    aof_writer_done(&s->actor_writer);
    aof_writer_done(&s->actor_feeder);
    for (int i = 0; i < SERVER_GUESTS; i++) {
        aof_writer_done(&s->guests[i]);
        aof_writer_done(&s->guest_feeders[i]);
    }
    if (s->notices.last)
        notify_close(s);
    store_hold_free(s->actor_hold);
    wait_table_free(s->waits);
    pthread_mutex_destroy(&s->pause_lock);
    for (int i = 0; i < s->databases.count; i++)
        kv_store_unref(s->databases.stores[i]);
    free(s->databases.stores);
    slowlog_free(s->slowlog);
    latency_free(s->latency);
    monitor_close(s->monitors);
    stats_done(&s->actor_stats);
    error_words_done(&s->error_words);
    kv_domain_unref(s->domain);
    tls_context_unref(s->tls);
    pthread_mutex_destroy(&s->tls_lock);
    pthread_mutex_destroy(&s->shutdown.lock);
    pthread_mutex_destroy(&s->config_lock);
    pthread_mutex_destroy(&s->stats_lock);
}
