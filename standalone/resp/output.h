/* output.h - bytes on their way to one client: a buffer, and large values between its bytes by reference.
 *
 *     char *p = output_room(out, len);           // NULL: it is full, see failed
 *     if (p) { ... write up to len bytes at p ...; output_commit(out, n); }
 *     output_reference(out, bytes, slice);       // comes after what was written so far
 *     switch (output_send(out, fd)) ...          // sends what the socket takes
 *
 * Threads    One at a time.
 * Ownership  output_reference takes a reference of its own, given back when the bytes were sent.
 * Memory     Grows by doubling up to limit bytes. Values by reference count with their length, since each may
 *            be the last thing that keeps an overwritten value; but the one under way does not, so that one
 *            value of any length can always be sent. A full output drops what it has, fails, and its client
 *            must be closed: a part of a reply is worse than none.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_OUTPUT_H
#define KV_STANDALONE_OUTPUT_H

#include <sys/types.h>

#include "kvstore/kvstore.h"

/* With so many bytes waiting, no further request of the client is run before some are sent. */
#define OUTPUT_ENOUGH (1024 * 1024)

/* A value that stands in the stream before the byte data[at]. */
typedef struct output_reference_to {
    size_t at;
    kv_slice slice;
    kv_bytes *bytes;
} output_reference_to;

/* All zero is empty. */
typedef struct output {
    char *data;
    size_t len, capacity;
    size_t limit; /* bytes that may wait, see output_excess; 0: none */
    output_reference_to *references;
    size_t reference_count, reference_capacity;
    size_t reference_bytes; /* of them, not yet sent */
    size_t sent;            /* bytes of data */
    size_t references_sent; /* whole ones */
    size_t reference_sent;  /* bytes of the next one */
    bool failed;            /* limit passed, or memory out */
} output;

/* Outputs that nobody needs now, with small buffers: so that clients which wait for a moment cost no memory management. */
#define OUTPUT_SPARES      64
#define OUTPUT_SPARE_BYTES 2048
typedef struct output_spares {
    output *some[OUTPUT_SPARES];
    int count;
} output_spares;

/* An empty one; NULL: memory is out. */
output *output_take(output_spares *spares);
/* Its end, or that of its use. NULL is nothing. */
void output_give(output_spares *spares, output *out);
void output_spares_done(output_spares *spares);

typedef enum output_status { OUTPUT_EMPTY, OUTPUT_BLOCKED, OUTPUT_BROKEN } output_status;

/* Frees everything. */
void output_done(output *out);
/* Forgets the contents, keeps a buffer of at most keep_bytes. */
void output_reset(output *out, size_t keep_bytes);
/* Makes room for len more bytes, or fails. */
bool output_grow(output *out, size_t len);
void output_reference(output *out, kv_bytes *bytes, kv_slice slice);
/* Appends what from has not sent yet, and empties from. */
void output_move(output *out, output *from);
/* Sends until all is sent (EMPTY), or the socket is full (BLOCKED), or broken. One system call, when the socket takes
 * everything. *ret_sent is the number of bytes it took. */
output_status output_send(output *out, int fd, size_t *ret_sent) KV_EXCLUDES(kv_shard_held);
/* The same for what is no plain socket: chunks of the stream, of OUTPUT_CHUNK bytes but for its last, go to sink(arg, data, len), which
 * answers as send(2). It may take less, and is given the same bytes again after EAGAIN. After OUTPUT_CHUNKS of them
 * it is BLOCKED, too: others have their turn. */
typedef ssize_t output_sink(void *arg, const char *data, size_t len);
#define OUTPUT_CHUNK  ((size_t)16 * 1024)
#define OUTPUT_CHUNKS 64
output_status output_send_through(output *out, output_sink *sink, void *arg, size_t *ret_sent)
    KV_EXCLUDES(kv_shard_held);
/* Forgets everything after a point that output_mark gave: the reply of a client that wants none. */
typedef struct output_mark_at {
    size_t len, reference_count;
} output_mark_at;
void output_rewind(output *out, output_mark_at mark);

static inline output_mark_at output_mark(const output *out)
{
    output_mark_at mark = { out->len, out->reference_count };

    return mark;
}

static inline char *output_room(output *out, size_t len)
{
    if (__builtin_expect(out->capacity - out->len < len, 0) && !output_grow(out, len))
        return NULL;
    return out->data + out->len;
}

static inline void output_commit(output *out, size_t len)
{
    out->len += len;
}

/* Bytes not yet sent, in the buffer and by reference. */
static inline size_t output_unsent(const output *out)
{
    return out->len - out->sent + out->reference_bytes;
}

/* The same without the value by reference that is sent next: what limits are about. */
static inline size_t output_excess(const output *out)
{
    size_t next = 0;

    if (out->references_sent < out->reference_count)
        next = out->references[out->references_sent].slice.len - out->reference_sent;
    return output_unsent(out) - next;
}

static inline bool output_is_empty(const output *out)
{
    return out->len == out->sent && out->references_sent == out->reference_count;
}

#endif
