/* multi.h - the transaction of a connection: what was queued since MULTI, and which keys are watched.
 *
 * It exists between the first MULTI or WATCH and the EXEC, DISCARD or UNWATCH that ends it. While EXEC is on its way to
 * the state thread (--sharing actor), that thread reads the queue and the watched keys, and nobody changes them: the
 * connection is parked.
 *
 * Memory     Counted by multi_memory, and bounded: for a connection by client-query-buffer-limit, for the
 *            connections of all workers together by multi-memory-limit.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_MULTI_H
#define KV_STANDALONE_MULTI_H

#include "connection.h"
#include "transaction.h"

typedef struct multi_chunk multi_chunk;

/* Replies that come after those of the command queue[command], which could not be run under the locks. */
typedef struct multi_part {
    size_t command;
    output replies;
} multi_part;

typedef struct multi {
    queued_command *queue;
    size_t count, capacity;
    multi_chunk *chunks; /* arguments, and names of watched keys: the newest first */
    size_t memory_bytes;
    kv_owned owned; /* of the arguments, what is not copied */
    size_t owned_capacity;
    unsigned flags; /* that some queued row has: KV_CMD_WRITE, KV_CMD_DENYOOM */
    unsigned lacks; /* that some queued row has not: KV_CMD_STALE */
    bool failed;    /* a command was refused: EXEC will be */
    bool borrows;   /* EXEC is in the same batch: the arguments are those of the requests */
    bool writes;    /* the queue may change data, or tell others: CLIENT PAUSE WRITE is about it */
    watched_key *watched;
    size_t watched_count;

    /* While EXEC runs. */
    multi_part *parts;
    size_t part_count, part_capacity;
    size_t part; /* the one to go on with */
    bool part_ran;
} multi;

/* Whether CLIENT PAUSE WRITE is about such commands. */
bool multi_writes(const kv_command *row);
/* Made when missing; NULL: memory is out. */
multi *multi_of(connection *c);
/* Memory that lives as long as the transaction, 8-byte aligned. NULL: it is out, or a limit is reached: ret_reason is the
 * text of an error, or NULL: the connection is to be closed. */
void *multi_take(connection *c, size_t bytes, const char **ret_reason);
/* A copy of arguments there. */
const kv_slice *multi_copy(connection *c, int argc, const kv_slice argv[], const char **ret_reason);
/* Appends n requests to the queue, all or none; several are alike: the same number of arguments, one after the other in memory.
 * KV_ENOMEM as above. */
int multi_queue(connection *c, const kv_command *row, const request r[], int n, const char **ret_reason);
/* Before the batch is gone, or a command is queued that may wait: copies what was borrowed. Where that is not possible, EXEC will
 * be refused. */
void multi_keep(connection *c);
/* Makes a key of the connection's database ready to be watched: *ret_key, which the caller begins to watch, or NULL: it is
 * watched already, or in the list of those that are ready. KV_ENOMEM as above. */
int multi_watch(connection *c, kv_slice name, const watched_key *ready, watched_key **ret_key,
                const char **ret_reason);
/* Its watching has begun. */
void multi_watch_begun(connection *c, watched_key *key);
/* Ends all watching. */
void multi_unwatch(connection *c);
/* Whether a watched key has changed. */
bool multi_is_dirty(const connection *c) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);
/* Begins a part: what follows is replied into it. NULL: memory is out. */
multi_part *multi_part_new(multi *m, size_t command);
/* Ends the transaction, watches too. Takes a connection without one. */
void multi_end(connection *c);
/* For worker_done. */
void multi_free_spare(worker *w);

/* For CLIENT LIST. */
static inline size_t multi_memory(const connection *c)
{
    return c->multi ? c->multi->memory_bytes : 0;
}

#endif
