/* second_lock.c - a second shard is locked while the first is held: two threads might do so in two orders.
 *
 * REJECT: acquiring .*'kv_shard_held' that is already held
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

void exchange(map *m, uint64_t one, uint64_t other);

void exchange(map *m, uint64_t one, uint64_t other)
{
#ifdef FIXED
    map_key keys[2] = { { .map = m, .hash = one }, { .map = m, .hash = other } };
    map_shard *scratch[2];

    map_lock_many(keys, 2, scratch);
    map_unlock_many(keys, 2, scratch);
#else
    map_shard *first = map_lock(m, one), *second = map_lock(m, other);

    map_unlock(second);
    map_unlock(first);
#endif
}
