/* message_under_lock.c - a shard is held while a worker gets a message.
 *
 * REJECT: cannot call function 'worker_post' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"
#include "worker.h"

void act(map *m, uint64_t hash, worker *w, worker_message *message);

void act(map *m, uint64_t hash, worker *w, worker_message *message)
{
    map_shard *shard = map_lock(m, hash);

#ifdef FIXED
    map_unlock(shard);
    worker_post(w, message);
#else
    worker_post(w, message);
    map_unlock(shard);
#endif
}
