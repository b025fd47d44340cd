/* metrics_text.c - see metrics_text.h.
 *
 * Two passes over INFO's lines: single numbers, by a table of names; then families with labels (commands, errors,
 * databases), of which all samples stand together, as the format wants it.
 *
 * SPDX-License-Identifier: MIT */
#include "metrics_text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LINES_MAX 4096

/* ---- single numbers ---- */

#define GAUGE   "gauge"
#define COUNTER "counter"

static const struct known {
    const char *field, *name, *type;
} known[] = {
    { "uptime_in_seconds", "redis_uptime_in_seconds", GAUGE },
    { "process_id", "redis_process_id", GAUGE },
    { "io_threads_active", "redis_io_threads_active", GAUGE },
    { "connected_clients", "redis_connected_clients", GAUGE },
    { "blocked_clients", "redis_blocked_clients", GAUGE },
    { "maxclients", "redis_max_clients", GAUGE },
    { "tracking_clients", "redis_tracking_clients", GAUGE },
    { "pubsub_clients", "redis_pubsub_clients", GAUGE },
    { "watching_clients", "redis_watching_clients", GAUGE },
    { "clients_in_timeout_table", "redis_clients_in_timeout_table", GAUGE },
    { "total_blocking_keys", "redis_total_blocking_keys", GAUGE },
    { "total_watched_keys", "redis_total_watched_keys", GAUGE },
    { "client_recent_max_input_buffer", "redis_client_recent_max_input_buffer_bytes", GAUGE },
    { "client_recent_max_output_buffer", "redis_client_recent_max_output_buffer_bytes", GAUGE },
    { "allocator_active", "redis_allocator_active_bytes", GAUGE },
    { "allocator_allocated", "redis_allocator_allocated_bytes", GAUGE },
    { "allocator_resident", "redis_allocator_resident_bytes", GAUGE },
    { "allocator_frag_ratio", "redis_allocator_frag_ratio", GAUGE },
    { "allocator_frag_bytes", "redis_allocator_frag_bytes", GAUGE },
    { "allocator_rss_ratio", "redis_allocator_rss_ratio", GAUGE },
    { "allocator_rss_bytes", "redis_allocator_rss_bytes", GAUGE },
    { "used_memory", "redis_memory_used_bytes", GAUGE },
    { "used_memory_rss", "redis_memory_used_rss_bytes", GAUGE },
    { "used_memory_peak", "redis_memory_used_peak_bytes", GAUGE },
    { "used_memory_lua", "redis_memory_used_lua_bytes", GAUGE },
    { "used_memory_scripts", "redis_memory_used_scripts_bytes", GAUGE },
    { "used_memory_overhead", "redis_memory_used_overhead_bytes", GAUGE },
    { "used_memory_startup", "redis_memory_used_startup_bytes", GAUGE },
    { "used_memory_dataset", "redis_memory_used_dataset_bytes", GAUGE },
    { "total_system_memory", "redis_total_system_memory_bytes", GAUGE },
    { "maxmemory", "redis_memory_max_bytes", GAUGE },
    { "mem_fragmentation_ratio", "redis_mem_fragmentation_ratio", GAUGE },
    { "mem_fragmentation_bytes", "redis_mem_fragmentation_bytes", GAUGE },
    { "mem_clients_normal", "redis_mem_clients_normal", GAUGE },
    { "mem_clients_slaves", "redis_mem_clients_slaves", GAUGE },
    { "mem_not_counted_for_evict", "redis_mem_not_counted_for_eviction_bytes", GAUGE },
    { "mem_total_replication_buffers", "redis_mem_total_replication_buffers_bytes", GAUGE },
    { "number_of_cached_scripts", "redis_number_of_cached_scripts", GAUGE },
    { "lazyfree_pending_objects", "redis_lazyfree_pending_objects", GAUGE },
    { "lazyfreed_objects", "redis_lazyfreed_objects_total", COUNTER },
    { "active_defrag_running", "redis_active_defrag_running", GAUGE },
    { "loading", "redis_loading_dump_file", GAUGE },
    { "async_loading", "redis_async_loading", GAUGE },
    { "rdb_changes_since_last_save", "redis_rdb_changes_since_last_save", GAUGE },
    { "rdb_bgsave_in_progress", "redis_rdb_bgsave_in_progress", GAUGE },
    { "rdb_last_save_time", "redis_rdb_last_save_timestamp_seconds", GAUGE },
    { "rdb_last_bgsave_status", "redis_rdb_last_bgsave_status", GAUGE },
    { "rdb_last_bgsave_time_sec", "redis_rdb_last_bgsave_duration_sec", GAUGE },
    { "rdb_current_bgsave_time_sec", "redis_rdb_current_bgsave_duration_sec", GAUGE },
    { "rdb_saves", "redis_rdb_saves_total", COUNTER },
    { "rdb_last_cow_size", "redis_rdb_last_cow_size_bytes", GAUGE },
    { "rdb_last_load_keys_expired", "redis_rdb_last_load_expired_keys", GAUGE },
    { "rdb_last_load_keys_loaded", "redis_rdb_last_load_loaded_keys", GAUGE },
    { "aof_enabled", "redis_aof_enabled", GAUGE },
    { "aof_rewrite_in_progress", "redis_aof_rewrite_in_progress", GAUGE },
    { "aof_rewrite_scheduled", "redis_aof_rewrite_scheduled", GAUGE },
    { "aof_last_rewrite_time_sec", "redis_aof_last_rewrite_duration_sec", GAUGE },
    { "aof_current_rewrite_time_sec", "redis_aof_current_rewrite_duration_sec", GAUGE },
    { "aof_last_cow_size", "redis_aof_last_cow_size_bytes", GAUGE },
    { "aof_current_size", "redis_aof_current_size_bytes", GAUGE },
    { "aof_base_size", "redis_aof_base_size_bytes", GAUGE },
    { "aof_pending_rewrite", "redis_aof_pending_rewrite", GAUGE },
    { "aof_buffer_length", "redis_aof_buffer_length", GAUGE },
    { "aof_pending_bio_fsync", "redis_aof_pending_bio_fsync", GAUGE },
    { "aof_delayed_fsync", "redis_aof_delayed_fsync", GAUGE },
    { "aof_last_bgrewrite_status", "redis_aof_last_bgrewrite_status", GAUGE },
    { "aof_last_write_status", "redis_aof_last_write_status", GAUGE },
    { "total_connections_received", "redis_connections_received_total", COUNTER },
    { "total_commands_processed", "redis_commands_processed_total", COUNTER },
    { "instantaneous_ops_per_sec", "redis_instantaneous_ops_per_sec", GAUGE },
    { "instantaneous_input_kbps", "redis_instantaneous_input_kbps", GAUGE },
    { "instantaneous_output_kbps", "redis_instantaneous_output_kbps", GAUGE },
    { "total_net_input_bytes", "redis_net_input_bytes_total", COUNTER },
    { "total_net_output_bytes", "redis_net_output_bytes_total", COUNTER },
    { "total_net_repl_input_bytes", "redis_net_repl_input_bytes_total", COUNTER },
    { "total_net_repl_output_bytes", "redis_net_repl_output_bytes_total", COUNTER },
    { "rejected_connections", "redis_rejected_connections_total", COUNTER },
    { "sync_full", "redis_replica_resyncs_full", COUNTER },
    { "sync_partial_ok", "redis_replica_partial_resync_accepted", COUNTER },
    { "sync_partial_err", "redis_replica_partial_resync_denied", COUNTER },
    { "expired_keys", "redis_expired_keys_total", COUNTER },
    { "expired_stale_perc", "redis_expired_stale_percentage", GAUGE },
    { "expired_time_cap_reached_count", "redis_expired_time_cap_reached_total", COUNTER },
    { "evicted_keys", "redis_evicted_keys_total", COUNTER },
    { "evicted_clients", "redis_evicted_clients_total", COUNTER },
    { "total_eviction_exceeded_time", "redis_eviction_exceeded_time_ms_total", COUNTER },
    { "current_eviction_exceeded_time", "redis_current_eviction_exceeded_time_ms", GAUGE },
    { "keyspace_hits", "redis_keyspace_hits_total", COUNTER },
    { "keyspace_misses", "redis_keyspace_misses_total", COUNTER },
    { "pubsub_channels", "redis_pubsub_channels", GAUGE },
    { "pubsub_patterns", "redis_pubsub_patterns", GAUGE },
    { "pubsubshard_channels", "redis_pubsubshard_channels", GAUGE },
    { "latest_fork_usec", "redis_latest_fork_usec", GAUGE },
    { "total_forks", "redis_total_forks", COUNTER },
    { "migrate_cached_sockets", "redis_migrate_cached_sockets_total", GAUGE },
    { "slave_expires_tracked_keys", "redis_slave_expires_tracked_keys", GAUGE },
    { "active_defrag_hits", "redis_defrag_hits", GAUGE },
    { "active_defrag_misses", "redis_defrag_misses", GAUGE },
    { "active_defrag_key_hits", "redis_defrag_key_hits", GAUGE },
    { "active_defrag_key_misses", "redis_defrag_key_misses", GAUGE },
    { "tracking_total_keys", "redis_tracking_total_keys", GAUGE },
    { "tracking_total_items", "redis_tracking_total_items", GAUGE },
    { "tracking_total_prefixes", "redis_tracking_total_prefixes", GAUGE },
    { "unexpected_error_replies", "redis_unexpected_error_replies", COUNTER },
    { "total_error_replies", "redis_total_error_replies", COUNTER },
    { "dump_payload_sanitizations", "redis_dump_payload_sanitizations", COUNTER },
    { "total_reads_processed", "redis_total_reads_processed", COUNTER },
    { "total_writes_processed", "redis_total_writes_processed", COUNTER },
    { "acl_access_denied_auth", "redis_acl_access_denied_auth_total", COUNTER },
    { "acl_access_denied_cmd", "redis_acl_access_denied_cmd_total", COUNTER },
    { "acl_access_denied_key", "redis_acl_access_denied_key_total", COUNTER },
    { "acl_access_denied_channel", "redis_acl_access_denied_channel_total", COUNTER },
    { "connected_slaves", "redis_connected_slaves", GAUGE },
    { "master_repl_offset", "redis_master_repl_offset", GAUGE },
    { "second_repl_offset", "redis_second_repl_offset", GAUGE },
    { "repl_backlog_active", "redis_repl_backlog_is_active", GAUGE },
    { "repl_backlog_size", "redis_replication_backlog_bytes", GAUGE },
    { "repl_backlog_first_byte_offset", "redis_repl_backlog_first_byte_offset", GAUGE },
    { "repl_backlog_histlen", "redis_repl_backlog_history_bytes", GAUGE },
    { "used_cpu_sys", "redis_cpu_sys_seconds_total", COUNTER },
    { "used_cpu_user", "redis_cpu_user_seconds_total", COUNTER },
    { "used_cpu_sys_children", "redis_cpu_sys_children_seconds_total", COUNTER },
    { "used_cpu_user_children", "redis_cpu_user_children_seconds_total", COUNTER },
    { "used_cpu_sys_main_thread", "redis_cpu_sys_main_thread_seconds_total", COUNTER },
    { "used_cpu_user_main_thread", "redis_cpu_user_main_thread_seconds_total", COUNTER },
    { "cluster_enabled", "redis_cluster_enabled", GAUGE },
    { "threads", "kv_threads", GAUGE },
    { "lock_measured", "kv_lock_measured", GAUGE },
    { "lock_waits", "kv_lock_waits_total", COUNTER },
    { "lock_wait_total_ns", "kv_lock_wait_nanoseconds_total", COUNTER },
    { "lock_wait_max_ns", "kv_lock_wait_max_nanoseconds", GAUGE },
    { "lock_wait_p50_ns", "kv_lock_wait_p50_nanoseconds", GAUGE },
    { "lock_wait_p99_ns", "kv_lock_wait_p99_nanoseconds", GAUGE },
    { "lock_wait_p999_ns", "kv_lock_wait_p999_nanoseconds", GAUGE },
    { "lock_holds", "kv_lock_holds_total", COUNTER },
    { "lock_hold_total_ns", "kv_lock_hold_nanoseconds_total", COUNTER },
    { "lock_hold_max_ns", "kv_lock_hold_max_nanoseconds", GAUGE },
    { "lock_hold_p99_ns", "kv_lock_hold_p99_nanoseconds", GAUGE },
    { "lock_shards_waited_for", "kv_lock_shards_waited_for", GAUGE },
    { "client_query_buffer_limit_disconnections", "kv_client_query_buffer_limit_disconnections_total",
      COUNTER },
    { "client_output_buffer_limit_disconnections", "kv_client_output_buffer_limit_disconnections_total",
      COUNTER },
};

