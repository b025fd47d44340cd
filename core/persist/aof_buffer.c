/* aof_buffer.c - see aof_buffer.h.
 *
 * The problem: a record must enter under the lock of its shard, or the order is lost; so it must cost next to nothing, must not
 * wait and must not do I/O.
 *
 *     shard lock { publish; note: buffer lock { SELECT?; command; appended += n } }
 *     writer of the file: buffer lock { take all chunks }; then write without any lock
 *
 * A record is formatted where it will lie, in one pass, into a chunk of 64 KiB; a value of REFERRED bytes and more is not copied but
 * retained. So the buffer's lock is held for some 100 instructions, whatever the value.
 *
 * An act (MULTI ... EXEC) is collected in its thread's writer, without the buffer's lock, and moved at its end, while all its
 * shards are still locked: records of other threads, of other shards, come before or behind it.
 *
 * Memory that is out under a shard's lock cannot be reported to anybody: the buffer notes that it is no longer true, and
 * whoever takes from it learns that and must stop acknowledging.
 *
 * Cost: a SET of 16-byte key and value about 130 instructions (callgrind), two of them locked.
 * SPDX-License-Identifier: MIT */
#include "aof_buffer.h"

#include <string.h>

#include "decimal.h"

#define REFERRED   (16u * 1024) /* values from this length on are not copied */
#define SPARES_MAX 16           /* chunks that are kept while nothing is in them */
#define SHORT_MAX  32           /* bytes of a key or value that is copied without a call */
#define HEADS \
    (5 * (DECIMAL_MAX + 5) + 64) /* what a record has beside its key and value: heads, names, a deadline */

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

static char *put_select(char *at, int db)
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
    tail = aof_queue_room(queue, HEADS);
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

/* SET of a short key and value without a deadline, whose database is selected, into a chunk that has room for it. False: it is
 * not that. */
__attribute__((always_inline)) static inline bool write_short_set(aof_queue *queue, const kv_change *change)
{
    aof_chunk *chunk = queue->last;
    char *room, *at;

    if (change->kind != KV_CHANGE_SET || change->key.len > SHORT_MAX || change->value.len > SHORT_MAX ||
        change->deadline_ms != KV_FOREVER || !chunk || chunk->capacity - chunk->len < HEADS + 2 * SHORT_MAX)
        return false;
    room = at = chunk->room + chunk->len;
    WORD(at, "*3\r\n$3\r\nSET\r\n");
    at = put_short_bulk(put_short_bulk(at, change->key), change->value);
    aof_queue_commit(queue, (size_t)(at - room));
    return true;
}

/* ---- all records ---- */

__attribute__((noinline)) static bool write_record(aof_queue *queue, int *db, const kv_change *change, int of,
                                                   int other)
{
    bool refers = change->bytes && change->value.len >= REFERRED && has_value(change);
    char *room = aof_queue_room(queue, HEADS + change->key.len + (refers ? 0 : change->value.len)),
         *at = room;

    if (!room)
        return false;
    if (*db != of)
        at = put_select(at, of);
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
    return (*db == of && write_short_set(queue, change)) || write_record(queue, db, change, of, other);
}

/* ---- entering ---- */

/* Adds to a counter that is written under the buffer's lock only. */
static void advance(_Atomic uint64_t *counter, uint64_t by)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_release);
}

static void entered(aof_buffer *buffer, size_t before, size_t records)
{
    advance(&buffer->appended, buffer->queue.bytes - before);
    advance(&buffer->records, records);
}

/* Lets a record find room in a chunk that was used before, if one is left. */
static void provide(aof_buffer *buffer, size_t bytes)
{
    const aof_chunk *last = buffer->queue.last;

    if (bytes <= AOF_CHUNK_BYTES && (!last || last->capacity - last->len < bytes) &&
        aof_queue_take_spare(&buffer->queue, &buffer->spares))
        buffer->spare_count--;
}

/* A record of which enter_one knows nothing more. */
__attribute__((noinline)) static bool enter_any(aof_buffer *buffer, const kv_change *change, int db,
                                                int other_db)
{
    provide(buffer, HEADS + change->key.len + (change->value.len < REFERRED ? change->value.len : 0));
    return aof_record_write(&buffer->queue, &buffer->db, change, db, other_db);
}

/* One change that is no part of an act. */
static void enter_one(aof_buffer *buffer, const kv_change *change, int db, int other_db)
{
    size_t before;

    lock_acquire(&buffer->lock);
    before = buffer->queue.bytes;
    if (!(buffer->db == db && write_short_set(&buffer->queue, change)) &&
        !enter_any(buffer, change, db, other_db))
        buffer->lost = true;
    entered(buffer, before, 1);
    lock_release(&buffer->lock);
}

/* Moves the records of an act behind the others, in a frame when there are several. */
static bool move_act(aof_buffer *buffer, aof_writer *writer)
{
    char *room = aof_queue_room(&buffer->queue, HEADS), *at = room;
    bool framed = writer->records > 1;

    if (!room)
        return false;
    if (buffer->db != writer->first)
        at = put_select(at, writer->first);
    if (framed)
        WORD(at, "*1\r\n$5\r\nMULTI\r\n");
    aof_queue_commit(&buffer->queue, (size_t)(at - room));
    buffer->db = writer->db;
    return aof_queue_move(&buffer->queue, &writer->act) &&
           (!framed || aof_queue_copy(&buffer->queue, KV_STR("*1\r\n$4\r\nEXEC\r\n")));
}

