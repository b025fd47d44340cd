/* info.c - INFO: the server in figures, with the field names that tools know.
 *
 * A section is a function and a row; it writes lines into a memory stream. Figures come from the sums of all
 * threads' stats, which need no locks, so INFO stops nobody. What Redis reports and this server has no
 * counterpart for is given as the value that says so (0, no), where some known tool reads it.
 *
 * SPDX-License-Identifier: MIT */
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "info.h"

#include "aof.h"
#include "feed.h"
#include "lockstat.h"
#include "memory.h"
#include "migrate.h"
#include "persistence.h"
#include "replication.h"
#include "replication_commands.h"
#include "session.h"
#include "tracking.h"
#include "wait_table.h"

typedef struct info {
    FILE *out;
    server *server;
    int64_t now_ms;
    stats_sums sums;
} info;

#define U(x) ((unsigned long long)(x))

/* "1.94M", as Redis abbreviates. */
static const char *human(char text[32], uint64_t bytes)
{
    static const char units[] = "BKMGTP";
    double value = (double)bytes;
    int unit = 0;

    if (bytes < 1024) {
        snprintf(text, 32, "%lluB", U(bytes));
        return text;
    }
    while (value >= 1024 && unit < 5) {
        value /= 1024;
        unit++;
    }
    snprintf(text, 32, "%.2f%c", value, units[unit]);
    return text;
}

static void server_section(info *i)
{
    server *s = i->server;
    int64_t uptime_s = (i->now_ms - s->started_ms) / 1000, port = config_number(s->config, CONFIG_ID_port);
    const char *file = config_file(s->config);
    struct utsname name;

    uname(&name);
    fprintf(i->out,
            "redis_version:" SERVER_REDIS_VERSION "\r\nredis_git_sha1:00000000\r\nredis_git_dirty:0\r\n");
    fprintf(i->out,
            "redis_build_id:0\r\nredis_mode:standalone\r\nserver_name:kvstore\r\nkvstore_version:" KV_VERSION
            "\r\n");
    fprintf(i->out, "os:%s %s %s\r\narch_bits:%zu\r\n", name.sysname, name.release, name.machine,
            sizeof(void *) * 8);
    fprintf(i->out, "monotonic_clock:%s\r\natomicvar_api:c11-builtin\r\nmultiplexing_api:libevent-%s-%s\r\n",
            s->ticks.counter ? "the processor's counter" : "POSIX clock_gettime", event_get_version(),
            event_base_get_method(s->workers[0].base));
    fprintf(i->out, "gcc_version:%s\r\nprocess_id:%d\r\n", __VERSION__, (int)getpid());
    fprintf(i->out, "process_supervised:%s\r\n", supervise_name(s));
    fprintf(i->out, "run_id:%s\r\ntcp_port:%lld\r\n", s->run_id,
            (long long)(port ? port : config_number(s->config, CONFIG_ID_tls_port)));
    fprintf(i->out, "server_time_usec:%lld\r\n", (long long)i->now_ms * 1000);
    fprintf(i->out, "uptime_in_seconds:%lld\r\nuptime_in_days:%lld\r\n", (long long)uptime_s,
            (long long)uptime_s / 86400);
    fprintf(i->out, "hz:%lld\r\nconfigured_hz:%lld\r\n", (long long)config_number(s->config, CONFIG_ID_hz),
            (long long)config_number(s->config, CONFIG_ID_hz));
    fprintf(i->out, "lru_clock:%u\r\nexecutable:%s\r\nconfig_file:%s\r\n", store_access_clock(i->now_ms),
            s->executable, file ? file : "");
    fprintf(i->out, "io_threads_active:%d\r\nthreads:%d\r\n", s->worker_count > 1, s->worker_count);
    if (shutdown_left_ms(s) >= 0)
        fprintf(i->out, "shutdown_in_milliseconds:%lld\r\n", (long long)shutdown_left_ms(s));
}

