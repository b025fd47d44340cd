/* aof_record.h - the records of changes, as the commands that a log consists of.
 *
 *     int db = -1;                                        // that a reader has selected; unknown
 *     aof_record_write(&queue, &db, &change, 0, 0);       // SELECT 0, SET key value
 *
 * Threads    One at a time for each queue. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_RECORD_H
#define KV_PERSIST_AOF_RECORD_H

#include "aof_queue.h"
#include "decimal.h"

#define AOF_RECORD_HEADS \
    (5 * (DECIMAL_MAX + 5) + 64) /* what a record has beside its key and value: heads, names, a deadline */
#define AOF_RECORD_REFERRED (16u * 1024) /* values from this length on are not copied */

/* Appends the record of a change to a queue, with a SELECT before it unless *db is its database already. False: memory is
 * out. */
bool aof_record_write(aof_queue *queue, int *db, const kv_change *change, int of, int other);
/* The record of SET key value, where both are short and the last chunk has room for it. False: it was not written. */
bool aof_record_write_short(aof_queue *queue, kv_slice key, kv_slice value);
/* Writes SELECT db, of less than AOF_RECORD_HEADS bytes; returns its end. */
char *aof_record_select(char *at, int db);

#endif
