/* read_under_lock.c - a lock-free read, which may wait for a writer, by the writer itself.
 *
 * REJECT: cannot call function 'map_find' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

bool both(map *m, kv_slice key, uint64_t hash) KV_REQUIRES(kv_epoch_held);

bool both(map *m, kv_slice key, uint64_t hash)
{
    map_shard *shard = map_lock(m, hash);
    bool there;

#ifdef FIXED
    map_unlock(shard);
    there = map_find(m, key, hash) != NULL;
#else
    there = map_find(m, key, hash) != NULL;
    map_unlock(shard);
#endif
    return there;
}