static void clients_section(info *i)
{
    tracking_figures figures;
    replication_link link;
    server *s = i->server;
    int64_t clients = atomic_load(&s->client_count) - atomic_load(&s->replica_count);
    int blocked = 0;

    for (int w = 0; w < s->worker_count; w++)
        blocked += atomic_load_explicit(&s->workers[w].blocked_count, memory_order_relaxed);
    fprintf(i->out, "connected_clients:%lld\r\ncluster_connections:0\r\nmaxclients:%lld\r\n",
            (long long)clients + replication_read_link(s, &link),
            (long long)config_number(s->config, CONFIG_ID_maxclients));
    fprintf(i->out,
            "client_recent_max_input_buffer:0\r\nclient_recent_max_output_buffer:0\r\nblocked_clients:%d\r\n",
            blocked);
    tracking_read_figures(s, &figures);
    fprintf(
        i->out,
        "tracking_clients:%zu\r\npubsub_clients:%lld\r\nclients_in_timeout_table:0\r\ntotal_blocking_keys:"
        "%zu\r\n",
        figures.clients, (long long)atomic_load(&s->pubsub_clients), wait_table_keys(s->waits));
}

static void write_bytes(info *i, const char *field, uint64_t bytes)
{
    char text[32];

    fprintf(i->out, "%s:%llu\r\n%s_human:%s\r\n", field, U(bytes), field, human(text, bytes));
}

/* Bytes of keys, values and their index, in all databases. */
static uint64_t dataset_bytes(info *i)
{
    uint64_t bytes = 0;

    for (int db = 0; db < i->server->databases.count; db++) {
        kv_stats figures;

        kv_store_stats(i->server->databases.stores[db], &figures, i->now_ms);
        bytes += figures.entry_bytes + figures.index_bytes;
    }
    return bytes;
}

/* The allocator is libc's, which does not tell what it has in use of the pages that it holds: active is what we have asked
 * for. */
static void write_allocator(info *i, uint64_t allocated, uint64_t resident)
{
    fprintf(i->out, "allocator_allocated:%llu\r\nallocator_active:%llu\r\nallocator_resident:%llu\r\n",
            U(allocated), U(allocated), U(resident));
    fprintf(i->out,
            "allocator_frag_ratio:1.00\r\nallocator_frag_bytes:0\r\nallocator_rss_ratio:%.2f\r\n"
            "allocator_rss_bytes:%lld\r\nrss_overhead_ratio:1.00\r\nrss_overhead_bytes:0\r\n",
            allocated ? (double)resident / (double)allocated : 0.0,
            (long long)resident - (long long)allocated);
}

/* There are no scripts and no functions. */
static void write_scripts(info *i)
{
    fprintf(i->out, "used_memory_vm_eval:0\r\nused_memory_lua:0\r\nused_memory_lua_human:0B\r\n"
                    "used_memory_scripts_eval:0\r\nnumber_of_cached_scripts:0\r\nnumber_of_functions:0\r\n"
                    "number_of_libraries:0\r\nused_memory_vm_functions:0\r\nused_memory_vm_total:0\r\n"
                    "used_memory_vm_total_human:0B\r\nused_memory_functions:0\r\nused_memory_scripts:0\r\n"
                    "used_memory_scripts_human:0B\r\n");
}

