/* lock_on_one_path.c - a lock that only one branch takes.
 *
 * REJECT: 'kv_shard_held' is not held on every path through here
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

void remove_if(map *m, kv_slice key, uint64_t hash, bool really);

void remove_if(map *m, kv_slice key, uint64_t hash, bool really)
{
    map_shard *shard = NULL;
    map_place place;

#ifdef FIXED
    (void)really;
    shard = map_lock(m, hash);
#else
    if (really)
        shard = map_lock(m, hash);
#endif
    place = shard_find(shard, key, hash);
    shard_remove(shard, &place);
    map_unlock(shard);
}
