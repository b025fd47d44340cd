/* log_under_lock.c - a shard is held while a line is written to the log.
 *
 * REJECT: cannot call function 'log_write' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "log.h"
#include "map.h"

void act(map *m, uint64_t hash, log *l);

void act(map *m, uint64_t hash, log *l)
{
    map_shard *shard = map_lock(m, hash);

#ifdef FIXED
    map_unlock(shard);
    log_write(l, CONFIG_LOG_NOTICE, "a key is there");
#else
    log_write(l, CONFIG_LOG_NOTICE, "a key is there");
    map_unlock(shard);
#endif
}
