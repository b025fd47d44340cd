/* output.c - see output.h.
 *
 *     data        HHHHdddddHHHHdddHHHH......        len, capacity; sent moves to the right
 *     references          ^at=9   ^at=16            each stands before data[at]; ascending
 *
 * The stream is data with the references put in at their places. Sending walks both with the three counters
 * sent, references_sent and reference_sent, gathering up to 64 pieces into one sendmsg. Without
 * references, which is the case for nearly every batch, it is one send.
 *
 * A sink, which encrypts, gets chunks: what lies together in the stream for at least a chunk is passed as it is, the
 * rest is put together first, so that a small header and the value behind it make one record. A chunk depends only on
 * where the stream stands and how much follows, so that one that was refused is offered again with the same beginning, and never
 * shorter, which OpenSSL insists on.
 *
 * SPDX-License-Identifier: MIT */
#include "output.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "socket_io.h"

#define FIRST_BYTES 16384
#define PIECES_MAX  64

static void drop_references(output *out, size_t first)
{
    for (size_t i = first; i < out->reference_count; i++)
        kv_bytes_unref(out->references[i].bytes);
    out->reference_count = first;
}

void output_done(output *out)
{
    drop_references(out, out->references_sent < out->reference_count ? out->references_sent
                                                                     : out->reference_count);
    free(out->references);
    free(out->data);
    memset(out, 0, sizeof *out);
}

void output_reset(output *out, size_t keep_bytes)
{
    drop_references(out, out->references_sent);
    out->reference_count = out->references_sent = out->reference_sent = out->reference_bytes = 0;
    out->len = out->sent = 0;
    out->failed = false;
    if (out->capacity > keep_bytes) {
        free(out->data);
        out->data = NULL;
        out->capacity = 0;
    }
    if (out->reference_capacity > 1024) {
        free(out->references);
        out->references = NULL;
        out->reference_capacity = 0;
    }
}

/* What was written is dropped too, so that nobody sends half a reply. */
static bool fail(output *out)
{
    output_reset(out, 0);
    out->failed = true;
    return false;
}

output *output_take(output_spares *spares)
{
    return spares->count ? spares->some[--spares->count] : calloc(1, sizeof(output));
}

void output_give(output_spares *spares, output *out)
{
    if (!out)
        return;
    if (spares->count == OUTPUT_SPARES || out->reference_capacity) {
        output_done(out);
        free(out);
        return;
    }
    output_reset(out, OUTPUT_SPARE_BYTES);
    out->limit = 0;
    spares->some[spares->count++] = out;
}

void output_spares_done(output_spares *spares)
{
    while (spares->count) {
        output *out = spares->some[--spares->count];

        output_done(out);
        free(out);
    }
}

bool output_grow(output *out, size_t len)
{
    size_t capacity = out->capacity ? out->capacity : FIRST_BYTES;
    char *data;

    if (out->failed || len > SIZE_MAX / 4 || (out->limit && output_excess(out) + len > out->limit))
        return fail(out);
    while (capacity - out->len < len)
        capacity *= 2;
    /* Room beyond the limit would be filled without anybody asking. */
    if (out->limit && capacity > out->limit && out->len + len <= out->limit)
        capacity = out->limit;
    data = realloc(out->data, capacity);
    if (!data)
        return fail(out);
    out->data = data;
    out->capacity = capacity;
    return true;
}

void output_reference(output *out, kv_bytes *bytes, kv_slice slice)
{
    bool next = out->references_sent == out->reference_count;

    if (out->failed || slice.len == 0)
        return;
    if (!next && out->limit && output_excess(out) + slice.len > out->limit) {
        fail(out);
        return;
    }
    if (out->reference_count == out->reference_capacity) {
        size_t capacity = out->reference_capacity ? out->reference_capacity * 2 : 16;
        output_reference_to *references = realloc(out->references, capacity * sizeof *references);

        if (!references) {
            fail(out);
            return;
        }
        out->references = references;
        out->reference_capacity = capacity;
    }
    out->references[out->reference_count++] =
        (output_reference_to){ .at = out->len, .slice = slice, .bytes = kv_bytes_ref(bytes) };
    out->reference_bytes += slice.len;
}

void output_rewind(output *out, output_mark_at mark)
{
    if (out->failed)
        return;
    for (size_t i = mark.reference_count; i < out->reference_count; i++)
        out->reference_bytes -= out->references[i].slice.len;
    drop_references(out, mark.reference_count);
    out->len = mark.len;
}

/* Drops what was sent from the front of the buffer. */
static void compact(output *out)
{
    size_t gone = out->references_sent;

    memmove(out->data, out->data + out->sent, out->len - out->sent);
    if (gone)
        memmove(out->references, out->references + gone,
                (out->reference_count - gone) * sizeof *out->references);
    out->reference_count -= gone;
    for (size_t i = 0; i < out->reference_count; i++)
        out->references[i].at -= out->sent;
    out->references_sent = 0;
    out->len -= out->sent;
    out->sent = 0;
}

/* The first buffer of one that is not being written to, but waits: not much larger than what it has. */
static void begin_small(output *out, size_t len)
{
    if (out->capacity || len > OUTPUT_SPARE_BYTES)
        return;
    out->data = malloc(OUTPUT_SPARE_BYTES);
    out->capacity = out->data ? OUTPUT_SPARE_BYTES : 0;
}

