/* restore.c - entries that come with the version they had: from a primary, a file, a smaller form of the same key.
 * SPDX-License-Identifier: MIT */
#include "store_private.h"

int store_restore(kv_store *store, store_key key, const entry_parts *parts, uint64_t version, int64_t now_ms)
{
    int err = epoch_reserve(store->domain, 1);
    entry *fresh, *before;
    _Atomic uint64_t *span;

    if (!version)
        return KV_EINVAL;
    if (err)
        return err;
    fresh = entry_new(store->domain, parts);
    if (!fresh)
        return KV_ENOMEM;
    span = store_span_begin(store);
    map_shard *shard = map_lock(store->map, key.hash);
    map_place place = shard_look_up(shard, key);

    before = place.entry;
    if (before)
        shard_replace_as(shard, &place, fresh, version);
    else
        err = shard_insert_as(shard, key.hash, fresh, version);
    if (!err && before && entry_expired(before, now_ms))
        store_tell_expired(store, before);
    if (!err)
        store_tell_set(store, fresh, !before || entry_expired(before, now_ms));
    map_unlock(shard);
    span_end(span);
    if (err) {
        if (parts->bytes)
            kv_bytes_ref(parts->bytes); /* the entry gives its reference back; the caller keeps one */
        entry_free(store->domain, fresh);
    } else if (before) {
        entry_retire(store->domain, before);
    }
    return err;
}

uint64_t store_version(kv_store *store)
{
    return map_version(store->map);
}

void store_raise_version(kv_store *store, uint64_t version)
{
    map_raise_version(store->map, version);
}

uint64_t store_changes(kv_store *store)
{
    return map_changes(store->map);
}
