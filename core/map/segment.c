/* segment.c - changing a segment: placing, taking out, and copying into a new one.
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
 * Sizes grow by doubling up to 32 buckets, re-hashing the keys (there are few), and from there in smaller
 * steps without looking at any entry; then a segment is split. Small steps keep the fill between two thirds
 * and four fifths, so the index costs about 13 bytes an entry at any size of the map, where doubling alone
 * would swing between 10 and 20.
 *
 * The chain takes what finds no place although the segment is far from full, which a random hash does not
 * bring about: many keys of equal hash. It is searched linearly; the map gets slower but stays right.
 * SPDX-License-Identifier: MIT */
#include "segment.h"

#include <assert.h>

#include "span.h"

#define SPAN_BUCKETS 32u /* from here on a segment is a span, below a slab block */

static const uint8_t sizes[] = { 1, 2, 4, 8, 16, 32, 44, 56, 68, 80, 96 };
#define SIZES (sizeof sizes / sizeof sizes[0])

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

    return buckets <= SEGMENT_WINDOW / 2 ? slots : buckets < EXACT_BUCKETS ? slots * 7 / 8 : slots * 4 / 5;
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
    return s->count >= limit_of(s->buckets);
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

entry *segment_find_in_chain(segment *s, kv_slice key, probe p, _Atomic uint64_t **ret_word)
{
    /* Pairs with the release in segment_chain. */
    chain *c = atomic_load_explicit(&s->chain, memory_order_acquire);

    for (; c; c = atomic_load_explicit(&c->next, memory_order_acquire)) {
        for (unsigned i = 0; i < BUCKET_SLOTS; i++) {
            uint64_t word = atomic_load_explicit(&c->words[i], memory_order_acquire);

            if ((word ^ p.split) >> 51 || !word_entry(word) || !entry_has_key(word_entry(word), key))
                continue;
            *ret_word = &c->words[i];
            return word_entry(word);
        }
    }
    return NULL;
}

/* ---- one entry ---- */

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

static uint64_t place_word(const segment *s, probe p, unsigned home, unsigned step, const entry *e)
{
    uint64_t sub = s->buckets >= EXACT_BUCKETS ? p.lo - bucket_first_lo(home, s->buckets) : 0;

    return p.split | (uint64_t)step << 48 | (uint64_t)(uintptr_t)e | sub;
}

bool segment_place(segment *s, probe p, entry *e)
{
    unsigned home = bucket_home(p.lo, s->buckets), index = home;

    for (unsigned step = 0; step < SEGMENT_WINDOW; step++) {
        bucket *b = &s->bucket[index];
        uint64_t tags = tags_load(b), free_slots = tags_match(tags, 0);

        if (free_slots) {
            unsigned slot = (unsigned)__builtin_ctzll(free_slots) >> 3;

            atomic_store_explicit(&b->words[slot], place_word(s, p, home, step, e), memory_order_release);
            tags_store(b, tags | (uint64_t)p.tag << (8 * slot));
            for (index = home; step > 0; step--) {
                overflow_up(&s->bucket[index]);
                if (++index == s->buckets)
                    index = 0;
            }
            s->count++;
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
    uint64_t word = p.split | (uint64_t)(uintptr_t)e;

    if (s->count == UINT16_MAX)
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
    s->count++;
    s->in_chain++;
    return 0;
}

void segment_take(segment *s, const map_place *place)
{
    uint64_t word = atomic_load_explicit(place->word, memory_order_relaxed);

    s->count--;
    if (place->bucket == IN_CHAIN) {
        s->in_chain--;
        atomic_store_explicit(place->word, 0, memory_order_release);
        return;
    }
    unsigned steps = (unsigned)(word >> 48) & 7, index = place->bucket;
    bucket *b = &s->bucket[index];

    tags_store(b, tags_load(b) & ~((uint64_t)0xff << (8 * place->index)));
    atomic_store_explicit(place->word, 0, memory_order_release);
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

/* What the hash of a slot's entry looks like to a segment; exact places tell it, others ask the key. */
static probe slot_probe(segment_context context, const segment *s, const segment_slot *slot)
{
    if (s->buckets < EXACT_BUCKETS || slot->bucket == IN_CHAIN)
        return probe_of(domain_hash(context.domain, entry_key(slot->entry)), context.shard_bits);
    unsigned steps = (unsigned)(slot->value >> 48) & 7;
    unsigned home = slot->bucket >= steps ? slot->bucket - steps : slot->bucket + s->buckets - steps;
    probe p = { slot->value & WORD_SPLIT, slot->tag,
                (uint8_t)(bucket_first_lo(home, s->buckets) + (slot->value & 7)) };

    return p;
}

/* The bit that decides the side in a split to depth; below the split bits only the key knows it. */
static int slot_side(segment_context context, const segment_slot *slot, unsigned depth)
{
    uint64_t bits = slot->value;

    if (depth > SPLIT_BITS)
        bits = domain_hash(context.domain, entry_key(slot->entry)) << context.shard_bits;
    return (int)(bits >> (64 - depth)) & 1;
}

int segment_copy(segment_context context, segment *to, segment *from, int side)
{
    segment_cursor cursor = { 0 };
    segment_slot slot;

    while (segment_walk(from, &cursor, &slot)) {
        if (side >= 0 && slot_side(context, &slot, to->depth) != side)
            continue;
        probe p = slot_probe(context, from, &slot);

        if (!segment_place(to, p, slot.entry) && segment_chain(context.domain, to, p, slot.entry))
            return KV_ENOMEM;
        if (from->with_deadline)
            segment_count_deadline(to, entry_deadline(slot.entry), 1);
    }
    return 0;
}

unsigned segment_count_side(segment_context context, segment *s, unsigned depth)
{
    segment_cursor cursor = { 0 };
    segment_slot slot;
    unsigned ones = 0;

    while (segment_walk(s, &cursor, &slot))
        ones += (unsigned)slot_side(context, &slot, depth);
    return ones;
}
