/* wait_table.c - see wait_table.h.
 *
 *     slot -> queue (db, key) -> place -> place -> ...       oldest first
 *                                  | waiter: has one place in the queue of each of its keys
 *
 * One mutex guards it all: only clients that block, and those that they wait for, come here. `waiting` is read without
 * it, so that a write of a key that nobody waits for costs a load. Who joins looks at its keys again afterwards, and who
 * signals has stored before: with sequentially consistent order on both sides, one of them sees the other.
 *
 * SPDX-License-Identifier: MIT */
#include "wait_table.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define SLOTS 512

typedef struct wait_queue {
    struct wait_queue *next; /* in its slot */
    struct wait_place *first, **last;
    size_t len;
    int db;
    char key[];
} wait_queue;

typedef struct wait_place {
    struct wait_place *next, **link;
    wait_queue *queue;
    waiter *waiter;
} wait_place;

struct wait_table {
    pthread_mutex_t mutex;
    _Atomic size_t waiting; /* waiters */
    size_t queues;
    wait_queue *slots[SLOTS];
};

wait_table *wait_table_new(void)
{
    wait_table *t = calloc(1, sizeof *t);

    if (t)
        pthread_mutex_init(&t->mutex, NULL);
    return t;
}

void wait_table_free(wait_table *t)
{
    if (t)
        pthread_mutex_destroy(&t->mutex);
    free(t);
}

/* FNV-1a: an enemy gains nothing by collisions but slow queues of his own making. */
static wait_queue **slot_of(wait_table *t, int db, kv_slice key)
{
    uint64_t hash = 14695981039346656037u ^ (unsigned)db;

    for (size_t i = 0; i < key.len; i++)
        hash = (hash ^ (unsigned char)key.data[i]) * 1099511628211u;
    return &t->slots[(hash >> 32 ^ hash) % SLOTS];
}

/* Where the key's queue hangs, or would hang. */
static wait_queue **find_queue(wait_table *t, int db, kv_slice key)
{
    wait_queue **link = slot_of(t, db, key);

    while (*link && ((*link)->db != db || !kv_slice_equal(kv_slice_of((*link)->key, (*link)->len), key)))
        link = &(*link)->next;
    return link;
}

static wait_queue *make_queue(wait_table *t, int db, kv_slice key)
{
    wait_queue **link = find_queue(t, db, key);

    if (*link)
        return *link;
    *link = calloc(1, sizeof **link + key.len);
    if (!*link)
        return NULL;
    (*link)->last = &(*link)->first;
    (*link)->db = db;
    (*link)->len = key.len;
    if (key.len)
        memcpy((*link)->key, key.data, key.len);
    t->queues++;
    return *link;
}

static void drop_place(wait_table *t, wait_place *p)
{
    wait_queue *q = p->queue;
    wait_queue **link;

    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    else
        q->last = p->link;
    if (q->first)
        return;
    link = find_queue(t, q->db, kv_slice_of(q->key, q->len));
    *link = q->next;
    t->queues--;
    free(q);
}

static void drop_places(wait_table *t, waiter *w)
{
    if (!w->places)
        return;
    for (size_t i = 0; i < w->count; i++)
        drop_place(t, &w->places[i]);
    free(w->places);
    w->places = NULL;
    atomic_fetch_sub(&t->waiting, 1);
}

int wait_table_join(wait_table *t, waiter *w, size_t n, int db, const kv_slice keys[])
{
    int err = 0;

    w->places = calloc(n, sizeof *w->places);
    w->count = 0;
    w->awake = false;
    if (!w->places)
        return KV_ENOMEM;
    pthread_mutex_lock(&t->mutex);
    atomic_fetch_add(&t->waiting, 1);
    for (size_t i = 0; i < n && !err; i++) {
        wait_queue *q = make_queue(t, db, keys[i]);
        wait_place *p = &w->places[i];

        if (!q) {
            err = KV_ENOMEM;
            break;
        }
        *p = (wait_place){ .link = q->last, .queue = q, .waiter = w };
        *q->last = p;
        q->last = &p->next;
        w->count++;
    }
    if (err)
        drop_places(t, w);
    pthread_mutex_unlock(&t->mutex);
    return err;
}

/* Wakes the first one that is not awake. */
static bool wake_first(wait_queue *q)
{
    wait_place *p = q ? q->first : NULL;

    while (p && p->waiter->awake)
        p = p->next;
    if (!p)
        return false;
    p->waiter->awake = true;
    p->waiter->wake(p->waiter);
    return true;
}

bool wait_table_signal(wait_table *t, int db, kv_slice key)
{
    bool woken;

    if (atomic_load(&t->waiting) == 0)
        return false;
    pthread_mutex_lock(&t->mutex);
    woken = wake_first(*find_queue(t, db, key));
    pthread_mutex_unlock(&t->mutex);
    return woken;
}

void wait_table_heard(wait_table *t, waiter *w)
{
    pthread_mutex_lock(&t->mutex);
    w->awake = false;
    pthread_mutex_unlock(&t->mutex);
}

void wait_table_leave(wait_table *t, waiter *w)
{
    pthread_mutex_lock(&t->mutex);
    for (size_t i = 0; w->places && w->awake && i < w->count; i++)
        wake_first(w->places[i].queue);
    drop_places(t, w);
    pthread_mutex_unlock(&t->mutex);
}

size_t wait_table_keys(wait_table *t)
{
    size_t keys;

    pthread_mutex_lock(&t->mutex);
    keys = t->queues;
    pthread_mutex_unlock(&t->mutex);
    return keys;
}