void output_move(output *out, output *from)
{
    size_t limit = out->limit;

    if (from->failed)
        fail(out);
    if (from->failed || out->failed || output_is_empty(from))
        goto out;
    if (output_is_empty(out) && from->capacity / 4 <= from->len - from->sent) {
        /* It is worth its buffer: hand that over. */
        output_done(out);
        *out = *from;
        out->limit = limit;
        *from = (output){ .limit = from->limit };
        return;
    }
    if (out->data)
        compact(out);
    begin_small(out, from->len - from->sent);
    if (output_room(out, from->len - from->sent)) {
        size_t position = from->sent, at = out->len;

        if (from->len - from->sent)
            memcpy(out->data + at, from->data + from->sent, from->len - from->sent);
        for (size_t i = from->references_sent; i < from->reference_count && !out->failed; i++) {
            kv_slice slice = from->references[i].slice;
            size_t skipped = i == from->references_sent ? from->reference_sent : 0;

            out->len = at + (from->references[i].at - position);
            output_reference(out, from->references[i].bytes,
                             kv_slice_of(slice.data + skipped, slice.len - skipped));
        }
        if (!out->failed)
            out->len = at + (from->len - from->sent);
    }
out:
    output_reset(from, from->capacity);
}

/* Gathers the next pieces of the stream. */
static int gather(const output *out, struct iovec pieces[PIECES_MAX])
{
    size_t at = out->sent, skip = out->reference_sent, i = out->references_sent, end;
    int n = 0;

    for (; i < out->reference_count && n + 2 <= PIECES_MAX; i++) {
        const output_reference_to *reference = &out->references[i];

        if (reference->at > at)
            pieces[n++] = (struct iovec){ out->data + at, reference->at - at };
        at = reference->at;
        pieces[n++] =
            (struct iovec){ (char *)(uintptr_t)(reference->slice.data + skip), reference->slice.len - skip };
        skip = 0;
    }
    end = i < out->reference_count ? out->references[i].at : out->len;
    if (end > at && n < PIECES_MAX)
        pieces[n++] = (struct iovec){ out->data + at, end - at };
    return n;
}

/* Moves the counters over n bytes of the stream. */
static void advance(output *out, size_t n)
{
    while (n) {
        bool more = out->references_sent < out->reference_count;
        output_reference_to *next = more ? &out->references[out->references_sent] : NULL;
        size_t buffered = (next ? next->at : out->len) - out->sent;
        size_t step = buffered < n ? buffered : n;

        out->sent += step;
        n -= step;
        if (next && out->sent == next->at) {
            size_t left = next->slice.len - out->reference_sent;

            step = left < n ? left : n;
            out->reference_sent += step;
            out->reference_bytes -= step;
            n -= step;
            if (out->reference_sent == next->slice.len) {
                kv_bytes_unref(next->bytes);
                out->references_sent++;
                out->reference_sent = 0;
            }
        }
    }
}

static ssize_t send_some(output *out, int fd)
{
    struct iovec pieces[PIECES_MAX];
    struct msghdr message = { .msg_iov = pieces };

    if (out->reference_count == out->references_sent)
        return socket_send(fd, out->data + out->sent, out->len - out->sent);
    message.msg_iovlen = (size_t)gather(out, pieces);
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

output_status output_send(output *out, int fd, size_t *ret_sent)
{
    *ret_sent = 0;
    while (!output_is_empty(out)) {
        size_t whole = output_unsent(out);
        ssize_t n = send_some(out, fd);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN || errno == EWOULDBLOCK ? OUTPUT_BLOCKED : OUTPUT_BROKEN;
        *ret_sent += (size_t)n;
        if ((size_t)n == whole && out->reference_count == out->references_sent)
            out->sent = out->len;
        else
            advance(out, (size_t)n);
    }
    return OUTPUT_EMPTY;
}

/* ---- through a sink ---- */

/* The first bytes of the stream: where they lie, when they lie together, else a copy of them in room. */
static kv_slice next_chunk(const output *out, char room[OUTPUT_CHUNK])
{
    struct iovec pieces[PIECES_MAX];
    int count = gather(out, pieces);
    size_t len = 0;

    if (count == 1 || pieces[0].iov_len >= OUTPUT_CHUNK)
        return kv_slice_of(pieces[0].iov_base,
                           pieces[0].iov_len < OUTPUT_CHUNK ? pieces[0].iov_len : OUTPUT_CHUNK);
    for (int i = 0; i < count && len < OUTPUT_CHUNK; i++) {
        size_t step = pieces[i].iov_len < OUTPUT_CHUNK - len ? pieces[i].iov_len : OUTPUT_CHUNK - len;

        memcpy(room + len, pieces[i].iov_base, step);
        len += step;
    }
    return kv_slice_of(room, len);
}

output_status output_send_through(output *out, output_sink *sink, void *arg, size_t *ret_sent)
{
    char room[OUTPUT_CHUNK];

    *ret_sent = 0;
    for (int i = 0; i < OUTPUT_CHUNKS && !output_is_empty(out); i++) {
        kv_slice chunk = next_chunk(out, room);
        ssize_t n = sink(arg, chunk.data, chunk.len);

        if (n < 0)
            return errno == EAGAIN ? OUTPUT_BLOCKED : OUTPUT_BROKEN;
        *ret_sent += (size_t)n;
        advance(out, (size_t)n);
    }
    return output_is_empty(out) ? OUTPUT_EMPTY : OUTPUT_BLOCKED;
}
