/* segment_copy.c - copying a segment into another size, or apart into two.
 *
 * A growing map copies each entry some three times for each one that it gains, so that this is a good part of what an
 * insert costs. Two ways:
 *
 *     by places   from EXACT_BUCKETS buckets on: the word and the bucket it stands in tell all, no entry is touched
 *     by keys     fewer buckets, the chain, and splits below the split bits: the keys are hashed again
 *
 * By places means one pass over the lines of the old segment, which were asked for all at once (segment_fetch), without a
 * branch on what the words say: the side of a split selects the target, divisions by the number of buckets are
 * multiplications by an inverse. What is left to guess wrong is whether the home bucket is full.
 *
 * The new segments are nobody else's yet: no order of stores matters before they are published.
 * SPDX-License-Identifier: MIT */
#include "segment.h"

#define INVERSE_BITS \
    24 /* right for numerators below 2^24 / SEGMENT_BUCKETS: they are below 257 * SEGMENT_BUCKETS */

/* Where entries of one side go. */
typedef struct target {
    segment *to;
    uint32_t buckets, inverse; /* 0: no sub-home bits */
    unsigned placed;           /* not yet counted by the segment */
} target;

static inline uint32_t inverse_of(uint32_t buckets)
{
    return (1u << INVERSE_BITS) / buckets + 1;
}

static inline uint32_t divide(uint32_t x, uint32_t inverse)
{
    return (uint32_t)((uint64_t)x * inverse >> INVERSE_BITS);
}

static target target_of(segment *to)
{
    return (target){ to, to->buckets, to->buckets >= EXACT_BUCKETS ? inverse_of(to->buckets) : 0, 0 };
}

static int add(segment_context context, segment *to, probe p, entry *e)
{
    return segment_place(to, p, e) ? 0 : segment_chain(context.domain, to, p, e);
}

/* Puts what a word points at into its home bucket; false: that is full. */
static inline bool put_home(target *t, uint64_t word, uint32_t tag, uint32_t lo)
{
    uint32_t scaled = lo * t->buckets;
    bucket *b = &t->to->bucket[scaled >> 8]; /* bucket_home */
    uint64_t tags = atomic_load_explicit(&b->tags, memory_order_relaxed);
    tag_match free_slots = ~tags_used(tags) & 0x7f;

    if (__builtin_expect(!free_slots, 0))
        return false;
    unsigned slot = (unsigned)__builtin_ctz(free_slots);
    uint64_t sub = divide(scaled & 0xff, t->inverse);

    atomic_store_explicit(&b->words[slot], (word & (WORD_SPLIT | WORD_POINTER)) | sub, memory_order_relaxed);
    atomic_store_explicit(&b->tags, tags | (uint64_t)tag << (8 * slot), memory_order_relaxed);
    t->placed++;
    return true;
}

/* Copies what stands in buckets, telling lo from the places. Bit number shift of a word selects the target. */
static int copy_places(segment_context context, target targets[2], segment *from, unsigned shift)
{
    const uint32_t buckets = from->buckets, inverse = inverse_of(buckets);

    for (uint32_t i = 0; i < buckets; i++) {
        bucket *b = &from->bucket[i];
        uint64_t tags = atomic_load_explicit(&b->tags, memory_order_relaxed);

        for (tag_match used = tags_used(tags); used; used &= used - 1) {
            unsigned slot = (unsigned)__builtin_ctz(used);
            uint64_t word = atomic_load_explicit(&b->words[slot], memory_order_relaxed);
            uint32_t tag = (uint32_t)(tags >> (8 * slot)) & 0xff, steps = word_steps(word);
            uint32_t home = i - steps + (i < steps ? buckets : 0);
            uint32_t lo =
                divide(home * 256 + buckets - 1, inverse) + (uint32_t)(word & 7); /* bucket_first_lo */
            target *t = &targets[word >> shift & 1];

            if (put_home(t, word, tag, lo))
                continue;
            if (add(context, t->to, (probe){ word, tag, lo }, word_entry(word)))
                return KV_ENOMEM;
        }
    }
    return 0;
}

/* Copies what the cursor has not come by yet, hashing the keys. */
static int copy_keys(segment_context context, target targets[2], segment *from, segment_cursor cursor,
                     unsigned shift)
{
    segment_slot slot;

    while (segment_walk(from, &cursor, &slot)) {
        probe p = probe_of(domain_hash(context.domain, entry_key(slot.entry)), context.shard_bits);

        if (add(context, targets[p.split >> shift & 1].to, p, slot.entry))
            return KV_ENOMEM;
    }
    return 0;
}

static void count_placed(target *t)
{
    atomic_store_explicit(&t->to->count, (uint16_t)(segment_entries(t->to) + t->placed),
                          memory_order_relaxed);
}

/* Counts the deadlines anew: only where there are any are the entries looked at. */
static void copy_deadlines(segment *to, const segment *from)
{
    segment_cursor cursor = { 0 };
    segment_slot slot;

    if (!from->with_deadline)
        return;
    to->with_deadline = 0;
    while (segment_walk(to, &cursor, &slot))
        segment_count_deadline(to, entry_deadline(slot.entry), 1);
}

int segment_copy(segment_context context, segment *const to[2], segment *from)
{
    target targets[2] = { target_of(to[0]), target_of(to[1]) };
    bool apart = to[0] != to[1];
    bool by_places = from->buckets >= EXACT_BUCKETS && !(apart && to[0]->depth > SPLIT_BITS);
    unsigned shift = apart ? 64u - to[0]->depth : 0;
    segment_cursor cursor = { .bucket = by_places ? from->buckets : 0 };
    int err = by_places ? copy_places(context, targets, from, shift) : 0;

    count_placed(&targets[0]);
    count_placed(&targets[1]);
    if (err || copy_keys(context, targets, from, cursor, shift))
        return KV_ENOMEM;
    copy_deadlines(to[0], from);
    if (apart)
        copy_deadlines(to[1], from);
    return 0;
}

unsigned segment_count_side(segment_context context, segment *s, unsigned depth)
{
    segment_cursor cursor = { .bucket = s->buckets };
    segment_slot slot;
    unsigned ones = 0;
    const unsigned shift = 64 - depth;

    if (depth > SPLIT_BITS)
        cursor.bucket = 0;
    else
        for (unsigned i = 0; i < s->buckets; i++) /* a free slot's word is 0 */
            for (unsigned slot_index = 0; slot_index < BUCKET_SLOTS; slot_index++)
                ones +=
                    (unsigned)(atomic_load_explicit(&s->bucket[i].words[slot_index], memory_order_relaxed) >>
                               shift) &
                    1;
    while (segment_walk(s, &cursor, &slot))
        ones +=
            (unsigned)(domain_hash(context.domain, entry_key(slot.entry)) << context.shard_bits >> shift) & 1;
    return ones;
}
