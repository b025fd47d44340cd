/* many.c - writes of several keys, which no reader sees in part.
 *
 * All of them lock the shards of their keys first, in the one order that map_lock_many keeps, and leave the
 * shards marked until the last entry is published; readers that meet a mark wait. What can fail comes
 * before what cannot:
 *
 *   1. outside the lock   build every entry, get room for what is remembered
 *   2. under the locks    check the condition; insert the keys that are absent, which may need memory for
 *                         a segment: when it fails, what was inserted is removed again
 *   3. under the locks    replace the others, which cannot fail; tell the changes
 *   4. outside            retire what was replaced
 *
 * The same key may stand several times: its first occurrence inserts, the later ones replace that, so that
 * the last one stays.
 *
 * SPDX-License-Identifier: MIT */
#include "store_private.h"

#define ON_STACK 16  /* so many keys need no allocation for the bookkeeping */
#define GROUP    32u /* keys whose cache misses overlap */

/* Before the i-th key is looked up: fetches what the lookups of a group from there on will touch. */
KV_REQUIRES(kv_epoch_held)
static inline void fetch_ahead(const kv_store *store, const map_key keys[], size_t i, size_t n)
{
    uint64_t hashes[GROUP];
    size_t some = n - i < GROUP ? n - i : GROUP;

    if (i % GROUP)
        return;
    for (size_t k = 0; k < some; k++)
        hashes[k] = keys[i + k].hash;
    map_prefetch(store->map, some, hashes, NULL);
}

/* ---- store_put_many ---- */

struct put {
    entry *fresh;
    entry *garbage; /* what fresh replaced */
    bool inserted;
};

/* The bookkeeping of n keys: one block with three arrays. */
struct put_many {
    kv_store *store;
    const kv_slice *pairs;
    size_t n;
    int64_t deadline_ms;
    bool keep_deadline;
    int64_t now_ms;
    void *block;
    size_t block_bytes;
    map_key *keys;
    map_shard **scratch;
    struct put *puts;
};

static int put_many_prepare(struct put_many *m)
{
    size_t each = sizeof *m->keys + sizeof *m->scratch + sizeof *m->puts;

    m->block_bytes = m->n * each; /* n argv slices of 16 bytes exist, so this cannot overflow */
    m->block = domain_alloc(m->store->domain, m->block_bytes, 16);
    if (!m->block)
        return KV_ENOMEM;
    memset(m->block, 0, m->block_bytes);
    m->keys = m->block;
    m->scratch = (map_shard **)(m->keys + m->n);
    m->puts = (struct put *)(m->scratch + m->n);
    for (size_t i = 0; i < m->n; i++) {
        entry_parts parts = {
            .key = m->pairs[2 * i],
            .value = m->pairs[2 * i + 1],
            .deadline_ms = m->deadline_ms,
            .access = store_access_after(m->store, NULL, m->now_ms),
        };

        m->keys[i] = (map_key){ .map = m->store->map, .hash = domain_hash(m->store->domain, parts.key) };
        m->puts[i].fresh = entry_new(m->store->domain, &parts);
        if (!m->puts[i].fresh)
            return KV_ENOMEM;
    }
    return 0;
}

KV_UNDER_LOCK static map_place put_find(const struct put_many *m, size_t i)
{
    return shard_find(m->keys[i].shard, m->pairs[2 * i], m->keys[i].hash);
}

KV_UNDER_LOCK static int put_many_check(const struct put_many *m, store_put_if condition)
{
    if (condition == STORE_PUT_ALWAYS)
        return 0;
    for (size_t i = 0; i < m->n; i++) {
        map_place place = put_find(m, i);
        bool exists = place_live(m->keys[i].shard, &place, m->now_ms) != NULL;

        if (exists != (condition == STORE_PUT_IF_ALL))
            return KV_ECOND;
    }
    return 0;
}

