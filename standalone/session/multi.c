/* multi.c - see multi.h.
 *
 * Requests point into the input, which is gone when EXEC comes, so they are copied: slices and bytes into a
 * chunk, a row of the queue for each. Neighbours that are alike (SET, SET, SET) are copied as one: all their slices, then
 * the bytes of the input from the first argument of the first one to the last of the last one. EXEC finds their slices one
 * after the other, as in a batch, and runs them as one. The first chunk lies in the multi itself, which the worker keeps for
 * the next transaction: one of a few small commands allocates nothing.
 *
 *     multi | first chunk: slices bytes | slices slices slices bytes | ...      more chunks, each twice the one before
 *     queue: row argv argc hash | row argv argc hash | ...
 *
 * A transaction that is whole in a batch (MULTI, SET, SET, EXEC, as pipelines send it) is not copied at all: the commands of the
 * queue that come with their EXEC point into the batch. Should the batch end before EXEC has run (a pause, a full output), they
 * are copied then (multi_keep); so are they before a command is queued that may wait for others.
 *
 * An argument in memory of its own stays there (owned): the queue keeps a reference.
 *
 * What all transactions take is the sum of the workers' counters, looked at when another chunk is needed.
 *
 * SPDX-License-Identifier: MIT */
#include "multi.h"

#include <stdlib.h>

#include "arguments.h"
#include "server.h"

#define FIRST_CHUNK_BYTES 2040u
#define CHUNK_BYTES_MAX   (64u * 1024)
#define QUEUE_FIRST       16
#define WATCHED_LOOKS     64
#define FRAMING_MAX       16 /* between two arguments of a request: CR LF $ a length CR LF */

struct multi_chunk {
    multi_chunk *next;
    size_t size_bytes, used_bytes; /* of data */
    char data[];
};

/* A multi with its first chunk and the first part of its queue. */
typedef struct block {
    multi multi;
    queued_command queue[QUEUE_FIRST];
    _Alignas(multi_chunk) char chunk[sizeof(multi_chunk) + FIRST_CHUNK_BYTES];
} block;

static multi_chunk *first_chunk(block *b)
{
    return (multi_chunk *)b->chunk;
}

/* ---- memory ---- */

static void count(connection *c, multi *m, size_t bytes)
{
    m->memory_bytes += bytes;
    stats_add(&c->owner->multi_bytes, bytes);
}

/* Whether so many bytes more are within the limits; otherwise the reason. */
static bool within_limits(connection *c, const multi *m, size_t bytes, const char **ret_reason)
{
    const server *s = c->owner->server;
    uint64_t limit = (uint64_t)config_number(s->config, CONFIG_ID_multi_memory_limit), all = 0;

    if (m->memory_bytes + bytes > (uint64_t)config_number(s->config, CONFIG_ID_client_query_buffer_limit)) {
        *ret_reason = NULL; /* as with a request of that size: the connection is closed */
        return false;
    }
    for (int i = 0; i < s->worker_count; i++)
        all += atomic_load_explicit(&s->workers[i].multi_bytes, memory_order_relaxed);
    if (!limit || all + bytes <= limit)
        return true;
    *ret_reason = "OOM the transactions of all clients use more than 'multi-memory-limit'.";
    return false;
}

void *multi_take(connection *c, size_t bytes, const char **ret_reason)
{
    multi *m = c->multi;
    multi_chunk *chunk = m->chunks;
    size_t size;

    *ret_reason = kv_error_text(KV_ENOMEM);
    bytes = (bytes + 7) & ~(size_t)7;
    if (chunk->size_bytes - chunk->used_bytes < bytes) {
        size = 2 * chunk->size_bytes < CHUNK_BYTES_MAX ? 2 * chunk->size_bytes : CHUNK_BYTES_MAX;
        size = size < bytes ? bytes : size;
        if (!within_limits(c, m, size, ret_reason))
            return NULL;
        chunk = malloc(sizeof *chunk + size);
        if (!chunk)
            return NULL;
        *chunk = (multi_chunk){ .next = m->chunks, .size_bytes = size };
        m->chunks = chunk;
        count(c, m, sizeof *chunk + size);
    }
    chunk->used_bytes += bytes;
    return chunk->data + chunk->used_bytes - bytes;
}

/* Makes room for n commands more. */
static bool grow_queue(connection *c, multi *m, size_t n, const char **ret_reason)
{
    size_t capacity = 2 * m->capacity, more;
    bool first = m->capacity == QUEUE_FIRST;
    queued_command *queue;

    while (capacity - m->count < n)
        capacity *= 2;
    more = (capacity - m->capacity) * sizeof *queue;
    if (!within_limits(c, m, more, ret_reason))
        return false;
    queue = first ? malloc(capacity * sizeof *queue) : realloc(m->queue, capacity * sizeof *queue);
    if (!queue)
        return false;
    if (first)
        memcpy(queue, m->queue, m->count * sizeof *queue);
    m->queue = queue;
    m->capacity = capacity;
    count(c, m, more);
    return true;
}

