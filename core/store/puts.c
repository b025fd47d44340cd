/* puts.c - storing several keys as one act, which no reader sees in part.
 *
 * The act itself is under the locks of all shards of the keys, and whoever writes there, or reads there, waits for its end. So what
 * does not need the locks is done before and after them, and may be done in steps, between which a host serves
 * others; and what can fail comes before what cannot:
 *
 *   1. outside the locks  make every entry: memory, copies of key and value, the hash; get room for what is remembered
 *   2. under the locks    check the condition; insert the keys that are absent, which may need memory for
 *                         a segment: when it fails, what was inserted is removed again
 *   3. under the locks    replace the others, which cannot fail; tell the changes
 *   4. outside            retire what was replaced
 *
 * The locks are taken in the one order that map_lock_many keeps, and the shards stay marked until the last entry is published;
 * readers that meet a mark wait. The same key may stand several times: its first occurrence inserts, the later ones
 * replace that, so that the last one stays.
 *
 * Cost: of 500,000 new keys about a third is 1, and most of the rest is inserting.
 *
 * SPDX-License-Identifier: MIT */
#include "store_private.h"

#define COPIED_AT_ONCE \
    ((size_t)8 << 20) /* bytes of values in one call of store_puts_prepare: some milliseconds */

struct put {
    entry *fresh;   /* NULL from when it is made until it is given away */
    entry *garbage; /* what fresh replaced */
    bool inserted;
};

/* The bookkeeping of n keys: this, and three arrays behind it. */
struct store_puts {
    kv_store *store;
    size_t n, ready; /* entries from ready on are not made yet */
    map_key *keys;
    map_shard **scratch;
    struct put *puts;
};

static size_t puts_size(size_t n)
{
    /* n argv slices of 16 bytes exist, so this cannot overflow. */
    return sizeof(store_puts) + n * (sizeof(map_key) + sizeof(map_shard *) + sizeof(struct put));
}

store_puts *store_puts_new(kv_store *store, size_t n)
{
    store_puts *m = domain_alloc(store->domain, puts_size(n), 16);

    if (!m)
        return NULL;
    *m = (store_puts){ .store = store, .n = n };
    m->keys = (map_key *)(m + 1);
    m->scratch = (map_shard **)(m->keys + n);
    m->puts = (struct put *)(m->scratch + n);
    return m;
}

void store_puts_free(store_puts *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->ready; i++)
        entry_free(m->store->domain, m->puts[i].fresh);
    domain_free(m->store->domain, m, puts_size(m->n));
}

int store_puts_prepare(store_puts *m, size_t at_most, const kv_slice pairs[], const kv_owned *owned,
                       int64_t deadline_ms, int64_t now_ms)
{
    size_t end = m->n - m->ready < at_most ? m->n : m->ready + at_most, copied = 0;
    uint32_t access = store_access_after(m->store, NULL, now_ms);

    for (; m->ready < end && copied < COPIED_AT_ONCE; m->ready++) {
        entry_parts parts = {
            .key = pairs[2 * m->ready],
            .value = pairs[2 * m->ready + 1],
            .bytes = kv_bytes_ref(kv_owner_of(owned, pairs[2 * m->ready + 1])),
            .deadline_ms = deadline_ms,
            .access = access,
        };
        entry *fresh = entry_new(m->store->domain, &parts);

        if (!fresh) {
            kv_bytes_unref(parts.bytes);
            return KV_ENOMEM;
        }
        copied += parts.bytes ? 0 : parts.value.len;
        m->puts[m->ready] = (struct put){ .fresh = fresh };
        m->keys[m->ready] =
            (map_key){ .map = m->store->map, .hash = domain_hash(m->store->domain, parts.key) };
    }
    return 0;
}

bool store_puts_ready(const store_puts *m)
{
    return m->ready == m->n;
}

/* ---- the act ---- */

/* What is asked of it. */
typedef struct put_act {
    store_puts *of;
    const kv_slice *pairs;
    store_put_if condition;
    bool keep_deadline;
    int64_t now_ms;
} put_act;

KV_UNDER_LOCK static map_place put_find(const put_act *a, size_t i)
{
    return shard_find(a->of->keys[i].shard, a->pairs[2 * i], a->of->keys[i].hash);
}

KV_REQUIRES(kv_epoch_held) KV_UNDER_LOCK static int put_check(const put_act *a)
{
    const store_puts *m = a->of;

    for (size_t i = 0; a->condition != STORE_PUT_ALWAYS && i < m->n; i++) {
        store_fetch_ahead(m->store, m->keys, i, m->n);
        map_place place = put_find(a, i);
        bool exists = place_live(m->keys[i].shard, &place, a->now_ms) != NULL;

        if (exists != (a->condition == STORE_PUT_IF_ALL))
            return KV_ECOND;
    }
    return 0;
}

