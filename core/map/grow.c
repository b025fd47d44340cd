/* grow.c - how a shard's index grows and shrinks: one segment at a time, by copy and publish.
 *
 *     directory of depth 2         segment A: local depth 1, holds all hashes 0...
 *     [ 00: A ][ 01: A ][ 10: B ][ 11: C ]   B, C: local depth 2
 *
 * Extendible hashing (Fagin, Nievergelt, Pippenger, Strong, 1979): a segment that is full becomes larger, and from
 * the largest size on two segments of one more bit; only when that bit is more than the directory has does the
 * directory double. Everything is built aside and published by one release store per directory slot, so a
 * reader has either the old piece, which is not written any more, or the new one. The old piece waits in
 * the shard's garbage until the lock is released, and is retired then.
 *
 * Shrinking is the same backwards: a segment whose count falls under its low mark merges with its buddy when
 * the two together are small, or becomes smaller by itself. The low mark makes sure that a rebuild is paid
 * for by many removals. An empty shard has no segment at all.
 *
 * The work of one insert or removal is bounded by two segments and, rarely, the directory of one shard,
 * whatever the map holds. Failed allocations leave everything as it was; growth is then tried again by the next insert.
 * SPDX-License-Identifier: MIT */
#include "shard.h"

#include <assert.h>

typedef struct directory {
    garbage garbage;
    size_t unused; /* keeps the words on a multiple of 32 */
    _Atomic uint64_t words[];
} directory;

size_t directory_bytes(unsigned depth)
{
    return sizeof(directory) + ((size_t)8 << depth);
}

static void release_segment(kv_domain *domain, void *memory)
{
    segment_free(domain, memory);
}

static void release_directory(kv_domain *domain, void *memory)
{
    directory *d = memory;

    domain_free(domain, d, d->garbage.size_bytes);
}

void shard_discard(map_shard *s, garbage *g, epoch_release_fn *release, size_t size_bytes)
{
    g->release = release;
    g->size_bytes = size_bytes;
    g->next = s->garbage;
    s->garbage = g;
}

static void count_index(map_shard *s, ptrdiff_t segments, ptrdiff_t bytes)
{
    shard_extra *extra = shard_extra_of(s);

    atomic_fetch_add_explicit(&extra->segments, (uint32_t)segments, memory_order_relaxed);
    atomic_fetch_add_explicit(&extra->index_bytes, (size_t)bytes, memory_order_relaxed);
}

void segment_retire(kv_domain *domain, segment *s)
{
    epoch_retire(domain, s, segment_size(s->buckets), release_segment);
}

static void discard_segment(map_shard *s, segment *old)
{
    size_t size = segment_size(old->buckets);

    count_index(s, -1, -(ptrdiff_t)size);
    shard_discard(s, &old->garbage, release_segment, size);
}

static segment *add_segment(map_shard *s, unsigned buckets, unsigned depth)
{
    segment *added = segment_new(s->root->domain, buckets, depth);

    if (added)
        count_index(s, 1, (ptrdiff_t)segment_size(buckets));
    return added;
}

/* For a segment that was never published. */
static void drop_segment(map_shard *s, segment *unused)
{
    if (!unused)
        return;
    count_index(s, -1, -(ptrdiff_t)segment_size(unused->buckets));
    segment_free(s->root->domain, unused);
}

/* Points all directory slots of a segment of that depth, the one that hash leads to, to word. */
static void publish(map_shard *s, uint64_t hash, unsigned depth, uint64_t word)
{
    unsigned spare = shard_depth(s) - depth;
    size_t index = (size_t)(shard_slot(s, hash) - shard_directory(s)) >> spare << spare;
    _Atomic uint64_t *slot = shard_directory(s) + index;

    for (size_t i = 0; i < (size_t)1 << spare; i++) /* pairs with the acquire in shard_segment_word */
        atomic_store_explicit(&slot[i], word, memory_order_release);
}