/* ---- life ---- */

multi *multi_of(connection *c)
{
    worker *w = c->owner;
    block *b;

    if (c->multi)
        return c->multi;
    b = (block *)w->spare_multi;
    w->spare_multi = NULL;
    if (!b)
        b = malloc(sizeof *b);
    if (!b)
        return NULL;
    memset(&b->multi, 0, sizeof b->multi);
    *first_chunk(b) = (multi_chunk){ .size_bytes = FIRST_CHUNK_BYTES };
    b->multi.chunks = first_chunk(b);
    b->multi.queue = b->queue;
    b->multi.capacity = QUEUE_FIRST;
    c->multi = &b->multi;
    count(c, c->multi, sizeof *b);
    return c->multi;
}

static void forget_watched(multi *m)
{
    for (watched_key *w = m->watched; w; w = w->next)
        store_watch_end(&w->watch);
    m->watched = NULL;
    m->watched_count = 0;
}

void multi_end(connection *c)
{
    worker *w = c->owner;
    multi *m = c->multi;
    block *b = (block *)m;

    c->flags &= ~(unsigned)(CONNECTION_MULTI | CONNECTION_UNFINISHED);
    if (!m)
        return;
    forget_watched(m);
    c->multi = NULL;
    stats_add(&w->multi_bytes, (uint64_t)0 - m->memory_bytes);
    for (size_t i = 0; i < m->part_count; i++)
        output_done(&m->parts[i].replies);
    free(m->parts);
    if (m->queue != b->queue)
        free(m->queue);
    arguments_drop(&m->owned);
    free(m->owned.bytes);
    while (m->chunks != first_chunk(b)) {
        multi_chunk *chunk = m->chunks;

        m->chunks = chunk->next;
        free(chunk);
    }
    if (w->spare_multi)
        free(b);
    else
        w->spare_multi = m;
}

void multi_free_spare(worker *w)
{
    free(w->spare_multi);
    w->spare_multi = NULL;
}

/* ---- the queue ---- */

/* The bytes from the first argument to the end of the last one, when they stand close behind each other, as in requests that were
 * just parsed; 0: they do not. */
static size_t span_of(int argc, const kv_slice argv[])
{
    uintptr_t first = (uintptr_t)argv[0].data, end = first;
    size_t bytes = 0;
    bool in_order = true;

    for (int i = 0; i < argc; i++) {
        in_order &= (uintptr_t)argv[i].data >= end;
        end = (uintptr_t)argv[i].data + argv[i].len;
        bytes += argv[i].len;
    }
    return in_order && end - first <= bytes + (size_t)argc * FRAMING_MAX ? end - first : 0;
}

/* Copies them together, with what stands between them. */
static void copy_span(kv_slice copy[], char *to, int argc, const kv_slice argv[], size_t span)
{
    memcpy(to, argv[0].data, span);
    for (int i = 0; i < argc; i++)
        copy[i] = kv_slice_of(to + (argv[i].data - argv[0].data), argv[i].len);
}

/* Makes room for so many owners more, and counts what they have. */
static bool grow_owned(connection *c, multi *m, const arguments_sizes *sizes, const char **ret_reason)
{
    size_t capacity = m->owned.count + sizes->owners;
    kv_bytes **bytes;

    if (!within_limits(c, m, sizes->owned_bytes, ret_reason))
        return false;
    if (capacity > m->owned_capacity) {
        bytes = realloc(m->owned.bytes, 2 * capacity * sizeof(kv_bytes *));
        if (!bytes)
            return false;
        m->owned.bytes = bytes;
        m->owned_capacity = 2 * capacity;
    }
    count(c, m, sizes->owned_bytes);
    return true;
}

/* The same for arguments of which some are in memory of their own, or which do not stand close together. */
static const kv_slice *copy_each(connection *c, const kv_owned *owned, int argc, const kv_slice argv[],
                                 const char **ret_reason)
{
    multi *m = c->multi;
    arguments_sizes sizes = { 0 };
    kv_slice *copy;

    arguments_measure(owned, argc, argv, &sizes);
    copy = multi_take(c, (size_t)argc * sizeof *argv + sizes.bytes, ret_reason);
    if (!copy || (sizes.owners && !grow_owned(c, m, &sizes, ret_reason)))
        return NULL;
    arguments_keep(owned, argc, argv, copy, (char *)(copy + argc), &m->owned);
    return copy;
}

