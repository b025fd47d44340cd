/* server_apply.c - what a directive does when CONFIG SET changes it.
 *
 * Most directives are read where they matter, and need nothing here. The others have a row in the table below:
 * something that is told (it then reads what it needs of the configuration, and cannot fail), or something that is
 * tried and may be refused; then CONFIG SET takes all of its changes back, which means that the same row is gone
 * through once more with the old value.
 *
 * Threads: any, under config_lock. Where a change is another thread's business it goes there as a message.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "aof.h"
#include "memory.h"
#include "metrics.h"
#include "oom_score.h"
#include "persistence.h"
#include "replica_guard.h"
#include "replication.h"
#include "secret.h"
#include "server.h"
#include "server_internal.h"

#define DESCRIPTORS_RESERVED 32 /* ours: log, listening sockets, loops, files */

/* ---- sockets and descriptors ---- */

static void watch_listeners(worker *w)
{
    listener_watch(w->server);
}

static int open_listeners(server *s, const char *refusal, config_error *error)
{
    if (atomic_load(&s->stopping)) {
        snprintf(error->text, sizeof error->text, "the server is stopping");
        return -1;
    }
    if (listener_open(s, error) != 0) {
        log_write(&s->log, CONFIG_LOG_WARNING, "Warning: %s", error->text);
        snprintf(error->text, sizeof error->text, "%s", refusal);
        return -1;
    }
    if (worker_call(&s->workers[0], watch_listeners) != 0) {
        snprintf(error->text, sizeof error->text, "out of memory");
        return -1;
    }
    return 0;
}

static int apply_bind(server *s, config_error *error)
{
    title_show(s);
    return open_listeners(s, "Failed to bind to specified addresses.", error);
}

static int apply_port(server *s, config_error *error)
{
    title_show(s);
    return open_listeners(s, "Unable to listen on this port. Check server logs.", error);
}

/* Raises the limit of descriptors to what maxclients needs, or lowers the number of clients to what
 * there is. */
void server_limit_clients(server *s)
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

static int apply_maxclients(server *s, config_error *error)
{
    int64_t wanted = config_number(s->config, CONFIG_ID_maxclients);
    int possible;

    server_limit_clients(s);
    possible = atomic_load_explicit(&s->max_clients, memory_order_relaxed);
    if (possible >= wanted)
        return 0;
    snprintf(error->text, sizeof error->text,
             "The operating system is not able to handle the specified number of clients, try with %d",
             possible);
    return -1;
}

/* ---- files and users ---- */

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

static int apply_password(server *s, config_error *error)
{
    size_t len = 0;
    char *password = config_copy(s->config, CONFIG_ID_requirepass, &len);
    acl_error err = ACL_ENOMEM;

    pthread_mutex_lock(&s->acl_lock);
    if (password)
        err = acl_set_password(s->acl, kv_slice_of(password, len));
    pthread_mutex_unlock(&s->acl_lock);
    if (password)
        secret_wipe(password, len);
    free(password);
    if (err)
        snprintf(error->text, sizeof error->text, "%s", acl_error_text(err));
    return err ? -1 : 0;
}

/* ---- observing ---- */

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
            config_restore(s->config, CONFIG_ID_latency_tracking_info_percentiles, kv_str(spelt));
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

static int apply_oom_score(server *s, config_error *error)
{
    if (oom_score_apply(s) == 0)
        return 0;
    snprintf(error->text, sizeof error->text,
             "Failed to apply new oom_score_adj configuration, check server logs.");
    return -1;
}

/* The old one ends first, since both may want the same port; when the new one cannot be, taking the change back begins the old
 * one again. */
static int apply_metrics(server *s, config_error *error)
{
    metrics_stop(s->metrics);
    s->metrics = metrics_start(s, error);
    return !s->metrics && error->text[0] ? -1 : 0;
}

static void apply_log(server *s)
{
    log_apply(&s->log, s->config);
}

