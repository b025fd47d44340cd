/* aof_loaders.c - see aof_loaders.h.
 *
 *     who reads -> block of loader 0 -> 0 -+
 *               -> block of loader 1 -> 1 -+-> stores
 *               -> ...                     |
 *
 * The keys are dealt out by the upper bits of their hashes, as the shards of a map are: no two loaders meet in a shard, once
 * the map has some, and what is told of one key stays in order. A block is some hundred commands with their bytes, so
 * that handing it over, a lock and a wake-up, costs each of them next to nothing. Each loader has a few blocks, which go
 * round: who reads waits when all are on their way.
 *
 * A loader reads ahead what the next commands will touch, as a pipeline of a client does, and stores runs of plain SETs at once.
 *
 * The first failure. A loader that has failed drops what comes after it, the others run what they were given. What was given
 * before the first failure has been run then, and nothing of what happened since can have made it fail: so the failure with
 * the lowest offset is the one that a single thread would have met.
 *
 * Rejected: one queue for all loaders, as rdb_load.c has it: keys of a snapshot are there once, those of a log come again, and
 * must keep their order. Waiting for all loaders at the end of each batch of the log: a batch may be one command.
 *
 * SPDX-License-Identifier: MIT */
#include "aof_loaders.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "relay.h"

#define BLOCK_COMMANDS 512u
#define BLOCK_SLICES   (4 * BLOCK_COMMANDS)
#define BLOCK_BYTES    (128u << 10)

typedef struct item {
    aof_todo todo; /* argv in the block */
    uint64_t offset;
} item;

typedef struct block {
    relay_block link; /* first */
    size_t count, slices_used, bytes_used;
    size_t slice_capacity, byte_capacity;
    kv_slice *slices;
    char *bytes;
    item items[BLOCK_COMMANDS];
} block;

typedef struct loader {
    aof_loaders *all;
    pthread_t thread;
    aof_runner runner; /* its thread's */
    block *filling;    /* whoever gives has it */
    relay relay;
    bool failed; /* its thread's, and when the relay is idle anybody's */
    aof_failure failure;
    block blocks[AOF_LOADER_BLOCKS];
} loader;

struct aof_loaders {
    kv_domain *domain;
    int count;
    _Atomic bool failed; /* one of them has: nothing more is wanted */
    loader loaders[];
};

/* ---- a loader ---- */

static void fail_at(loader *l, const item *at, bool no_memory)
{
    l->failed = true;
    l->failure.offset = at->offset;
    l->failure.no_memory = no_memory;
    memcpy(l->failure.reason, l->runner.reason, sizeof l->failure.reason);
    atomic_store_explicit(&l->all->failed, true, memory_order_relaxed);
}

/* Commands of one database, with what is known of their keys. */
typedef struct stretch {
    const item *items;
    size_t n;
    uint64_t hashes[MAP_PREFETCH_MAX];
    map_hint hints[MAP_PREFETCH_MAX];
} stretch;

static void collect(const block *b, size_t first, stretch *s)
{
    s->items = &b->items[first];
    for (s->n = 0; s->n < MAP_PREFETCH_MAX && first + s->n < b->count; s->n++) {
        if (s->items[s->n].todo.db != s->items[0].todo.db)
            break;
        s->hashes[s->n] = s->items[s->n].todo.hash;
    }
}

