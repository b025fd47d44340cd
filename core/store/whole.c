/* whole.c - whole stores: emptying one, emptying all as one act, exchanging two.
 *
 * Under the locks only directories change hands (clear.c of the map); what was in them is dismantled afterwards, by
 * the domain's helper if the caller does not want to wait. What can fail is done first: room for the debris of each
 * store, for as many shards as it has; that number may change until everything is locked, and then all begins anew.
 *
 * SPDX-License-Identifier: MIT */
#include "store_private.h"

#include <assert.h>

KV_UNDER_LOCK static void tell_clear(void *arg)
{
    kv_store *store = arg;

    store_tell_gone(store, KV_CHANGE_CLEAR, KV_STR(""));
}

static void free_debris(void *arg)
{
    while (map_debris_free(arg, 64))
        ;
}

static void dispose(kv_domain *domain, map_debris *debris, bool async)
{
    if (async)
        domain_defer(domain, free_debris, debris);
    else
        free_debris(debris);
}

int store_clear(kv_store *store, bool async)
{
    for (;;) {
        map_debris *debris = map_debris_new(store->map);

        if (!debris)
            return KV_ENOMEM;
        if (map_clear(store->map, debris, tell_clear, store)) {
            dispose(store->domain, debris, async || map_hold_current(store->domain));
            return 0;
        }
        free_debris(debris);
    }
}

/* ---- all of them ---- */

struct clear_all {
    kv_store **stores;
    size_t n;
    kv_domain *domain;
    map_debris **debris;
};

static void free_all_debris(const struct clear_all *c, bool async)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->debris[i])
            dispose(c->domain, c->debris[i], async);
}

/* KV_ENOMEM. */
static int make_all_debris(const struct clear_all *c)
{
    memset(c->debris, 0, c->n * sizeof *c->debris);
    for (size_t i = 0; i < c->n; i++) {
        c->debris[i] = map_debris_new(c->stores[i]->map);
        if (!c->debris[i]) {
            free_all_debris(c, false);
            return KV_ENOMEM;
        }
    }
    return 0;
}

/* Everything is held, and the debris was made under that hold. */
static void clear_held(const struct clear_all *c) KV_EXCLUDES(kv_shard_held)
{
    for (size_t i = 0; i < c->n; i++) {
        bool cleared = map_clear(c->stores[i]->map, c->debris[i], tell_clear, c->stores[i]);

        assert(cleared);
        (void)cleared;
    }
}

/* Within a hold of the caller's, which has named all stores. */
static int clear_in_hold(const struct clear_all *c) KV_EXCLUDES(kv_shard_held)
{
    int err = make_all_debris(c);

    if (err)
        return err;
    clear_held(c);
    free_all_debris(c, true); /* not while everything is locked */
    return 0;
}

static int clear_with(store_hold *hold, const struct clear_all *c, bool async) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held)
{
    for (;;) {
        store_hold_begin(hold);
        for (size_t i = 0; i < c->n; i++)
            store_hold_store(hold, c->stores[i]);
        if (make_all_debris(c))
            return KV_ENOMEM;
        if (store_hold_lock(hold)) { /* since store_hold_begin nothing has another number of shards */
            clear_held(c);
            store_hold_release(hold);
            free_all_debris(c, async);
            return 0;
        }
        free_all_debris(c, false);
    }
}

int store_clear_all(kv_store *stores[], size_t n, bool async)
{
    struct clear_all c = { stores, n, stores[0]->domain, NULL };
    store_hold *hold = NULL;
    int err = KV_ENOMEM;

    c.debris = domain_alloc(c.domain, n * sizeof *c.debris, 8);
    if (!c.debris)
        return KV_ENOMEM;
    if (map_hold_current(c.domain)) {
        err = clear_in_hold(&c);
        goto out;
    }
    hold = store_hold_new(c.domain, n);
    if (hold)
        err = clear_with(hold, &c, async);
out:
    store_hold_free(hold);
    domain_free(c.domain, c.debris, n * sizeof *c.debris);
    return err;
}

/* ---- exchanging ---- */

struct swap {
    kv_store *a, *b;
};

KV_UNDER_LOCK static void tell_swap(void *arg)
{
    const struct swap *swap = arg;
    kv_change change = {
        .kind = KV_CHANGE_SWAP, .tag = swap->a->tag, .other_tag = swap->b->tag, .deadline_ms = KV_FOREVER
    };

    store_tell(swap->a, &change);
}

void store_swap(kv_store *a, kv_store *b, int64_t now_ms)
{
    struct swap swap = { a, b };

    if (a != b)
        map_swap(a->map, b->map, now_ms, tell_swap, &swap);
}
