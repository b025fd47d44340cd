/* scan.c - SCAN: a cursor that is a position in hash space; and RANDOMKEY.
 *
 *     cursor  47..14 prefix: the first 34 bits of the hash | 13..8 depth | 7..0 lo
 *
 * The segments of all shards, in order, tile the hash space by prefix; within a segment home buckets are
 * ordered by lo. Neither order changes when a segment grows, splits or merges, or when one shard becomes 64,
 * which Redis obtains for its tables by incrementing reversed bits. One call visits one home bucket: the
 * entries whose home it is, up to 15 buckets further on. depth (shard bits and directory bits) says how
 * large the segment was when the cursor was made:
 *
 * - Segments as large or smaller now: go on at lo in the first of them; those after it start at 0.
 * - Merged meanwhile: the part that was not yet visited may have any lo, so start at 0 again.
 *
 * Home bucket, not position, decides, so an entry that stands in a neighbour is seen with its home. Entries in a chain are seen
 * with their lo, for which their keys are hashed. What is visited was copied from one published segment,
 * and not while a change of several keys was under way.
 *
 * A random entry: segments hold about the same share of hash space times entries, but not exactly, so a drawn
 * segment is accepted in proportion to its density; then every entry is equally likely. A map with few entries per
 * shard draws a number and counts. SPDX-License-Identifier: MIT */
#include "shard.h"

#define PREFIX_BITS 34u
#define VISIT_MAX   (SEGMENT_WINDOW * BUCKET_SLOTS)
#define DRAWS       4096

typedef struct scan_position {
    uint64_t prefix; /* as the first bits of a hash */
    unsigned depth, lo;
} scan_position;

static scan_position position_of(uint64_t cursor)
{
    scan_position p = { (cursor >> 14 & (((uint64_t)1 << PREFIX_BITS) - 1)) << (64 - PREFIX_BITS),
                        (unsigned)(cursor >> 8) & 63, (unsigned)cursor & 255 };

    return p;
}

static uint64_t cursor_of(scan_position p)
{
    return p.prefix >> (64 - PREFIX_BITS) << 14 | (uint64_t)p.depth << 8 | p.lo;
}

/* The first hash after those that share the first depth bits with prefix; 0 at the end of hash space. */
static uint64_t next_prefix(uint64_t prefix, unsigned depth)
{
    return depth == 0 ? 0 : ((prefix >> (64 - depth)) + 1) << (64 - depth);
}

/* ---- one home bucket ---- */

static unsigned gather_home(segment *s, unsigned buckets, unsigned home, const entry *seen[])
{
    unsigned n = 0, index = home;

    for (unsigned step = 0; step < SEGMENT_WINDOW && step < buckets; step++) {
        bucket *b = &s->bucket[index];
        uint64_t tags = atomic_load_explicit(&b->tags, memory_order_acquire);

        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t word =
                tags >> (8 * i) & 0xff ? atomic_load_explicit(&b->words[i], memory_order_acquire) : 0;

            if (word_entry(word) && word_steps(word) == step)
                seen[n++] = word_entry(word);
        }
        if (tags_overflow(tags) == 0)
            break;
        if (++index == buckets)
            index = 0;
    }
    return n;
}

static void visit_chain(const map *m, segment *s, unsigned buckets, unsigned home, map_visit_fn *visit,
                        void *arg)
{
    segment_cursor cursor = { .bucket = s->buckets };
    segment_slot slot;

    while (segment_walk(s, &cursor, &slot)) {
        uint8_t lo = (uint8_t)domain_hash(m->domain, entry_key(slot.entry));

        if (bucket_home(lo, buckets) == home)
            visit(arg, slot.entry);
    }
}

/* The place after this home bucket. */
static uint64_t step_on(scan_position at, unsigned depth, unsigned buckets, unsigned home)
{
    scan_position next = { at.prefix, depth, home + 1 < buckets ? bucket_first_lo(home + 1, buckets) : 256 };

    if (next.lo > 255) {
        next.prefix = next_prefix(at.prefix, depth);
        next.depth = next.lo = 0;
        if (next.prefix == 0)
            return 0;
    }
    return cursor_of(next);
}

