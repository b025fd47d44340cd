/* scan.c - SCAN: a cursor that is a position in hash space; and RANDOMKEY.
 *
 *     cursor  47..14 prefix: the first 34 bits of the hash | 13..8 depth | 7..0 lo
 *
 * The segments of all shards, in order, tile the hash space by prefix; within a segment home buckets are
 * ordered by lo. Neither order changes when a segment grows, splits or merges, or when one shard becomes 64,
 * which Redis obtains for its tables by incrementing reversed bits. A cursor says what was visited:
 *
 *     every hash before prefix; and of those that share the first depth bits with prefix, every one below lo
 *
 * One call visits one home bucket: the entries whose home it is, up to 15 buckets further on; position does not
 * decide. Where the segment has split or merged since (its depth is another, or it begins before prefix), what
 * was visited is no range of its buckets: then one call visits all the rest of it, telling by their hashes what
 * was visited before. So a scan that runs to its end visits no entry twice, and each that is there throughout once.
 *
 * What is visited was gathered from one published segment in which nothing was published meanwhile, and not while
 * a change of several keys was under way; where writers keep disturbing that, under the lock. Only entries in a
 * chain, which no random hash brings about, may be met twice when they are removed and added again.
 *
 * A random entry: segments hold about the same share of hash space times entries, but not exactly, so a drawn
 * segment is accepted in proportion to its density; then every entry is equally likely. A map with few entries per
 * shard draws a number and counts. SPDX-License-Identifier: MIT */
#include "shard.h"

#define PREFIX_BITS 34u
#define VISIT_MAX   (SEGMENT_BUCKETS * BUCKET_SLOTS)
#define TRIES       4
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

static bool same_prefix(uint64_t a, uint64_t b, unsigned depth)
{
    return depth == 0 || (a ^ b) >> (64 - depth) == 0;
}

/* Whether an entry was visited before the cursor came to at. */
static bool was_visited(const map *m, scan_position at, const entry *e)
{
    uint64_t hash = domain_hash(m->domain, entry_key(e));

    return hash < at.prefix || (same_prefix(hash, at.prefix, at.depth) && (hash & 0xff) < at.lo);
}

/* ---- gathering ---- */

/* What one call visits. */
typedef struct stop {
    uint64_t root_word, word; /* of the root; of the directory */
    map_shard *shard;
    unsigned depth, buckets, home; /* of the segment: its depth with the shard's; the bucket to visit */
    bool rest;                     /* all of the segment that was not visited before */
    bool doubtful;                 /* what is there may have been visited: look at the hashes */
    unsigned n;
    const entry *seen[VISIT_MAX];
} stop;

static void gather_home(segment *s, stop *at)
{
    unsigned index = at->home;

    for (unsigned step = 0; step < SEGMENT_WINDOW && step < at->buckets; step++) {
        bucket *b = &s->bucket[index];
        uint64_t tags = atomic_load_explicit(&b->tags, memory_order_acquire);

        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t word =
                tags >> (8 * i) & 0xff ? atomic_load_explicit(&b->words[i], memory_order_acquire) : 0;

            if (word_entry(word) && word_steps(word) == step)
                at->seen[at->n++] = word_entry(word);
        }
        if (tags_overflow(tags) == 0)
            break;
        if (++index == at->buckets)
            index = 0;
    }
}

static void gather_all(segment *s, stop *at)
{
    segment_cursor cursor = { 0 };
    segment_slot slot;

    while (segment_walk(s, &cursor, &slot) && slot.bucket != IN_CHAIN)
        at->seen[at->n++] = slot.entry;
}

/* Decides what to visit from a position, and gathers it. */
static void gather(scan_position from, stop *at)
{
    at->shard = root_word_shard(at->root_word, from.prefix);
    at->word = shard_segment_word(at->shard, from.prefix);
    at->n = 0;
    segment *s = directory_segment(at->word);

    if (!s)
        return;
    at->depth = at->shard->bits + directory_depth(at->word);
    at->buckets = directory_buckets(at->word);
    at->home = bucket_home(from.lo, at->buckets);
    at->rest = (from.lo && at->depth != from.depth) || from.prefix << at->depth != 0; /* begins before it */
    at->doubtful = at->rest || bucket_first_lo(at->home, at->buckets) != from.lo;
    if (at->rest)
        gather_all(s, at);
    else
        gather_home(s, at);
}

