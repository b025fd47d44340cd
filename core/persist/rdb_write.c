/* rdb_write.c - writing RDB.
 *
 *     REDIS0010 | AUX ... | DB n | RESIZE keys, with deadline | [EXPIRE_MS t] [IDLE | FREQ] type key value ... | END | CRC64
 *
 * Records are put together in one buffer and handed to the sink when it is full; the checksum is taken then, over bytes
 * that are still in the cache. A value longer than the buffer goes to the sink from where it is. Packed strings need room
 * for the result; values above PACK_MAX are written as they are, so that a writer's memory is bounded.
 *
 * SPDX-License-Identifier: MIT */
#include "rdb.h"

#include <errno.h>
#include <stdlib.h>

#include "crc64.h"
#include "lzf.h"
#include "rdb_format.h"

#define BUFFER   (128u << 10)
#define PACK_MAX (16u << 20)

struct rdb_writer {
    rdb_write_options options;
    rdb_sink_fn *sink;
    void *arg;
    int error;
    uint64_t crc, handed_on;
    size_t used;           /* of buffer */
    unsigned char *packed; /* room for what does not fit into the buffer */
    size_t packed_size;
    lzf_table table;
    unsigned char buffer[BUFFER];
};

rdb_writer *rdb_writer_new(const rdb_write_options *options, rdb_sink_fn *sink, void *arg)
{
    rdb_writer *w = malloc(sizeof *w);

    if (!w)
        return NULL;
    memset(w, 0, offsetof(rdb_writer, buffer));
    w->options = *options;
    w->sink = sink;
    w->arg = arg;
    memcpy(w->buffer, "REDIS0010", 9);
    w->used = 9;
    return w;
}

void rdb_writer_free(rdb_writer *w)
{
    if (!w)
        return;
    free(w->packed);
    free(w);
}

uint64_t rdb_writer_bytes(const rdb_writer *w)
{
    return w->handed_on + w->used;
}

static void hand_on(rdb_writer *w, const void *bytes, size_t len)
{
    if (w->error || len == 0)
        return;
    if (!w->options.no_checksum)
        w->crc = crc64(w->crc, bytes, len);
    w->error = w->sink(w->arg, bytes, len);
    w->handed_on += len;
}

int rdb_write_flush(rdb_writer *w)
{
    hand_on(w, w->buffer, w->used);
    w->used = 0;
    return w->error;
}

/* Room for up to len bytes, at most BUFFER, at the end of the buffer. */
static unsigned char *room(rdb_writer *w, size_t len)
{
    if (BUFFER - w->used < len)
        rdb_write_flush(w);
    return w->buffer + w->used;
}

static void put_bytes(rdb_writer *w, const void *bytes, size_t len)
{
    if (len > BUFFER) {
        rdb_write_flush(w);
        hand_on(w, bytes, len);
    } else if (len > 0) {
        memcpy(room(w, len), bytes, len);
        w->used += len;
    }
}

static void put_byte(rdb_writer *w, unsigned byte)
{
    *room(w, 1) = (unsigned char)byte;
    w->used++;
}

static void put_length(rdb_writer *w, uint64_t length)
{
    w->used += rdb_put_length(room(w, RDB_LENGTH_MAX), length);
}

/* Where the packed form of a string may be put, or NULL: memory is out. */
static unsigned char *pack_room(rdb_writer *w, size_t len)
{
    if (w->packed_size < len) {
        free(w->packed);
        w->packed = malloc(len);
        w->packed_size = w->packed ? len : 0;
    }
    return w->packed;
}

/* One that is longer than the buffer. */
static void put_long_string(rdb_writer *w, kv_slice text)
{
    unsigned char *packed = NULL;

    if (w->options.compress && text.len <= PACK_MAX)
        packed = pack_room(w, RDB_STRING_MAX(text.len));
    if (packed) {
        put_bytes(w, packed, rdb_put_string(packed, text, &w->table));
        return;
    }
    put_length(w, text.len);
    put_bytes(w, text.data, text.len);
}

static void put_string(rdb_writer *w, kv_slice text)
{
    if (RDB_STRING_MAX(text.len) > BUFFER)
        put_long_string(w, text);
    else
        w->used +=
            rdb_put_string(room(w, RDB_STRING_MAX(text.len)), text, w->options.compress ? &w->table : NULL);
}

int rdb_write_aux(rdb_writer *w, kv_slice name, kv_slice value)
{
    put_byte(w, RDB_OP_AUX);
    put_string(w, name);
    put_string(w, value);
    return w->error;
}

int rdb_write_aux_int(rdb_writer *w, kv_slice name, int64_t value)
{
    char text[24];
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    size_t at = sizeof text;

    do
        text[--at] = (char)('0' + rest % 10);
    while (rest /= 10);
    if (value < 0)
        text[--at] = '-';
    return rdb_write_aux(w, name, kv_slice_of(text + at, sizeof text - at));
}

int rdb_write_db(rdb_writer *w, unsigned db, uint64_t keys, uint64_t with_deadline)
{
    put_byte(w, RDB_OP_DB);
    put_length(w, db);
    put_byte(w, RDB_OP_RESIZE);
    put_length(w, keys);
    put_length(w, with_deadline);
    return w->error;
}

int rdb_write_string(rdb_writer *w, const rdb_record *record)
{
    if (record->deadline_ms != KV_FOREVER) {
        unsigned char *to = room(w, 9);

        to[0] = RDB_OP_EXPIRE_MS;
        rdb_put_u64(to + 1, (uint64_t)record->deadline_ms);
        w->used += 9;
    }
    if (record->idle_s >= 0) {
        put_byte(w, RDB_OP_IDLE);
        put_length(w, (uint64_t)record->idle_s);
    } else if (record->freq >= 0) {
        put_byte(w, RDB_OP_FREQ);
        put_byte(w, (unsigned)record->freq);
    }
    put_byte(w, RDB_TYPE_STRING);
    put_string(w, record->key);
    put_string(w, record->value);
    return w->error;
}

int rdb_write_end(rdb_writer *w)
{
    unsigned char footer[8];

    put_byte(w, RDB_OP_END);
    rdb_write_flush(w);
    rdb_put_u64(footer, w->crc);
    w->options.no_checksum = true;
    hand_on(w, footer, sizeof footer);
    return w->error;
}