typedef struct line {
    const char *field, *value;
} line;

typedef struct lines {
    size_t count;
    line list[LINES_MAX];
} lines;

static void take_apart(char *info, lines *all)
{
    for (char *text; info && (text = strsep(&info, "\n"));) {
        char *colon = strchr(text, ':');

        text[strcspn(text, "\r")] = '\0';
        if (!colon || *text == '#' || all->count == LINES_MAX)
            continue;
        *colon = '\0';
        all->list[all->count++] = (line){ text, colon + 1 };
    }
}

static const char *value_of(const lines *all, const char *field)
{
    for (size_t i = 0; i < all->count; i++)
        if (strcmp(all->list[i].field, field) == 0)
            return all->list[i].value;
    return NULL;
}

/* "ok" is 1 and "err" 0, as redis_exporter has them; whole numbers stay exact. */
static const char *number_of(const char *value)
{
    return strcmp(value, "ok") == 0 ? "1" : strcmp(value, "err") == 0 ? "0" : value;
}

static bool is_number(const char *text)
{
    char *end;

    strtod(text, &end);
    return end != text && *end == '\0';
}

static void write_type(FILE *out, const char *name, const char *type)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, name, name, type);
}

void metrics_write(FILE *out, const char *name, const char *type, double value)
{
    write_type(out, name, type);
    fprintf(out, "%s %.17g\n", name, value);
}

