/* store.c - a keyspace: its life, its readers, its figures.
 *
 * A store is a map plus time. The map knows a deadline as a number; here it means that an entry whose
 * deadline has passed does not exist, although it still stands in its bucket. Three things remove it: the
 * next write of its key (slot.c), the expire cycle, which visits only segments in which something is due
 * (map_expire), and whatever clears the store. Reads remove it where that was asked for (store_set_reaping).
 *
 * Two threads may go by clocks that differ a little, or one may have read its clock a while ago. So a reader that finds an
 * entry past its deadline tells its shard that this time has come (once: others that come later see it), and under
 * the lock no writer goes by an older one: what was found gone cannot be given a longer life any more. Walks of the
 * whole store (SCAN, KEYS, RANDOMKEY) only pass such entries by.
 *
 * The three ways of sharing differ in two places only. KV_SHARING_MUTEX makes all shards of the map use one
 * lock, and store_find takes it. KV_SHARING_ACTOR leaves everything here as it is and lets one thread
 * do all the calling (public.c sends it messages), so that the locks are never contended.
 *
 * Change records are told under the shard's lock by whoever published the change: the order in which a
 * listener hears of one key is the order in which it changed.
 *
 * Cost of store_find, beyond map_find: one load of the entry's flags for the deadline, which stands in the
 * line that the key comparison has just read.
 *
 * SPDX-License-Identifier: MIT */
#include "store_private.h"

#define RANDOM_DRAWS 100 /* after so many expired entries in a row, RANDOMKEY gives up */

/* ---- life ---- */

static kv_store *store_build(const kv_store_options *o)
{
    kv_domain *domain = o->domain ? kv_domain_ref(o->domain) : kv_domain_new(NULL);
    map_options layout = {
        .shards = o->shards,
        .expected_keys = o->expected_keys,
        .one_lock = o->sharing == KV_SHARING_MUTEX,
        .version_start = o->version_start,
        .version_step = o->version_step ? o->version_step : 1,
    };
    kv_store *store = NULL;

    if (!domain)
        return NULL;
    store = domain_alloc(domain, sizeof *store, _Alignof(kv_store));
    if (!store)
        goto fail;
    *store = (kv_store){ .sharing = o->sharing, .domain = domain };
    atomic_init(&store->refs, 1);
    store->map = map_new(domain, &layout);
    if (!store->map)
        goto fail;
    if (o->sharing == KV_SHARING_ACTOR) {
        store->actor = actor_new(domain, o->actor_queue ? o->actor_queue : 1024);
        if (!store->actor)
            goto fail;
    }
    return store;
fail:
    if (store) {
        map_free(store->map);
        domain_free(domain, store, sizeof *store);
    }
    kv_domain_unref(domain);
    return NULL;
}

kv_store *kv_store_new(const kv_store_options *options)
{
    static const kv_store_options defaults = { .sharing = KV_SHARING_SHARDED };
    const kv_store_options *o = options ? options : &defaults;

    if ((unsigned)o->sharing > KV_SHARING_ACTOR)
        return NULL;
    if (o->shards > 1024 || (o->shards & (o->shards - 1)))
        return NULL;
    return store_build(o);
}

kv_store *kv_store_ref(kv_store *store)
{
    atomic_fetch_add_explicit(&store->refs, 1, memory_order_relaxed);
    return store;
}

void kv_store_unref(kv_store *store)
{
    /* The release gives the last owner everything that the others did; it pairs with the fence. */
    if (!store || atomic_fetch_sub_explicit(&store->refs, 1, memory_order_acq_rel) != 1)
        return;
    actor_free(store->actor);
    map_free(store->map);
    kv_domain *domain = store->domain;
    domain_free(domain, store, sizeof *store);
    kv_domain_unref(domain);
}

const map *store_map(const kv_store *store)
{
    return store->map;
}

kv_domain *kv_store_domain(kv_store *store)
{
    return store->domain;
}

actor *store_actor(const kv_store *store)
{
    return store->actor;
}

/* ---- changes ---- */

void kv_store_on_change(kv_store *store, kv_change_fn *fn, void *arg, const void *tag)
{
    store_set_telling(store, false);
    store->on_change = fn;
    store->on_change_arg = arg;
    store->tag = tag;
    store_set_telling(store, fn != NULL);
}

static void set_hook(kv_store *store, unsigned hook, bool on)
{
    if (on)
        atomic_fetch_or_explicit(&store->hooked, hook, memory_order_acq_rel);
    else
        atomic_fetch_and_explicit(&store->hooked, ~hook, memory_order_acq_rel);
}

