/* many.c - deleting several keys, and taking a key from one place to another, which no reader sees in part.
 *
 * All shards are locked first, in the one order that map_lock_many keeps, and are marked until the last change is
 * published; readers that meet a mark wait. What can fail comes before what cannot, what was unlinked is retired when the locks
 * are released. Storing several keys is in puts.c.
 *
 * SPDX-License-Identifier: MIT */
#include "store_private.h"

#define ON_STACK 16 /* so many keys need no allocation for the bookkeeping */

/* ---- store_delete_many ---- */

KV_REQUIRES(kv_epoch_held)
KV_UNDER_LOCK static size_t delete_under_locks(kv_store *store, size_t n, const kv_slice names[],
                                               const map_key keys[], entry *garbage[], int64_t now_ms)
{
    bool framed = n > 1 && store_act_begin(store);
    size_t removed = 0;

    for (size_t i = 0; i < n; i++) {
        store_fetch_ahead(store, keys, i, n);
        map_place place = shard_find(keys[i].shard, names[i], keys[i].hash);

        garbage[i] = place.entry;
        if (!place.entry)
            continue;
        shard_remove(keys[i].shard, &place);
        if (shard_is_past(keys[i].shard, garbage[i], now_ms)) {
            store_tell_expired(store, garbage[i]);
        } else {
            store_tell_gone(store, KV_CHANGE_DELETE, names[i]);
            removed++;
        }
    }
    store_act_end(store, framed);
    return removed;
}

int store_delete_many(kv_store *store, size_t n, const kv_slice names[], size_t *ret_removed, int64_t now_ms)
{
    struct {
        map_key keys[ON_STACK];
        map_shard *scratch[ON_STACK];
        entry *garbage[ON_STACK];
    } few;
    size_t block_bytes = n * (sizeof(map_key) + sizeof(map_shard *) + sizeof(entry *));
    map_key *keys = few.keys;
    map_shard **scratch = few.scratch;
    entry **garbage = few.garbage;
    void *block = NULL;

    *ret_removed = 0;
    if (n == 0)
        return 0;
    if (epoch_reserve(store->domain, n) != 0)
        return KV_ENOMEM;
    if (n > ON_STACK) {
        block = domain_alloc(store->domain, block_bytes, 16);
        if (!block)
            return KV_ENOMEM;
        keys = block;
        scratch = (map_shard **)(keys + n);
        garbage = (entry **)(scratch + n);
    }
    for (size_t i = 0; i < n; i++)
        keys[i] = (map_key){ .map = store->map, .hash = domain_hash(store->domain, names[i]) };

    map_lock_many(keys, n, scratch);
    *ret_removed = delete_under_locks(store, n, names, keys, garbage, now_ms);
    map_unlock_many(keys, n, scratch);

    for (size_t i = 0; i < n; i++) {
        if (garbage[i])
            entry_retire(store->domain, garbage[i]);
    }
    if (block)
        domain_free(store->domain, block, block_bytes);
    return 0;
}

/* ---- store_transfer_key ---- */

struct transfer {
    kv_store *from, *to;
    store_key from_key, to_key;
    store_transfer how;
    bool replace;
    int64_t now_ms;
    map_key keys[2];
    entry *garbage[2];
};

KV_UNDER_LOCK static int transfer_under_locks(struct transfer *t)
{
    map_place source = shard_find(t->keys[0].shard, t->from_key.name, t->from_key.hash);
    map_place target = shard_find(t->keys[1].shard, t->to_key.name, t->to_key.hash);
    const entry *live = place_live(t->keys[0].shard, &source, t->now_ms);
    entry *fresh;
    bool framed;

    if (!live)
        return KV_ENOKEY;
    if (place_live(t->keys[1].shard, &target, t->now_ms) && !t->replace)
        return KV_ECOND;
    fresh = entry_remake(t->to, live, t->to_key.name, entry_deadline(live), t->now_ms);
    if (!fresh)
        return KV_ENOMEM;
    if (target.entry) {
        t->garbage[1] = target.entry;
        shard_replace(t->keys[1].shard, &target, fresh);
    } else if (shard_insert(t->keys[1].shard, t->to_key.hash, fresh) != 0) {
        entry_free(t->to->domain, fresh);
        return KV_ENOMEM;
    }
    framed = t->how == STORE_MOVE && store_act_begin(t->from);
    if (t->how == STORE_MOVE) {
        /* The insert may have split the source's segment. */
        source = shard_find(t->keys[0].shard, t->from_key.name, t->from_key.hash);
        t->garbage[0] = source.entry;
        shard_remove(t->keys[0].shard, &source);
        store_tell_gone(t->from, KV_CHANGE_DELETE, t->from_key.name);
    }
    store_tell_set(t->to, fresh, true);
    store_act_end(t->from, framed);
    return 0;
}

int store_transfer_key(kv_store *from, store_key from_key, kv_store *to, store_key to_key, store_transfer how,
                       bool replace, int64_t now_ms)
{
    struct transfer t = {
        .from = from,
        .to = to,
        .from_key = from_key,
        .to_key = to_key,
        .how = how,
        .replace = replace,
        .now_ms = now_ms,
        .keys = { { .map = from->map, .hash = from_key.hash }, { .map = to->map, .hash = to_key.hash } },
    };
    map_shard *scratch[2];
    int err;

    if (from == to && from_key.hash == to_key.hash && kv_slice_equal(from_key.name, to_key.name))
        return KV_ESAMEKEY;
    err = epoch_reserve(from->domain, 2);
    if (err)
        return err;
    map_lock_many(t.keys, 2, scratch);
    err = transfer_under_locks(&t);
    map_unlock_many(t.keys, 2, scratch);
    for (int i = 0; i < 2; i++) {
        if (t.garbage[i])
            entry_retire(i == 0 ? from->domain : to->domain, t.garbage[i]);
    }
    return err;
}
