/* lock_leaked.c - an early return forgets the unlock.
 *
 * REJECT: 'kv_shard_held' is (still held at the end of function|not held on every path)
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

int insert(map *m, kv_slice key, uint64_t hash, entry *fresh);

int insert(map *m, kv_slice key, uint64_t hash, entry *fresh)
{
    map_shard *shard = map_lock(m, hash);
    map_place place = shard_find(shard, key, hash);
    int err;

    if (place.entry) {
#ifdef FIXED
        map_unlock(shard);
#endif
        return KV_ECOND;
    }
    err = shard_insert(shard, hash, fresh);
    map_unlock(shard);
    return err;
}
