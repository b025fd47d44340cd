/* session.c - which function runs a session command. SPDX-License-Identifier: MIT */
#include "session.h"

static session_fn *const functions[KV_COMMAND_COUNT] = {
    [KV_COMMAND_acl_cat] = session_acl_cat,
    [KV_COMMAND_acl_deluser] = session_acl_deluser,
    [KV_COMMAND_acl_dryrun] = session_acl_dryrun,
    [KV_COMMAND_acl_genpass] = session_acl_genpass,
    [KV_COMMAND_acl_getuser] = session_acl_getuser,
    [KV_COMMAND_acl_help] = session_acl_help,
    [KV_COMMAND_acl_list] = session_acl_list,
    [KV_COMMAND_acl_load] = session_acl_load,
    [KV_COMMAND_acl_log] = session_acl_log,
    [KV_COMMAND_acl_save] = session_acl_save,
    [KV_COMMAND_acl_setuser] = session_acl_setuser,
    [KV_COMMAND_acl_users] = session_acl_users,
    [KV_COMMAND_acl_whoami] = session_acl_whoami,
    [KV_COMMAND_auth] = session_auth,
    [KV_COMMAND_client_caching] = session_client_caching,
    [KV_COMMAND_client_getredir] = session_client_getredir,
    [KV_COMMAND_client_tracking] = session_client_tracking,
    [KV_COMMAND_client_trackinginfo] = session_client_trackinginfo,
    [KV_COMMAND_client_getname] = session_client_getname,
    [KV_COMMAND_client_help] = session_client_help,
    [KV_COMMAND_client_id] = session_client_id,
    [KV_COMMAND_client_info] = session_client_info,
    [KV_COMMAND_bgsave] = session_bgsave,
    [KV_COMMAND_client_kill] = session_client_kill,
    [KV_COMMAND_client_list] = session_client_list,
    [KV_COMMAND_client_no_evict] = session_client_no_evict,
    [KV_COMMAND_client_no_touch] = session_client_no_touch,
    [KV_COMMAND_client_pause] = session_client_pause,
    [KV_COMMAND_client_reply] = session_client_reply,
    [KV_COMMAND_client_setinfo] = session_client_setinfo,
    [KV_COMMAND_client_setname] = session_client_setname,
    [KV_COMMAND_client_unblock] = session_client_unblock,
    [KV_COMMAND_client_unpause] = session_client_unpause,
    [KV_COMMAND_config_get] = session_config_get,
    [KV_COMMAND_config_help] = session_config_help,
    [KV_COMMAND_config_resetstat] = session_config_resetstat,
    [KV_COMMAND_config_rewrite] = session_config_rewrite,
    [KV_COMMAND_config_set] = session_config_set,
    [KV_COMMAND_asking] = session_no_cluster,
    [KV_COMMAND_cluster_addslots] = session_no_cluster,
    [KV_COMMAND_cluster_addslotsrange] = session_no_cluster,
    [KV_COMMAND_cluster_bumpepoch] = session_no_cluster,
    [KV_COMMAND_cluster_count_failure_reports] = session_no_cluster,
    [KV_COMMAND_cluster_countkeysinslot] = session_no_cluster,
    [KV_COMMAND_cluster_delslots] = session_no_cluster,
    [KV_COMMAND_cluster_delslotsrange] = session_no_cluster,
    [KV_COMMAND_cluster_failover] = session_no_cluster,
    [KV_COMMAND_cluster_flushslots] = session_no_cluster,
    [KV_COMMAND_cluster_forget] = session_no_cluster,
    [KV_COMMAND_cluster_getkeysinslot] = session_no_cluster,
    [KV_COMMAND_cluster_help] = session_no_cluster,
    [KV_COMMAND_cluster_info] = session_no_cluster,
    [KV_COMMAND_cluster_keyslot] = session_no_cluster,
    [KV_COMMAND_cluster_links] = session_no_cluster,
    [KV_COMMAND_cluster_meet] = session_no_cluster,
    [KV_COMMAND_cluster_myid] = session_no_cluster,
    [KV_COMMAND_cluster_nodes] = session_no_cluster,
    [KV_COMMAND_cluster_replicas] = session_no_cluster,
    [KV_COMMAND_cluster_replicate] = session_no_cluster,
    [KV_COMMAND_cluster_reset] = session_no_cluster,
    [KV_COMMAND_cluster_saveconfig] = session_no_cluster,
    [KV_COMMAND_cluster_set_config_epoch] = session_no_cluster,
    [KV_COMMAND_cluster_setslot] = session_no_cluster,
    [KV_COMMAND_cluster_shards] = session_no_cluster,
    [KV_COMMAND_cluster_slaves] = session_no_cluster,
    [KV_COMMAND_cluster_slots] = session_no_cluster,
    [KV_COMMAND_readonly] = session_no_cluster,
    [KV_COMMAND_readwrite] = session_no_cluster,
    [KV_COMMAND_debug] = session_debug,
    [KV_COMMAND_discard] = session_discard,
    [KV_COMMAND_echo] = session_echo,
    [KV_COMMAND_exec] = session_exec,
    [KV_COMMAND_hello] = session_hello,
    [KV_COMMAND_info] = session_info,
    [KV_COMMAND_slowlog_get] = session_slowlog_get,
    [KV_COMMAND_slowlog_help] = session_slowlog_help,
    [KV_COMMAND_slowlog_len] = session_slowlog_len,
    [KV_COMMAND_slowlog_reset] = session_slowlog_reset,
    [KV_COMMAND_latency_doctor] = session_latency_doctor,
    [KV_COMMAND_latency_graph] = session_latency_graph,
    [KV_COMMAND_latency_help] = session_latency_help,
    [KV_COMMAND_latency_histogram] = session_latency_histogram,
    [KV_COMMAND_latency_history] = session_latency_history,
    [KV_COMMAND_latency_latest] = session_latency_latest,
    [KV_COMMAND_latency_reset] = session_latency_reset,
    [KV_COMMAND_lockstat] = session_lockstat,
    [KV_COMMAND_lastsave] = session_lastsave,
    [KV_COMMAND_lolwut] = session_lolwut,
    [KV_COMMAND_migrate] = session_migrate,
    [KV_COMMAND_monitor] = session_monitor,
    [KV_COMMAND_multi] = session_multi,
    [KV_COMMAND_memory_doctor] = session_memory_doctor,
    [KV_COMMAND_memory_help] = session_memory_help,
    [KV_COMMAND_memory_malloc_stats] = session_memory_malloc_stats,
    [KV_COMMAND_memory_purge] = session_memory_purge,
    [KV_COMMAND_memory_stats] = session_memory_stats,
    [KV_COMMAND_module_help] = session_module_help,
    [KV_COMMAND_module_list] = session_module_list,
    [KV_COMMAND_module_load] = session_module_load,
    [KV_COMMAND_module_loadex] = session_module_loadex,
    [KV_COMMAND_module_unload] = session_module_unload,
    [KV_COMMAND_ping] = session_ping,
    [KV_COMMAND_psync] = session_psync,
    [KV_COMMAND_psubscribe] = session_subscribe,
    [KV_COMMAND_publish] = session_publish,
    [KV_COMMAND_pubsub_channels] = session_pubsub_channels,
    [KV_COMMAND_pubsub_help] = session_pubsub_help,
    [KV_COMMAND_pubsub_numpat] = session_pubsub_numpat,
    [KV_COMMAND_pubsub_numsub] = session_pubsub_numsub,
    [KV_COMMAND_pubsub_shardchannels] = session_pubsub_shardchannels,
    [KV_COMMAND_pubsub_shardnumsub] = session_pubsub_numsub,
    [KV_COMMAND_punsubscribe] = session_unsubscribe,
    [KV_COMMAND_quit] = session_quit,
    [KV_COMMAND_replconf] = session_replconf,
    [KV_COMMAND_replicaof] = session_replicaof,
    [KV_COMMAND_reset] = session_reset,
    [KV_COMMAND_role] = session_role,
    [KV_COMMAND_save] = session_save,
    [KV_COMMAND_select] = session_select_command,
    [KV_COMMAND_shutdown] = session_shutdown,
    [KV_COMMAND_slaveof] = session_replicaof,
    [KV_COMMAND_spublish] = session_spublish,
    [KV_COMMAND_ssubscribe] = session_subscribe,
    [KV_COMMAND_subscribe] = session_subscribe,
    [KV_COMMAND_sunsubscribe] = session_unsubscribe,
    [KV_COMMAND_sync] = session_sync,
    [KV_COMMAND_time] = session_time,
    [KV_COMMAND_unsubscribe] = session_unsubscribe,
    [KV_COMMAND_unwatch] = session_unwatch,
    [KV_COMMAND_wait] = session_wait,
    [KV_COMMAND_waitaof] = session_waitaof,
    [KV_COMMAND_bgrewriteaof] = session_bgrewriteaof,
    [KV_COMMAND_watch] = session_watch,
};

