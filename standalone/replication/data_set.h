/* data_set.h - what the databases hold at one moment, sent to a connection that has asked for it by SYNC or PSYNC.
 *
 *     data_sets_send(s->data_sets, c, DATA_SET_MARK, NULL);    // c's worker; from here on nobody else sends to c
 *     ... replica_ended(c, whole) is called there at the end, unless c was closed ...
 *
 * Threads    As said with each function.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_DATA_SET_H
#define KV_STANDALONE_DATA_SET_H

#include "connection.h"

typedef struct data_sets data_sets;
typedef struct transfer transfer; /* one, to one connection */
struct feed_reader;

/* NULL: memory is out. A thread is started when it is needed. */
data_sets *data_sets_new(struct server *s);
/* Any thread: the server stops, and what is under way ends. */
void data_sets_cancel(data_sets *all);
/* Ends the thread: before anything that has no claim writes a snapshot. NULL is nothing. */
void data_sets_stop(data_sets *all) KV_EXCLUDES(kv_shard_held);
void data_sets_free(data_sets *all) KV_EXCLUDES(kv_shard_held);

enum data_set_how {
    DATA_SET_PSYNC = 1, /* the name of the history stands before it */
    DATA_SET_MARK = 2,  /* the end is a mark: sent while it is made; otherwise its length stands before it */
};
/* On c's worker. how: of the above; reader: of c, which joins the stream at the moment of the data set, or NULL. NULL: no thread or no memory. */
transfer *data_sets_send(data_sets *all, connection *c, unsigned how, struct feed_reader *reader)
    KV_EXCLUDES(kv_shard_held);
/* On c's worker: c has sent what was pending. */
void transfer_drained(transfer *t);
/* On c's worker: c is closed. */
void transfer_forget(transfer *t);

#endif