/* How many plain SETs there are from the i-th command on. */
static size_t count_sets(const stretch *s, size_t i)
{
    size_t n = 0;

    while (i + n < s->n && aof_todo_is_set(&s->items[i + n].todo))
        n++;
    return n;
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void run_stretch(loader *l, stretch *s)
{
    kv_store *store = l->runner.databases->stores[s->items[0].todo.db];

    store_prefetch(store, s->n, s->hashes, s->hints);
    for (size_t i = 0, n; i < s->n && !l->failed; i += n) {
        const aof_todo *todo = &s->items[i].todo;

        n = count_sets(s, i);
        if (n > 0)
            aof_runner_set(&l->runner, todo, n, &s->hashes[i], &s->hints[i]);
        else
            aof_runner_run(&l->runner, todo, todo->hashed ? &s->hints[i] : NULL);
        n = n ? n : 1;
        if (l->runner.failed)
            fail_at(l, &s->items[i], false);
    }
}

static void run_block(loader *l, const block *b)
{
    stretch s;

    if (epoch_enter(l->all->domain) != 0)
        fail_at(l, &b->items[0], true);
    for (size_t first = 0; first < b->count && !l->failed; first += s.n) {
        collect(b, first, &s);
        run_stretch(l, &s);
    }
    epoch_leave(l->all->domain);
}

static void *run(void *arg)
{
    loader *l = arg;
    block *b;

    while ((b = (block *)relay_take_full(&l->relay)) != NULL) {
        if (!l->failed)
            run_block(l, b);
        relay_give_back(&l->relay, &b->link);
    }
    return NULL;
}

/* ---- giving ---- */

int aof_loaders_of(const aof_loaders *all, uint64_t hash)
{
    return (int)((hash >> 32) * (uint64_t)all->count >> 32);
}

/* The bytes from the first argument to the end of the last one, which lie in this order. */
static size_t span_of(const aof_todo *todo)
{
    const kv_slice *last = &todo->argv[todo->argc - 1];

    return (size_t)(last->data + last->len - todo->argv[0].data);
}

bool aof_loaders_take(const aof_todo *todo)
{
    return span_of(todo) <= AOF_LOADER_BYTES_MAX && (unsigned)todo->argc <= AOF_LOADER_SLICES_MAX;
}

static bool has_room(const block *b, size_t bytes, size_t slices)
{
    return b->count < BLOCK_COMMANDS && b->byte_capacity - b->bytes_used >= bytes &&
           b->slice_capacity - b->slices_used >= slices;
}

/* Room in an empty block. Slices point into the bytes, so neither may move later. */
static bool make_room(block *b, size_t bytes, size_t slices)
{
    size_t byte_capacity = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES,
           slice_capacity = slices > BLOCK_SLICES ? slices : BLOCK_SLICES;

    if (b->byte_capacity < byte_capacity) {
        free(b->bytes);
        b->bytes = malloc(byte_capacity);
        b->byte_capacity = b->bytes ? byte_capacity : 0;
    }
    if (b->slice_capacity < slice_capacity) {
        free(b->slices);
        b->slices = malloc(slice_capacity * sizeof *b->slices);
        b->slice_capacity = b->slices ? slice_capacity : 0;
    }
    return b->bytes && b->slices;
}

static void copy(block *b, const aof_todo *todo, size_t span, uint64_t offset)
{
    const char *from = todo->argv[0].data;
    char *to = b->bytes + b->bytes_used;
    kv_slice *argv = b->slices + b->slices_used;
    item *i = &b->items[b->count++];

    if (span)
        memcpy(to, from, span);
    for (int a = 0; a < todo->argc; a++)
        argv[a] = kv_slice_of(to + (todo->argv[a].data - from), todo->argv[a].len);
    i->todo = *todo;
    i->todo.argv = argv;
    i->offset = offset;
    b->bytes_used += span;
    b->slices_used += (size_t)todo->argc;
}

/* Hands over the block that is being filled. */
static void give_full(loader *l)
{
    block *b = l->filling;

    l->filling = NULL;
    if (b)
        relay_give_full(&l->relay, &b->link);
}

/* Waits for an empty block. */
static block *take_empty(loader *l)
{
    block *b = (block *)relay_take_empty(&l->relay);

    b->count = b->slices_used = b->bytes_used = 0;
    return b;
}

bool aof_loaders_give(aof_loaders *all, int which, const aof_todo *todo, uint64_t offset)
{
    loader *l = &all->loaders[which];
    size_t span = span_of(todo), slices = (size_t)todo->argc;

    if (atomic_load_explicit(&all->failed, memory_order_relaxed))
        return false;
    if (l->filling && l->filling->count && !has_room(l->filling, span, slices))
        give_full(l);
    if (!l->filling)
        l->filling = take_empty(l);
    if (!has_room(l->filling, span, slices) && !make_room(l->filling, span, slices))
        return false;
    copy(l->filling, todo, span, offset);
    return true;
}

bool aof_loaders_settle(aof_loaders *all, aof_failure *ret_failure)
{
    const loader *first = NULL;

    for (int i = 0; i < all->count; i++)
        if (all->loaders[i].filling && all->loaders[i].filling->count)
            give_full(&all->loaders[i]);
    for (int i = 0; i < all->count; i++)
        relay_wait_idle(&all->loaders[i].relay);
    for (int i = 0; i < all->count; i++)
        if (all->loaders[i].failed && (!first || all->loaders[i].failure.offset < first->failure.offset))
            first = &all->loaders[i];
    if (first)
        *ret_failure = first->failure;
    return !first;
}

/* ---- life ---- */

static void open_loader(aof_loaders *all, loader *l, const kv_databases *databases, int64_t now_ms)
{
    l->all = all;
    aof_runner_init(&l->runner, databases, now_ms);
    relay_init(&l->relay);
    for (int i = 0; i < AOF_LOADER_BLOCKS; i++)
        relay_add(&l->relay, &l->blocks[i].link);
}

static void close_loader(loader *l)
{
    for (int i = 0; i < AOF_LOADER_BLOCKS; i++) {
        free(l->blocks[i].slices);
        free(l->blocks[i].bytes);
    }
    relay_done(&l->relay);
}

aof_loaders *aof_loaders_new(const kv_databases *databases, int64_t now_ms, int threads)
{
    int n = threads < 1 ? 1 : threads > AOF_LOADERS_MAX ? AOF_LOADERS_MAX : threads;
    aof_loaders *all = calloc(1, sizeof *all + (size_t)n * sizeof *all->loaders);

    if (!all)
        return NULL;
    all->domain = kv_store_domain(databases->stores[0]);
    for (bool started = true; started && all->count < n; all->count += started) {
        loader *l = &all->loaders[all->count];

        open_loader(all, l, databases, now_ms);
        started = pthread_create(&l->thread, NULL, run, l) == 0;
        if (!started)
            close_loader(l);
    }
    if (all->count)
        return all;
    free(all);
    return NULL;
}

void aof_loaders_free(aof_loaders *all)
{
    for (int i = 0; all && i < all->count; i++) {
        loader *l = &all->loaders[i];

        relay_break(&l->relay);
        pthread_join(l->thread, NULL);
        close_loader(l);
    }
    free(all);
}
