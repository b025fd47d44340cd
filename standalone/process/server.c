/* server.c - putting the process together, and taking it apart.
 *
 *     config -> domain, databases -> workers (loops, buffers) -> listening sockets -> threads -> "Ready"
 *
 * Worker 0 runs on the main thread: it accepts, hears signals, and ticks for the whole server. The others are
 * threads that know only their own connections.
 *
 * Stopping is a message to every worker: worker 0 closes the listening sockets; each worker stops reading
 * requests, sends what is pending, and ends when its last connection has gone or shutdown-timeout has passed.
 * A second signal does not wait.
 *
 * SPDX-License-Identifier: MIT */
#include "server.h"
#include "wait_table.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "acl_file.h"
#include "acl_session.h"
#include "aof.h"
#include "connection.h"
#include "crash.h"
#include "dispatch.h"
#include "info.h"
#include "lockstat.h"
#include "memory.h"
#include "metrics.h"
#include "migrate.h"
#include "monitor.h"
#include "oom_score.h"
#include "persistence.h"
#include "replication.h"
#include "secret.h"
#include "tls_reload.h"
#include "tracking.h"

#define DESCRIPTORS_RESERVED 32 /* ours: log, listening sockets, loops, files */
#define ACTOR_CAPACITY       1024

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

/* ---- limits of the process ---- */

/* Raises the limit of descriptors to what maxclients needs, or lowers the number of clients to what
 * there is. */
static void adjust_descriptors(server *s)
{
    rlim_t clients = (rlim_t)config_number(s->config, CONFIG_ID_maxclients),
           wanted = clients + DESCRIPTORS_RESERVED;
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
        struct rlimit higher = { .rlim_cur = wanted,
                                 .rlim_max = limit.rlim_max < wanted ? wanted : limit.rlim_max };

        if (setrlimit(RLIMIT_NOFILE, &higher) != 0) {
            higher.rlim_cur = higher.rlim_max = limit.rlim_max;
            setrlimit(RLIMIT_NOFILE, &higher);
        }
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < wanted) {
            clients = limit.rlim_cur > DESCRIPTORS_RESERVED ? limit.rlim_cur - DESCRIPTORS_RESERVED : 1;
            log_write(&s->log, CONFIG_LOG_WARNING,
                      "The limit of open files is %llu: at most %llu clients instead of maxclients",
                      (unsigned long long)limit.rlim_cur, (unsigned long long)clients);
        }
    }
    atomic_store_explicit(&s->max_clients, clients > INT32_MAX ? INT32_MAX : (int)clients,
                          memory_order_relaxed);
}

/* ---- memory and rates ---- */