static void publish_directory(map_shard *s, _Atomic uint64_t *words, unsigned depth)
{
    uint64_t old = atomic_load_explicit(&s->directory, memory_order_relaxed);
    _Atomic uint64_t *old_words = (_Atomic uint64_t *)(uintptr_t)(old & ADDRESS);
    unsigned old_depth = directory_pointer_depth(old);

    /* Pairs with the acquire in shard_slot. */
    atomic_store_explicit(&s->directory, directory_pointer(words, depth), memory_order_release);
    if (words != &s->first)
        count_index(s, 0, (ptrdiff_t)directory_bytes(depth));
    if (old_words != &s->first) {
        directory *d = (directory *)((char *)old_words - sizeof(directory));

        count_index(s, 0, -(ptrdiff_t)directory_bytes(old_depth));
        shard_discard(s, &d->garbage, release_directory, directory_bytes(old_depth));
    }
}

static int double_directory(map_shard *s)
{
    unsigned depth = shard_depth(s);
    _Atomic uint64_t *old = shard_directory(s);
    directory *d = domain_alloc(s->root->domain, directory_bytes(depth + 1), 8);

    if (!d)
        return KV_ENOMEM;
    for (size_t i = 0; i < (size_t)2 << depth; i++)
        atomic_init(&d->words[i], atomic_load_explicit(&old[i / 2], memory_order_relaxed));
    publish_directory(s, d->words, depth + 1);
    shard_extra_of(s)->deepest = 0;
    return 0;
}

/* When no segment needs the last bit of the directory. Memory may be out: then it stays. */
static void halve_directory(map_shard *s)
{
    unsigned depth = shard_depth(s) - 1;
    _Atomic uint64_t *old = shard_directory(s), *words = &s->first;
    uint32_t deepest = 0;

    if (depth > 0) {
        directory *d = domain_alloc(s->root->domain, directory_bytes(depth), 8);

        if (!d)
            return;
        words = d->words;
    }
    for (size_t i = 0; i < (size_t)1 << depth; i++) {
        uint64_t word = atomic_load_explicit(&old[2 * i], memory_order_relaxed);

        atomic_store_explicit(&words[i], word, memory_order_release);
        deepest += directory_depth(word) == depth;
    }
    publish_directory(s, words, depth);
    shard_extra_of(s)->deepest = deepest;
}

void shard_republish(map_shard *s, uint64_t hash, segment *changed)
{
    publish(s, hash, changed->depth, directory_word(changed));
}

segment *directory_next(_Atomic uint64_t *words, unsigned depth, size_t *position)
{
    while (*position < (size_t)1 << depth) {
        uint64_t word = atomic_load_explicit(&words[*position], memory_order_acquire);

        *position += (size_t)1 << (depth - (word ? directory_depth(word) : depth));
        if (word)
            return directory_segment(word);
    }
    return NULL;
}

void shard_discard_index(map_shard *s)
{
    size_t position = 0;
    segment *old;

    while ((old = directory_next(shard_directory(s), shard_depth(s), &position)) != NULL)
        discard_segment(s, old);
    atomic_store_explicit(&s->first, 0, memory_order_release);
    publish_directory(s, &s->first, 0);
    shard_extra_of(s)->deepest = 0;
}

static directory *directory_of_word(uint64_t word)
{
    directory *d = (directory *)((uintptr_t)(word & ADDRESS) - sizeof(directory));

    d->garbage.size_bytes = directory_bytes(directory_pointer_depth(word));
    return d;
}

void directory_retire(kv_domain *domain, uint64_t word)
{
    directory *d = directory_of_word(word);

    epoch_retire(domain, d, d->garbage.size_bytes, release_directory);
}

void directory_free(kv_domain *domain, uint64_t word)
{
    release_directory(domain, directory_of_word(word));
}

/* ---- growing ---- */

/* Replaces a segment by one of another size, holding the same. KV_ENOMEM. */
static int resize(map_shard *s, uint64_t hash, segment *old, unsigned buckets)
{
    segment_context context = { s->root->domain, s->bits };
    segment *fresh = add_segment(s, buckets, old->depth);

    if (!fresh || segment_copy(context, (segment *[2]){ fresh, fresh }, old)) {
        drop_segment(s, fresh);
        return KV_ENOMEM;
    }
    publish(s, hash, fresh->depth, directory_word(fresh));
    discard_segment(s, old);
    return 0;
}

