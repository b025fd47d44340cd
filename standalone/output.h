/* output.h - bytes on their way to one client: a buffer, and large values between its bytes by reference.
 *
 *     char *p = output_room(out, len);           // NULL: it is full, see failed
 *     if (p) { ... write up to len bytes at p ...; output_commit(out, n); }
 *     output_reference(out, bytes, slice);       // comes after what was written so far
 *     switch (output_send(out, fd)) ...          // sends what the socket takes
 *
 * Threads    One at a time.
 * Ownership  output_reference takes a reference of its own, given back when the bytes were sent.
 * Memory     Grows by doubling up to limit bytes, references not counted: they share what the store
 *            holds. A full output drops what it has, fails, and its client must be closed: a part
 *            of a reply is worse than none.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_OUTPUT_H
#define KV_STANDALONE_OUTPUT_H

#include "kvstore/kvstore.h"

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
    size_t limit; /* bytes that may wait in data; 0: none */
    output_reference_to *references;
    size_t reference_count, reference_capacity;
    size_t reference_bytes; /* sum of their lengths, sent ones included */
    size_t sent;            /* bytes of data */
    size_t references_sent; /* whole ones */
    size_t reference_sent;  /* bytes of the next one */
    bool failed;            /* limit passed, or memory out */
} output;

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
output_status output_send(output *out, int fd, size_t *ret_sent);
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

/* Bytes not yet sent: those in the buffer, and with those by reference. */
static inline size_t output_buffered(const output *out)
{
    return out->len - out->sent;
}
size_t output_unsent(const output *out);

static inline bool output_is_empty(const output *out)
{
    return out->len == out->sent && out->references_sent == out->reference_count;
}

#endif
