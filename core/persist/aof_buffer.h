/* aof_buffer.h - change records of many threads, as the commands that a log consists of, in one order.
 *
 *     aof_buffer_note(&buffer, &writer, &change, db, other_db);    // a listener, under the shard's lock
 *     aof_buffer_take(&buffer, &queue);                            // who writes the file
 *
 * What is taken at once is what was told up to a moment, in an order in which that can be done: of one key the order of its changes. So
 * what one client has seen done is not taken after what it does then. Unless puts are told in short, the order of all is that in which
 * the threads held their shards' locks. What a thread tells between KV_CHANGE_BEGIN and KV_CHANGE_END is kept back until
 * then, and enters as one piece, between MULTI and EXEC.
 *
 * Threads    Any; a writer belongs to one thread. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_BUFFER_H
#define KV_PERSIST_AOF_BUFFER_H

#include <stdatomic.h>

#include "aof_record.h"
#include "aof_staging.h"
#include "lock.h"

typedef struct aof_buffer {
    /* Read with each record; written when something is taken, and at most once more until the next time. */
    aof_epoch epoch;
    _Atomic(aof_staging *) stagings; /* all there are; grows in front */

    char apart[64];            /* what follows is written all the time */
    kv_lock lock;              /* guards the following; taken under the locks of shards */
    int db;                    /* that a reader of it has selected at its end; -1: unknown */
    int first_db;              /* that the first record in queue takes for selected; -1: none */
    int taken_db;              /* that is selected where what was taken ends */
    aof_queue queue;           /* what was not yet taken, and is no staging's */
    _Atomic uint64_t appended; /* bytes that entered it since the beginning */
    bool lost;                 /* something, for want of memory */
    _Atomic bool sealed;
    aof_queue before;    /* what had entered when it was sealed */
    uint64_t before_end; /* its end, as aof_buffer_appended counts */
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
    unsigned age;         /* its user's; see aof_writer_restart */
    aof_staging *staging; /* the buffer's; NULL: it had no use for one yet */
} aof_writer;

void aof_buffer_init(aof_buffer *buffer);
void aof_buffer_done(aof_buffer *buffer);

/* Takes down a change in the database db (with SWAP: and other_db). */
void aof_buffer_note(aof_buffer *buffer, aof_writer *writer, const kv_change *change, int db,
                     int other_db) KV_UNDER_LOCK;

/* The same for a put in short. False: it is to be taken down by aof_buffer_note. A writer for whom this was true belongs to that
 * buffer. */
bool aof_buffer_note_put(aof_buffer *buffer, aof_writer *writer, const store_put_told *put,
                         int db) KV_UNDER_LOCK;
/* Bytes that entered since the beginning, all that had before the call among them. */
uint64_t aof_buffer_appended(const aof_buffer *buffer);
/* Of them, those of the writer, which is the calling thread's, and those that entered one by one. */
uint64_t aof_buffer_appended_near(const aof_buffer *buffer, const aof_writer *writer);
/* Whether the writer, which is the calling thread's, has put something that nobody has taken. */
bool aof_writer_waits(const aof_writer *writer);

/* Appends commands that are no changes. What memory does not suffice for is lost. */
void aof_buffer_put(aof_buffer *buffer, aof_queue *commands);

typedef enum aof_taken {
    AOF_TAKEN,
    AOF_LOST,   /* something was lost before, and what the file would tell is no longer true */
    AOF_SEALED, /* nothing was taken: what is before the seal comes first */
} aof_taken;

/* Moves everything that has entered behind queue; *ret_appended: its end, as aof_buffer_appended counts. */
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
#endif
