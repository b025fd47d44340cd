/* aof_buffer.c - see aof_buffer.h.
 *
 * The problem: a record must enter under the lock of its shard, or the order is lost; so it must cost next to nothing, must not
 * wait and must not do I/O. And it must not meet the records of other threads: a line of the cache that two cores write by turns costs
 * them 70 ns each time, which is a third of a SET in a pipeline. A queue under one lock has four such lines, and left 40 % of the
 * throughput.
 *
 * The idea: a batch is one thing. A log is believed up to the end of a batch, so within one only the order of what is about the same key
 * matters. What is taken at once becomes one batch, and the time between two moments of taking is an epoch.
 *
 *     staging of thread 1    put put put put           each under a lock of its own, which nobody else wants
 *     staging of thread 2    put put                   but who takes
 *     queue                  change put act change     under the buffer's lock
 *     take                   all locks { epoch += 1; move 1, 2, queue, in this order }; then write without any lock
 *
 * Staged is a plain SET (kv_store's puts in short) of a key of which nothing else was told in this epoch. All else goes to the queue,
 * in the order of its coming, and so behind what was staged. That nothing was told of a key is known from its shard's mark, which belongs to
 * whoever holds the shard: the epoch of the last put in it, and the version that the shard had before the first put of that epoch. An
 * entry that is replaced and newer than that was put in this epoch. What is told in another way does not touch marks: it says for
 * the whole buffer that the epoch is mixed, and then all goes to the queue until the next one.
 *
 * Invariants
 *   1. Each record belongs to the epoch in which it entered: all locks are held while that changes, and one of them by who enters. So a
 *      batch is exactly what was told between two moments, over all threads: what one client has seen done and what it does
 *      then are in the same batch, or the later in a later one.
 *   2. In an epoch a key has at most one staged record, and it is older than all that the queue has of the key. For a put is staged only
 *      if no put of the epoch is in its shard that is newer than the entry it replaces, and the epoch is not mixed; both were written
 *      under the lock of the shard, which who stages holds. Where there was no entry, either the key was not there when
 *      the epoch began, or its removal has mixed the epoch.
 *   3. A mark is all zero in a shard that is new: a map that grows puts entries into it whose age it does not know. The first put of an epoch
 *      there takes all entries for new.
 *
 * Whoever reads a log without looking at batches, as redis-server does, and finds it torn, may so have the later of two
 * commands of a client and not the earlier; neither was acknowledged. What replicas are fed has no batches, and stages nothing.
 *
 * A record is formatted where it will lie, in one pass, into a chunk of 64 KiB; a long value is not copied but retained. Chunks that
 * were written come back and are filled again, as long as the cache has them.
 *
 * An act (MULTI ... EXEC) is collected in its thread's writer, without the buffer's lock, and moved at its end, while all its
 * shards are still locked: records of other threads, of other shards, come before or behind it.
 *
 * Memory that is out under a shard's lock cannot be reported to anybody: the buffer notes that it is no longer true, and
 * whoever takes from it learns that and must stop acknowledging.
 *
 * Locks: shard, buffer, stagings. Who enters holds a shard and one of the others; who takes holds the buffer's and then all stagings', for as
 * long as it takes to move a few pointers.
 *
 * Cost: a SET of a 16-byte key and value in a pipeline costs about 280 instructions more than without a log (callgrind), of which 80 are the
 * formatting; one of them is locked, and meets nobody. With two workers on two cores that have nothing else to do, 68 % of the
 * throughput without a log is left; half of what is missing is write(2).
 *
 * Rejected: a queue that threads get room in by one addition (37 ns for each, when two do it at once); stamps by which whoever takes
 * merges the records of threads (a comparison and a copy for each); all shards of a run locked at once (runs would wait for each
 * other).
 *
 * SPDX-License-Identifier: MIT */
#include "aof_buffer.h"

#include <string.h>

#define SPARES_MAX 16 /* chunks that are kept while nothing is in them */
#define BEGIN      "*1\r\n$5\r\nMULTI\r\n"
#define END        "*1\r\n$4\r\nEXEC\r\n"
/* ---- entering ---- */

static uint64_t now(const aof_buffer *buffer)
{
    return atomic_load_explicit(&((aof_buffer *)buffer)->epoch.now, memory_order_relaxed);
}

/* What has entered behind so many bytes of the queue are puts. */
static void entered_puts(aof_buffer *buffer, size_t before)
{
    /* Only written under the lock. */
    atomic_store_explicit(&buffer->appended,
                          atomic_load_explicit(&buffer->appended, memory_order_relaxed) +
                              buffer->queue.bytes - before,
                          memory_order_release);
}

/* ... are not, or not known to be. Whoever stages a put looks at the epoch under the lock of a shard under which this was called. */
static void entered(aof_buffer *buffer, size_t before)
{
    entered_puts(buffer, before);
    if (atomic_load_explicit(&buffer->epoch.mixed, memory_order_relaxed) != now(buffer))
        atomic_store_explicit(&buffer->epoch.mixed, now(buffer), memory_order_relaxed);
}