/* Gathers without a lock; false: something was published meanwhile. */
static bool gather_undisturbed(const map *m, scan_position from, stop *at)
{
    at->root_word = map_root_word(m);
    map_shard *s = root_word_shard(at->root_word, from.prefix);
    /* Pairs with shard_publish_end. */
    uint32_t sequence = atomic_load_explicit(&s->sequence, memory_order_acquire);

    if (sequence & 1)
        return false;
    gather(from, at);
    /* What was gathered was read by acquire loads, so this comes after it. */
    return atomic_load_explicit(&s->sequence, memory_order_acquire) == sequence &&
           map_undisturbed(m, at->root_word, s);
}

static void gather_locked(const map *m, scan_position from, stop *at)
{
    map_shard *s = map_lock((map *)m, from.prefix);

    at->root_word = map_root_word(m);
    gather(from, at);
    map_unlock(s);
}

/* ---- visiting ---- */

static void visit_chain(const map *m, const stop *at, scan_position from, map_visit_fn *visit, void *arg)
{
    segment *s = directory_segment(at->word);
    segment_cursor cursor = { .bucket = s->buckets };
    segment_slot slot;

    while (segment_walk(s, &cursor, &slot)) {
        uint8_t lo = (uint8_t)domain_hash(m->domain, entry_key(slot.entry));

        if ((at->rest || bucket_home(lo, at->buckets) == at->home) && !was_visited(m, from, slot.entry))
            visit(arg, slot.entry);
    }
}

/* The place after what was visited. */
static uint64_t step_on(scan_position from, const stop *at)
{
    scan_position next = { next_prefix(from.prefix, at->depth), 0, 0 };

    if (!at->rest && at->home + 1 < at->buckets)
        next = (scan_position){ from.prefix, at->depth, bucket_first_lo(at->home + 1, at->buckets) };
    else if (next.prefix == 0)
        return 0;
    else if (at->rest && from.lo && same_prefix(next.prefix, from.prefix, from.depth))
        next = (scan_position){ next.prefix, from.depth, from.lo }; /* the next part of what has split */
    return cursor_of(next);
}

uint64_t map_scan(const map *m, uint64_t cursor, map_visit_fn *visit, void *arg)
{
    scan_position from = position_of(cursor);
    int tries = 0;
    stop at;

    while (tries < TRIES && !gather_undisturbed(m, from, &at))
        tries++;
    if (tries == TRIES)
        gather_locked(m, from, &at);
    if (!directory_segment(at.word)) { /* an empty shard */
        uint64_t next = next_prefix(from.prefix, at.shard->bits);

        return next ? cursor_of((scan_position){ next, 0, 0 }) : 0;
    }
    for (unsigned i = 0; i < at.n; i++)
        if (!at.doubtful || !was_visited(m, from, at.seen[i]))
            visit(arg, at.seen[i]);
    if (at.word & DIRECTORY_CHAIN)
        visit_chain(m, &at, from, visit, arg);
    return step_on(from, &at);
}

/* ---- an entry of which only the hash is known ---- */

typedef struct wanted {
    const map *map;
    uint64_t hash;
    const entry *found;
} wanted;

static void compare_hash(void *arg, const entry *e)
{
    wanted *w = arg;

    if (domain_hash(w->map->domain, entry_key(e)) == w->hash)
        w->found = e;
}

const entry *map_find_hash(const map *m, uint64_t hash)
{
    wanted w = { m, hash, NULL };

    map_scan(m, cursor_of((scan_position){ hash, PREFIX_BITS, hash & 0xff }), compare_hash, &w);
    return w.found;
}

/* ---- a random entry ---- */

/* Uniform in 0..n-1, but for 2^-32 of bias: n is small. */
static size_t draw_below(uint64_t *rng, size_t n)
{
    return (size_t)((random_next(rng) >> 32) * n >> 32);
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
    uint64_t hash = random_next(rng);
    map_shard *s = root_word_shard(map_root_word(m), hash);
    uint64_t word = shard_segment_word(s, hash);

    if (!word || entries == 0)
        return NULL;
    segment *seg = directory_segment(word);
    size_t n = segment_entries(seg);
    double density = (double)n * (double)((uint64_t)1 << (s->bits + directory_depth(word)));

    if ((double)(random_next(rng) >> 11) * 0x1p-53 * 2 * (double)entries > density)
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