session_fn *session_function(int id)
{
    return functions[id];
}

bool session_parks(int id)
{
    switch (id) {
    case KV_COMMAND_acl_deluser:
    case KV_COMMAND_acl_load:
    case KV_COMMAND_acl_save: /* which waits for a disk */
    case KV_COMMAND_acl_setuser:
    case KV_COMMAND_client_kill:
    case KV_COMMAND_client_list:
    case KV_COMMAND_client_pause:
    case KV_COMMAND_client_tracking:
    case KV_COMMAND_config_rewrite:
    case KV_COMMAND_client_unblock:
    case KV_COMMAND_client_unpause:
    case KV_COMMAND_migrate:
    case KV_COMMAND_publish:
    case KV_COMMAND_replicaof:
    case KV_COMMAND_save:
    case KV_COMMAND_shutdown:
    case KV_COMMAND_slaveof:
    case KV_COMMAND_spublish:
        return true;
    default:
        return false;
    }
}

void session_select(kv_call *call, int db)
{
    session_connection(call)->db = db;
    call->db = db;
    call->store = call->databases->stores[db];
}

void session_reply_help(kv_call *call, const char *const lines[], size_t count)
{
    kv_reply_array(call->reply, count);
    for (size_t i = 0; i < count; i++)
        call->reply->ops->simple(call->reply, kv_str(lines[i]));
}
