/* map_check.c - every invariant of a map, as code. Slow and complete; no writer runs meanwhile.
 * SPDX-License-Identifier: MIT */
#include "map_check.h"

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition, text)                  \
    do {                                        \
        if (!(condition))                       \
            broken(text, #condition, __LINE__); \
    } while (0)

static void broken(const char *text, const char *condition, int line)
{
    fprintf(stderr, "map_check: %s (%s, line %d)\n", text, condition, line);
    abort();
}

/* An entry stands where its hash says: shard, split bits, tag, window, and lo told by the word. */
static void check_slot(const map_shard *s, segment *seg, const segment_slot *slot)
{
    uint64_t hash = domain_hash(s->root->domain, entry_key(slot->entry));
    probe p = probe_of(hash, s->bits);
    unsigned home = bucket_home(p.lo, seg->buckets), steps = word_steps(slot->value);

    CHECK(s->bits == 0 || hash >> (64 - s->bits) == s->index, "an entry is in another's shard");
    CHECK(directory_segment(shard_segment_word(s, hash)) == seg, "an entry is in another's segment");
    CHECK(((slot->value ^ p.split) & WORD_SPLIT) == 0, "split bits differ from the hash");
    CHECK(slot->entry->version <= s->version, "an entry is newer than its shard");
    CHECK(shard_lookup(s, entry_key(slot->entry), hash).entry == slot->entry,
          "an entry is not found under its key");
    if (slot->bucket == IN_CHAIN)
        return;
    CHECK(slot->tag == p.tag, "a tag differs from the hash");
    CHECK((home + steps) % seg->buckets == slot->bucket, "an entry is not where its displacement says");
    if (seg->buckets >= EXACT_BUCKETS)
        CHECK(bucket_first_lo(home, seg->buckets) + (slot->value & 7) == p.lo, "the sub-home bits are wrong");
}

/* Each bucket's overflow counter is the number of entries that passed it, unless it sticks. */
static void check_overflow(segment *seg)
{
    unsigned passed[SEGMENT_BUCKETS] = { 0 };
    segment_cursor cursor = { 0 };
    segment_slot slot;

    while (segment_walk(seg, &cursor, &slot)) {
        unsigned steps = word_steps(slot.value);

        for (unsigned i = 1; slot.bucket != IN_CHAIN && i <= steps; i++)
            passed[(slot.bucket + seg->buckets - i) % seg->buckets]++;
    }
    for (unsigned i = 0; i < seg->buckets; i++) {
        uint64_t tags = atomic_load_explicit(&seg->bucket[i].tags, memory_order_relaxed);

        CHECK(tags_overflow(tags) == 255 || tags_overflow(tags) == passed[i], "an overflow counter is wrong");
        for (unsigned j = 0; j < BUCKET_SLOTS; j++)
            CHECK((tags >> (8 * j) & 0xff) ||
                      !atomic_load_explicit(&seg->bucket[i].words[j], memory_order_relaxed),
                  "a free slot has a word");
    }
}

void segment_check(const map_shard *s, segment *seg, check_sums *sums)
{
    segment_cursor cursor = { 0 };
    segment_slot slot;
    check_sums own = { 0 };

    while (segment_walk(seg, &cursor, &slot)) {
        int64_t deadline_ms = entry_deadline(slot.entry);

        check_slot(s, seg, &slot);
        own.entries++;
        own.in_chain += slot.bucket == IN_CHAIN;
        own.entry_bytes += entry_size(slot.entry);
        if (deadline_ms == KV_FOREVER)
            continue;
        own.with_deadline++;
        own.deadline_sum += (uint64_t)deadline_ms;
        CHECK(atomic_load_explicit(&seg->earliest, memory_order_relaxed) <= deadline_ms,
              "a deadline before the segment's earliest");
        CHECK(atomic_load_explicit(&shard_extra_of(s)->earliest, memory_order_relaxed) <= deadline_ms,
              "a deadline before the shard's earliest");
    }
    check_overflow(seg);
    CHECK(own.entries == segment_entries(seg), "a segment's count is wrong");
    CHECK(own.in_chain == seg->in_chain, "a segment's count of its chain is wrong");
    CHECK(own.with_deadline == seg->with_deadline, "a segment's count of deadlines is wrong");
    sums->entries += own.entries;
    sums->entry_bytes += own.entry_bytes;
    sums->with_deadline += own.with_deadline;
    sums->deadline_sum += own.deadline_sum;
    sums->index_bytes += segment_size(seg->buckets);
    sums->segments++;
    sums->deepest += seg->depth == shard_depth(s);
}

static void check_directory(const map_shard *s)
{
    size_t slots = (size_t)1 << shard_depth(s);

    for (size_t i = 0; i < slots; i++) {
        uint64_t word = atomic_load_explicit(&shard_directory(s)[i], memory_order_relaxed);
        segment *seg = directory_segment(word);

        if (!seg) {
            CHECK(slots == 1, "a directory with a hole");
            continue;
        }
        size_t span = (size_t)1 << (shard_depth(s) - seg->depth), first = i & ~(span - 1);

        CHECK(word == directory_word(seg), "a directory word differs from its segment");
        CHECK(word == atomic_load_explicit(&shard_directory(s)[first], memory_order_relaxed),
              "a segment does not have all its directory slots");
    }
}

static void check_shard(const map_shard *s)
{
    check_sums sums = { 0 };
    shard_extra *extra = shard_extra_of(s);
    size_t position = 0;
    segment *seg;

    check_directory(s);
    while ((seg = directory_next(shard_directory(s), shard_depth(s), &position)) != NULL)
        segment_check(s, seg, &sums);
    if (shard_depth(s) > 0)
        sums.index_bytes += directory_bytes(shard_depth(s));
    CHECK(sums.entries == atomic_load_explicit(&s->entries, memory_order_relaxed),
          "a shard's count is wrong");
    CHECK(sums.entry_bytes == atomic_load_explicit(&s->entry_bytes, memory_order_relaxed),
          "a shard's sum of bytes is wrong");
    CHECK(sums.with_deadline == atomic_load_explicit(&shard_extra_of(s)->with_deadline, memory_order_relaxed),
          "a shard's count of deadlines is wrong");
    CHECK(sums.deadline_sum ==
              (uint64_t)atomic_load_explicit(&shard_extra_of(s)->deadline_sum_ms, memory_order_relaxed),
          "a shard's sum of deadlines is wrong");
    CHECK(sums.index_bytes == atomic_load_explicit(&extra->index_bytes, memory_order_relaxed),
          "a shard's index bytes are wrong");
    CHECK(sums.segments == atomic_load_explicit(&extra->segments, memory_order_relaxed),
          "a shard's count of segments is wrong");
    CHECK(sums.deepest == extra->deepest, "a shard's count of deepest segments is wrong");
    CHECK(!(atomic_load_explicit(&s->mark, memory_order_relaxed) & 1), "a mark was left up");
    CHECK(!(atomic_load_explicit(&s->sequence, memory_order_relaxed) & 1), "a sequence was left odd");
}

void map_check(const map *m)
{
    root *r = root_of_word(map_root_word(m));

    CHECK(r->map == m, "a root belongs to another map");
    for (size_t i = 0; i < root_shards(r); i++)
        check_shard(root_shard(r, i));
}