static void memory_section(info *i)
{
    server *s = i->server;
    uint64_t used = server_memory(s), resident = memory_resident(), dataset = dataset_bytes(i), peak;
    domain_memory memory;
    char *policy;

    domain_read_memory(s->domain, &memory);
    pthread_mutex_lock(&s->stats_lock);
    peak = s->peak_memory > used ? s->peak_memory : used;
    s->peak_memory = peak;
    pthread_mutex_unlock(&s->stats_lock);
    dataset = dataset < used ? dataset : used;
    write_bytes(i, "used_memory", used);
    write_bytes(i, "used_memory_rss", resident);
    write_bytes(i, "used_memory_peak", peak);
    fprintf(i->out, "used_memory_peak_perc:%.2f%%\r\n", 100.0 * (double)used / (double)peak);
    fprintf(i->out, "used_memory_overhead:%llu\r\nused_memory_startup:%llu\r\n", U(used - dataset),
            U(s->startup_memory));
    fprintf(i->out, "used_memory_dataset:%llu\r\nused_memory_dataset_perc:%.2f%%\r\n", U(dataset),
            100.0 * (double)dataset / (double)used);
    write_allocator(i, memory.allocated_bytes, resident);
    write_bytes(i, "total_system_memory", s->machine_bytes);
    write_scripts(i);
    write_bytes(i, "maxmemory", (uint64_t)config_number(s->config, CONFIG_ID_maxmemory));
    policy = config_text(s->config, CONFIG_ID_maxmemory_policy);
    fprintf(i->out, "maxmemory_policy:%s\r\nmem_fragmentation_ratio:%.2f\r\n", policy ? policy : "",
            (double)resident / (double)used);
    free(policy);
    fprintf(
        i->out,
        "mem_fragmentation_bytes:%lld\r\nmem_not_counted_for_evict:0\r\nmem_total_replication_buffers:%zu\r\n"
        "mem_cluster_links:0\r\nmem_clients_normal:%llu\r\nmem_clients_slaves:%llu\r\nmem_aof_buffer:0\r\n",
        (long long)resident - (long long)used, feed_backlog_bytes(s), U(memory_of_clients(s)),
        U(memory_of_replicas(s)));
    fprintf(i->out, "mem_allocator:libc\r\nactive_defrag_running:0\r\nlazyfree_pending_objects:"
                    "0\r\nlazyfreed_objects:0\r\n");
}

static void log_of_changes(info *i)
{
    aof_figures f;

    aof_read_figures(i->server, &f);
    fprintf(i->out,
            "aof_enabled:%d\r\naof_rewrite_in_progress:%d\r\naof_rewrite_scheduled:%d\r\n"
            "aof_last_rewrite_time_sec:%lld\r\naof_current_rewrite_time_sec:%lld\r\n"
            "aof_last_bgrewrite_status:%s\r\naof_rewrites:%llu\r\naof_rewrites_consecutive_failures:%llu\r\n"
            "aof_last_write_status:%s\r\n",
            f.enabled, f.rewriting, f.rewrite_scheduled, (long long)f.last_rewrite_s,
            (long long)f.current_rewrite_s, f.last_rewrite_ok ? "ok" : "err", U(f.rewrites),
            U(f.rewrites_failed_in_a_row), f.last_write_ok ? "ok" : "err");
    if (*f.reason)
        fprintf(i->out, "aof_last_write_error:%s\r\n", f.reason);
    if (!f.enabled)
        return;
    fprintf(
        i->out,
        "aof_current_size:%llu\r\naof_base_size:%llu\r\naof_pending_rewrite:%d\r\naof_buffer_length:%llu\r\n"
        "aof_pending_bio_fsync:%llu\r\naof_delayed_fsync:%llu\r\naof_fsyncs:%llu\r\naof_batches:%llu\r\n"
        "aof_last_batch:%llu\r\n",
        U(f.current_bytes), U(f.base_bytes), f.rewrite_scheduled, U(f.buffered_bytes), U(f.syncing),
        U(f.delayed_syncs), U(f.syncs), U(f.batches), U(f.batch_sequence));
}

static void loading_fields(info *i, const persistence_figures *figures)
{
    uint64_t total = figures->load_bytes_total, done = figures->load_bytes;
    int64_t since_s = clock_ms() / 1000 - (int64_t)figures->load_started_s;
    double share = total ? (double)done / (double)total : 0;

    fprintf(i->out,
            "loading_start_time:%llu\r\nloading_total_bytes:%llu\r\nloading_rdb_used_mem:0\r\n"
            "loading_loaded_bytes:%llu\r\nloading_loaded_perc:%.2f\r\nloading_eta_seconds:%lld\r\n",
            U(figures->load_started_s), U(total), U(done), share * 100,
            share > 0 ? (long long)((double)since_s / share - (double)since_s) : 1LL);
}

