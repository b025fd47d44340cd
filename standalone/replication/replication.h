/* replication.h - following a primary: REPLICAOF. A data set is fetched and put in place as one act, then the primary's
 * commands are applied as they come; clients read meanwhile, and may not write.
 *
 *     s->replication = replication_new(s);
 *     replication_follow(s, "10.0.0.7", 6379);   // from here on clients are refused writes
 *     ... every worker has ended its batch ...
 *     replication_begin(s);                      // the task connects
 *     replication_leave(s);                      // REPLICAOF NO ONE: nothing is applied once this has returned
 *
 * Threads    Any.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_REPLICATION_H
#define KV_STANDALONE_REPLICATION_H

#include "connection.h"
#include "replication_stream.h"

#define REPLICATION_HOST_MAX 256
#define REPLICATION_ID_LEN   40

typedef struct replication replication;

typedef enum replication_state {
    REPLICATION_NONE,       /* there is no primary: we are one */
    REPLICATION_CONNECT,    /* about to connect, or to try again */
    REPLICATION_CONNECTING, /* waiting for the connection, or for a reply of the handshake */
    REPLICATION_SYNC,       /* a data set is on its way */
    REPLICATION_CONNECTED,  /* its commands are applied as they come */
} replication_state;

/* What INFO and ROLE tell. */
typedef struct replication_figures {
    replication_state state;
    char host[REPLICATION_HOST_MAX];
    int port;
    char id[REPLICATION_ID_LEN + 1]; /* of the primary's history; "": not known */
    int64_t offset;                  /* in it, applied; -1: not known */
    int64_t received_offset;
    int64_t last_heard_ms;          /* peer_clock_ms of the last bytes; 0: never */
    int64_t down_since_ms;          /* peer_clock_ms; 0: the link is up, or never was */
    int64_t sync_bytes, sync_total; /* of the data set; total -1: the primary does not say */
    uint64_t full_syncs, partial_syncs;
    char error[256];          /* why the last attempt failed; "": it did not */
    uint64_t keys_left_out;   /* of the last data set: keys of types that are not supported */
    char types_left_out[128]; /* "list,hash" */
    stream_gaps gaps;
} replication_figures;

/* The link to the primary, as a client. */
typedef struct replication_link {
    uint64_t id;
    int fd;
    char address[CONNECTION_ADDRESS_MAX], local_address[CONNECTION_ADDRESS_MAX];
    int64_t created_ms, active_ms; /* of peer_clock_ms */
    int db;
    const kv_command *last_command; /* NULL: none yet */
    size_t query_bytes, query_free_bytes, total_bytes;
} replication_link;

/* NULL: memory or descriptors are out. */
replication *replication_new(struct server *s);
/* Ends the task: nothing is applied any more. NULL is nothing. */
void replication_stop(replication *r) KV_EXCLUDES(kv_shard_held);
/* When no snapshot is being read any more. NULL is nothing. */
void replication_free(replication *r) KV_EXCLUDES(kv_shard_held);

/* Becomes a replica: the address is copied. 1: of that primary it is one already. KV_ENOMEM: no thread can be had, and nothing
 * has changed. */
int replication_follow(struct server *s, kv_slice host, int port) KV_EXCLUDES(kv_shard_held);
/* What clients have written before replication_follow is in the databases: the task may begin. */
void replication_begin(struct server *s) KV_EXCLUDES(kv_shard_held);
/* Becomes a primary, with the data that are there. False: it was one. */
bool replication_leave(struct server *s) KV_EXCLUDES(kv_shard_held);

/* Around the moment of a data set: nothing of the primary's is applied, and what is, was told to feed.h. */
void replication_pause(struct server *s) KV_EXCLUDES(kv_shard_held);
void replication_resume(struct server *s);
/* Between the two: the database that the primary's stream has selected there; -1: it is not passed on. */
int replication_paused_db(struct server *s);

void replication_read_figures(struct server *s, replication_figures *ret_figures);
/* False: there is none, or it is not up. */
bool replication_read_link(struct server *s, replication_link *ret_link);
/* A line of CLIENT LIST, yours; NULL: memory is out. */
char *replication_describe_link(const replication_link *link);
/* Ends it, if it is still that one; another is made then. */
void replication_end_link(struct server *s, uint64_t id);
/* Adds what it has counted as a thread that runs commands. */
void replication_sum_stats(struct server *s, stats_sums *sums);
/* Brings server.restrictions up to date: after a change of the configuration. */
void replication_apply(struct server *s);
/* Follows whom the configuration names. 0, or -1 after logging what is wrong with it. */
int replication_start(struct server *s) KV_EXCLUDES(kv_shard_held);

#endif
