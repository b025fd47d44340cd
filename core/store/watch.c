/* watch.c - has a key changed since somebody looked? The versions of entries answer nearly all of it.
 *
 *     was there     it has the same version, and its deadline has not passed
 *     was absent    it is absent, and was not inserted in between: the map has told us otherwise (map_watch)
 *
 * A key whose deadline has passed is taken out of the map when it is watched, so that what stands there later was
 * inserted later. SWAPDB gives the store other contents: a key that was there is not the same any more, even if a
 * second swap brings it back; to one that was absent it is an insertion, if the other store has the key.
 *
 * SPDX-License-Identifier: MIT */
#include "store_private.h"

KV_UNDER_LOCK static int watch_under_lock(store_watch *watch, map_shard *shard, int64_t now_ms,
                                          entry **ret_garbage)
{
    map_place place = shard_look_up(shard, watch->key);

    if (place.entry && shard_is_past(shard, place.entry, now_ms)) {
        store_tell_expired(watch->store, place.entry);
        shard_remove(shard, &place);
        *ret_garbage = place.entry;
        place.entry = NULL;
    }
    watch->swaps = map_swaps(watch->store->map);
    watch->version = place.entry ? place.entry->version : 0;
    if (watch->version)
        return 0;
    watch->absence.map = watch->store->map;
    watch->absence.hash = watch->key.hash;
    watch->absence.key = watch->key.name;
    return map_watch_add(&watch->absence);
}

int store_watch_begin(store_watch *watch, int64_t now_ms)
{
    kv_domain *domain = watch->store->domain;
    entry *garbage = NULL;
    map_shard *shard;
    int err = epoch_reserve(domain, 1);

    if (err)
        return err;
    shard = map_lock(watch->store->map, watch->key.hash);
    err = watch_under_lock(watch, shard, now_ms, &garbage);
    map_unlock(shard);
    if (garbage)
        entry_retire(domain, garbage);
    return err;
}

void store_watch_end(store_watch *watch)
{
    if (!watch->version)
        map_watch_remove(&watch->absence);
}

bool store_watch_changed(store_watch *watch, int64_t now_ms)
{
    map_shard *shard = map_lock(watch->store->map, watch->key.hash);
    map_place place = shard_look_up(shard, watch->key);
    const entry *live = place_live(shard, &place, now_ms);
    unsigned swaps = (map_swaps(watch->store->map) - watch->swaps) & 0xffff;
    bool changed;

    if (watch->version)
        changed = swaps || !live || live->version != watch->version;
    else
        changed = live || atomic_load_explicit(&watch->absence.inserted, memory_order_relaxed);
    map_unlock(shard);
    return changed;
}