static void persistence_section(info *i)
{
    persistence_figures figures;

    persistence_read_figures(i->server->persistence, &figures);
    fprintf(i->out,
            "loading:%d\r\nasync_loading:0\r\ncurrent_cow_peak:0\r\ncurrent_cow_size:%llu\r\ncurrent_cow_"
            "size_age:0\r\n"
            "current_fork_perc:%.2f\r\ncurrent_save_keys_processed:%llu\r\ncurrent_save_keys_total:%llu\r\n",
            figures.loading, U(figures.kept_bytes),
            figures.keys_total ? 100.0 * (double)figures.keys_done / (double)figures.keys_total : 0.0,
            U(figures.keys_done), U(figures.keys_total));
    fprintf(
        i->out,
        "rdb_changes_since_last_save:%llu\r\nrdb_bgsave_in_progress:%d\r\nrdb_last_save_time:%lld\r\n"
        "rdb_last_bgsave_status:%s\r\nrdb_last_bgsave_time_sec:%lld\r\nrdb_current_bgsave_time_sec:%lld\r\n"
        "rdb_saves:%llu\r\nrdb_last_cow_size:0\r\nrdb_last_load_keys_expired:%llu\r\n"
        "rdb_last_load_keys_loaded:%llu\r\n",
        U(figures.changes), figures.saving, (long long)figures.last_save_s, figures.last_ok ? "ok" : "err",
        (long long)figures.last_duration_s, (long long)figures.current_duration_s, U(figures.saves),
        U(figures.load_expired), U(figures.load_keys));
    log_of_changes(i);
    if (figures.loading)
        loading_fields(i, &figures);
}

/* What Redis does and this server has no need of: defragmentation, a table of what replicas expire. */
static void write_nothing_of(info *i)
{
    fprintf(i->out,
            "slave_expires_tracked_keys:0\r\nactive_defrag_hits:0\r\nactive_defrag_misses:0\r\n"
            "active_defrag_key_hits:0\r\nactive_defrag_key_misses:0\r\ntotal_active_defrag_time:0\r\n"
            "current_active_defrag_time:0\r\ndump_payload_sanitizations:0\r\nreply_buffer_shrinks:0\r\n"
            "reply_buffer_expands:0\r\n");
}

/* For how long more than maxmemory has been in use, as the ticks saw it. */
static void write_time_over_limit(info *i)
{
    server *s = i->server;
    int64_t total_ms, current_ms;

    pthread_mutex_lock(&s->stats_lock);
    current_ms = s->over_since_ms ? i->now_ms - s->over_since_ms : 0;
    total_ms = s->over_total_ms + current_ms;
    pthread_mutex_unlock(&s->stats_lock);
    fprintf(i->out, "total_eviction_exceeded_time:%lld\r\ncurrent_eviction_exceeded_time:%lld\r\n",
            (long long)total_ms, (long long)current_ms);
}

