/* layout.c - where the entries of a map stand, bucket by bucket: for who wants to see how good the hash is.
 *
 * Segment after segment is walked inside the epoch and without a lock, as a scan does; what is written meanwhile is met or not.
 * A segment that is replaced during its walk is never written again, so each is seen as it was at one moment, almost.
 *
 * SPDX-License-Identifier: MIT */
#include "shard.h"

/* Counts the entries of a segment. */
static void count_segment(const map *m, segment *s, map_layout *sum)
{
    unsigned homes[SEGMENT_BUCKETS] = { 0 };
    segment_cursor cursor = { 0 };
    segment_slot slot;

    while (segment_walk(s, &cursor, &slot)) {
        unsigned home = slot.bucket;
        bool chained = home == IN_CHAIN;

        if (chained)
            home = bucket_home((uint8_t)domain_hash(m->domain, entry_key(slot.entry)), s->buckets);
        homes[home]++;
        sum->entries++;
        sum->chained += chained;
        sum->looks += chained ? SEGMENT_WINDOW + 1 : (slot.value >> 48 & 15) + 1;
    }
    for (unsigned i = 0; i < s->buckets; i++) {
        unsigned n = homes[i] < MAP_LAYOUT_HOMES ? homes[i] : MAP_LAYOUT_HOMES - 1;

        sum->homes[n]++;
        sum->homes_used += homes[i] > 0;
        if (homes[i] > sum->longest)
            sum->longest = homes[i];
    }
    sum->buckets += s->buckets;
    sum->segments++;
}

void map_read_layout(const map *m, map_layout *ret_layout)
{
    uint64_t prefix = 0;

    *ret_layout = (map_layout){ 0 };
    do {
        uint64_t root_word = map_root_word(m);
        map_shard *shard = root_word_shard(root_word, prefix);
        uint64_t word = shard_segment_word(shard, prefix);
        segment *s = directory_segment(word);
        unsigned depth = shard->bits + (s ? directory_depth(word) : 0);

        if (s)
            count_segment(m, s, ret_layout);
        ret_layout->shards = (size_t)1 << root_word_bits(root_word);
        prefix = depth == 0 ? 0 : ((prefix >> (64 - depth)) + 1) << (64 - depth);
    } while (prefix);
}
