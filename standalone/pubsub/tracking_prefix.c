/* tracking_prefix.c - BCAST: clients that want to hear of every key which begins with something.
 *
 * Few clients ask for few prefixes, and each write looks at all of them: a sorted array under one lock, and a count that is
 * read first, so that without BCAST a write does not take it. The keys of one command are sorted, and each prefix makes one
 * message of those that match it.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "tracking_internal.h"

static bool begins_with(kv_slice key, kv_slice text)
{
    return key.len >= text.len && memcmp(key.data, text.data, text.len) == 0;
}

int tracking_by_bytes(const void *a, const void *b)
{
    const kv_slice *x = a, *y = b;
    size_t len = x->len < y->len ? x->len : y->len;
    int order = len ? memcmp(x->data, y->data, len) : 0;

    return order ? order : x->len < y->len ? -1 : x->len > y->len;
}

/* The keys, sorted, that begin with text, each once. */
static kv_bytes *matching(kv_slice text, const kv_slice keys[], size_t count)
{
    kv_slice *chosen = malloc((count ? count : 1) * sizeof *chosen);
    size_t n = 0;
    kv_bytes *bytes;

    if (!chosen)
        return NULL;
    for (size_t i = 0; i < count; i++)
        if (begins_with(keys[i], text) && (n == 0 || !kv_slice_equal(keys[i], chosen[n - 1])))
            chosen[n++] = keys[i];
    bytes = n ? tracking_make_keys(chosen, n) : NULL;
    free(chosen);
    return bytes;
}

void tracking_broadcast(server *s, worker *from, kv_slice keys[], size_t count, uint64_t origin)
{
    tracking *t = s->tracking;

    if (count == 0 || atomic_load_explicit(&t->prefix_count, memory_order_relaxed) == 0)
        return;
    qsort(keys, count, sizeof *keys, tracking_by_bytes);
    pthread_mutex_lock(&t->prefix_lock);
    for (size_t i = 0; i < t->prefix_total; i++) {
        const tracking_prefix *p = &t->prefixes[i];
        kv_bytes *bytes = matching(p->text, keys, count);

        for (size_t j = 0; bytes && j < p->count; j++)
            tracking_tell(s, from, p->clients[j], origin, true, TRACKING_KEYS, bytes);
        kv_bytes_unref(bytes);
    }
    pthread_mutex_unlock(&t->prefix_lock);
}

static tracking_prefix *find_prefix(tracking *t, kv_slice text)
{
    for (size_t i = 0; i < t->prefix_total; i++)
        if (kv_slice_equal(t->prefixes[i].text, text))
            return &t->prefixes[i];
    return NULL;
}

/* Keeps the prefixes sorted, so that clients hear of them in Redis's order. */
static tracking_prefix *new_prefix(tracking *t, kv_slice text)
{
    tracking_prefix *all = realloc(t->prefixes, (t->prefix_total + 1) * sizeof *all);
    char *copy = all ? malloc(text.len + 1) : NULL;
    size_t at;

    if (all)
        t->prefixes = all;
    if (!copy)
        return NULL;
    if (text.len)
        memcpy(copy, text.data, text.len);
    for (at = t->prefix_total; at > 0 && tracking_by_bytes(&text, &all[at - 1].text) < 0; at--)
        all[at] = all[at - 1];
    all[at] = (tracking_prefix){ .text = kv_slice_of(copy, text.len) };
    tracking_count_bytes(t, sizeof *all + text.len + 1, 0);
    t->prefix_total++;
    atomic_store_explicit(&t->prefix_count, t->prefix_total, memory_order_relaxed);
    return &all[at];
}

static void drop_prefix(tracking *t, tracking_prefix *p)
{
    tracking_count_bytes(t, 0, sizeof *p + p->text.len + 1);
    free((void *)(uintptr_t)p->text.data);
    free(p->clients);
    memmove(p, p + 1, (size_t)(t->prefixes + t->prefix_total - (p + 1)) * sizeof *p);
    t->prefix_total--;
    atomic_store_explicit(&t->prefix_count, t->prefix_total, memory_order_relaxed);
}

int tracking_join_prefix(tracking *t, kv_slice text, uint64_t id)
{
    tracking_prefix *p;
    uint64_t *clients;
    int err = KV_ENOMEM;

    pthread_mutex_lock(&t->prefix_lock);
    p = find_prefix(t, text);
    if (!p)
        p = new_prefix(t, text);
    clients = p ? realloc(p->clients, (p->count + 1) * sizeof *clients) : NULL;
    if (clients) {
        p->clients = clients;
        p->clients[p->count++] = id;
        tracking_count_bytes(t, sizeof id, 0);
        err = 0;
    } else if (p && p->count == 0) {
        drop_prefix(t, p);
    }
    pthread_mutex_unlock(&t->prefix_lock);
    return err;
}

void tracking_leave_prefix(tracking *t, kv_slice text, uint64_t id)
{
    tracking_prefix *p;

    pthread_mutex_lock(&t->prefix_lock);
    p = find_prefix(t, text);
    for (size_t i = 0; p && i < p->count; i++)
        if (p->clients[i] == id) {
            p->clients[i] = p->clients[--p->count];
            tracking_count_bytes(t, 0, sizeof id);
            break;
        }
    if (p && p->count == 0)
        drop_prefix(t, p);
    pthread_mutex_unlock(&t->prefix_lock);
}