void store_set_telling(kv_store *store, bool on)
{
    set_hook(store, STORE_TELLS, on);
}

void store_on_put(kv_store *store, store_put_fn *fn, void *arg)
{
    store->on_put = fn;
    store->on_put_arg = arg;
}

void store_on_span(kv_store *store, store_span_fn *fn, void *arg)
{
    store->on_span = fn;
    store->on_span_arg = arg;
}

void store_set_spans(kv_store *store, bool on)
{
    set_hook(store, STORE_SPANS, on);
}

void store_set_reaping(kv_store *store, bool on)
{
    atomic_store_explicit(&store->reaping, on, memory_order_relaxed);
}

void store_tell(const kv_store *store, const kv_change *change)
{
    if (!store_tells(store))
        return;
    store_hold_note(store);
    store->on_change(store->on_change_arg, change);
}

void store_tell_set(const kv_store *store, const entry *e, bool created)
{
    if (!store_tells(store))
        return;
    kv_bytes *owner;
    kv_slice value = entry_value(e, &owner);
    /* All members, or the compiler clears it first, which costs as much as the rest. */
    kv_change change = {
        .kind = KV_CHANGE_SET,
        .tag = store->tag,
        .other_tag = NULL,
        .key = entry_key(e),
        .value = value,
        .deadline_ms = entry_deadline(e),
        .version = e->version,
        .base_version = 0,
        .created = created,
        .bytes = owner,
    };
    store_hold_note(store);
    store->on_change(store->on_change_arg, &change);
}

void store_tell_gone(const kv_store *store, kv_change_kind kind, kv_slice key)
{
    if (!store_tells(store))
        return;
    kv_change change = { .kind = kind, .tag = store->tag, .key = key, .deadline_ms = KV_FOREVER };
    store_tell(store, &change);
}

void store_tell_expired(kv_store *store, const entry *e)
{
    atomic_fetch_add_explicit(&store->expired, 1, memory_order_relaxed);
    store_tell_gone(store, KV_CHANGE_EXPIRE, entry_key(e));
}

/* ---- reading ---- */

store_key store_key_of(const kv_store *store, kv_slice name)
{
    return (store_key){ name, domain_hash(store->domain, name), NULL };
}

/* KV_SHARING_MUTEX: a read takes the lock too. The entry outlives it by the epoch. */
__attribute__((noinline)) static const entry *find_locked(kv_store *store, store_key key)
{
    map_shard *shard = map_lock(store->map, key.hash);
    map_place place = shard_find(shard, key.name, key.hash);

    map_unlock(shard);
    return place.entry;
}

/* For e, which was found for key, but past its deadline. NULL: so it is, and will be for every writer. Otherwise the entry that
 * had taken its place before its shard was told. */
__attribute__((noinline)) static const entry *find_past(kv_store *store, kv_slice name, uint64_t hash,
                                                        const entry *e, int64_t now_ms)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held)
{
    bool reap =
        atomic_load_explicit(&store->reaping, memory_order_relaxed) && epoch_reserve(store->domain, 1) == 0;
    entry *garbage = NULL;

    /* Still there after the shard has known: no writer can have thought otherwise. */
    if (!reap && map_past(store->map, hash) >= entry_deadline(e) && map_find(store->map, name, hash) == e)
        return NULL;
    map_shard *shard = map_lock(store->map, hash);
    map_place place = shard_find(shard, name, hash);

    e = place_live(shard, &place, now_ms);
    if (place.entry && !e && reap) {
        garbage = place.entry;
        store_tell_expired(store, garbage);
        shard_remove(shard, &place);
    }
    map_unlock(shard);
    if (garbage)
        entry_retire(store->domain, garbage);
    return e;
}

void store_reap(kv_store *store, store_key key, int64_t now_ms)
{
    bool may = epoch_reserve(store->domain, 1) == 0;
    map_shard *shard = map_lock(store->map, key.hash);
    map_place place = shard_find(shard, key.name, key.hash);
    entry *garbage = may && place.entry && !place_live(shard, &place, now_ms) ? place.entry : NULL;

    if (garbage) {
        store_tell_expired(store, garbage);
        shard_remove(shard, &place);
    }
    map_unlock(shard);
    if (garbage)
        entry_retire(store->domain, garbage);
}

