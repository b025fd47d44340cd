/* root.c - a map's root: making a map, growing one shard into many, freeing it.
 *
 * A small map is one shard. It becomes many when it has some eight segments: all keys (two or three thousand) are re-hashed into a
 * fresh root that is published under the old shard's lock, at an unlock, when nobody holds a place. Who looked up the old root
 * sees the state of the moment before; who waits for the old shard's lock finds, having it, that the root has changed (map.c).
 * The old root, and its index, are freed by the epochs. When memory is out the map stays as it is and tries at a later unlock.
 * SPDX-License-Identifier: MIT */
#include "shard.h"

#include <assert.h>

size_t root_size(unsigned bits)
{
    return 128 + ((sizeof(map_shard) + sizeof(shard_extra)) << bits);
}

static root *root_new(kv_domain *domain, unsigned bits, const map_options *options)
{
    root *r = domain_alloc(domain, root_size(bits), 128);

    if (!r)
        return NULL;
    memset(r, 0, root_size(bits));
    r->domain = domain;
    r->bits = (uint8_t)bits;
    r->version_step = options->version_step ? options->version_step : 1;
    r->version_start = options->version_start;
    r->one = options->one_lock;
    r->promote = options->shards == 0 && bits == 0;
    r->extra = (shard_extra *)((char *)r + 128 + (sizeof(map_shard) << bits));
    for (size_t i = 0; i < root_shards(r); i++) {
        map_shard *s = root_shard(r, i);

        atomic_init(&s->directory, directory_pointer(&s->first, 0));
        s->index = (uint16_t)i;
        s->bits = (uint8_t)bits;
        s->root = r;
        s->lock = r->one ? &r->one_lock : &s->own;
        s->version = options->version_start;
        atomic_init(&s->past_ms, 0);
        atomic_init(&r->extra[i].earliest, KV_FOREVER);
        r->extra[i].next_earliest = KV_FOREVER;
    }
    return r;
}

static void release_root(kv_domain *domain, void *memory)
{
    root *r = memory;

    domain_free(domain, r, root_size(r->bits));
}

/* Frees a root and its index, the entries not; nobody else knows it any more. */
static void root_free(root *r)
{
    for (size_t i = 0; i < root_shards(r); i++) {
        map_shard *s = root_shard(r, i);

        shard_discard_index(s);
        while (s->garbage) {
            garbage *g = s->garbage;

            s->garbage = g->next;
            g->release(r->domain, g);
        }
    }
    domain_free(r->domain, r, root_size(r->bits));
}

static uint64_t root_word(const root *r, uint64_t swaps)
{
    return (uint64_t)(uintptr_t)root_shard(r, 0) | r->bits | swaps << 48;
}

/* ---- one shard into many ---- */

/* Fills a fresh root with what the only shard of another holds. */
static int refill(root *to, map_shard *from)
{
    size_t slots = (size_t)1 << shard_depth(from);
    segment *last = NULL;

    for (size_t i = 0; i < slots; i++) {
        segment *seg =
            directory_segment(atomic_load_explicit(&shard_directory(from)[i], memory_order_relaxed));
        segment_cursor cursor = { 0 };
        segment_slot slot;

        if (!seg || seg == last)
            continue;
        last = seg;
        while (segment_walk(seg, &cursor, &slot)) {
            uint64_t hash = domain_hash(to->domain, entry_key(slot.entry));
            map_shard *s = root_word_shard(root_word(to, 0), hash);

            if (shard_add(s, hash, slot.entry))
                return KV_ENOMEM;
        }
    }
    return 0;
}

/* Memory may be out: then later. The old shard's index becomes its garbage. */
__attribute__((noinline)) static void promote(map_shard *old)
{
    map_options options = { .version_start = old->version,
                            .version_step = old->root->version_step,
                            .shards = SHARDS_WHEN_BIG,
                            .one_lock = old->root->one };
    map *m = old->root->map;
    root *r = root_new(m->domain, (unsigned)__builtin_ctz(SHARDS_WHEN_BIG), &options);

    if (!r)
        return;
    r->map = m;
    for (size_t i = 0; i < root_shards(r); i++)
        atomic_init(&root_shard(r, i)->past_ms, atomic_load_explicit(&old->past_ms, memory_order_relaxed));
    if (refill(r, old)) {
        root_free(r);
        return;
    }
    uint64_t swaps = atomic_load_explicit(&m->root, memory_order_relaxed) >> 48;

    atomic_store_explicit(&m->root, root_word(r, swaps), memory_order_release);
    shard_discard_index(old);
    shard_discard(old, &old->root->garbage, release_root, root_size(0));
}

void shard_promote(map_shard *s)
{
    if (s->root->promote && s->root->bits == 0 &&
        !atomic_load_explicit(&s->root->snapshot, memory_order_relaxed) &&
        atomic_load_explicit(&shard_extra_of(s)->segments, memory_order_relaxed) >= SEGMENTS_WHEN_BIG)
        promote(s);
}

/* ---- life ---- */

map *map_new(kv_domain *domain, const map_options *options)
{
    static const map_options defaults = { .version_step = 1 };
    map *m = domain_alloc(domain, sizeof *m, 64);

    if (!m)
        return NULL;
    options = options ? options : &defaults;
    size_t shards = options->shards;

    assert(shards <= SHARDS_MAX && (shards & (shards - 1)) == 0);
    if (shards == 0)
        shards = options->expected_keys > SEGMENTS_WHEN_BIG * SEGMENT_BUCKETS * BUCKET_SLOTS / 2
                     ? SHARDS_WHEN_BIG
                     : 1;
    root *r = root_new(domain, (unsigned)__builtin_ctzll(shards), options);

    if (!r) {
        domain_free(domain, m, sizeof *m);
        return NULL;
    }
    r->map = m;
    m->domain = kv_domain_ref(domain);
    atomic_init(&m->watches, NULL);
    atomic_init(&m->root, root_word(r, 0));
    return m;
}

static void free_entries(map_shard *s)
{
    size_t position = 0;
    segment *seg;
    segment_slot slot;

    while ((seg = directory_next(shard_directory(s), shard_depth(s), &position)) != NULL) {
        segment_cursor cursor = { 0 };

        while (segment_walk(seg, &cursor, &slot))
            entry_free(s->root->domain, slot.entry);
    }
}

void map_free(map *m)
{
    if (!m)
        return;
    kv_domain *domain = m->domain;
    root *r = root_of_word(map_root_word(m));

    for (size_t i = 0; i < root_shards(r); i++)
        free_entries(root_shard(r, i));
    root_free(r);
    map_watch_done(m);
    domain_free(domain, m, sizeof *m);
    kv_domain_unref(domain);
}

kv_domain *map_domain(const map *m)
{
    return m->domain;
}
