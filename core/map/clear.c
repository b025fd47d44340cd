/* clear.c - emptying a map at one moment, and taking what was in it to pieces later.
 *
 * Under all locks only the directories change hands: each shard gets an empty one, the old ones become the
 * debris. Readers of before may still be inside, so the debris retires what it holds instead of freeing it;
 * in pieces, since it may be everything there is. A snapshot that has not yet visited all of it takes it instead
 * (map_snapshot.c). SPDX-License-Identifier: MIT */
#include "shard.h"

/* What one shard held. */
typedef struct remains {
    uint64_t directory;     /* 0: nothing */
    _Atomic uint64_t first; /* the one segment word, when the directory was the shard's own */
} remains;

struct map_debris {
    garbage garbage; /* when memory is out for retiring what it holds */
    kv_domain *domain;
    size_t shards, at; /* the shard being dismantled */
    size_t position;   /* in its directory */
    remains remains[];
};

static size_t debris_size(size_t shards)
{
    return sizeof(map_debris) + shards * sizeof(remains);
}

/* Empties one shard into its remains. */
static void shard_empty(map_shard *s, remains *into)
{
    shard_extra *extra = shard_extra_of(s);
    uint64_t directory = atomic_load_explicit(&s->directory, memory_order_relaxed);
    uint64_t first = atomic_load_explicit(&s->first, memory_order_relaxed);

    if ((directory & ADDRESS) == (uint64_t)(uintptr_t)&s->first) {
        into->directory = first ? directory_pointer(&into->first, 0) : 0;
        atomic_init(&into->first, first);
    } else {
        into->directory = directory;
    }
    extra->removed += atomic_load_explicit(&s->entries, memory_order_relaxed);
    shard_publish_begin(s);
    atomic_store_explicit(&s->first, 0, memory_order_release);
    atomic_store_explicit(&s->directory, directory_pointer(&s->first, 0), memory_order_release);
    atomic_store_explicit(&s->entries, 0, memory_order_release);
    shard_publish_end(s);
    atomic_store_explicit(&shard_extra_of(s)->with_deadline, 0, memory_order_relaxed);
    atomic_store_explicit(&s->entry_bytes, 0, memory_order_relaxed);
    atomic_store_explicit(&shard_extra_of(s)->deadline_sum_ms, 0, memory_order_relaxed);
    atomic_store_explicit(&extra->earliest, KV_FOREVER, memory_order_relaxed);
    atomic_store_explicit(&extra->segments, 0, memory_order_relaxed);
    atomic_store_explicit(&extra->index_bytes, 0, memory_order_relaxed);
    extra->next_earliest = KV_FOREVER;
    extra->deepest = 0;
}

map_debris *map_debris_new(const map *m)
{
    return map_debris_new_for(m, (size_t)1 << root_word_bits(map_root_word(m)));
}

map_debris *map_debris_new_for(const map *m, size_t shards)
{
    map_debris *debris = domain_alloc(m->domain, debris_size(shards), 8);

    if (!debris)
        return NULL;
    memset(debris, 0, debris_size(shards));
    debris->domain = m->domain;
    debris->shards = shards;
    return debris;
}

static void debris_delete(map_debris *debris)
{
    domain_free(debris->domain, debris, debris_size(debris->shards));
}

bool map_clear(map *m, map_debris *debris, void (*under_lock)(void *arg), void *arg)
{
    uint64_t word = map_lock_all(m);
    root *r = root_of_word(word);
    bool fits = root_shards(r) == debris->shards;
    map_debris *into = fits ? snapshot_clear_into(r, debris) : debris;

    for (size_t i = 0; fits && i < debris->shards; i++)
        shard_empty(root_shard(r, i), &into->remains[i]);
    if (fits && under_lock)
        under_lock(arg);
    map_unlock_all(word);
    return fits;
}

/* What becomes of what is found in debris: it is retired, or freed at once when no reader can be left. */
typedef struct disposal {
    void (*entry)(kv_domain *domain, entry *e);
    void (*segment)(kv_domain *domain, segment *s);
    void (*directory)(kv_domain *domain, uint64_t directory);
} disposal;

static const disposal retiring = { entry_retire, segment_retire, directory_retire };
static const disposal freeing = { entry_free, segment_free, directory_free };

/* The next segment, NULL: there is none left. Disposes of directories that are finished. */
static segment *debris_next(map_debris *debris, const disposal *way)
{
    kv_domain *domain = debris->domain;

    for (; debris->at < debris->shards; debris->at++, debris->position = 0) {
        remains *r = &debris->remains[debris->at];
        _Atomic uint64_t *words = (_Atomic uint64_t *)(uintptr_t)(r->directory & ADDRESS);
        segment *s = NULL;

        if (r->directory)
            s = directory_next(words, directory_pointer_depth(r->directory), &debris->position);
        if (s)
            return s;
        if (r->directory && words != &r->first)
            way->directory(domain, r->directory);
    }
    return NULL;
}

static void dispose(map_debris *debris, segment *s, const disposal *way)
{
    segment_cursor cursor = { 0 };
    segment_slot slot;

    while (segment_walk(s, &cursor, &slot))
        way->entry(debris->domain, slot.entry);
    way->segment(debris->domain, s);
}

/* Disposes of the next segment and what is in it; false: there was none. */
static bool debris_step(map_debris *debris, const disposal *way)
{
    segment *s = debris_next(debris, way);

    if (s)
        dispose(debris, s, way);
    return s != NULL;
}

int map_debris_visit(map_debris *debris, void (*visit)(void *arg, size_t shard, const entry *e), void *arg)
{
    segment_cursor cursor = { 0 };
    segment_slot slot;
    segment *s;

    if (epoch_reserve(debris->domain, SEGMENT_BUCKETS * BUCKET_SLOTS + 2) != 0)
        return KV_ENOMEM;
    s = debris_next(debris, &retiring);
    if (!s)
        return 0;
    while (segment_walk(s, &cursor, &slot))
        visit(arg, debris->at, slot.entry);
    dispose(debris, s, &retiring);
    return 1;
}

/* The domain ends, and nobody reads any more. */
static void release_debris(kv_domain *domain, void *memory)
{
    (void)domain;
    while (debris_step(memory, &freeing))
        ;
    debris_delete(memory);
}

bool map_debris_free(map_debris *debris, size_t max_segments)
{
    if (!debris)
        return false;
    kv_domain *domain = debris->domain;
    domain_thread *held = epoch_hold(domain);
    bool left = true;

    for (size_t i = 0; left && i < max_segments; i++) {
        if (epoch_reserve(domain, SEGMENT_BUCKETS * BUCKET_SLOTS + 2) != 0) {
            debris->garbage.release = release_debris;
            epoch_leave_behind(domain, &debris->garbage);
            epoch_let_go(domain, held);
            return false;
        }
        left = debris_step(debris, &retiring);
    }
    epoch_let_go(domain, held);
    if (!left)
        debris_delete(debris);
    epoch_reclaim(domain);
    return left;
}