static void watch_memory(server *s)
{
    uint64_t used = server_memory(s), most = (uint64_t)config_number(s->config, CONFIG_ID_maxmemory);

    atomic_store_explicit(&s->over_memory, most && used > most, memory_order_relaxed);
    pthread_mutex_lock(&s->stats_lock);
    if (used > s->peak_memory)
        s->peak_memory = used;
    if (most && used > most) {
        s->over_since_ms = s->over_since_ms ? s->over_since_ms : clock_ms();
    } else if (s->over_since_ms) {
        s->over_total_ms += clock_ms() - s->over_since_ms;
        s->over_since_ms = 0;
    }
    pthread_mutex_unlock(&s->stats_lock);
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

static void sum_stats(server *s, stats_sums *sums)
{
    memset(sums, 0, sizeof *sums);
    for (int i = 0; i < s->worker_count; i++)
        stats_sum(&s->workers[i].stats, sums);
    stats_sum(&s->actor_stats, sums);
    if (s->replication)
        replication_sum_stats(s, sums);
}

void server_stats(server *s, stats_sums *ret_sums)
{
    sum_stats(s, ret_sums);
    pthread_mutex_lock(&s->stats_lock);
    stats_subtract(ret_sums, &s->stats_base);
    pthread_mutex_unlock(&s->stats_lock);
}

void server_durations(server *s, int id, durations_sum *ret_sum)
{
    unsigned generation = atomic_load_explicit(&s->stats_generation, memory_order_relaxed);

    memset(ret_sum, 0, sizeof *ret_sum);
    for (int i = 0; i < s->worker_count; i++)
        stats_sum_durations(&s->workers[i].stats, id, generation, ret_sum);
    stats_sum_durations(&s->actor_stats, id, generation, ret_sum);
}

bool server_has_durations(server *s, int id)
{
    for (int i = 0; i < s->worker_count; i++)
        if (atomic_load_explicit(&s->workers[i].stats.durations[id], memory_order_relaxed))
            return true;
    return atomic_load_explicit(&s->actor_stats.durations[id], memory_order_relaxed) != NULL;
}

/* Sums of all databases. */
static void sum_removed(server *s, uint64_t *ret_expired, uint64_t *ret_evicted)
{
    *ret_expired = *ret_evicted = 0;
    for (int i = 0; i < s->databases.count; i++) {
        kv_stats figures;

        kv_store_stats(s->databases.stores[i], &figures, clock_ms());
        *ret_expired += figures.expired;
        *ret_evicted += figures.evicted;
    }
}

uint64_t server_expired_total(server *s)
{
    uint64_t expired, evicted;

    sum_removed(s, &expired, &evicted);
    return expired;
}

uint64_t server_evicted_total(server *s)
{
    uint64_t expired, evicted;

    sum_removed(s, &expired, &evicted);
    return evicted;
}

void server_reset_stats(server *s)
{
    stats_sums now;
    uint64_t expired, evicted, used = server_memory(s);

    sum_stats(s, &now);
    sum_removed(s, &expired, &evicted);
    pthread_mutex_lock(&s->stats_lock);
    s->stats_base = now;
    s->expired_base = expired;
    s->evicted_base = evicted;
    s->peak_memory = used;
    pthread_mutex_unlock(&s->stats_lock);
    atomic_fetch_add_explicit(&s->stats_generation, 1, memory_order_relaxed);
    slow_apply(s);
}

/* Adds one sample, of events per second, and publishes the average of the last ones. */
static void sample_rate(server *s, int which, uint64_t total, int64_t elapsed_ms)
{
    server_rate *rate = &s->rates[which];
    uint64_t sum = 0;

    rate->samples[s->rate_index % SERVER_SAMPLES] = (total - rate->last) * 1000 / (uint64_t)elapsed_ms;
    rate->last = total;
    for (int i = 0; i < SERVER_SAMPLES; i++)
        sum += rate->samples[i];
    atomic_store_explicit(&s->rate_values[which], sum / SERVER_SAMPLES, memory_order_relaxed);
}

static void sample_rates(server *s)
{
    int64_t now_ms = s->workers[0].now_ms, elapsed_ms = now_ms - s->rates_at_ms;
    uint64_t commands = 0, input = 0, sent = 0;

    if (elapsed_ms < 100)
        return;
    for (int i = 0; i < s->worker_count; i++) {
        stats *from = &s->workers[i].stats;

        commands += atomic_load_explicit(&from->commands, memory_order_relaxed);
        input += atomic_load_explicit(&from->input_bytes, memory_order_relaxed);
        sent += atomic_load_explicit(&from->output_bytes, memory_order_relaxed);
    }
    sample_rate(s, 0, commands, elapsed_ms);
    sample_rate(s, 1, input, elapsed_ms);
    sample_rate(s, 2, sent, elapsed_ms);
    s->rate_index++;
    s->rates_at_ms = now_ms;
}

void server_tick(server *s)
{
    watch_memory(s);
    sample_rates(s);
    aof_tick(s);
    supervise_tick(s);
    persistence_tick(s->persistence);
}

void server_restrict(server *s, unsigned mask, unsigned set)
{
    unsigned before = atomic_load_explicit(&s->restrictions, memory_order_relaxed);

    while (!atomic_compare_exchange_weak_explicit(&s->restrictions, &before, (before & ~mask) | set,
                                                  memory_order_release, memory_order_relaxed))
        ;
}

/* ---- changes of the configuration ---- */

/* A message that calls one function on a worker's thread. */
typedef struct errand {
    worker_message message;
    void (*run)(worker *w);
} errand;

static void run_errand(worker *w, worker_message *message)
{
    errand *e = (errand *)message;

    e->run(w);
    free(e);
}

static int post_errand(worker *w, void (*run)(worker *w))
{
    errand *e = malloc(sizeof *e);

    if (!e)
        return -1;
    *e = (errand){ .message.run = run_errand, .run = run };
    worker_post(w, &e->message);
    return 0;
}

static void watch_listeners(worker *w)
{
    listener_watch(w->server);
}

static int apply_listeners(server *s, enum config_id id, config_error *error)
{
    if (atomic_load(&s->stopping)) {
        snprintf(error->text, sizeof error->text, "the server is stopping");
        return -1;
    }
    if (listener_open(s, error) != 0) {
        log_write(&s->log, CONFIG_LOG_WARNING, "Warning: %s", error->text);
        snprintf(error->text, sizeof error->text, "%s",
                 id == CONFIG_ID_bind ? "Failed to bind to specified addresses."
                                      : "Unable to listen on this port. Check server logs.");
        return -1;
    }
    if (post_errand(&s->workers[0], watch_listeners) != 0) {
        snprintf(error->text, sizeof error->text, "out of memory");
        return -1;
    }
    return 0;
}

static int apply_directory(server *s, config_error *error)
{
    char *path = config_text(s->config, CONFIG_ID_dir);
    int result = path ? chdir(path) : -1;

    if (result != 0)
        snprintf(error->text, sizeof error->text, "%s", path ? strerror(errno) : "out of memory");
    free(path);
    return result;
}

static int apply_dbfilename(server *s, config_error *error)
{
    char *name = config_text(s->config, CONFIG_ID_dbfilename);
    int result = name && *name && !strchr(name, '/') ? 0 : -1;

    if (result != 0)
        snprintf(error->text, sizeof error->text, "dbfilename can't be a path, just a filename");
    free(name);
    return result;
}

static int apply_maxclients(server *s, config_error *error)
{
    int64_t wanted = config_number(s->config, CONFIG_ID_maxclients);
    int possible;

    adjust_descriptors(s);
    possible = atomic_load_explicit(&s->max_clients, memory_order_relaxed);
    if (possible >= wanted)
        return 0;
    snprintf(error->text, sizeof error->text,
             "The operating system is not able to handle the specified number of clients, try with %d",
             possible);
    return -1;
}

static int apply_password(server *s, config_error *error)
{
    char *password = config_text(s->config, CONFIG_ID_requirepass);
    acl_error err = ACL_ENOMEM;

    pthread_mutex_lock(&s->acl_lock);
    if (password)
        err = acl_set_password(s->acl, kv_str(password));
    pthread_mutex_unlock(&s->acl_lock);
    if (password)
        secret_wipe(password, strlen(password));
    free(password);
    if (err)
        snprintf(error->text, sizeof error->text, "%s", acl_error_text(err));
    return err ? -1 : 0;
}

/* "50.0 99.90" becomes "50 99.9", as Redis has it. */
static void spell_percentiles(server *s)
{
    char *text = config_text(s->config, CONFIG_ID_latency_tracking_info_percentiles), *spelt = NULL, *end;
    const char *at = text, *separator = "";
    size_t len = 0;
    FILE *out = text ? open_memstream(&spelt, &len) : NULL;

    if (out) {
        for (double percent = strtod(at, &end); end != at;
             at = end, percent = strtod(at, &end), separator = " ")
            fprintf(out, "%s%.10g", separator, percent);
        if (fclose(out) == 0)
            config_restore(s->config, CONFIG_ID_latency_tracking_info_percentiles, spelt);
    }
    free(spelt);
    free(text);
}

/* Numbers from 0 to 100. */
static int check_percentiles(server *s, config_error *error)
{
    char *text = config_text(s->config, CONFIG_ID_latency_tracking_info_percentiles), *rest = text;
    const char *wrong = text ? NULL : "out of memory";

    for (char *word; rest && !wrong && (word = strsep(&rest, " "));) {
        char *end;
        double percent = strtod(word, &end);

        if (*word == '\0')
            continue;
        if (*end != '\0')
            wrong = "Invalid latency-tracking-info-percentiles parameters";
        else if (!(percent >= 0 && percent <= 100))
            wrong = "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]";
    }
    if (wrong)
        snprintf(error->text, sizeof error->text, "%s", wrong);
    else
        spell_percentiles(s);
    free(text);
    return wrong ? -1 : 0;
}

int server_apply(server *s, enum config_id id, config_error *ret_error)
{
    switch (id) {
    case CONFIG_ID_port:
    case CONFIG_ID_tls_port:
    case CONFIG_ID_bind:
        return apply_listeners(s, id, ret_error);
    case CONFIG_ID_requirepass:
        return apply_password(s, ret_error);
    case CONFIG_ID_maxclients:
        return apply_maxclients(s, ret_error);
    case CONFIG_ID_loglevel:
    case CONFIG_ID_log_format:
    case CONFIG_ID_log_timestamp_format:
        log_apply(&s->log, s->config);
        return 0;
    case CONFIG_ID_oom_score_adj:
    case CONFIG_ID_oom_score_adj_values:
        if (oom_score_apply(s) == 0)
            return 0;
        snprintf(ret_error->text, sizeof ret_error->text,
                 "Failed to apply new oom_score_adj configuration, check server logs.");
        return -1;
    case CONFIG_ID_maxmemory:
    case CONFIG_ID_maxmemory_policy:
    case CONFIG_ID_lfu_log_factor:
    case CONFIG_ID_lfu_decay_time:
        memory_apply(s);
        watch_memory(s);
        return 0;
    case CONFIG_ID_latency_tracking_info_percentiles:
        return check_percentiles(s, ret_error);
    case CONFIG_ID_slowlog_log_slower_than:
    case CONFIG_ID_latency_monitor_threshold:
    case CONFIG_ID_latency_tracking:
        slow_apply(s);
        return 0;
    case CONFIG_ID_notify_keyspace_events:
        notify_apply(s);
        return 0;
    case CONFIG_ID_maxmemory_clients:
        memory_ask_to_shed(&s->workers[0]);
        return 0;
    case CONFIG_ID_replica_read_only:
    case CONFIG_ID_replica_serve_stale_data:
    case CONFIG_ID_replica_ignore_maxmemory:
        replication_apply(s);
        return 0;
    case CONFIG_ID_appendonly:
    case CONFIG_ID_appendfsync:
    case CONFIG_ID_aof_error_action:
    case CONFIG_ID_aof_buffer_limit:
    case CONFIG_ID_no_appendfsync_on_rewrite:
        return aof_apply_config(s, ret_error);
    case CONFIG_ID_save:
    case CONFIG_ID_stop_writes_on_bgsave_error:
        persistence_apply(s);
        return 0;
    case CONFIG_ID_dbfilename:
        return apply_dbfilename(s, ret_error);
    case CONFIG_ID_dir:
        return apply_directory(s, ret_error);
    case CONFIG_ID_hz:
        for (int i = 0; i < s->worker_count; i++)
            post_errand(&s->workers[i], worker_set_tick);
        return 0;
    default:
        return 0;
    }
}

/* ---- stopping ---- */

static void drain(worker *w, worker_message *message)
{
    server *s = w->server;

    (void)message;
    worker_drain(w, w->now_ms + config_number(s->config, CONFIG_ID_shutdown_timeout) * 1000);
}

/* On worker 0, before any worker drains: a connection accepted for one that does would be closed at once, while its
 * client, coming back, could be served by whoever listens on a handed socket next. */
static void stop_accepting(worker *w, worker_message *message)
{
    server *s = w->server;

    listener_stop(s);
    migrations_cancel(s->migrations);
    for (int i = 1; i < s->worker_count; i++) {
        s->workers[i].stop.run = drain;
        worker_post(&s->workers[i], &s->workers[i].stop);
    }
    drain(w, message);
}

void server_stop(server *s)
{
    if (atomic_exchange(&s->stopping, true))
        return;
    supervise_stopping(s);
    s->workers[0].stop.run = stop_accepting;
    worker_post(&s->workers[0], &s->workers[0].stop);
}

static void on_stop_signal(evutil_socket_t number, short what, void *arg)
{
    server *s = arg;

    (void)what;
    worker_begin(&s->workers[0]);
    if (s->stop_signals++) {
        log_write(&s->log, CONFIG_LOG_WARNING, "Second signal, exiting at once");
        _exit(1);
    }
    log_write(&s->log, CONFIG_LOG_WARNING, "Received %s scheduling shutdown...",
              number == SIGTERM ? "SIGTERM" : "SIGINT");
    if (!persistence_has_points(s->persistence) || persistence_is_loading(s->persistence)) {
        server_stop(s);
        return;
    }
    atomic_store(&s->save_at_end, true);
    if (persistence_save_and_stop(s->persistence, NULL, false) != 0)
        log_write(&s->log, CONFIG_LOG_WARNING, "Out of memory, can't exit.");
}

/* Reads aclfile again, if there is one; what it says holds as a whole or not at all. */
static void reload_users(server *s)
{
    char *path = config_text(s->config, CONFIG_ID_aclfile), *errors = NULL;
    bool ok = false;

    if (path && *path) {
        pthread_mutex_lock(&s->acl_lock);
        ok = acl_file_load(s->acl, path, &errors);
        pthread_mutex_unlock(&s->acl_lock);
        log_write(&s->log, ok ? CONFIG_LOG_NOTICE : CONFIG_LOG_WARNING, "%s",
                  ok       ? "The users of aclfile were read again"
                  : errors ? errors
                           : "Out of memory for the users of aclfile");
    }
    for (int i = 0; ok && i < s->worker_count; i++)
        post_errand(&s->workers[i], acl_session_refresh);
    free(errors);
    free(path);
}

static void on_reload_signal(evutil_socket_t number, short what, void *arg)
{
    server *s = arg;

    (void)number;
    (void)what;
    supervise_reloading(s);
    log_reopen(&s->log);
    reload_users(s);
    tls_reload_now(s);
    supervise_ready(s);
}

static void on_report_signal(evutil_socket_t number, short what, void *arg)
{
    server *s = arg;

    (void)number;
    (void)what;
    worker_begin(&s->workers[0]);
    info_log(s);
}

static int watch_signals(server *s)
{
    static const struct {
        int number;
        event_callback_fn handler;
    } signals[SERVER_SIGNALS] = { { SIGTERM, on_stop_signal },
                                  { SIGINT, on_stop_signal },
                                  { SIGHUP, on_reload_signal },
                                  { SIGUSR1, on_report_signal } };

    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < SERVER_SIGNALS; i++) {
        s->signals[i] = evsignal_new(s->workers[0].base, signals[i].number, signals[i].handler, s);
        if (!s->signals[i] || event_add(s->signals[i], NULL) != 0)
            return -1;
    }
    return 0;
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
        store_set_reaping(s->databases.stores[s->databases.count], true);
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

static void make_run_id(server *s)
{
    unsigned char bytes[20];

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        memset(bytes, 0, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(s->run_id + 2 * i, 3, "%02x", bytes[i]);
}

/* What is told of commands: how long they take, which were slow. */
static int open_watching(server *s)
{
    ticks_init(&s->ticks);
    s->slowlog = slowlog_new();
    s->latency = latency_new();
    s->monitors = monitor_open();
    s->actor_slow.server = s;
    stats_init(&s->actor_stats, &s->ticks, &s->actor_slow);
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
    s->started_ms = s->rates_at_ms = clock_ms();
    make_run_id(s);
    if (getrandom(&s->actor_rng, sizeof s->actor_rng, 0) != sizeof s->actor_rng)
        s->actor_rng = (uint64_t)s->started_ms;
    for (int i = 0; i < KV_COMMAND_COUNT; i++)
        s->direct[i] = dispatch_is_direct(&kv_command_table[i]);
    if (open_users(s) != 0)
        return -1;
    adjust_descriptors(s);
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
    if (aof_load(s) != 0)
        return fail(s, "The log of changes cannot be used, exiting. See kvserver --check-log.");
    notify_open(s);
    memory_apply(s);
    s->replication = replication_new(s);
    s->migrations = migrations_new(s);
    if (!s->replication || !s->migrations)
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
    if (tls_reload_prepare(s, &s->tls, &error) != 0)
        return fail(s, "Failed to configure TLS, aborting.");
    if (listener_open(s, &error) != 0) {
        log_write(&s->log, CONFIG_LOG_WARNING, "Warning: %s", error.text);
        return fail(s, "Failed listening, aborting.");
    }
    if (s->listener.open.count == 0)
        return fail(s, "Configured to not listen anywhere, exiting.");
    if (apply_dbfilename(s, &error) != 0)
        return fail(s, error.text);
    bool loads = persistence_prepare(s->persistence);

    listener_watch(s);
    s->metrics = metrics_start(s, &error);
    if (!s->metrics && error.text[0])
        return fail(s, error.text);
    if (aof_start(s) != 0)
        return -1;
    if (watch_signals(s) != 0 || start_threads(s) != 0)
        return fail(s, "Can't watch signals, exiting.");
    if (persistence_start(s->persistence) != 0)
        return fail(s, "Can't start the snapshot task, exiting.");
    if (!loads)
        server_loaded(s);
    run_worker(&s->workers[0]);
    for (int i = 1; i < s->worker_count; i++)
        pthread_join(s->workers[i].thread, NULL);
    replication_stop(s->replication);
    aof_stop(s);
    return save_the_rest(s);
}

void server_done(server *s)
{
    metrics_stop(s->metrics);
    listener_stop(s);
    replication_stop(s->replication);
    migrations_free(s->migrations);
    persistence_free(s->persistence);
    for (int i = 0; i < SERVER_SIGNALS; i++)
        if (s->signals[i])
            event_free(s->signals[i]);
    for (int i = 0; i < s->worker_count; i++)
        worker_done(&s->workers[i]);
    free(s->workers);
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
    aof_writer_done(&s->actor_writer);
    for (int i = 0; i < SERVER_GUESTS; i++)
        aof_writer_done(&s->guests[i]);
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
    kv_domain_unref(s->domain);
    tls_context_unref(s->tls);
    pthread_mutex_destroy(&s->tls_lock);
    pthread_mutex_destroy(&s->config_lock);
    pthread_mutex_destroy(&s->stats_lock);
}