uint64_t map_scan(const map *m, uint64_t cursor, map_visit_fn *visit, void *arg)
{
    const entry *seen[VISIT_MAX];
    scan_position at = position_of(cursor);

    for (;;) {
        uint64_t root_word = map_root_word(m);
        map_shard *s = root_word_shard(root_word, at.prefix);
        uint64_t word = shard_segment_word(s, at.prefix);
        unsigned depth = s->bits + directory_depth(word);

        unsigned lo = depth < at.depth ? 0 : at.lo;
        unsigned buckets = directory_buckets(word), home = bucket_home((uint8_t)lo, buckets);
        segment *seg = directory_segment(word);
        unsigned n = seg ? gather_home(seg, buckets, home, seen) : 0;

        if (!map_undisturbed(m, root_word, s) && !shard_is_held(s, holding_thread(m->domain))) {
            map_wait(m, at.prefix);
            continue;
        }
        if (!seg) { /* an empty shard */
            uint64_t next = next_prefix(at.prefix, s->bits);

            return next ? cursor_of((scan_position){ next, 0, 0 }) : 0;
        }
        for (unsigned i = 0; i < n; i++)
            visit(arg, seen[i]);
        if (word & DIRECTORY_CHAIN)
            visit_chain(m, seg, buckets, home, visit, arg);
        return step_on(at, depth, buckets, home);
    }
}

/* ---- a random entry ---- */

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t draw(uint64_t *rng)
{
    uint64_t x = *rng += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* Uniform in 0..n-1, but for 2^-32 of bias: n is small. */
static size_t draw_below(uint64_t *rng, size_t n)
{
    return (size_t)((draw(rng) >> 32) * n >> 32);
}

/* The k-th entry of a segment, as it is now, or NULL. */
static const entry *nth_of(segment *s, size_t k)
{
    segment_cursor cursor = { 0 };
    segment_slot slot;

    while (segment_walk(s, &cursor, &slot))
        if (k-- == 0)
            return slot.entry;
    return NULL;
}

static size_t count_now(segment *s)
{
    segment_cursor cursor = { 0 };
    segment_slot slot;
    size_t n = 0;

    while (segment_walk(s, &cursor, &slot))
        n++;
    return n;
}

/* For maps with few entries per shard: draws a number and counts up to it. */
static const entry *random_counted(const map *m, uint64_t *rng)
{
    root *r = root_of_word(map_root_word(m));
    size_t entries = map_count(m), k = entries ? draw_below(rng, entries) : 0;

    for (size_t i = 0; i < root_shards(r); i++) {
        map_shard *s = root_shard(r, i);
        size_t here = atomic_load_explicit(&s->entries, memory_order_relaxed), position = 0;
        uint64_t directory = atomic_load_explicit(&s->directory, memory_order_acquire);
        segment *seg;

        if (k >= here) {
            k -= here;
            continue;
        }
        while ((seg = directory_next((_Atomic uint64_t *)(uintptr_t)(directory & ADDRESS),
                                     directory_pointer_depth(directory), &position)) != NULL) {
            size_t n = count_now(seg);

            if (k < n)
                return nth_of(seg, k);
            k -= n;
        }
    }
    return NULL;
}

/* Any entry of a segment without a chain: slots are drawn until one is taken. */
static const entry *draw_slot(segment *s, uint64_t *rng)
{
    for (int i = 0; i < DRAWS; i++) {
        size_t at = draw_below(rng, s->buckets * BUCKET_SLOTS);
        bucket *b = &s->bucket[at / BUCKET_SLOTS];
        const entry *e = word_entry(atomic_load_explicit(&b->words[at % BUCKET_SLOTS], memory_order_acquire));

        if (e)
            return e;
    }
    return NULL;
}

/* Draws a segment by a uniform hash position and accepts it in proportion to its entries per share of the
 * hash space, up to twice the average (a random hash stays well below). */
static const entry *random_drawn(const map *m, uint64_t *rng)
{
    size_t entries = map_count(m);
    uint64_t hash = draw(rng);
    map_shard *s = root_word_shard(map_root_word(m), hash);
    uint64_t word = shard_segment_word(s, hash);

    if (!word || entries == 0)
        return NULL;
    segment *seg = directory_segment(word);
    size_t n = segment_entries(seg);
    double density = (double)n * (double)((uint64_t)1 << (s->bits + directory_depth(word)));

    if ((double)(draw(rng) >> 11) * 0x1p-53 * 2 * (double)entries > density)
        return NULL;
    return word & DIRECTORY_CHAIN ? nth_of(seg, draw_below(rng, n)) : draw_slot(seg, rng);
}

const entry *map_random(const map *m, uint64_t *rng)
{
    const entry *e = NULL;

    for (int i = 0; i < DRAWS && !e; i++) {
        size_t entries = map_count(m);

        if (entries == 0)
            return NULL;
        if (entries >> root_word_bits(map_root_word(m)) < RANDOM_COUNTED)
            e = random_counted(m, rng);
        else
            e = random_drawn(m, rng);
    }
    return e;
}
