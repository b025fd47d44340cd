/* aof_record.c - see aof_record.h.
 *
 * A record is formatted where it will lie, in one pass. Most are a SET of a short key and value: that takes about 60 instructions, without a
 * call and without a loop.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_record.h"

#include <string.h>

#include "decimal.h"

#define SHORT_MAX 32 /* bytes of a key or value that is copied without a call */

/* ---- writing RESP ---- */

/* "$6 CRLF SELECT CRLF" and the like. */
#define WORD(at, text) ((at) = (char *)memcpy(at, text, sizeof text - 1) + sizeof text - 1)

static char *put(char *at, const char *bytes, size_t len)
{
    if (len)
        memcpy(at, bytes, len);
    return at + len;
}

/* A length below 100, and the end of its line. */
__attribute__((always_inline)) static inline char *put_short_length(char *at, size_t len)
{
    unsigned tens = (unsigned)len / 10;

    *at = (char)('0' + tens);
    at += tens > 0;
    at[0] = (char)('0' + (unsigned)len - 10 * tens);
    at[1] = '\r';
    at[2] = '\n';
    return at + 3;
}

static char *put_head(char *at, size_t len)
{
    char digits[DECIMAL_MAX];
    kv_slice text;

    *at++ = '$';
    if (len < 100)
        return put_short_length(at, len);
    text = decimal_format(digits, (int64_t)len);
    at = put(at, text.data, text.len);
    return put(at, "\r\n", 2);
}

static char *put_bulk(char *at, kv_slice bytes)
{
    at = put_head(at, bytes.len);
    at = put(at, bytes.data, bytes.len);
    return put(at, "\r\n", 2);
}

static char *put_number(char *at, int64_t number)
{
    char digits[DECIMAL_MAX];

    return put_bulk(at, decimal_format(digits, number));
}

/* ---- records ---- */

/* The command up to the value, or the whole of it when it has none. */
static char *put_command(char *at, const kv_change *change, int db, int other_db)
{
    switch (change->kind) {
    case KV_CHANGE_SET:
        if (change->deadline_ms == KV_FOREVER)
            WORD(at, "*3\r\n$3\r\nSET\r\n");
        else
            WORD(at, "*5\r\n$3\r\nSET\r\n");
        return put_bulk(at, change->key);
    case KV_CHANGE_APPEND:
        WORD(at, "*3\r\n$6\r\nAPPEND\r\n");
        return put_bulk(at, change->key);
    case KV_CHANGE_DEADLINE:
        if (change->deadline_ms == KV_FOREVER) {
            WORD(at, "*2\r\n$7\r\nPERSIST\r\n");
            return put_bulk(at, change->key);
        }
        WORD(at, "*3\r\n$9\r\nPEXPIREAT\r\n");
        at = put_bulk(at, change->key);
        return put_number(at, change->deadline_ms);
    case KV_CHANGE_CLEAR:
        return WORD(at, "*1\r\n$7\r\nFLUSHDB\r\n");
    case KV_CHANGE_SWAP:
        WORD(at, "*3\r\n$6\r\nSWAPDB\r\n");
        return put_number(put_number(at, db), other_db);
    default:
        WORD(at, "*2\r\n$3\r\nDEL\r\n");
        return put_bulk(at, change->key);
    }
}

char *aof_record_select(char *at, int db)
{
    WORD(at, "*2\r\n$6\r\nSELECT\r\n");
    return put_number(at, db);
}

static bool has_value(const kv_change *change)
{
    return change->kind == KV_CHANGE_SET || change->kind == KV_CHANGE_APPEND;
}

static char *put_deadline(char *at, const kv_change *change)
{
    if (change->kind != KV_CHANGE_SET || change->deadline_ms == KV_FOREVER)
        return at;
    WORD(at, "$4\r\nPXAT\r\n");
    return put_number(at, change->deadline_ms);
}

/* A record whose value stays where it is: head, reference, tail. */
static bool refer_value(aof_queue *queue, char *room, char *at, const kv_change *change)
{
    char *tail;

    at = put_head(at, change->value.len);
    aof_queue_commit(queue, (size_t)(at - room));
    if (!aof_queue_refer(queue, change->bytes, change->value))
        return false;
    tail = aof_queue_room(queue, AOF_RECORD_HEADS);
    if (!tail)
        return false;
    at = put_deadline(put(tail, "\r\n", 2), change);
    aof_queue_commit(queue, (size_t)(at - tail));
    return true;
}

/* ---- the record that most are ---- */

/* A short bulk: its bytes without a call, in two pieces of 16, 8, 4, 2 or 1 that may overlap. */
__attribute__((always_inline)) static inline char *put_short_bulk(char *at, kv_slice bytes)
{
    const char *from = bytes.data;
    size_t len = bytes.len;

    *at++ = '$';
    at = put_short_length(at, len);
#define TWO_OF(size) (memcpy(at, from, size), memcpy(at + len - (size), from + len - (size), size))
    if (len >= 16)
        TWO_OF(16);
    else if (len >= 8)
        TWO_OF(8);
    else if (len >= 4)
        TWO_OF(4);
    else if (len >= 2)
        TWO_OF(2);
    else if (len)
        *at = *from;
#undef TWO_OF
    at += len;
    return WORD(at, "\r\n");
}

bool aof_record_write_short(aof_queue *queue, kv_slice key, kv_slice value)
{
    aof_chunk *chunk = queue->last;
    char *room, *at;

    if (key.len > SHORT_MAX || value.len > SHORT_MAX || !chunk ||
        chunk->capacity - chunk->len < AOF_RECORD_HEADS + 2 * SHORT_MAX)
        return false;
    room = at = chunk->room + chunk->len;
    WORD(at, "*3\r\n$3\r\nSET\r\n");
    at = put_short_bulk(put_short_bulk(at, key), value);
    aof_queue_commit(queue, (size_t)(at - room));
    return true;
}

/* ---- all records ---- */

__attribute__((noinline)) static bool write_record(aof_queue *queue, int *db, const kv_change *change, int of,
                                                   int other)
{
    bool refers = change->bytes && change->value.len >= AOF_RECORD_REFERRED && has_value(change);
    char *room = aof_queue_room(queue, AOF_RECORD_HEADS + change->key.len + (refers ? 0 : change->value.len)),
         *at = room;

    if (!room)
        return false;
    if (*db != of)
        at = aof_record_select(at, of);
    *db = of;
    at = put_command(at, change, of, other);
    if (refers)
        return refer_value(queue, room, at, change);
    if (has_value(change))
        at = put_deadline(put_bulk(at, change->value), change);
    aof_queue_commit(queue, (size_t)(at - room));
    return true;
}

bool aof_record_write(aof_queue *queue, int *db, const kv_change *change, int of, int other)
{
    return (*db == of && change->kind == KV_CHANGE_SET && change->deadline_ms == KV_FOREVER &&
            aof_record_write_short(queue, change->key, change->value)) ||
           write_record(queue, db, change, of, other);
}