/* Gives fresh entries the deadlines that their keys have now. */
KV_UNDER_LOCK static int put_keep_deadlines(const put_act *a)
{
    store_puts *m = a->of;

    for (size_t i = 0; a->keep_deadline && i < m->n; i++) {
        map_place place = put_find(a, i);
        const entry *live = place_live(m->keys[i].shard, &place, a->now_ms);

        if (!live || entry_deadline(live) == KV_FOREVER)
            continue;
        entry *made =
            entry_remake(m->store, m->puts[i].fresh, a->pairs[2 * i], entry_deadline(live), a->now_ms);
        if (!made)
            return KV_ENOMEM;
        entry_free(m->store->domain, m->puts[i].fresh);
        m->puts[i].fresh = made;
    }
    return 0;
}

/* Inserts the keys that are absent; on a failure takes them out again, and they are garbage. */
KV_REQUIRES(kv_epoch_held) KV_UNDER_LOCK static int put_insert(const put_act *a)
{
    store_puts *m = a->of;
    int err = 0;
    size_t i;

    for (i = 0; i < m->n && !err; i++) {
        struct put *put = &m->puts[i];

        store_fetch_ahead(m->store, m->keys, i, m->n);
        if (put_find(a, i).entry)
            continue;
        err = shard_insert(m->keys[i].shard, m->keys[i].hash, put->fresh);
        put->inserted = !err;
    }
    while (err && i-- > 0) {
        struct put *put = &m->puts[i];

        if (!put->inserted)
            continue;
        map_place place = put_find(a, i);
        shard_remove(m->keys[i].shard, &place);
        put->garbage = put->fresh; /* a reader may have met it */
        put->fresh = NULL;
    }
    return err;
}

/* Puts the i-th in place of what stands there; whether that is as good as absent. */
KV_UNDER_LOCK static bool put_replace_one(const put_act *a, size_t i)
{
    store_puts *m = a->of;
    struct put *put = &m->puts[i];
    map_place place = put_find(a, i);
    bool past = shard_is_past(m->keys[i].shard, place.entry, a->now_ms);

    put->garbage = place.entry;
    if (past)
        store_tell_expired(m->store, place.entry);
    else if (store_counts_uses(m->store))
        entry_touch(put->fresh, store_access_after(m->store, place.entry, a->now_ms));
    shard_replace(m->keys[i].shard, &place, put->fresh);
    return past;
}

KV_REQUIRES(kv_epoch_held) KV_UNDER_LOCK static void put_replace(const put_act *a)
{
    store_puts *m = a->of;
    bool framed = m->n > 1 && store_act_begin(m->store);

    for (size_t i = 0; i < m->n; i++) {
        bool created = m->puts[i].inserted;

        if (!created) {
            store_fetch_ahead(m->store, m->keys, i, m->n);
            created = put_replace_one(a, i);
        }
        store_tell_set(m->store, m->puts[i].fresh, created);
    }
    store_act_end(m->store, framed);
}

/* Gives away what was published, and retires what it replaced. */
static void put_retire(store_puts *m, bool published)
{
    for (size_t i = 0; i < m->n; i++) {
        if (published)
            m->puts[i].fresh = NULL;
        if (m->puts[i].garbage)
            entry_retire(m->store->domain, m->puts[i].garbage);
    }
}

int store_puts_commit(store_puts *m, const kv_slice pairs[], store_put_if condition, bool keep_deadline,
                      int64_t now_ms)
{
    put_act act = { m, pairs, condition, keep_deadline, now_ms };
    int err = epoch_reserve(m->store->domain, m->n);

    if (err)
        return err;
    map_lock_many(m->keys, m->n, m->scratch);
    err = put_check(&act);
    if (!err)
        err = put_keep_deadlines(&act);
    if (!err)
        err = put_insert(&act);
    if (!err)
        put_replace(&act);
    map_unlock_many(m->keys, m->n, m->scratch);
    put_retire(m, err == 0);
    return err;
}

int store_put_many(kv_store *store, size_t n, const kv_slice pairs[], const kv_owned *owned,
                   store_put_if condition, int64_t deadline_ms, bool keep_deadline, int64_t now_ms)
{
    store_puts *m;
    int err;

    if (n == 0)
        return 0;
    m = store_puts_new(store, n);
    err = m ? 0 : KV_ENOMEM;
    while (!err && !store_puts_ready(m))
        err = store_puts_prepare(m, n, pairs, owned, deadline_ms, now_ms);
    if (!err)
        err = store_puts_commit(m, pairs, condition, keep_deadline, now_ms);
    store_puts_free(m);
    return err;
}