const kv_slice *multi_copy(connection *c, int argc, const kv_slice argv[], const char **ret_reason)
{
    const kv_owned *owned = c->owner->call.owned;
    size_t slices = (size_t)argc * sizeof *argv, span = owned && owned->count ? 0 : span_of(argc, argv);
    kv_slice *copy;

    if (!span)
        return copy_each(c, owned, argc, argv, ret_reason);
    copy = multi_take(c, slices + span, ret_reason);
    if (copy)
        copy_span(copy, (char *)copy + slices, argc, argv, span);
    return copy;
}

bool multi_writes(const kv_command *row)
{
    return (row->flags & KV_CMD_WRITE) || row->id == KV_COMMAND_publish || row->id == KV_COMMAND_spublish;
}

int multi_queue(connection *c, const kv_command *row, const request r[], int n, const char **ret_reason)
{
    multi *m = c->multi;
    const kv_slice *argv = r->argv;
    queued_command *queue;
    bool hashed = r->hashed && row == r->row;

    *ret_reason = kv_error_text(KV_ENOMEM);
    if (m->capacity - m->count < (size_t)n && !grow_queue(c, m, (size_t)n, ret_reason))
        return KV_ENOMEM;
    if (!m->borrows)
        argv = multi_copy(c, n * r->argc, argv, ret_reason);
    if (!argv)
        return KV_ENOMEM;
    queue = m->queue + m->count;
    for (int i = 0; i < n; i++, argv += r->argc)
        queue[i] = (queued_command){
            .row = row, .argv = argv, .argc = r->argc, .hashed = hashed, .alike = hashed, .hash = r[i].hash
        };
    queue->alike = false;
    m->count += (size_t)n;
    m->flags |= row->flags;
    m->lacks |= ~row->flags;
    m->writes |= multi_writes(row);
    return 0;
}

void multi_keep(connection *c)
{
    multi *m = c->multi;
    size_t count = m->count;
    const char *reason;

    if (!m->borrows)
        return;
    m->borrows = false;
    for (m->count = 0; m->count < count && !m->failed; m->count++) {
        queued_command *q = &m->queue[m->count];

        q->argv = multi_copy(c, q->argc, q->argv, &reason);
        q->alike = false;
        m->failed = !q->argv;
    }
}

multi_part *multi_part_new(multi *m, size_t command)
{
    multi_part *part;

    if (m->part_count == m->part_capacity) {
        size_t capacity = m->part_capacity ? 2 * m->part_capacity : 4;
        multi_part *parts = realloc(m->parts, capacity * sizeof *parts);

        if (!parts)
            return NULL;
        m->parts = parts;
        m->part_capacity = capacity;
    }
    part = &m->parts[m->part_count++];
    *part = (multi_part){ .command = command };
    return part;
}

/* ---- watched keys ---- */

/* Whether it is among the first ones of a list: twice is allowed, and only costs memory. */
static bool is_listed(const watched_key *list, const kv_store *store, kv_slice name)
{
    int looks = WATCHED_LOOKS;

    for (const watched_key *w = list; w && looks-- > 0; w = w->next)
        if (w->watch.store == store && kv_slice_equal(w->watch.key.name, name))
            return true;
    return false;
}

int multi_watch(connection *c, kv_slice name, const watched_key *ready, watched_key **ret_key,
                const char **ret_reason)
{
    multi *m = multi_of(c);
    kv_store *store = c->owner->server->databases.stores[c->db];
    watched_key *w;

    *ret_key = NULL;
    *ret_reason = kv_error_text(KV_ENOMEM);
    if (!m)
        return KV_ENOMEM;
    if (is_listed(m->watched, store, name) || is_listed(ready, store, name))
        return 0;
    w = multi_take(c, sizeof *w + name.len, ret_reason);
    if (!w)
        return KV_ENOMEM;
    if (name.len)
        memcpy(w + 1, name.data, name.len);
    *w = (watched_key){ .watch.store = store };
    w->watch.key = store_key_of(store, kv_slice_of(w + 1, name.len));
    *ret_key = w;
    return 0;
}

void multi_watch_begun(connection *c, watched_key *key)
{
    key->next = c->multi->watched;
    c->multi->watched = key;
    c->multi->watched_count++;
}

void multi_unwatch(connection *c)
{
    if (c->flags & CONNECTION_MULTI)
        forget_watched(c->multi);
    else
        multi_end(c);
}

bool multi_is_dirty(const connection *c)
{
    for (watched_key *w = c->multi ? c->multi->watched : NULL; w; w = w->next)
        if (store_watch_changed(&w->watch, c->owner->now_ms))
            return true;
    return false;
}