static void write_known(FILE *out, const lines *all)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        const char *value = value_of(all, known[i].field);

        value = value ? number_of(value) : NULL;
        if (!value || !is_number(value))
            continue;
        write_type(out, known[i].name, known[i].type);
        fprintf(out, "%s %s\n", known[i].name, value);
    }
}

/* ---- labels ---- */

static void write_label(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc(*text, out);
    }
}

static void write_instance(FILE *out, const lines *all)
{
    static const char *const labels[] = {
        "role",   "redis_version", "redis_build_id", "redis_mode",       "os",
        "run_id", "tcp_port",      "process_id",     "maxmemory_policy", "master_replid"
    };

    write_type(out, "redis_instance_info", GAUGE);
    fputs("redis_instance_info{", out);
    for (size_t i = 0; i < sizeof labels / sizeof *labels; i++) {
        const char *value = value_of(all, labels[i]);

        fprintf(out, "%s%s=\"", i ? "," : "", labels[i]);
        write_label(out, value ? value : "");
        fputc('"', out);
    }
    fputs("} 1\n", out);
}

/* The number behind "key=" in a value like "calls=1,usec=2"; its length, 0: there is none. */
static int part_of(const char *value, const char *key, const char **ret_at)
{
    size_t len = strlen(key);

    for (const char *at = value; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, key, len) == 0 && at[len] == '=') {
            *ret_at = at + len + 1;
            return (int)strcspn(*ret_at, ",");
        }
    }
    return 0;
}

