/* stats.c - figures of a map, added up over its shards without a lock: each is right, together they are of
 * almost one moment. SPDX-License-Identifier: MIT */
#include "shard.h"

size_t map_count(const map *m)
{
    uint64_t word = map_root_word(m);
    size_t n = 0;

    for (size_t i = 0; i < (size_t)1 << root_word_bits(word); i++)
        /* Pairs with the release that counted: a moment (map_moment_holds) is looked at after it. */
        n += atomic_load_explicit(&root_word_shards(word)[i].entries, memory_order_acquire);
    return n;
}

void map_read_stats(const map *m, map_stats *ret_stats)
{
    domain_thread *held = epoch_hold(m->domain);
    root *r = root_of_word(map_root_word(m));
    map_stats sum = { .shards = root_shards(r), .index_bytes = root_size(r->bits) + sizeof *m };

    for (size_t i = 0; i < sum.shards; i++) {
        map_shard *s = root_shard(r, i);
        int64_t deadlines = atomic_load_explicit(&shard_extra_of(s)->deadline_sum_ms, memory_order_relaxed);

        sum.entries += atomic_load_explicit(&s->entries, memory_order_relaxed);
        sum.with_deadline += atomic_load_explicit(&shard_extra_of(s)->with_deadline, memory_order_relaxed);
        sum.entry_bytes += atomic_load_explicit(&s->entry_bytes, memory_order_relaxed);
        sum.segments += atomic_load_explicit(&r->extra[i].segments, memory_order_relaxed);
        sum.index_bytes += atomic_load_explicit(&r->extra[i].index_bytes, memory_order_relaxed);
        if (__builtin_add_overflow(sum.deadline_sum_ms, deadlines, &sum.deadline_sum_ms))
            sum.deadline_sum_ms = deadlines > 0 ? INT64_MAX : INT64_MIN;
    }
    epoch_let_go(m->domain, held);
    *ret_stats = sum;
}
