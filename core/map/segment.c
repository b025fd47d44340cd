/* segment.c - changing a segment: placing and taking out. Copying one into others is segment_copy.c's.
 *
 * The writer holds the shard's lock, readers look on without any. Invariants that let them:
 *
 * 1. A slot's word is stored before its tag, and cleared after its tag: who matches a tag finds the word,
 *    or 0, or the word of a later entry whose key then differs.
 * 2. An entry never moves within a published segment. A new size is a copy, published as a whole in the
 *    directory; the old segment is not written again.
 * 3. The overflow counters of the buckets that an entry had to pass are raised after its tag is there. Until
 *    the last of them is, a reader may miss the entry, as if it came a moment later; when they are lowered
 *    again, the tag has gone first. A counter that reaches 255 stays: lookups look further than they must
 *    until the segment is rebuilt.
 *
 * Sizes grow by doubling up to 31 buckets, re-hashing the keys (there are few), then by half as much again
 * without looking at any entry; then a segment is split. That keeps the fill between 55 and 85 %, so the
 * index costs 11 to 16 bytes an entry at any size of the map, where doubling alone would swing between 11
 * and 21. Above some 80 % a window may be full first, and the segment grows then. Smaller steps would save
 * a byte, copy each entry more often, and leave more holes between the spans.
 *
 * The chain takes what finds no place although the segment is far from full, which a random hash does not
 * bring about: many keys of equal hash. It is searched linearly; the map gets slower but stays right.
 * SPDX-License-Identifier: MIT */
#include "segment.h"

#include <assert.h>

#include "span.h"

/* With the descriptor: 2, 3, 5, 8, 16 and 32 lines are slab blocks without waste; 60 and 90 lines are spans whose
 * remainders fit each other. */
static const uint8_t sizes[] = { 1, 2, 4, 7, 15, 31, 59, 89 };
#define SPAN_BUCKETS 59u
#define SIZES        (sizeof sizes / sizeof sizes[0])

size_t segment_size(unsigned buckets)
{
    return sizeof(segment) + buckets * sizeof(bucket);
}

unsigned segment_next_size(unsigned buckets)
{
    for (size_t i = 0; i + 1 < SIZES; i++)
        if (sizes[i] == buckets)
            return sizes[i + 1];
    return 0;
}

/* Entries at which a segment of that size grows. In the smallest every bucket is in every window. */
static unsigned limit_of(unsigned buckets)
{
    unsigned slots = buckets * BUCKET_SLOTS;

    return buckets <= 4 ? slots : buckets < EXACT_BUCKETS ? slots * 7 / 8 : slots * 17 / 20;
}

unsigned segment_fitting_size(unsigned count)
{
    for (size_t i = 0; i < SIZES; i++)
        if (count * 8 <= limit_of(sizes[i]) * 7)
            return sizes[i];
    return SEGMENT_BUCKETS;
}

bool segment_is_full(const segment *s)
{
    return segment_entries(s) >= limit_of(s->buckets);
}

segment *segment_new(kv_domain *domain, unsigned buckets, unsigned depth)
{
    size_t size = segment_size(buckets);
    segment *s = buckets < SPAN_BUCKETS ? slab_alloc(domain, size) : span_alloc(domain, buckets + 1);

    if (!s)
        return NULL;
    memset(s, 0, size);
    atomic_init(&s->earliest, KV_FOREVER);
    s->garbage.size_bytes = size;
    s->buckets = (uint8_t)buckets;
    s->depth = (uint8_t)depth;
    s->low = (uint16_t)(limit_of(buckets) / 4);
    return s;
}

void segment_free(kv_domain *domain, segment *s)
{
    chain *c = atomic_load_explicit(&s->chain, memory_order_relaxed);
    size_t size = segment_size(s->buckets);

    while (c) {
        chain *next = atomic_load_explicit(&c->next, memory_order_relaxed);

        slab_free(domain, c, sizeof *c);
        c = next;
    }
    if (s->buckets < SPAN_BUCKETS)
        slab_free(domain, s, size);
    else
        span_free(domain, s, s->buckets + 1u);
}