/* Lets a record find room in a chunk that was used before, if one is left. */
static void provide(aof_buffer *buffer, size_t bytes)
{
    const aof_chunk *last = buffer->queue.last;

    if (bytes <= AOF_CHUNK_BYTES && (!last || last->capacity - last->len < bytes) &&
        aof_queue_take_spare(&buffer->queue, &buffer->spares))
        buffer->spare_count--;
}

static void write_one(aof_buffer *buffer, const kv_change *change, int db, int other_db)
{
    provide(buffer, AOF_RECORD_HEADS + change->key.len +
                        (change->value.len < AOF_RECORD_REFERRED ? change->value.len : 0));
    if (!aof_record_write(&buffer->queue, &buffer->db, change, db, other_db))
        buffer->lost = true;
}

/* One change that is no part of an act. */
static void enter_one(aof_buffer *buffer, const kv_change *change, int db, int other_db)
{
    size_t before;

    lock_acquire(&buffer->lock);
    before = buffer->queue.bytes;
    write_one(buffer, change, db, other_db);
    entered(buffer, before);
    lock_release(&buffer->lock);
}

/* One put that comes behind another change of its key in this epoch, or may. */
KV_UNDER_LOCK static void enter_put(aof_buffer *buffer, const store_put_told *put, int db)
{
    const kv_change change = {
        .kind = KV_CHANGE_SET, .key = put->key, .value = put->value, .deadline_ms = KV_FOREVER
    };
    size_t before;

    lock_acquire(&buffer->lock);
    aof_staging_claim(put, now(buffer)); /* another epoch may have begun since it was tried to stage it */
    before = buffer->queue.bytes;
    write_one(buffer, &change, db, 0);
    entered_puts(buffer, before);
    lock_release(&buffer->lock);
}

/* Moves the records of an act behind the others, in a frame when there are several. */
static bool move_act(aof_buffer *buffer, aof_writer *writer)
{
    char *room = aof_queue_room(&buffer->queue, AOF_RECORD_HEADS + sizeof BEGIN), *at = room;
    bool framed = writer->records > 1;

    if (!room)
        return false;
    if (buffer->db != writer->first)
        at = aof_record_select(at, writer->first);
    if (framed)
        at = (char *)memcpy(at, BEGIN, sizeof BEGIN - 1) + sizeof BEGIN - 1;
    aof_queue_commit(&buffer->queue, (size_t)(at - room));
    buffer->db = writer->db;
    return aof_queue_move(&buffer->queue, &writer->act) &&
           (!framed || aof_queue_copy(&buffer->queue, KV_STR(END)));
}