static void end_act(aof_buffer *buffer, aof_writer *writer)
{
    if (writer->records || writer->lost) {
        size_t before;

        lock_acquire(&buffer->lock);
        before = buffer->queue.bytes;
        if (writer->lost || !move_act(buffer, writer))
            buffer->lost = true;
        entered(buffer, before, writer->records);
        lock_release(&buffer->lock);
    }
    aof_queue_clear(&writer->act);
    writer->records = 0;
    writer->lost = false;
}

/* Of an act, or its beginning or end. */
KV_UNDER_LOCK __attribute__((noinline)) static void note_of_act(aof_buffer *buffer, aof_writer *writer,
                                                                const kv_change *change, int db, int other_db)
{
    if (change->kind == KV_CHANGE_BEGIN) {
        writer->depth++;
    } else if (change->kind == KV_CHANGE_END) {
        /* An act that began before anybody listened is none. */
        if (writer->depth > 0 && --writer->depth == 0)
            end_act(buffer, writer);
    } else {
        if (writer->records++ == 0)
            writer->first = writer->db = db;
        if (!aof_record_write(&writer->act, &writer->db, change, db, other_db))
            writer->lost = true;
    }
}

void aof_buffer_note(aof_buffer *buffer, aof_writer *writer, const kv_change *change, int db, int other_db)
{
    if (writer->depth || change->kind == KV_CHANGE_BEGIN || change->kind == KV_CHANGE_END)
        note_of_act(buffer, writer, change, db, other_db);
    else
        enter_one(buffer, change, db, other_db);
}

void aof_buffer_put(aof_buffer *buffer, aof_queue *commands)
{
    size_t before;

    lock_acquire(&buffer->lock);
    before = buffer->queue.bytes;
    if (!aof_queue_move(&buffer->queue, commands))
        buffer->lost = true;
    entered(buffer, before, 0);
    lock_release(&buffer->lock);
}

/* ---- taking ---- */

static void move_all(aof_queue *to, aof_queue *from)
{
    if (!to->first) {
        *to = *from;
    } else if (from->first) {
        to->last->next = from->first;
        to->last = from->last;
        to->bytes += from->bytes;
    }
    *from = (aof_queue){ 0 };
}

aof_taken aof_buffer_take(aof_buffer *buffer, aof_queue *queue, uint64_t *ret_appended)
{
    aof_taken taken = AOF_SEALED;

    lock_acquire(&buffer->lock);
    if (!atomic_load_explicit(&buffer->sealed, memory_order_relaxed)) {
        taken = buffer->lost ? AOF_LOST : AOF_TAKEN;
        move_all(queue, &buffer->queue);
        *ret_appended = atomic_load_explicit(&buffer->appended, memory_order_relaxed);
    }
    lock_release(&buffer->lock);
    return taken;
}

void aof_buffer_seal(aof_buffer *buffer)
{
    lock_acquire(&buffer->lock);
    move_all(&buffer->before, &buffer->queue);
    buffer->before_end = atomic_load_explicit(&buffer->appended, memory_order_relaxed);
    buffer->db = -1;
    atomic_store_explicit(&buffer->sealed, true, memory_order_release);
    lock_release(&buffer->lock);
}

aof_taken aof_buffer_take_sealed(aof_buffer *buffer, aof_queue *queue, uint64_t *ret_appended)
{
    aof_taken taken;

    lock_acquire(&buffer->lock);
    taken = buffer->lost ? AOF_LOST : AOF_TAKEN;
    move_all(queue, &buffer->before);
    *ret_appended = buffer->before_end;
    lock_release(&buffer->lock);
    return taken;
}

void aof_buffer_open(aof_buffer *buffer)
{
    aof_queue dropped;

    lock_acquire(&buffer->lock);
    dropped = buffer->before;
    buffer->before = (aof_queue){ 0 };
    atomic_store_explicit(&buffer->sealed, false, memory_order_release);
    lock_release(&buffer->lock);
    aof_queue_clear(&dropped);
}

void aof_buffer_forget_db(aof_buffer *buffer)
{
    lock_acquire(&buffer->lock);
    buffer->db = -1;
    lock_release(&buffer->lock);
}

void aof_buffer_give_back(aof_buffer *buffer, aof_queue *queue)
{
    size_t count = aof_queue_empty(queue, SPARES_MAX);

    if (!count)
        return;
    lock_acquire(&buffer->lock);
    if (buffer->spare_count + count <= SPARES_MAX) {
        move_all(queue, &buffer->spares); /* those that are the hottest come first */
        move_all(&buffer->spares, queue);
        buffer->spare_count += count;
    }
    lock_release(&buffer->lock);
    aof_queue_clear(queue);
}

void aof_buffer_clear(aof_buffer *buffer)
{
    aof_queue dropped;

    lock_acquire(&buffer->lock);
    dropped = buffer->queue;
    buffer->queue = (aof_queue){ 0 };
    buffer->lost = false;
    lock_release(&buffer->lock);
    aof_queue_clear(&dropped);
}

void aof_buffer_init(aof_buffer *buffer)
{
    *buffer = (aof_buffer){ .db = -1 };
}

void aof_buffer_done(aof_buffer *buffer)
{
    aof_queue_clear(&buffer->queue);
    aof_queue_clear(&buffer->before);
    aof_queue_clear(&buffer->spares);
}

void aof_writer_done(aof_writer *writer)
{
    aof_queue_clear(&writer->act);
}

void aof_writer_restart(aof_writer *writer)
{
    aof_queue_clear(&writer->act);
    writer->depth = 0;
    writer->records = 0;
    writer->lost = false;
}
