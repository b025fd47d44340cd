/* write_without_lock.c - an entry is published without its shard.
 *
 * REJECT: calling function 'shard_insert' requires holding .*'kv_shard_held'
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

int publish(map *m, map_shard *shard, uint64_t hash, entry *fresh);

int publish(map *m, map_shard *shard, uint64_t hash, entry *fresh)
{
    int err;

#ifdef FIXED
    shard = map_lock(m, hash);
#else
    (void)m;
#endif
    err = shard_insert(shard, hash, fresh);
#ifdef FIXED
    map_unlock(shard);
#endif
    return err;
}
