/* command_under_lock.c - a command is run while a shard is held.
 *
 * REJECT: cannot call function 'kv_cmd_incr' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "command.h"
#include "map.h"

void incr(kv_call *call, map *m, uint64_t hash) KV_REQUIRES(kv_epoch_held);

void incr(kv_call *call, map *m, uint64_t hash)
{
    map_shard *shard = map_lock(m, hash);

#ifdef FIXED
    map_unlock(shard);
    kv_cmd_incr(call);
#else
    kv_cmd_incr(call);
    map_unlock(shard);
#endif
}
