/* batch_under_lock.c - a shard is held while requests are run.
 *
 * REJECT: cannot call function 'dispatch_batch' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "dispatch.h"
#include "map.h"

void act(map *m, uint64_t hash, connection *c, const batch *b);

void act(map *m, uint64_t hash, connection *c, const batch *b)
{
    map_shard *shard = map_lock(m, hash);

#ifdef FIXED
    map_unlock(shard);
    dispatch_batch(c, b);
#else
    dispatch_batch(c, b);
    map_unlock(shard);
#endif
}
