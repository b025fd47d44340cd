/* moment.c - whether what was read of a whole map was there at one moment.
 *
 * Each shard counts what it publishes (sequence) and the changes of several keys (mark); both are odd while something is
 * under way, and never go back. So when all are even, and their sum is the same before and after, nothing has
 * changed in between: one number stands for all shards. (A count goes round after 2^32 changes: nobody reads for so long.)
 *
 * It writes nothing, and costs a look at each shard. Under constant writing no moment lasts that long: who must have
 * one takes the locks then (store_look). SPDX-License-Identifier: MIT */
#include "shard.h"

/* False: something is under way. */
static bool sum_changes(uint64_t root_word, uint64_t *ret_sum)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < (size_t)1 << root_word_bits(root_word); i++) {
        map_shard *s = root_word_shards(root_word) + i;
        /* Pairs with the releases in shard_flip_mark and shard_publish_end. */
        uint32_t mark = atomic_load_explicit(&s->mark, memory_order_acquire);
        uint32_t sequence = atomic_load_explicit(&s->sequence, memory_order_acquire);

        if ((mark | sequence) & 1)
            return false;
        sum += (uint64_t)mark + sequence;
    }
    *ret_sum = sum;
    return true;
}

bool map_moment_begin(const map *m, map_moment *ret_moment)
{
    ret_moment->root_word = map_root_word(m);
    return sum_changes(ret_moment->root_word, &ret_moment->changes);
}

bool map_moment_holds(const map *m, const map_moment *moment)
{
    uint64_t sum;

    return sum_changes(moment->root_word, &sum) && sum == moment->changes &&
           map_root_word(m) == moment->root_word;
}