static void stats_section(info *i)
{
    server *s = i->server;
    const stats_sums *sums = &i->sums;
    tracking_figures figures;
    feed_figures stream;
    uint64_t expired = server_expired_total(s), evicted = server_evicted_total(s), rates[3];

    feed_read_figures(s, &stream);
    pthread_mutex_lock(&s->stats_lock);
    expired -= s->expired_base;
    evicted -= s->evicted_base;
    pthread_mutex_unlock(&s->stats_lock);
    for (int r = 0; r < 3; r++)
        rates[r] = atomic_load_explicit(&s->rate_values[r], memory_order_relaxed);
    fprintf(i->out,
            "total_connections_received:%llu\r\ntotal_commands_processed:%llu\r\ninstantaneous_ops_per_sec:%"
            "llu\r\n",
            U(sums->connections_received), U(sums->commands), U(rates[0]));
    fprintf(i->out, "total_net_input_bytes:%llu\r\ntotal_net_output_bytes:%llu\r\n", U(sums->input_bytes),
            U(sums->output_bytes));
    fprintf(i->out, "instantaneous_input_kbps:%.2f\r\ninstantaneous_output_kbps:%.2f\r\n",
            (double)rates[1] / 1024, (double)rates[2] / 1024);
    fprintf(
        i->out,
        "rejected_connections:%llu\r\nsync_full:%llu\r\nsync_partial_ok:%llu\r\nsync_partial_err:%llu\r\n",
        U(sums->connections_rejected), U(stream.full), U(stream.resumed), U(stream.refused));
    fprintf(i->out,
            "expired_keys:%llu\r\nexpired_stale_perc:0.00\r\nexpired_time_cap_reached_count:%llu\r\n"
            "expire_cycle_cpu_milliseconds:%llu\r\n",
            U(expired), U(sums->expire_caps), U(sums->expire_us / 1000));
    fprintf(i->out,
            "evicted_keys:%llu\r\nevicted_clients:%llu\r\nkeyspace_hits:%llu\r\nkeyspace_misses:%llu\r\n",
            U(evicted), U(sums->evicted_clients), U(sums->keyspace_hits), U(sums->keyspace_misses));
    write_time_over_limit(i);
    fprintf(i->out, "pubsub_channels:%zu\r\npubsub_patterns:%zu\r\npubsubshard_channels:%zu\r\n",
            topics_count(s->topics, TOPIC_CHANNEL), topics_count(s->topics, TOPIC_PATTERN),
            topics_count(s->topics, TOPIC_SHARD));
    tracking_read_figures(s, &figures);
    fprintf(i->out, "tracking_total_keys:%zu\r\ntracking_total_items:%zu\r\ntracking_total_prefixes:%zu\r\n",
            figures.keys, figures.items, figures.prefixes);
    fprintf(i->out, "latest_fork_usec:0\r\ntotal_forks:0\r\nmigrate_cached_sockets:%d\r\n",
            migrations_sockets(s->migrations));
    write_nothing_of(i);
    fprintf(i->out,
            "unexpected_error_replies:0\r\ntotal_error_replies:%llu\r\nacl_access_denied_auth:%llu\r\n"
            "acl_access_denied_cmd:%llu\r\nacl_access_denied_key:%llu\r\nacl_access_denied_channel:%llu\r\n",
            U(sums->error_replies), U(sums->auth_failures), U(sums->denied_commands), U(sums->denied_keys),
            U(sums->denied_channels));
    fprintf(i->out, "total_reads_processed:%llu\r\ntotal_writes_processed:%llu\r\n", U(sums->reads),
            U(sums->writes));
    fprintf(i->out, "io_threaded_reads_processed:%llu\r\nio_threaded_writes_processed:%llu\r\n",
            U(s->worker_count > 1 ? sums->reads : 0), U(s->worker_count > 1 ? sums->writes : 0));
    fprintf(
        i->out,
        "client_query_buffer_limit_disconnections:%llu\r\nclient_output_buffer_limit_disconnections:%llu\r\n",
        U(sums->query_limit_disconnections), U(sums->output_limit_disconnections));
}

static void replication_section(info *i)
{
    replication_write_info(i->server, i->out);
}

