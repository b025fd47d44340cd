/* quiesce_under_lock.c - a loop declares itself quiescent while it holds a shard.
 *
 * REJECT: cannot call function 'kv_thread_quiesce' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

void turn(map *m, uint64_t hash);

void turn(map *m, uint64_t hash)
{
    map_shard *shard = map_lock(m, hash);

#ifndef FIXED
    kv_thread_quiesce(map_domain(m));
#endif
    map_unlock(shard);
}
