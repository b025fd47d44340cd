/* find_for_writing_without_lock.c - a place to write to is looked up without its shard.
 *
 * REJECT: calling function 'shard_find' requires holding .*'kv_shard_held'
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

void drop(map *m, map_shard *shard, kv_slice key, uint64_t hash);

void drop(map *m, map_shard *shard, kv_slice key, uint64_t hash)
{
    map_place place;

#ifdef FIXED
    shard = map_lock(m, hash);
    place = shard_find(shard, key, hash);
#else
    place = shard_find(shard, key, hash);
    shard = map_lock(m, hash);
#endif
    shard_remove(shard, &place);
    map_unlock(shard);
}
