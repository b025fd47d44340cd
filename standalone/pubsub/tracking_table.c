/* tracking_table.c - which clients have read which key since it changed last.
 *
 * 64 parts, chosen by the upper bits of the key's hash, each a chained hash table under a lock of its own, which is held
 * for a look-up and a few stores: readers remember keys there, writers take them out. A key's clients are an array
 * of ids, since most keys are in the caches of a few.
 *
 * When all keys become stale at once, under the locks of all shards, nobody can take them out one by one: the table gets older by one,
 * and keys that were remembered before are as good as not there, until they are dropped, or remembered anew.
 *
 * Invariants: no part's lock is held with another's, or with a lock of the directory. A key that was taken out belongs
 * to who took it. tracking->keys, items and bytes are the sums of all parts.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "tracking_internal.h"

static tracking_part *part_of(tracking *t, uint64_t hash)
{
    return &t->parts[hash >> 58];
}

static tracking_key **find_link(tracking_part *p, kv_slice key, uint64_t hash)
{
    tracking_key **link = &p->buckets[hash & (p->bucket_count - 1)];

    while (*link &&
           ((*link)->hash != hash || !kv_slice_equal(kv_slice_of((*link)->key, (*link)->key_len), key)))
        link = &(*link)->next;
    return link;
}

/* Returns whether there are buckets. */
static bool grow_buckets(tracking *t, tracking_part *p)
{
    size_t count = p->bucket_count ? 2 * p->bucket_count : 16;
    tracking_key **buckets;

    if (p->count < p->bucket_count)
        return true;
    buckets = calloc(count, sizeof(tracking_key *));
    if (!buckets)
        return p->bucket_count > 0;
    for (size_t i = 0; i < p->bucket_count; i++) {
        for (tracking_key *e = p->buckets[i], *next; e; e = next) {
            next = e->next;
            e->next = buckets[e->hash & (count - 1)];
            buckets[e->hash & (count - 1)] = e;
        }
    }
    free(p->buckets);
    tracking_count_bytes(t, count * sizeof(tracking_key *), p->bucket_count * sizeof(tracking_key *));
    p->buckets = buckets;
    p->bucket_count = count;
    return true;
}

static unsigned age_of(tracking *t)
{
    return atomic_load_explicit(&t->age, memory_order_relaxed);
}

static tracking_key *insert(tracking *t, tracking_part *p, tracking_key **link, kv_slice key, uint64_t hash)
{
    tracking_key *e = key.len > UINT32_MAX ? NULL : malloc(sizeof *e + key.len);

    if (!e)
        return NULL;
    *e = (tracking_key){ .hash = hash, .key_len = (uint32_t)key.len, .age = age_of(t) };
    if (key.len)
        memcpy(e->key, key.data, key.len);
    *link = e;
    p->count++;
    tracking_count_bytes(t, sizeof *e + key.len, 0);
    atomic_fetch_add_explicit(&t->keys, 1, memory_order_relaxed);
    return e;
}

static bool add_client(tracking *t, tracking_key *e, uint64_t id)
{
    for (uint32_t i = 0; i < e->count; i++)
        if (e->clients[i] == id)
            return true;
    if (e->count == e->capacity) {
        uint32_t capacity = e->capacity ? 2 * e->capacity : 1;
        uint64_t *clients = realloc(e->clients, capacity * sizeof *clients);

        if (!clients)
            return false;
        tracking_count_bytes(t, capacity * sizeof *clients, e->capacity * sizeof *clients);
        e->clients = clients;
        e->capacity = capacity;
    }
    e->clients[e->count++] = id;
    atomic_fetch_add_explicit(&t->items, 1, memory_order_relaxed);
    return true;
}

static void unlink_key(tracking *t, tracking_part *p, tracking_key **link)
{
    tracking_key *e = *link;

    *link = e->next;
    p->count--;
    tracking_count_bytes(t, 0, sizeof *e + e->key_len + e->capacity * sizeof *e->clients);
    atomic_fetch_sub_explicit(&t->keys, 1, memory_order_relaxed);
    atomic_fetch_sub_explicit(&t->items, e->count, memory_order_relaxed);
}

void tracking_key_free(tracking_key *e)
{
    if (!e)
        return;
    free(e->clients);
    free(e);
}

/* Its clients are told otherwise. */
static void forget_clients(tracking *t, tracking_key *e, unsigned age)
{
    atomic_fetch_sub_explicit(&t->items, e->count, memory_order_relaxed);
    e->count = 0;
    e->age = age;
}

/* Takes some key out of a part; NULL: there is none. */
static tracking_key *take_any(tracking *t, tracking_part *p)
{
    for (size_t i = 0; i < p->bucket_count; i++) {
        tracking_key **link = &p->buckets[p->hand++ & (p->bucket_count - 1)], *e = *link;

        if (e) {
            unlink_key(t, p, link);
            return e;
        }
    }
    return NULL;
}

bool tracking_remember(tracking *t, kv_slice key, uint64_t hash, uint64_t id)
{
    tracking_part *p = part_of(t, hash);
    bool ok = false;

    pthread_mutex_lock(&p->lock);
    if (grow_buckets(t, p)) {
        tracking_key **link = find_link(p, key, hash), *e = *link;

        unsigned age = age_of(t);

        if (!e)
            e = insert(t, p, link, key, hash);
        if (e && e->age != age)
            forget_clients(t, e, age);
        ok = e && add_client(t, e, id);
    }
    pthread_mutex_unlock(&p->lock);
    return ok;
}

tracking_key *tracking_forget(tracking *t, kv_slice key, uint64_t hash)
{
    tracking_part *p = part_of(t, hash);
    tracking_key *e = NULL;

    pthread_mutex_lock(&p->lock);
    if (p->bucket_count) {
        tracking_key **link = find_link(p, key, hash);

        e = *link;
        if (e)
            unlink_key(t, p, link);
    }
    pthread_mutex_unlock(&p->lock);
    if (e && e->age != age_of(t)) {
        tracking_key_free(e);
        return NULL;
    }
    return e;
}

tracking_key *tracking_take_next(tracking *t)
{
    tracking_part *p =
        &t->parts[atomic_fetch_add_explicit(&t->hand, 1, memory_order_relaxed) % TRACKING_PARTS];
    tracking_key *e;

    pthread_mutex_lock(&p->lock);
    e = take_any(t, p);
    pthread_mutex_unlock(&p->lock);
    return e;
}

void tracking_outdate(tracking *t)
{
    /* Who remembers a key while this happens may see either: it is told that all is stale. */
    atomic_fetch_add_explicit(&t->age, 1, memory_order_relaxed);
}

static void drop_outdated(tracking *t, tracking_part *p, tracking_key **link, unsigned age)
{
    while (*link) {
        tracking_key *e = *link;

        if (e->age == age) {
            link = &e->next;
        } else {
            unlink_key(t, p, link);
            tracking_key_free(e);
        }
    }
}

void tracking_drop_outdated(tracking *t)
{
    for (int i = 0; i < TRACKING_PARTS; i++) {
        tracking_part *p = &t->parts[i];

        pthread_mutex_lock(&p->lock);
        for (size_t j = 0; p->count && j < p->bucket_count; j++)
            drop_outdated(t, p, &p->buckets[j], age_of(t));
        pthread_mutex_unlock(&p->lock);
    }
}
