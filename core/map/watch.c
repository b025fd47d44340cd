/* watch.c - noticing that a key which was absent has been there meanwhile.
 *
 * A key that exists has a version, which tells whether it was written since. A key that does not exist has none: it
 * may have come and gone. So whoever needs to know stands in a table of the map, which each insert asks. The table
 * is made when the first absent key is watched; until then an insert pays for one load and a test, and afterwards for
 * one more load, unless somebody watches a key of the same slot.
 *
 * Keys are told apart by their hash alone: two keys with the same 64 bits would alarm each other's watchers in
 * vain, which is allowed.
 *
 * A slot's lock is a leaf: it is taken with shards locked. SPDX-License-Identifier: MIT */
#include "shard.h"

#define SLOTS 256

typedef struct watch_slot {
    kv_lock lock;
    _Atomic(map_watch *) first;
} watch_slot;

typedef struct watch_table {
    watch_slot slots[SLOTS];
} watch_table;

static watch_slot *slot_of(watch_table *table, uint64_t hash)
{
    return &table->slots[hash >> 32 & (SLOTS - 1)];
}

static watch_table *table_of(map *m)
{
    watch_table *table = atomic_load_explicit(&m->watches, memory_order_acquire), *other = NULL;

    if (table)
        return table;
    table = domain_alloc(m->domain, sizeof *table, 64);
    if (!table)
        return NULL;
    memset(table, 0, sizeof *table);
    if (atomic_compare_exchange_strong_explicit(&m->watches, &other, table, memory_order_acq_rel,
                                                memory_order_acquire))
        return table;
    domain_free(m->domain, table, sizeof *table);
    return other;
}

void map_watch_done(map *m)
{
    domain_free(m->domain, atomic_load_explicit(&m->watches, memory_order_acquire), sizeof(watch_table));
}

int map_watch_add(map_watch *w)
{
    watch_table *table = table_of(w->map);
    watch_slot *slot;

    if (!table)
        return KV_ENOMEM;
    slot = slot_of(table, w->hash);
    atomic_init(&w->inserted, false);
    lock_acquire(&slot->lock);
    w->next = atomic_load_explicit(&slot->first, memory_order_relaxed);
    if (w->next)
        w->next->link = &w->next;
    w->link = NULL; /* it is the slot's */
    atomic_store_explicit(&slot->first, w, memory_order_relaxed);
    lock_release(&slot->lock);
    return 0;
}

void map_watch_remove(map_watch *w)
{
    watch_slot *slot = slot_of(table_of(w->map), w->hash);

    lock_acquire(&slot->lock);
    if (w->next)
        w->next->link = w->link;
    if (w->link)
        *w->link = w->next;
    else
        atomic_store_explicit(&slot->first, w->next, memory_order_relaxed);
    lock_release(&slot->lock);
}

void map_watch_tell(map *m, uint64_t hash)
{
    /* The table and its first watcher were stored under the lock of this key's shard, if the watcher is this key's. */
    watch_slot *slot = slot_of(atomic_load_explicit(&m->watches, memory_order_acquire), hash);

    if (!atomic_load_explicit(&slot->first, memory_order_relaxed))
        return;
    lock_acquire(&slot->lock);
    for (map_watch *w = atomic_load_explicit(&slot->first, memory_order_relaxed); w; w = w->next)
        if (w->hash == hash)
            atomic_store_explicit(&w->inserted, true, memory_order_relaxed);
    lock_release(&slot->lock);
}

void map_watch_tell_exchanged(map *m, const map *other, int64_t now_ms)
{
    watch_table *table = atomic_load_explicit(&m->watches, memory_order_acquire);
    uint64_t root_word = map_root_word(other);

    for (size_t i = 0; table && i < SLOTS; i++) {
        watch_slot *slot = &table->slots[i];

        if (!atomic_load_explicit(&slot->first, memory_order_relaxed))
            continue;
        lock_acquire(&slot->lock);
        for (map_watch *w = atomic_load_explicit(&slot->first, memory_order_relaxed); w; w = w->next) {
            const entry *e = shard_lookup(root_word_shard(root_word, w->hash), w->key, w->hash).entry;

            if (e && entry_deadline(e) > now_ms)
                atomic_store_explicit(&w->inserted, true, memory_order_relaxed);
        }
        lock_release(&slot->lock);
    }
}

unsigned map_swaps(const map *m)
{
    return (unsigned)(map_root_word(m) >> 48);
}