/* Gives fresh entries the deadlines that their keys have now. */
KV_UNDER_LOCK static int put_many_keep_deadlines(const struct put_many *m)
{
    for (size_t i = 0; m->keep_deadline && i < m->n; i++) {
        map_place place = put_find(m, i);
        const entry *live = place_live(m->keys[i].shard, &place, m->now_ms);

        if (!live || entry_deadline(live) == KV_FOREVER)
            continue;
        entry *made =
            entry_remake(m->store, m->puts[i].fresh, m->pairs[2 * i], entry_deadline(live), m->now_ms);
        if (!made)
            return KV_ENOMEM;
        entry_free(m->store->domain, m->puts[i].fresh);
        m->puts[i].fresh = made;
    }
    return 0;
}

/* Inserts the keys that are absent; on a failure takes them out again, and they are garbage. */
KV_REQUIRES(kv_epoch_held) KV_UNDER_LOCK static int put_many_insert(struct put_many *m)
{
    int err = 0;
    size_t i;

    for (i = 0; i < m->n && !err; i++) {
        struct put *put = &m->puts[i];

        fetch_ahead(m->store, m->keys, i, m->n);
        if (put_find(m, i).entry)
            continue;
        err = shard_insert(m->keys[i].shard, m->keys[i].hash, put->fresh);
        put->inserted = !err;
    }
    while (err && i-- > 0) {
        struct put *put = &m->puts[i];

        if (!put->inserted)
            continue;
        map_place place = put_find(m, i);
        shard_remove(m->keys[i].shard, &place);
        put->garbage = put->fresh; /* a reader may have met it */
        put->fresh = NULL;
    }
    return err;
}

KV_REQUIRES(kv_epoch_held) KV_UNDER_LOCK static void put_many_replace(struct put_many *m)
{
    bool framed = m->n > 1 && store_act_begin(m->store);

    for (size_t i = 0; i < m->n; i++) {
        struct put *put = &m->puts[i];
        bool created = put->inserted;

        fetch_ahead(m->store, m->keys, i, m->n);
        if (!put->inserted) {
            map_place place = put_find(m, i);

            put->garbage = place.entry;
            created = shard_is_past(m->keys[i].shard, place.entry, m->now_ms);
            if (created)
                store_tell_expired(m->store, place.entry);
            else if (store_counts_uses(m->store))
                entry_touch(put->fresh, store_access_after(m->store, place.entry, m->now_ms));
            shard_replace(m->keys[i].shard, &place, put->fresh);
        }
        store_tell_set(m->store, put->fresh, created);
    }
    store_act_end(m->store, framed);
}

int store_put_many(kv_store *store, size_t n, const kv_slice pairs[], store_put_if condition,
                   int64_t deadline_ms, bool keep_deadline, int64_t now_ms)
{
    struct put_many m = { .store = store,
                          .pairs = pairs,
                          .n = n,
                          .deadline_ms = deadline_ms,
                          .keep_deadline = keep_deadline,
                          .now_ms = now_ms };
    bool published = false;
    int err;

    if (n == 0)
        return 0;
    err = epoch_reserve(store->domain, n);
    if (!err)
        err = put_many_prepare(&m);
    if (!err) {
        map_lock_many(m.keys, n, m.scratch);
        err = put_many_check(&m, condition);
        if (!err)
            err = put_many_keep_deadlines(&m);
        if (!err)
            err = put_many_insert(&m);
        published = !err;
        if (published)
            put_many_replace(&m);
        map_unlock_many(m.keys, n, m.scratch);
    }
    for (size_t i = 0; m.block && i < n; i++) {
        if (!published)
            entry_free(store->domain, m.puts[i].fresh);
        if (m.puts[i].garbage)
            entry_retire(store->domain, m.puts[i].garbage);
    }
    if (m.block)
        domain_free(store->domain, m.block, m.block_bytes);
    return err;
}

/* ---- store_delete_many ---- */

KV_REQUIRES(kv_epoch_held)
KV_UNDER_LOCK static size_t delete_under_locks(kv_store *store, size_t n, const kv_slice names[],
                                               const map_key keys[], entry *garbage[], int64_t now_ms)
{
    bool framed = n > 1 && store_act_begin(store);
    size_t removed = 0;

    for (size_t i = 0; i < n; i++) {
        fetch_ahead(store, keys, i, n);
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
