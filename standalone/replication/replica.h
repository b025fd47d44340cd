/* replica.h - a connection that follows this server, or only wants its data set: REPLCONF, then SYNC or PSYNC.
 *
 * Threads    All functions but replica_write_list: the connection's worker.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_REPLICA_H
#define KV_STANDALONE_REPLICA_H

#include <stdio.h>

#include "data_set.h"
#include "feed.h"

/* What c has told about itself, and what it is sent. */
typedef struct replica {
    bool takes_mark;    /* REPLCONF capa eof: the end of a data set may be a mark */
    bool takes_id;      /* capa psync2: a history may be given another name */
    bool data_set_only; /* rdb-only: no changes after it */
    bool served;        /* SYNC was accepted: its requests get no replies */
    bool greets;        /* it goes on where it was, and was not yet told so */
    bool pulls;         /* replica_pull is at work */
    transfer *transfer; /* of its data set, while that is under way */
    feed_reader reader; /* entered, unless it wants the data set only */
} replica;

/* It runs nothing more but what replicas say. */
static inline bool replica_is_served(const connection *c)
{
    return c->replica && c->replica->served;
}

/* connection_input.c: c has said something, be it an empty line while it loads. */
void replica_heard(connection *c);
/* connection.c: c has sent what was pending; c is closed; c is freed. */
void replica_drained(connection *c) KV_EXCLUDES(kv_shard_held);
void replica_closed(connection *c);
void replica_free(connection *c);
/* data_set.c: c was sent its data set, or (not whole) will not be. */
void replica_ended(connection *c, bool whole) KV_EXCLUDES(kv_shard_held);
/* worker.c: the server stops: c is closed when it was sent what there is. */
void replica_drain(connection *c) KV_EXCLUDES(kv_shard_held);
/* A message: those of w that WAIT may have what they wait for (blocking_commands.c). */
void replica_look_at_waits(worker *w, worker_message *message) KV_EXCLUDES(kv_shard_held);

/* A line for each replica that has not acknowledged everything up to position; returns how many those are. */
size_t replica_write_lagging(struct server *s, int64_t position, FILE *out, size_t *ret_all);
/* Lines slave0 to slaveN of INFO; and ROLE's list of them. */
void replica_write_list(struct server *s, FILE *out);
void replica_reply_list(struct server *s, kv_reply *reply);

#endif