static entry *word_match(uint64_t word, kv_slice key, probe p)
{
    entry *e = word_entry(word);

    return !split_differs(word, p) && e && kv_slice_equal(entry_key(e), key) ? e : NULL;
}

static found find_in_chain(segment *s, kv_slice key, probe p)
{
    /* Pairs with the release in segment_chain. */
    chain *c = atomic_load_explicit(&s->chain, memory_order_acquire);

    for (; c; c = atomic_load_explicit(&c->next, memory_order_acquire)) {
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            entry *e = word_match(atomic_load_explicit(&c->words[i], memory_order_acquire), key, p);

            if (e)
                return (found){ e, &c->words[i] };
        }
    }
    return (found){ NULL, NULL };
}

found segment_find_slowly(uint64_t directory, kv_slice key, probe p)
{
    segment *s = directory_segment(directory);
    unsigned index = bucket_home(p.lo, directory_buckets(directory));

    for (unsigned step = 0; step < SEGMENT_WINDOW; step++) {
        bucket *b = &s->bucket[index];
        uint64_t tags = atomic_load_explicit(&b->tags, memory_order_acquire);

        for (tag_match match = tags_match(tags, p.tag); match; match &= match - 1) {
            _Atomic uint64_t *slot = &b->words[__builtin_ctz(match)];
            entry *e = word_match(atomic_load_explicit(slot, memory_order_acquire), key, p);

            if (e)
                return (found){ e, slot };
        }
        if (tags_overflow(tags) == 0)
            break;
        if (++index == directory_buckets(directory))
            index = 0;
    }
    return directory & DIRECTORY_CHAIN ? find_in_chain(s, key, p) : (found){ NULL, NULL };
}

/* ---- one entry ---- */

static void segment_count(segment *s, int by)
{
    unsigned count = atomic_load_explicit(&s->count, memory_order_relaxed);

    atomic_store_explicit(&s->count, (uint16_t)((int)count + by), memory_order_relaxed);
}

static uint64_t tags_load(bucket *b)
{
    return atomic_load_explicit(&b->tags, memory_order_relaxed);
}

static void tags_store(bucket *b, uint64_t tags)
{
    atomic_store_explicit(&b->tags, tags, memory_order_release);
}

static void overflow_up(bucket *b)
{
    uint64_t tags = tags_load(b);

    if (tags_overflow(tags) < 255)
        tags_store(b, tags + ((uint64_t)1 << 56));
}

static void overflow_down(bucket *b)
{
    uint64_t tags = tags_load(b);

    assert(tags_overflow(tags) > 0);
    if (tags_overflow(tags) < 255)
        tags_store(b, tags - ((uint64_t)1 << 56));
}

/* How far lo is from the first one of its home bucket: lo * n mod 256 says how many steps of n went before. */
static inline unsigned sub_home(uint32_t lo, unsigned buckets)
{
    return (lo * buckets & 0xff) / buckets;
}

static uint64_t place_word(const segment *s, probe p, unsigned step, const entry *e)
{
    uint64_t sub = s->buckets >= EXACT_BUCKETS ? sub_home(p.lo, s->buckets) : 0;

    return (p.split & WORD_SPLIT) | (uint64_t)step << 48 | (uint64_t)(uintptr_t)e | sub;
}

bool segment_place(segment *s, probe p, entry *e)
{
    unsigned home = bucket_home(p.lo, s->buckets), index = home;

    for (unsigned step = 0; step < SEGMENT_WINDOW; step++) {
        bucket *b = &s->bucket[index];
        uint64_t tags = tags_load(b);
        tag_match free_slots = ~tags_used(tags) & 0x7f;

        if (free_slots) {
            unsigned slot = (unsigned)__builtin_ctz(free_slots);

            atomic_store_explicit(&b->words[slot], place_word(s, p, step, e), memory_order_release);
            tags_store(b, tags | (uint64_t)p.tag << (8 * slot));
            for (index = home; step > 0; step--) {
                overflow_up(&s->bucket[index]);
                if (++index == s->buckets)
                    index = 0;
            }
            segment_count(s, 1);
            return true;
        }
        if (++index == s->buckets)
            index = 0;
    }
    return false;
}

