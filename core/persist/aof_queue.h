/* aof_queue.h - bytes on their way into a log file, in order.
 *
 *     char *at = aof_queue_room(&queue, 100);      // NULL: memory is out
 *     ... write up to 100 bytes at `at` ...
 *     aof_queue_commit(&queue, n);
 *     aof_queue_refer(&queue, bytes, value);       // a long value, by reference
 *
 * Threads    One at a time.
 * Ownership  A queue owns its chunks, and a reference to each kv_bytes in it. All zero is an empty one.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_QUEUE_H
#define KV_PERSIST_AOF_QUEUE_H

#include <stdbool.h>

#include "kvstore/kvstore.h"

#define AOF_CHUNK_BYTES 65536u

typedef struct aof_chunk {
    struct aof_chunk *next;
    const char *data; /* room, or inside of owner */
    size_t len, capacity;
    kv_bytes *owner;
    char room[];
} aof_chunk;

typedef struct aof_queue {
    aof_chunk *first, *last;
    size_t bytes; /* in all chunks */
} aof_queue;

/* Room for n bytes behind what is there, in one piece; NULL: memory is out. */
char *aof_queue_room(aof_queue *queue, size_t n);
/* n bytes of that room are filled. */
static inline void aof_queue_commit(aof_queue *queue, size_t n)
{
    queue->last->len += n;
    queue->bytes += n;
}
/* Copies. False: memory is out. */
bool aof_queue_copy(aof_queue *queue, kv_slice bytes);
/* Puts slice, which lies in owner, behind it; takes a reference of its own. False: memory is out. */
bool aof_queue_refer(aof_queue *queue, kv_bytes *owner, kv_slice slice);
/* Moves everything of from behind it: short pieces are copied, for as long as that succeeds; others change hands. False: memory is
 * out, and from has what was not moved. */
bool aof_queue_move(aof_queue *queue, aof_queue *from);
/* Drops everything. */
void aof_queue_clear(aof_queue *queue);
/* The same, but up to `most` of its chunks, of the usual size and empty, are left in it. Returns how many. */
size_t aof_queue_empty(aof_queue *queue, size_t most);
/* Moves the first chunk of spares, as aof_queue_empty leaves them, behind what is there. False: there is none. */
bool aof_queue_take_spare(aof_queue *queue, aof_queue *spares);

#endif
