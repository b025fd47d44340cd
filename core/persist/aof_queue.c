/* aof_queue.c - see aof_queue.h. SPDX-License-Identifier: MIT */
#include "aof_queue.h"

#include <stdlib.h>
#include <string.h>

static void append(aof_queue *queue, aof_chunk *chunk)
{
    chunk->next = NULL;
    if (queue->last)
        queue->last->next = chunk;
    else
        queue->first = chunk;
    queue->last = chunk;
}

static void chunk_free(aof_chunk *chunk)
{
    kv_bytes_unref(chunk->owner);
    free(chunk);
}

char *aof_queue_room(aof_queue *queue, size_t n)
{
    aof_chunk *chunk = queue->last;
    size_t capacity = n < AOF_CHUNK_BYTES ? AOF_CHUNK_BYTES : n;

    if (chunk && chunk->capacity - chunk->len >= n)
        return chunk->room + chunk->len;
    if (capacity > SIZE_MAX - sizeof *chunk)
        return NULL;
    chunk = malloc(sizeof *chunk + capacity);
    if (!chunk)
        return NULL;
    *chunk = (aof_chunk){ .data = chunk->room, .capacity = capacity };
    append(queue, chunk);
    return chunk->room;
}

bool aof_queue_copy(aof_queue *queue, kv_slice bytes)
{
    char *room = aof_queue_room(queue, bytes.len);

    if (!room)
        return false;
    if (bytes.len)
        memcpy(room, bytes.data, bytes.len);
    aof_queue_commit(queue, bytes.len);
    return true;
}

bool aof_queue_refer(aof_queue *queue, kv_bytes *owner, kv_slice slice)
{
    aof_chunk *chunk = malloc(sizeof *chunk);

    if (!chunk)
        return false;
    /* Without capacity nothing is written behind it. */
    *chunk = (aof_chunk){
        .data = slice.data, .len = slice.len, .capacity = slice.len, .owner = kv_bytes_ref(owner)
    };
    append(queue, chunk);
    queue->bytes += slice.len;
    return true;
}

bool aof_queue_move(aof_queue *queue, aof_queue *from)
{
    while (from->first) {
        aof_chunk *chunk = from->first;
        bool copied = !chunk->owner && chunk->len <= AOF_CHUNK_BYTES / 4;

        if (copied && !aof_queue_copy(queue, kv_slice_of(chunk->data, chunk->len)))
            return false;
        from->first = chunk->next;
        if (!from->first)
            from->last = NULL;
        from->bytes -= chunk->len;
        if (copied) {
            chunk_free(chunk);
        } else {
            append(queue, chunk);
            queue->bytes += chunk->len;
        }
    }
    return true;
}

void aof_queue_clear(aof_queue *queue)
{
    for (aof_chunk *chunk = queue->first, *next; chunk; chunk = next) {
        next = chunk->next;
        chunk_free(chunk);
    }
    *queue = (aof_queue){ 0 };
}

size_t aof_queue_empty(aof_queue *queue, size_t most)
{
    aof_queue kept = { 0 };
    size_t count = 0;

    for (aof_chunk *chunk = queue->first, *next; chunk; chunk = next) {
        next = chunk->next;
        if (count < most && !chunk->owner && chunk->capacity == AOF_CHUNK_BYTES) {
            chunk->len = 0;
            append(&kept, chunk);
            count++;
        } else {
            chunk_free(chunk);
        }
    }
    *queue = kept;
    return count;
}

bool aof_queue_take_spare(aof_queue *queue, aof_queue *spares)
{
    aof_chunk *chunk = spares->first;

    if (!chunk)
        return false;
    spares->first = chunk->next;
    if (!spares->first)
        spares->last = NULL;
    append(queue, chunk);
    return true;
}