/* Of worker 0's thread, as the kernel counts it: in its clock's ticks. */
static void write_main_thread(info *i)
{
    unsigned long user = 0, system = 0;
    double per_second = (double)sysconf(_SC_CLK_TCK);
    char path[64];
    FILE *file;

    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)getpid());
    file = fopen(path, "re");
    if (!file)
        return;
    if (fscanf(file, "%*d (%*[^)]) %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &system) == 2)
        fprintf(i->out, "used_cpu_sys_main_thread:%.6f\r\nused_cpu_user_main_thread:%.6f\r\n",
                (double)system / per_second, (double)user / per_second);
    fclose(file);
}

static void cpu_section(info *i)
{
    struct rusage all, children;

    getrusage(RUSAGE_SELF, &all);
    getrusage(RUSAGE_CHILDREN, &children);
    fprintf(i->out, "used_cpu_sys:%ld.%06ld\r\nused_cpu_user:%ld.%06ld\r\n", (long)all.ru_stime.tv_sec,
            (long)all.ru_stime.tv_usec, (long)all.ru_utime.tv_sec, (long)all.ru_utime.tv_usec);
    fprintf(i->out, "used_cpu_sys_children:%ld.%06ld\r\nused_cpu_user_children:%ld.%06ld\r\n",
            (long)children.ru_stime.tv_sec, (long)children.ru_stime.tv_usec, (long)children.ru_utime.tv_sec,
            (long)children.ru_utime.tv_usec);
    write_main_thread(i);
}

static void modules_section(info *i)
{
    (void)i;
}

static void commandstats_section(info *i)
{
    for (int id = 0; id < KV_COMMAND_COUNT; id++) {
        const kv_command *row = &kv_command_table[id];
        uint64_t calls = i->sums.calls[id], usec = stats_usec(&i->sums, id);

        if (!calls && !i->sums.rejected_calls[id] && !i->sums.failed_calls[id])
            continue;
        fprintf(i->out,
                "cmdstat_%s%s%s:calls=%llu,usec=%llu,usec_per_call=%.2f,rejected_calls=%llu,failed_calls=%"
                "llu\r\n",
                row->container ? row->container : "", row->container ? "|" : "", row->name, U(calls), U(usec),
                calls ? (double)usec / (double)calls : 0.0, U(i->sums.rejected_calls[id]),
                U(i->sums.failed_calls[id]));
    }
}

static int compare_errors(const void *a, const void *b)
{
    return strcmp(((const error_word *)a)->text, ((const error_word *)b)->text);
}

/* By name, the counters and what has none. */
static void errorstats_section(info *i)
{
    error_word errors[STATS_ERROR_COUNT + ERROR_WORDS_MAX + 1];
    int n = error_words_read(&i->server->error_words, errors);

    for (int e = 0; e < STATS_ERROR_COUNT; e++)
        if (i->sums.errors[e]) {
            errors[n].count = i->sums.errors[e];
            strcpy(errors[n++].text, stats_error_names[e]);
        }
    qsort(errors, (size_t)n, sizeof *errors, compare_errors);
    for (int e = 0; e < n; e++)
        fprintf(i->out, "errorstat_%s:count=%llu\r\n", errors[e].text, U(errors[e].count));
}

/* latency-tracking-info-percentiles of the calls of each command. */
static void latencystats_section(info *i)
{
    char *percentiles = config_text(i->server->config, CONFIG_ID_latency_tracking_info_percentiles);
    durations_sum *sum = malloc(sizeof *sum);

    for (int id = 0; percentiles && sum && id < KV_COMMAND_COUNT; id++) {
        const kv_command *row = &kv_command_table[id];
        const char *at = percentiles, *separator = "";
        char *end;

        if (!config_number(i->server->config, CONFIG_ID_latency_tracking) ||
            !server_has_durations(i->server, id))
            continue;
        server_durations(i->server, id, sum);
        if (!sum->total)
            continue;
        fprintf(i->out, "latency_percentiles_usec_%s%s%s:", row->container ? row->container : "",
                row->container ? "|" : "", row->name);
        for (double percent = strtod(at, &end); end != at;
             at = end, percent = strtod(at, &end), separator = ",")
            fprintf(i->out, "%sp%.10g=%.3f", separator, percent,
                    (double)durations_percentile(sum, percent) / 1000);
        fprintf(i->out, "\r\n");
    }
    free(percentiles);
    free(sum);
}

static void contention_section(info *i)
{
    lockstat_write_info(i->server, i->out);
}

static void cluster_section(info *i)
{
    fprintf(i->out, "cluster_enabled:0\r\n");
}

static void keyspace_section(info *i)
{
    for (int db = 0; db < i->server->databases.count; db++) {
        kv_stats figures;

        kv_store_stats(i->server->databases.stores[db], &figures, i->now_ms);
        if (figures.keys)
            fprintf(i->out, "db%d:keys=%zu,expires=%zu,avg_ttl=%lld\r\n", db, figures.keys,
                    figures.keys_with_deadline, (long long)figures.average_ttl_ms);
    }
}

/* In the order of the reply. */
static const struct section {
    const char *name;
    bool by_default;
    void (*write)(info *i);
} sections[] = {
    { "Server", true, server_section },
    { "Clients", true, clients_section },
    { "Memory", true, memory_section },
    { "Persistence", true, persistence_section },
    { "Stats", true, stats_section },
    { "Replication", true, replication_section },
    { "CPU", true, cpu_section },
    { "Modules", true, modules_section },
    { "Commandstats", false, commandstats_section },
    { "Errorstats", true, errorstats_section },
    { "Latencystats", false, latencystats_section },
    { "Contention", false, contention_section },
    { "Cluster", true, cluster_section },
    { "Keyspace", true, keyspace_section },
};
#define SECTIONS (sizeof sections / sizeof *sections)

static void choose_sections(const kv_call *call, bool chosen[SECTIONS])
{
    for (size_t n = 0; n < SECTIONS; n++) {
        chosen[n] = call->argc == 1 && sections[n].by_default;
        for (int i = 1; i < call->argc; i++) {
            char name[32];
            size_t len = 0;

            for (; sections[n].name[len]; len++)
                name[len] = kv_lower(sections[n].name[len]);
            name[len] = '\0';
            chosen[n] |= kv_word_is(call->argv[i], name) || kv_word_is(call->argv[i], "all") ||
                         kv_word_is(call->argv[i], "everything") ||
                         (sections[n].by_default && kv_word_is(call->argv[i], "default"));
        }
    }
}

/* The chosen sections, to be freed; NULL when memory is out. */
static char *write_sections(server *s, int64_t now_ms, const bool chosen[SECTIONS], size_t *ret_len)
{
    info i = { .server = s, .now_ms = now_ms };
    bool first = true;
    char *text = NULL;

    server_stats(s, &i.sums);
    i.out = open_memstream(&text, ret_len);
    for (size_t n = 0; i.out && n < SECTIONS; n++) {
        if (!chosen[n])
            continue;
        fprintf(i.out, "%s# %s\r\n", first ? "" : "\r\n", sections[n].name);
        sections[n].write(&i);
        first = false;
    }
    if (i.out && fclose(i.out) == 0)
        return text;
    free(text);
    return NULL;
}

/* INFO [section ...] */
void session_info(kv_call *call)
{
    bool chosen[SECTIONS];
    size_t len = 0;
    char *text;

    choose_sections(call, chosen);
    text = write_sections(session_server(call), call->now_ms, chosen, &len);
    if (text)
        call->reply->ops->verbatim(call->reply, kv_slice_of(text, len), "txt");
    else
        kv_reply_error(call->reply, KV_ENOMEM);
    free(text);
}

char *info_everything(server *s)
{
    bool chosen[SECTIONS];
    size_t len = 0;

    for (size_t n = 0; n < SECTIONS; n++)
        chosen[n] = true;
    return write_sections(s, clock_ms(), chosen, &len);
}

void info_log(server *s)
{
    bool chosen[SECTIONS];
    size_t len = 0;
    char *text, *rest;

    for (size_t n = 0; n < SECTIONS; n++)
        chosen[n] = sections[n].by_default;
    rest = text = write_sections(s, clock_ms(), chosen, &len);
    for (char *line; rest && (line = strsep(&rest, "\n"));)
        if (*line && *line != '\r')
            log_write(&s->log, CONFIG_LOG_NOTICE, "%.*s", (int)strcspn(line, "\r"), line);
    free(text);
}