int segment_chain(kv_domain *domain, segment *s, probe p, entry *e)
{
    chain *first = atomic_load_explicit(&s->chain, memory_order_relaxed), *c;
    uint64_t word = (p.split & WORD_SPLIT) | (uint64_t)(uintptr_t)e;

    if (segment_entries(s) == UINT16_MAX)
        return KV_ENOMEM;
    for (c = first; c; c = atomic_load_explicit(&c->next, memory_order_relaxed)) {
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            if (atomic_load_explicit(&c->words[i], memory_order_relaxed))
                continue;
            atomic_store_explicit(&c->words[i], word, memory_order_release);
            goto out;
        }
    }
    c = slab_alloc(domain, sizeof *c);
    if (!c)
        return KV_ENOMEM;
    memset(c, 0, sizeof *c);
    atomic_init(&c->next, first);
    atomic_init(&c->words[0], word);
    atomic_store_explicit(&s->chain, c, memory_order_release);
out:
    segment_count(s, 1);
    s->in_chain++;
    return 0;
}

void segment_take(segment *s, _Atomic uint64_t *slot)
{
    uint64_t word = atomic_load_explicit(slot, memory_order_relaxed);
    uintptr_t offset = (uintptr_t)slot - (uintptr_t)s->bucket; /* wraps for a slot in the chain before s */

    segment_count(s, -1);
    if (offset >= s->buckets * sizeof(bucket)) {
        s->in_chain--;
        atomic_store_explicit(slot, 0, memory_order_release);
        return;
    }
    unsigned steps = word_steps(word), index = (unsigned)(offset / sizeof(bucket));
    bucket *b = &s->bucket[index];

    tags_store(b, tags_load(b) & ~((uint64_t)0xff << (8 * (slot - b->words))));
    atomic_store_explicit(slot, 0, memory_order_release);
    for (; steps > 0; steps--) {
        index = index == 0 ? s->buckets - 1u : index - 1;
        overflow_down(&s->bucket[index]);
    }
}

void segment_count_deadline(segment *s, int64_t deadline_ms, int by)
{
    if (deadline_ms == KV_FOREVER)
        return;
    s->with_deadline = (uint16_t)(s->with_deadline + by);
    if (by > 0 && deadline_ms < atomic_load_explicit(&s->earliest, memory_order_relaxed))
        atomic_store_explicit(&s->earliest, deadline_ms, memory_order_relaxed);
}

/* ---- all entries ---- */

static bool walk_chain(segment *s, segment_cursor *cursor, segment_slot *ret_slot)
{
    if (!cursor->in_chain) {
        cursor->in_chain = true;
        cursor->index = 0;
        cursor->chain = atomic_load_explicit(&s->chain, memory_order_acquire);
    }
    while (cursor->chain) {
        for (; cursor->index < BUCKET_SLOTS; cursor->index++) {
            _Atomic uint64_t *slot = &cursor->chain->words[cursor->index];
            uint64_t word = atomic_load_explicit(slot, memory_order_acquire);

            if (!word_entry(word))
                continue;
            *ret_slot = (segment_slot){ slot, word_entry(word), word, IN_CHAIN, cursor->index, 0 };
            cursor->index++;
            return true;
        }
        cursor->chain = atomic_load_explicit(&cursor->chain->next, memory_order_acquire);
        cursor->index = 0;
    }
    return false;
}

bool segment_walk(segment *s, segment_cursor *cursor, segment_slot *ret_slot)
{
    for (; cursor->bucket < s->buckets; cursor->bucket++, cursor->index = 0) {
        bucket *b = &s->bucket[cursor->bucket];
        uint64_t tags = atomic_load_explicit(&b->tags, memory_order_acquire);

        for (; cursor->index < BUCKET_SLOTS; cursor->index++) {
            uint8_t tag = (uint8_t)(tags >> (8 * cursor->index));
            uint64_t word = tag ? atomic_load_explicit(&b->words[cursor->index], memory_order_acquire) : 0;

            if (!word_entry(word))
                continue;
            *ret_slot = (segment_slot){ &b->words[cursor->index], word_entry(word), word,
                                        cursor->bucket,           cursor->index,    tag };
            cursor->index++;
            return true;
        }
    }
    return walk_chain(s, cursor, ret_slot);
}