static void apply_memory(server *s)
{
    memory_apply(s);
    server_watch_memory(s);
}

static void apply_memory_of_clients(server *s)
{
    memory_ask_to_shed(&s->workers[0]);
}

static void apply_hz(server *s)
{
    for (int i = 0; i < s->worker_count; i++)
        worker_call(&s->workers[i], worker_set_tick);
}

/* ---- the table ---- */

typedef struct effect {
    void (*tell)(server *s);
    int (*try)(server *s, config_error *ret_error);
} effect;

static const effect effects[CONFIG_COUNT] = {
    [CONFIG_ID_port] = { .try = apply_port },
    [CONFIG_ID_tls_port] = { .try = apply_port },
    [CONFIG_ID_bind] = { .try = apply_bind },
    [CONFIG_ID_maxclients] = { .try = apply_maxclients },
    [CONFIG_ID_metrics_port] = { .try = apply_metrics },
    [CONFIG_ID_metrics_bind] = { .try = apply_metrics },
    [CONFIG_ID_hz] = { .tell = apply_hz },
    [CONFIG_ID_oom_score_adj] = { .try = apply_oom_score },
    [CONFIG_ID_oom_score_adj_values] = { .try = apply_oom_score },

    [CONFIG_ID_dir] = { .try = apply_directory },
    [CONFIG_ID_dbfilename] = { .try = apply_dbfilename },
    [CONFIG_ID_save] = { .tell = persistence_apply },
    [CONFIG_ID_stop_writes_on_bgsave_error] = { .tell = persistence_apply },
    [CONFIG_ID_appendonly] = { .try = aof_apply_config },
    [CONFIG_ID_appendfsync] = { .try = aof_apply_config },
    [CONFIG_ID_aof_error_action] = { .try = aof_apply_config },
    [CONFIG_ID_aof_buffer_limit] = { .try = aof_apply_config },
    [CONFIG_ID_aof_prepare_bytes] = { .try = aof_apply_config },
    [CONFIG_ID_no_appendfsync_on_rewrite] = { .try = aof_apply_config },
    [CONFIG_ID_min_replicas_to_write] = { .tell = replica_guard_look },
    [CONFIG_ID_min_replicas_max_lag] = { .tell = replica_guard_look },
    [CONFIG_ID_replica_read_only] = { .tell = replication_apply },
    [CONFIG_ID_replica_serve_stale_data] = { .tell = replication_apply },
    [CONFIG_ID_replica_ignore_maxmemory] = { .tell = replication_apply },

    [CONFIG_ID_requirepass] = { .try = apply_password },

    [CONFIG_ID_maxmemory] = { .tell = apply_memory },
    [CONFIG_ID_maxmemory_policy] = { .tell = apply_memory },
    [CONFIG_ID_lfu_log_factor] = { .tell = apply_memory },
    [CONFIG_ID_lfu_decay_time] = { .tell = apply_memory },
    [CONFIG_ID_maxmemory_clients] = { .tell = apply_memory_of_clients },

    [CONFIG_ID_proc_title_template] = { .tell = title_show },
    [CONFIG_ID_loglevel] = { .tell = apply_log },
    [CONFIG_ID_log_format] = { .tell = apply_log },
    [CONFIG_ID_log_timestamp_format] = { .tell = apply_log },
    [CONFIG_ID_slowlog_log_slower_than] = { .tell = slow_apply },
    [CONFIG_ID_latency_monitor_threshold] = { .tell = slow_apply },
    [CONFIG_ID_latency_tracking] = { .tell = slow_apply },
    [CONFIG_ID_latency_tracking_info_percentiles] = { .try = check_percentiles },
    [CONFIG_ID_notify_keyspace_events] = { .tell = notify_apply },
};

int server_apply(server *s, enum config_id id, config_error *ret_error)
{
    const effect *e = &effects[id];

    if (e->tell)
        e->tell(s);
    return e->try ? e->try(s, ret_error) : 0;
}