static int split(map_shard *s, uint64_t hash, segment *old)
{
    segment_context context = { s->root->domain, s->bits };
    unsigned depth = old->depth + 1u, ones;
    uint64_t bit = (uint64_t)1 << (63 - s->bits - old->depth);
    segment *sides[2] = { NULL, NULL };

    if (depth > DEPTH_MAX)
        return KV_ERANGE;
    if (old->depth == shard_depth(s) && double_directory(s))
        return KV_ENOMEM;
    ones = segment_count_side(context, old, depth);
    sides[0] = add_segment(s, segment_fitting_size(segment_entries(old) - ones), depth);
    sides[1] = add_segment(s, segment_fitting_size(ones), depth);
    if (!sides[0] || !sides[1] || segment_copy(context, sides, old)) {
        drop_segment(s, sides[0]);
        drop_segment(s, sides[1]);
        return KV_ENOMEM;
    }
    publish(s, hash & ~bit, depth, directory_word(sides[0]));
    publish(s, hash | bit, depth, directory_word(sides[1]));
    if (depth == shard_depth(s))
        shard_extra_of(s)->deepest += 2;
    discard_segment(s, old);
    return 0;
}

int shard_make_room(map_shard *s, uint64_t hash, bool window_full)
{
    uint64_t word = shard_segment_word(s, hash);
    segment *old = directory_segment(word);

    if (!old) { /* the shard is empty: the depth is 0 */
        segment *first = add_segment(s, 1, 0);

        if (!first)
            return KV_ENOMEM;
        publish(s, hash, 0, directory_word(first));
        shard_extra_of(s)->deepest = 1;
        return 0;
    }
    if (!window_full && !segment_is_full(old))
        return 0;
    if (window_full && !segment_is_full(old) && segment_entries(old) < old->buckets * BUCKET_SLOTS / 2u)
        return KV_ERANGE; /* more room does not help keys of equal hashes */
    unsigned next = segment_next_size(old->buckets);

    segment_fetch(old);
    return next ? resize(s, hash, old, next) : split(s, hash, old);
}

/* ---- shrinking ---- */

/* Makes one segment of two buddies, when they are small enough together. */
static segment *merge(map_shard *s, uint64_t hash, segment *a, segment *b)
{
    segment_context context = { s->root->domain, s->bits };
    unsigned depth = a->depth;
    segment *fresh = add_segment(s, segment_fitting_size(segment_entries(a) + segment_entries(b)), depth - 1);

    if (!fresh || segment_copy(context, (segment *[2]){ fresh, fresh }, a) ||
        segment_copy(context, (segment *[2]){ fresh, fresh }, b)) {
        drop_segment(s, fresh);
        return NULL;
    }
    publish(s, hash, depth - 1, directory_word(fresh));
    discard_segment(s, a);
    discard_segment(s, b);
    if (depth == shard_depth(s)) {
        shard_extra_of(s)->deepest -= 2;
        if (shard_extra_of(s)->deepest == 0)
            halve_directory(s);
    }
    return fresh;
}

static segment *buddy_of(map_shard *s, uint64_t hash, const segment *a)
{
    uint64_t bit = (uint64_t)1 << (64 - s->bits - a->depth);
    segment *b = directory_segment(shard_segment_word(s, hash ^ bit));

    return b->depth == a->depth ? b : NULL;
}

void shard_shrink(map_shard *s, uint64_t hash, segment *old)
{
    while (segment_entries(old) < old->low) {
        segment *buddy = old->depth > 0 ? buddy_of(s, hash, old) : NULL;
        segment *merged = NULL;

        if (buddy && segment_entries(old) + segment_entries(buddy) <= MERGE_MAX)
            merged = merge(s, hash, old, buddy);
        if (merged) {
            old = merged;
            continue;
        }
        if (segment_entries(old) == 0 && old->depth == 0) {
            publish(s, hash, 0, 0);
            discard_segment(s, old);
            shard_extra_of(s)->deepest = 0;
            return;
        }
        unsigned fitting = segment_fitting_size(segment_entries(old));

        if (fitting >= old->buckets || resize(s, hash, old, fitting))
            old->low = (uint16_t)(segment_entries(old) * 3 / 4);
        return;
    }
}
