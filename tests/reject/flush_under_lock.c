/* flush_under_lock.c - a shard is held while a connection is served.
 *
 * REJECT: cannot call function 'connection_flush' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "connection.h"
#include "map.h"

void act(map *m, uint64_t hash, connection *c);

void act(map *m, uint64_t hash, connection *c)
{
    map_shard *shard = map_lock(m, hash);

#ifdef FIXED
    map_unlock(shard);
    connection_flush(c);
#else
    connection_flush(c);
    map_unlock(shard);
#endif
}
