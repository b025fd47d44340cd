/* unlock_without_lock.c - an unlock too many.
 *
 * REJECT: releasing .*'kv_shard_held' that was not held
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

void twice(map *m, uint64_t hash);

void twice(map *m, uint64_t hash)
{
    map_shard *shard = map_lock(m, hash);

    map_unlock(shard);
#ifndef FIXED
    map_unlock(shard);
#endif
}
