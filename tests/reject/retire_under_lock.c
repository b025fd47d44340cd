/* retire_under_lock.c - memory is retired, which may wait for readers, under a shard.
 *
 * REJECT: cannot call function 'entry_retire' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

void drop(map *m, kv_slice key, uint64_t hash);

void drop(map *m, kv_slice key, uint64_t hash)
{
    map_shard *shard = map_lock(m, hash);
    map_place place = shard_find(shard, key, hash);

    if (place.entry)
        shard_remove(shard, &place);
#ifdef FIXED
    map_unlock(shard);
    entry_retire(map_domain(m), place.entry);
#else
    entry_retire(map_domain(m), place.entry);
    map_unlock(shard);
#endif
}
