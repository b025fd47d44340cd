/* wait_under_lock.c - a shard is held while the state thread is waited for.
 *
 * REJECT: cannot call function 'actor_call' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "actor.h"
#include "map.h"

void act(map *m, uint64_t hash, actor *a, actor_message *message);

void act(map *m, uint64_t hash, actor *a, actor_message *message)
{
    map_shard *shard = map_lock(m, hash);

#ifdef FIXED
    map_unlock(shard);
    actor_call(a, message);
#else
    actor_call(a, message);
    map_unlock(shard);
#endif
}