/* A family of samples: of each line whose field begins with prefix, the part key of its value; divided by divisor. */
static void write_family(FILE *out, const lines *all, const char *prefix, const char *key, const char *name,
                         const char *type, const char *label, double divisor)
{
    size_t len = strlen(prefix);
    bool begun = false;

    for (size_t i = 0; i < all->count; i++) {
        const line *l = &all->list[i];
        const char *at;
        int width;

        if (strncmp(l->field, prefix, len) != 0)
            continue;
        width = part_of(l->value, key, &at);
        if (!width)
            continue;
        if (!begun)
            write_type(out, name, type);
        begun = true;
        fprintf(out, "%s{%s=\"", name, label);
        write_label(out, strcmp(label, "db") == 0 ? l->field : l->field + len);
        if (divisor == 1)
            fprintf(out, "\"} %.*s\n", width, at);
        else
            fprintf(out, "\"} %.9g\n", strtod(at, NULL) / divisor);
    }
}

/* latency_percentiles_usec_get:p50=1.003,p99=2.007 as a summary. */
static void write_percentiles(FILE *out, const lines *all)
{
    static const char prefix[] = "latency_percentiles_usec_", name[] = "redis_latency_percentiles_usec";
    bool begun = false;

    for (size_t i = 0; i < all->count; i++) {
        const line *l = &all->list[i];

        if (strncmp(l->field, prefix, sizeof prefix - 1) != 0)
            continue;
        if (!begun)
            write_type(out, name, GAUGE);
        begun = true;
        for (const char *at = l->value; at && *at == 'p'; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
            const char *equals = strchr(at, '=');

            if (!equals)
                break;
            fprintf(out, "%s{cmd=\"", name);
            write_label(out, l->field + sizeof prefix - 1);
            fprintf(out, "\",quantile=\"%.10g\"} %.*s\n", strtod(at + 1, NULL) / 100,
                    (int)strcspn(equals + 1, ","), equals + 1);
        }
    }
}

void metrics_write_info(FILE *out, char *info)
{
    lines *all = calloc(1, sizeof *all);

    if (!all)
        return;
    take_apart(info, all);
    write_known(out, all);
    write_instance(out, all);
    write_family(out, all, "cmdstat_", "calls", "redis_commands_total", COUNTER, "cmd", 1);
    write_family(out, all, "cmdstat_", "usec", "redis_commands_duration_seconds_total", COUNTER, "cmd", 1e6);
    write_family(out, all, "cmdstat_", "rejected_calls", "redis_commands_rejected_calls_total", COUNTER,
                 "cmd", 1);
    write_family(out, all, "cmdstat_", "failed_calls", "redis_commands_failed_calls_total", COUNTER, "cmd",
                 1);
    write_percentiles(out, all);
    write_family(out, all, "errorstat_", "count", "redis_errors_total", COUNTER, "err", 1);
    write_family(out, all, "db", "keys", "redis_db_keys", GAUGE, "db", 1);
    write_family(out, all, "db", "expires", "redis_db_keys_expiring", GAUGE, "db", 1);
    write_family(out, all, "db", "avg_ttl", "redis_db_avg_ttl_seconds", GAUGE, "db", 1000);
    free(all);
}