const entry *store_find(kv_store *store, store_key key, int64_t now_ms)
{
    const entry *e;

    if (__builtin_expect(store->sharing == KV_SHARING_MUTEX, 0))
        e = find_locked(store, key);
    else if (key.hint)
        e = map_find_hinted(store->map, key.name, key.hash, key.hint);
    else
        e = map_find(store->map, key.name, key.hash);
    if (__builtin_expect(!e || !entry_expired(e, now_ms), 1))
        return e;
    return find_past(store, key.name, key.hash, e, now_ms);
}

void store_find_run(kv_store *store, size_t n, const kv_slice names[], size_t stride, const uint64_t hashes[],
                    const map_hint hints[], const entry *ret[], int64_t now_ms)
{
    if (__builtin_expect(store->sharing == KV_SHARING_MUTEX, 0)) {
        for (size_t i = 0; i < n; i++)
            ret[i] = store_find(store, (store_key){ names[i * stride], hashes[i], NULL }, now_ms);
        return;
    }
    map_find_run(store->map, n, names, stride, hashes, hints, ret);
    for (size_t i = 0; i < n; i++)
        if (ret[i] && entry_expired(ret[i], now_ms))
            ret[i] = find_past(store, names[i * stride], hashes[i], ret[i], now_ms);
}

void store_find_many(kv_store *store, size_t n, const kv_slice names[], const uint64_t hashes[],
                     const entry *ret[], int64_t now_ms)
{
    bool again;

    do { /* until all that were found gone were so at the moment at which the others were found */
        again = false;
        map_find_many(store->map, n, names, hashes, ret);
        for (size_t i = 0; i < n && !again; i++) {
            if (!ret[i] || !entry_expired(ret[i], now_ms))
                continue;
            ret[i] = find_past(store, names[i], hashes[i], ret[i], now_ms);
            again = ret[i] != NULL;
        }
    } while (again);
}

void store_prefetch(const kv_store *store, size_t n, const uint64_t hashes[], map_hint ret_hints[])
{
    map_prefetch(store->map, n, hashes, ret_hints);
}

struct live_visit {
    map_visit_fn *visit;
    void *arg;
    int64_t now_ms;
};

static void visit_live(void *arg, const entry *e)
{
    const struct live_visit *live = arg;

    if (!entry_expired(e, live->now_ms))
        live->visit(live->arg, e);
}

uint64_t store_scan(kv_store *store, uint64_t cursor, map_visit_fn *visit, void *arg, int64_t now_ms)
{
    struct live_visit live = { visit, arg, now_ms };

    return map_scan(store->map, cursor, visit_live, &live);
}

const entry *store_random(kv_store *store, uint64_t *rng, int64_t now_ms)
{
    for (int draw = 0; draw < RANDOM_DRAWS; draw++) {
        const entry *e = map_random(store->map, rng);

        if (!e)
            return NULL;
        if (!entry_expired(e, now_ms))
            return e;
    }
    return NULL;
}

/* ---- expiry ---- */

KV_UNDER_LOCK static void expire_due(void *arg, map_shard *shard, const entry *e)
{
    (void)shard;
    store_tell_expired(arg, e);
}

size_t store_expire_cycle(kv_store *store, int64_t now_ms, size_t max_segments, bool *ret_more)
{
    uint64_t position =
        max_segments ? atomic_load_explicit(&store->expire_position, memory_order_relaxed) : 0;
    size_t removed = map_expire(store->map, &position, now_ms, max_segments, expire_due, store);

    atomic_store_explicit(&store->expire_position, position, memory_order_relaxed);
    if (ret_more)
        *ret_more = position != 0;
    return removed;
}

int64_t store_next_deadline(kv_store *store)
{
    return map_next_deadline(store->map);
}

/* ---- figures ---- */

void store_read_stats(kv_store *store, kv_stats *ret_stats, int64_t now_ms)
{
    map_stats stats;

    map_read_stats(store->map, &stats);
    *ret_stats = (kv_stats){
        .keys = stats.entries,
        .keys_with_deadline = stats.with_deadline,
        .entry_bytes = stats.entry_bytes,
        .index_bytes = stats.index_bytes,
        .expired = atomic_load_explicit(&store->expired, memory_order_relaxed),
        .evicted = atomic_load_explicit(&store->evicted, memory_order_relaxed),
        .shards = stats.shards,
    };
    if (stats.with_deadline > 0) {
        int64_t mean_ms = stats.deadline_sum_ms / (int64_t)stats.with_deadline;

        ret_stats->average_ttl_ms = mean_ms > now_ms ? mean_ms - now_ms : 0;
    }
}

size_t store_count(kv_store *store)
{
    return map_count(store->map);
}

void store_check(kv_store *store)
{
    map_check(store->map);
}
