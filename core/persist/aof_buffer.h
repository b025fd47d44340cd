/* aof_buffer.h - change records of many threads, as the commands that a log consists of, in one order.
 *
 *     aof_buffer_note(&buffer, &writer, &change, db, other_db);    // a listener, under the shard's lock
 *     aof_buffer_take(&buffer, &queue);                            // who writes the file
 *
 * The order is that in which the threads held their shards' locks: of one key the order of its changes, and what one client has
 * seen done comes before what it does then. What a thread tells between KV_CHANGE_BEGIN and KV_CHANGE_END is kept back until
 * then, and enters as one piece, between MULTI and EXEC.
 *
 * Threads    Any; a writer belongs to one thread. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_BUFFER_H
#define KV_PERSIST_AOF_BUFFER_H

#include <stdatomic.h>

#include "aof_queue.h"
#include "lock.h"

typedef struct aof_buffer {
    kv_lock lock;              /* guards the next eight; a leaf, taken under the locks of shards */
    int db;                    /* that a reader of it has selected at its end; -1: unknown */
    aof_queue queue;           /* what was not yet taken */
    _Atomic uint64_t appended; /* bytes that entered since the beginning */
    _Atomic uint64_t records;  /* changes that entered */
    bool lost;                 /* something, for want of memory */
    _Atomic bool sealed;
    aof_queue before;    /* what had entered when it was sealed */
    uint64_t before_end; /* its end, as `appended` counts */
    aof_queue spares;    /* empty chunks, for what enters next */
    size_t spare_count;
} aof_buffer;

/* A thread that changes something. All zero at first. */
typedef struct aof_writer {
    /* Odd while the thread may have published a change that did not enter yet: see store_on_span. */
    _Atomic uint64_t spans;
    int depth;     /* acts that have begun and not ended: one for each store */
    aof_queue act; /* the records of the act */
    int first, db; /* the database of its first record, and of its last */
    size_t records;
    bool lost;
    unsigned age; /* its user's; see aof_writer_restart */
} aof_writer;

void aof_buffer_init(aof_buffer *buffer);
void aof_buffer_done(aof_buffer *buffer);

/* Takes down a change in the database db (with SWAP: and other_db). */
void aof_buffer_note(aof_buffer *buffer, aof_writer *writer, const kv_change *change, int db,
                     int other_db) KV_UNDER_LOCK;

/* Appends commands that are no changes. What memory does not suffice for is lost. */
void aof_buffer_put(aof_buffer *buffer, aof_queue *commands);

typedef enum aof_taken {
    AOF_TAKEN,
    AOF_LOST,   /* something was lost before, and what the file would tell is no longer true */
    AOF_SEALED, /* nothing was taken: what is before the seal comes first */
} aof_taken;

/* Moves everything that has entered behind queue; *ret_appended: its end, as `appended` counts. */
aof_taken aof_buffer_take(aof_buffer *buffer, aof_queue *queue, uint64_t *ret_appended);
/* Parts what has entered from what will; while nothing can be told, at the moment of a snapshot. */
void aof_buffer_seal(aof_buffer *buffer);
/* Moves what had entered before the seal behind queue. */
aof_taken aof_buffer_take_sealed(aof_buffer *buffer, aof_queue *queue, uint64_t *ret_appended);
/* What has entered since the seal can be taken; what had before is dropped, if it was not taken. */
void aof_buffer_open(aof_buffer *buffer);
/* The next record begins with its database: another file follows. */
void aof_buffer_forget_db(aof_buffer *buffer);
/* Empties queue, whose chunks may serve again for what enters next: who has just written them finds them in its cache. */
void aof_buffer_give_back(aof_buffer *buffer, aof_queue *queue);
/* Drops what is there, and forgets that something was lost. */
void aof_buffer_clear(aof_buffer *buffer);

void aof_writer_done(aof_writer *writer);
/* Of one that may have missed some changes, the end of an act among them: it is in no act any more, and what it kept back of one
 * is dropped. */
void aof_writer_restart(aof_writer *writer);

/* Appends the record of a change to a queue, with a SELECT before it unless *db is its database already. False: memory is
 * out. */
bool aof_record_write(aof_queue *queue, int *db, const kv_change *change, int of, int other);

#endif
