/* session.h - the commands about connections and the server itself: rows of the command table that this
 * folder implements. Each file of a family defines its functions; session.c maps ids to them.
 *
 * A function replies exactly once to call->reply, or parks the connection and replies later.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SESSION_H
#define KV_STANDALONE_SESSION_H

#include "args.h"
#include "connection.h"
#include "server.h"

typedef void session_fn(kv_call *call);

/* The function of a session command; every such row has one (tests/unit/session_test.c). */
session_fn *session_function(int id);

static inline connection *session_connection(const kv_call *call)
{
    return call->host;
}
static inline server *session_server(const kv_call *call)
{
    return session_connection(call)->owner->server;
}

/* EXEC runs the call. What begins in the background then is called scheduled in replies, as redis-server does. */
static inline bool session_in_exec(const kv_call *call)
{
    return session_connection(call)->flags & CONNECTION_MULTI;
}

/* Chooses the database that following requests of the call's connection use. */
void session_select(kv_call *call, int db);
/* CLIENT SETNAME and HELLO SETNAME: an empty name is none. False: an error was replied. */
bool session_set_name(kv_call *call, kv_slice name);
/* The line of CLIENT LIST and CLIENT INFO about c, without a newline: a new string, NULL when memory is out. running:
 * the call that asks, when it is c's own, else NULL. */
char *session_describe_client(connection *c, const kv_call *running);
/* "HELP" replies: a list of lines. */
void session_reply_help(kv_call *call, const char *const lines[], size_t count);

/* Whether a session command may park its connection: EXEC then runs it after the locks are released. */
bool session_parks(int id);

/* transaction_commands.c */
session_fn session_discard, session_exec, session_multi, session_unwatch, session_watch;
/* Whether the command is queued after MULTI, and the queueing. */
bool transaction_queues(const kv_command *row);
void transaction_queue(connection *c, const kv_command *row, const request r[], int n);
/* EXEC itself is refused: that ends the transaction. */
void transaction_abort(connection *c, kv_slice reason);
/* Goes on with an EXEC that has more to reply; what dispatch_batch begins has begun. */
void transaction_go_on(connection *c) KV_REQUIRES(kv_epoch_held);

/* blocking_commands.c */
session_fn session_client_pause, session_client_unblock, session_client_unpause, session_wait,
    session_waitaof, session_bgrewriteaof;

/* acl_commands.c */
session_fn session_acl_cat, session_acl_deluser, session_acl_dryrun, session_acl_genpass, session_acl_getuser,
    session_acl_help, session_acl_list, session_acl_load, session_acl_log, session_acl_save,
    session_acl_setuser, session_acl_users, session_acl_whoami;
/* connection_commands.c */
session_fn session_ping, session_echo, session_select_command, session_quit, session_reset;
/* auth_commands.c */
session_fn session_auth, session_hello;
/* client_commands.c */
session_fn session_client_getname, session_client_help, session_client_id, session_client_info,
    session_client_no_evict, session_client_no_touch, session_client_reply, session_client_setinfo,
    session_client_setname;
/* client_list.c */
session_fn session_client_kill, session_client_list;
/* config_commands.c */
session_fn session_config_get, session_config_help, session_config_resetstat, session_config_rewrite,
    session_config_set;
/* Rewrites the configuration's file. */
int session_rewrite_config(server *s, config_rewriting *rewrite, config_error *ret_error)
    KV_EXCLUDES(kv_shard_held);
/* info.c */
session_fn session_info;
/* tracking_commands.c */
session_fn session_client_caching, session_client_getredir, session_client_tracking,
    session_client_trackinginfo;
/* memory_commands.c */
session_fn session_memory_doctor, session_memory_help, session_memory_malloc_stats, session_memory_purge,
    session_memory_stats;
/* module_commands.c */
session_fn session_module_help, session_module_list, session_module_load, session_module_loadex,
    session_module_unload;
/* pubsub_commands.c */
session_fn session_publish, session_pubsub_channels, session_pubsub_help, session_pubsub_numpat,
    session_pubsub_numsub, session_pubsub_shardchannels, session_spublish, session_subscribe,
    session_unsubscribe;
/* monitor.c */
session_fn session_monitor;
/* cluster_commands.c */
session_fn session_no_cluster;
/* debug_commands.c */
session_fn session_debug;
/* slowlog_commands.c */
session_fn session_slowlog_get, session_slowlog_help, session_slowlog_len, session_slowlog_reset;
/* latency_commands.c */
session_fn session_latency_doctor, session_latency_graph, session_latency_help, session_latency_histogram,
    session_latency_history, session_latency_latest, session_latency_reset;
/* lockstat.c */
session_fn session_lockstat;
/* migrate_commands.c */
session_fn session_migrate;
/* replication_commands.c */
session_fn session_replicaof, session_role;
/* replica.c */
session_fn session_psync, session_replconf, session_sync;
/* server_commands.c */
session_fn session_lolwut, session_shutdown, session_time;
session_fn session_bgsave, session_lastsave, session_save;

#endif