static void end_act(aof_buffer *buffer, aof_writer *writer)
{
    if (writer->records || writer->lost) {
        size_t before;

        lock_acquire(&buffer->lock);
        before = buffer->queue.bytes;
        if (writer->lost || !move_act(buffer, writer))
            buffer->lost = true;
        entered(buffer, before);
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

/* ---- staging ---- */

static aof_staging *first_staging(const aof_buffer *buffer)
{
    /* Pairs with the release of the one that put it there. */
    return atomic_load_explicit(&((aof_buffer *)buffer)->stagings, memory_order_acquire);
}

__attribute__((noinline)) static aof_staging *begin_staging(aof_buffer *buffer, aof_writer *writer)
{
    aof_staging *staging = aof_staging_new();

    if (!staging)
        return NULL;
    lock_acquire(&buffer->lock);
    staging->next = first_staging(buffer);
    atomic_store_explicit(&buffer->stagings, staging, memory_order_release);
    lock_release(&buffer->lock);
    writer->staging = staging;
    return staging;
}

bool aof_buffer_note_put(aof_buffer *buffer, aof_writer *writer, const store_put_told *put, int db)
{
    aof_staging *staging = writer->staging;

    if (writer->depth || put->key.len + put->value.len > AOF_STAGED_MAX)
        return false;
    if (!staging && !(staging = begin_staging(buffer, writer)))
        return false;
    if (!aof_staging_put(staging, put, db, &buffer->epoch))
        enter_put(buffer, put, db);
    return true;
}

uint64_t aof_buffer_appended(const aof_buffer *buffer)
{
    uint64_t bytes = atomic_load_explicit(&((aof_buffer *)buffer)->appended, memory_order_acquire);

    for (aof_staging *staging = first_staging(buffer); staging; staging = staging->next)
        bytes += atomic_load_explicit(&staging->appended, memory_order_acquire);
    return bytes;
}

uint64_t aof_buffer_appended_near(const aof_buffer *buffer, const aof_writer *writer)
{
    uint64_t bytes = atomic_load_explicit(&((aof_buffer *)buffer)->appended, memory_order_relaxed);

    if (writer->staging)
        bytes += atomic_load_explicit(&writer->staging->appended, memory_order_relaxed);
    return bytes;
}

bool aof_writer_waits(const aof_writer *writer)
{
    aof_staging *staging = writer->staging;

    return staging && atomic_load_explicit(&staging->appended, memory_order_relaxed) !=
                          atomic_load_explicit(&staging->taken, memory_order_relaxed);
}

void aof_buffer_put(aof_buffer *buffer, aof_queue *commands)
{
    size_t before;

    lock_acquire(&buffer->lock);
    before = buffer->queue.bytes;
    if (!aof_queue_move(&buffer->queue, commands))
        buffer->lost = true;
    entered(buffer, before);
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

/* Ends what can be told for a moment: the whole of the buffer is the caller's. */
KV_UNCHECKED static void lock_all(aof_buffer *buffer)
{
    lock_acquire(&buffer->lock);
    for (aof_staging *staging = first_staging(buffer); staging; staging = staging->next)
        aof_staging_lock(staging);
}

KV_UNCHECKED static void unlock_all(aof_buffer *buffer)
{
    for (aof_staging *staging = first_staging(buffer); staging; staging = staging->next)
        aof_staging_unlock(staging);
    lock_release(&buffer->lock);
}

/* Continues what was taken with records that take db for selected. */
static void select_db(aof_buffer *buffer, aof_queue *queue, int db)
{
    char text[AOF_RECORD_HEADS];

    if (db >= 0 && db != buffer->taken_db &&
        !aof_queue_copy(queue, kv_slice_of(text, (size_t)(aof_record_select(text, db) - text))))
        buffer->lost = true;
}

/* Moves what one thread has staged behind queue, and gives it room for what follows. */
static void gather_staged(aof_buffer *buffer, aof_staging *staging, aof_queue *queue)
{
    size_t used = staging->queue.bytes / AOF_CHUNK_BYTES + 1; /* chunks, and so it may be again */

    if (staging->lost)
        buffer->lost = true;
    staging->lost = false;
    if (!staging->queue.bytes)
        return;
    select_db(buffer, queue, staging->first_db);
    move_all(queue, &staging->queue);
    buffer->taken_db = staging->db;
    atomic_store_explicit(&staging->taken, atomic_load_explicit(&staging->appended, memory_order_relaxed),
                          memory_order_relaxed);
    for (; staging->spare_count < used && aof_queue_take_spare(&staging->spares, &buffer->spares);
         staging->spare_count++)
        buffer->spare_count--;
}

/* Moves everything behind queue: an epoch ends. All is locked. Returns its end. */
static uint64_t gather(aof_buffer *buffer, aof_queue *queue)
{
    for (aof_staging *staging = first_staging(buffer); staging; staging = staging->next)
        gather_staged(buffer, staging, queue);
    if (buffer->queue.bytes) {
        select_db(buffer, queue, buffer->first_db);
        move_all(queue, &buffer->queue);
        buffer->taken_db = buffer->db;
    }
    buffer->first_db = buffer->db = buffer->taken_db;
    atomic_store_explicit(&buffer->epoch.now, now(buffer) + 1, memory_order_relaxed);
    return aof_buffer_appended(buffer);
}

/* Whatever is told next begins with its database. */
static void forget_db(aof_buffer *buffer)
{
    buffer->db = buffer->taken_db = -1;
    if (!buffer->queue.bytes)
        buffer->first_db = -1;
}

aof_taken aof_buffer_take(aof_buffer *buffer, aof_queue *queue, uint64_t *ret_appended)
{
    aof_taken taken = AOF_SEALED;

    lock_all(buffer);
    if (!atomic_load_explicit(&buffer->sealed, memory_order_relaxed)) {
        *ret_appended = gather(buffer, queue);
        taken = buffer->lost ? AOF_LOST : AOF_TAKEN;
    }
    unlock_all(buffer);
    return taken;
}

void aof_buffer_seal(aof_buffer *buffer)
{
    lock_all(buffer);
    buffer->before_end = gather(buffer, &buffer->before);
    forget_db(buffer);
    atomic_store_explicit(&buffer->sealed, true, memory_order_release);
    unlock_all(buffer);
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
    forget_db(buffer);
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
    aof_queue dropped = { 0 };

    lock_all(buffer);
    gather(buffer, &dropped);
    forget_db(buffer);
    buffer->lost = false;
    unlock_all(buffer);
    aof_queue_clear(&dropped);
}

void aof_buffer_init(aof_buffer *buffer)
{
    *buffer = (aof_buffer){ .epoch = { .now = 1 }, .db = -1, .first_db = -1, .taken_db = -1 };
}

void aof_buffer_done(aof_buffer *buffer)
{
    aof_queue_clear(&buffer->queue);
    aof_queue_clear(&buffer->before);
    aof_queue_clear(&buffer->spares);
    for (aof_staging *staging = first_staging(buffer), *next; staging; staging = next) {
        next = staging->next;
        aof_staging_free(staging);
    }
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
