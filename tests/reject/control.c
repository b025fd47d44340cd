/* control.c - everything done right: if this does not compile, the refusals beside it mean nothing.
 *
 * ACCEPT
 *
 * SPDX-License-Identifier: MIT */
#include "command.h"
#include "lock.h"
#include "map.h"

void read_and_write(kv_call *call, map *m, kv_slice key, uint64_t hash, entry *fresh, kv_lock *lock);

KV_UNDER_LOCK static int keep_step(kv_slot *slot, void *arg)
{
    (void)arg;
    return kv_slot_exists(slot) ? 0 : kv_slot_set_int(slot, 1);
}

void read_and_write(kv_call *call, map *m, kv_slice key, uint64_t hash, entry *fresh, kv_lock *lock)
{
    kv_domain *domain = map_domain(m);
    map_shard *shard;
    map_place place;

    if (epoch_enter(domain) == 0) {
        if (map_find(m, key, hash))
            kv_cmd_get(call);
        shard = map_lock(m, hash);
        place = shard_find(shard, key, hash);
        if (place.entry)
            shard_replace(shard, &place, fresh);
        map_unlock(shard);
        entry_retire(domain, place.entry);
    }
    epoch_leave(domain);
    lock_acquire(lock);
    lock_release(lock);
    kv_store_update(call->store, key, keep_step, NULL, 0);
    kv_thread_quiesce(domain);
}
