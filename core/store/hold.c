/* hold.c - several verbs as one act: map_hold with stores in place of maps, and the frame around its change records.
 *
 * A listener hears BEGIN from a store before the first change of the act in that store, and END, while everything
 * is still locked, after the last one of all. An act without a change is not heard of. Other threads may tell theirs in
 * between, of other shards: who writes a log collects an act per thread.
 *
 * SPDX-License-Identifier: MIT */
#include "store_private.h"

struct store_hold {
    map_hold map; /* first: store_hold_note gets the store_hold back from there */
    kv_domain *domain;
    size_t room, told_count;
    const kv_store **told; /* stores whose listeners have heard BEGIN */
    map_hold_part parts[];
};

static size_t hold_size(size_t room)
{
    return sizeof(store_hold) + room * (sizeof(map_hold_part) + sizeof(kv_store *));
}

store_hold *store_hold_new(kv_domain *domain, size_t stores)
{
    store_hold *hold = domain_alloc(domain, hold_size(stores), _Alignof(store_hold));

    if (!hold)
        return NULL;
    *hold = (store_hold){ .domain = domain, .room = stores };
    hold->map = (map_hold){ .domain = domain, .parts = hold->parts, .room = stores };
    hold->told = (const kv_store **)(hold->parts + stores);
    return hold;
}

void store_hold_free(store_hold *hold)
{
    if (hold)
        domain_free(hold->domain, hold, hold_size(hold->room));
}

void store_hold_begin(store_hold *hold)
{
    map_hold_begin(&hold->map);
    hold->told_count = 0;
}

void store_hold_key(store_hold *hold, kv_store *store, uint64_t hash)
{
    map_hold_key(&hold->map, store->map, hash);
}

void store_hold_run(store_hold *hold, kv_store *store, size_t n, const uint64_t hashes[], size_t stride)
{
    map_hold_run(&hold->map, store->map, n, hashes, stride);
}

void store_hold_store(store_hold *hold, kv_store *store)
{
    map_hold_map(&hold->map, store->map);
}

bool store_hold_lock(store_hold *hold)
{
    return map_hold_lock(&hold->map);
}

static void tell_frame(const kv_store *store, kv_change_kind kind)
{
    kv_change change = { .kind = kind, .tag = store->tag, .deadline_ms = KV_FOREVER };

    store->on_change(store->on_change_arg, &change);
}

void store_hold_release(store_hold *hold)
{
    for (size_t i = 0; i < hold->told_count; i++)
        tell_frame(hold->told[i], KV_CHANGE_END);
    map_hold_release(&hold->map);
}

void store_hold_note(const kv_store *store)
{
    store_hold *hold = (store_hold *)map_hold_current(store->domain);

    if (!hold)
        return;
    for (size_t i = 0; i < hold->told_count; i++)
        if (hold->told[i] == store)
            return;
    if (hold->told_count < hold->room) /* no more stores than those that were named tell anything */
        hold->told[hold->told_count++] = store;
    tell_frame(store, KV_CHANGE_BEGIN);
}

/* ---- reading all of a store ---- */

#define LOOKS 3

KV_UNCHECKED static int look_held(kv_store *store, store_look_fn *look, void *arg)
{
    store_hold *hold = store_hold_new(store->domain, 1);

    if (!hold)
        return KV_ENOMEM;
    do {
        store_hold_begin(hold);
        store_hold_store(hold, store);
    } while (!store_hold_lock(hold));
    look(arg);
    store_hold_release(hold);
    store_hold_free(hold);
    return 0;
}

int store_look(kv_store *store, store_look_fn *look, void *arg)
{
    map_moment moment;

    if (map_hold_current(store->domain)) {
        look(arg);
        return 0;
    }
    for (int i = 0; i < LOOKS; i++) {
        if (!map_moment_begin(store->map, &moment))
            continue;
        look(arg);
        if (map_moment_holds(store->map, &moment))
            return 0;
    }
    return look_held(store, look, arg);
}

bool store_act_begin(const kv_store *store)
{
    if (!store_tells(store) || map_hold_current(store->domain))
        return false;
    tell_frame(store, KV_CHANGE_BEGIN);
    return true;
}

void store_act_end(const kv_store *store, bool told)
{
    if (told)
        tell_frame(store, KV_CHANGE_END);
}
