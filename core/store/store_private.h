/* store_private.h - what the files of core/store share.
 * SPDX-License-Identifier: MIT */
#ifndef KV_STORE_PRIVATE_H
#define KV_STORE_PRIVATE_H

#include "actor.h"
#include "store.h"

/* What a store does on writes: tell its listener; keep counters of uses; mark their beginning and end. */
enum store_hook { STORE_TELLS = 1, STORE_COUNTS = 2, STORE_SPANS = 4 };

struct kv_store {
    _Atomic unsigned refs;
    kv_sharing sharing;
    map *map;
    kv_domain *domain;       /* a reference */
    actor *actor;            /* KV_SHARING_ACTOR only */
    _Atomic unsigned hooked; /* enum store_hook: what a write has to do besides */
    atomic_bool reaping;     /* reads remove what they find past its deadline */
    kv_change_fn *on_change; /* once set, it stays; STORE_TELLS says whether it is called */
    void *on_change_arg;
    store_put_fn *on_put; /* NULL: all is told in full */
    void *on_put_arg;
    store_span_fn *on_span; /* the same with STORE_SPANS */
    void *on_span_arg;
    const void *tag;
    _Atomic uint64_t expired;         /* entries removed because their deadline passed */
    _Atomic uint64_t evicted;         /* because memory was short */
    _Atomic uint64_t expire_position; /* where the next expire cycle goes on */
    _Atomic uint64_t age_position;    /* where store_age_some does */
    _Atomic uint32_t log_factor, decay_minutes;
};

static inline bool store_tells(const kv_store *store)
{
    /* Pairs with the release in kv_store_on_change and store_set_telling. */
    return atomic_load_explicit(&((kv_store *)store)->hooked, memory_order_acquire) & STORE_TELLS;
}

/* Tells the listener, if there is one. Under the shard's lock, so that the order is that of the key. */
void store_tell(const kv_store *store, const kv_change *change) KV_UNDER_LOCK;
/* e was published, is gone, or was found past its deadline and removed. */
void store_tell_set(const kv_store *store, const entry *e, bool created) KV_UNDER_LOCK;
void store_tell_gone(const kv_store *store, kv_change_kind kind, kv_slice key) KV_UNDER_LOCK;
void store_tell_expired(kv_store *store, const entry *e) KV_UNDER_LOCK;

/* Within a hold, tells the listener that an act begins, if this is its first change. */
void store_hold_note(const kv_store *store) KV_UNDER_LOCK;
/* The same of an act of several keys that is no hold, and none within one: whether its end is to be told, too. */
bool store_act_begin(const kv_store *store) KV_UNDER_LOCK;
void store_act_end(const kv_store *store, bool told) KV_UNDER_LOCK;

/* The counter of this thread's spans; NULL: they are off. */
static inline _Atomic uint64_t *store_spans(const kv_store *store)
{
    /* Pairs with the release in store_set_spans. */
    bool on = atomic_load_explicit(&((kv_store *)store)->hooked, memory_order_acquire) & STORE_SPANS;

    return __builtin_expect(on, 0) ? store->on_span(store->on_span_arg) : NULL;
}

/* Only its thread writes it. */
static inline void span_step(_Atomic uint64_t *spans, memory_order order)
{
    if (__builtin_expect(spans != NULL, 0))
        atomic_store_explicit(spans, atomic_load_explicit(spans, memory_order_relaxed) + 1, order);
}

/* A write that takes no marks of shards begins. Seen by whoever sees what is published after it. */
static inline void span_begin(_Atomic uint64_t *spans)
{
    span_step(spans, memory_order_relaxed);
}

/* Pairs with the acquire in who waits for its end: what was published has been told. */
static inline void span_end(_Atomic uint64_t *spans)
{
    span_step(spans, memory_order_release);
}

static inline _Atomic uint64_t *store_span_begin(const kv_store *store)
{
    _Atomic uint64_t *spans = store_spans(store);

    span_begin(spans);
    return spans;
}

/* Where a key stands. */
KV_UNDER_LOCK static inline map_place shard_look_up(map_shard *shard, store_key key)
{
    return key.hint ? shard_find_hinted(shard, key.name, key.hash, key.hint)
                    : shard_find(shard, key.name, key.hash);
}

/* The live entry of a place in the shard, or NULL. */
KV_UNDER_LOCK static inline entry *place_live(map_shard *shard, const map_place *place, int64_t now_ms)
{
    return place->entry && !shard_is_past(shard, place->entry, now_ms) ? place->entry : NULL;
}

#define STORE_GROUP 32u /* keys whose cache misses overlap */

/* Before the i-th key is looked up: fetches what the lookups of a group from there on will touch. */
KV_REQUIRES(kv_epoch_held)
static inline void store_fetch_ahead(const kv_store *store, const map_key keys[], size_t i, size_t n)
{
    uint64_t hashes[STORE_GROUP];
    size_t some = n - i < STORE_GROUP ? n - i : STORE_GROUP;

    if (i % STORE_GROUP)
        return;
    for (size_t k = 0; k < some; k++)
        hashes[k] = keys[i + k].hash;
    map_prefetch(store->map, some, hashes, NULL);
}

/* A copy of e's value and encoding under another key or deadline, not yet published; NULL: memory is out.
 * A value out of line is shared, not copied. */
entry *entry_remake(kv_store *store, const entry *e, kv_slice key, int64_t deadline_ms, int64_t now_ms);

/* The access clock for an entry that takes the place of before (NULL: of none) now. */
uint32_t store_access_after(const kv_store *store, const entry *before, int64_t now_ms);

#endif
