/* expire.c - see expire.h.
 *
 * The queue is a binary heap by the earliest deadline of each key. Watching, forgetting and taking the first cost
 * O(log n); a key whose fields are not due costs nothing. The time that a key is queued for is a lower bound: when it
 * comes and nothing was due after all, the key is queued again for what its fields say.
 *
 * The timer has only the key's name: it may have been renamed, or another key may have its name. So the key is
 * opened and is the one meant only if it holds the very same fields; otherwise it is asked again in a while, and the
 * next command on it tells its new name.
 *
 * The lock is for expire_forget, which the server's lazy-free thread calls. Nothing is called with it held. A forked child
 * never comes here.
 *
 * SPDX-License-Identifier: MIT */
#include "expire.h"

#include <pthread.h>
#include <stdlib.h>

#include "handle.h"
#include "run.h"

#define PERIOD_MS 100  /* how often the queue is looked at */
#define BUDGET_MS 5    /* how long in one go */
#define AGAIN_MS  1000 /* a key that was not found under its name is looked for again */

typedef struct expiring {
    keyed *keyed;
    int64_t due_ms;
    size_t place; /* in the heap */
    int db;
    size_t len;
    char name[];
} expiring;

static struct {
    pthread_mutex_t lock;
    expiring **heap; /* the parent of i is (i - 1) / 2 */
    size_t count, size;
} queue = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* ---- the heap ---- */

static void put_at(size_t place, expiring *x)
{
    queue.heap[place] = x;
    x->place = place;
}

static void sift_up(expiring *x)
{
    size_t place = x->place;

    while (place > 0 && queue.heap[(place - 1) / 2]->due_ms > x->due_ms) {
        put_at(place, queue.heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    put_at(place, x);
}

static void sift_down(expiring *x)
{
    size_t place = x->place;

    for (;;) {
        size_t child = 2 * place + 1;

        if (child + 1 < queue.count && queue.heap[child + 1]->due_ms < queue.heap[child]->due_ms)
            child++;
        if (child >= queue.count || queue.heap[child]->due_ms >= x->due_ms)
            break;
        put_at(place, queue.heap[child]);
        place = child;
    }
    put_at(place, x);
}

static void heap_move(expiring *x, int64_t due_ms)
{
    bool earlier = due_ms < x->due_ms;

    x->due_ms = due_ms;
    if (earlier)
        sift_up(x);
    else
        sift_down(x);
}

static bool heap_add(expiring *x)
{
    if (queue.count == queue.size) {
        size_t size = queue.size ? 2 * queue.size : 64;
        expiring **heap = rm_alloc(size * sizeof *heap);

        if (!heap)
            return false;
        if (queue.count)
            memcpy(heap, queue.heap, queue.count * sizeof *heap);
        rm.Free(queue.heap);
        queue.heap = heap;
        queue.size = size;
    }
    put_at(queue.count++, x);
    sift_up(x);
    return true;
}

static void heap_remove(expiring *x)
{
    expiring *last = queue.heap[--queue.count];

    if (last != x) {
        put_at(x->place, last);
        heap_move(last, last->due_ms);
        sift_up(last);
    }
}

/* ---- watching ---- */

static expiring *expiring_new(keyed *k, int db, kv_slice name, int64_t due_ms)
{
    expiring *x = rm_alloc(sizeof *x + name.len);

    if (!x)
        return NULL;
    *x = (expiring){ .keyed = k, .due_ms = due_ms, .db = db, .len = name.len };
    if (name.len)
        memcpy(x->name, name.data, name.len);
    return x;
}

static void expiring_free(expiring *x)
{
    rm.Free(x);
}

static bool same_name(const expiring *x, int db, kv_slice name)
{
    return x->db == db && kv_slice_equal(kv_slice_of(x->name, x->len), name);
}

void expire_watch(keyed *k, int db, kv_slice name, int64_t deadline_ms)
{
    expiring *x = k->expiring;

    if (x && same_name(x, db, name)) {
        pthread_mutex_lock(&queue.lock);
        if (deadline_ms < x->due_ms)
            heap_move(x, deadline_ms);
        pthread_mutex_unlock(&queue.lock);
        return;
    }
    if (x && x->due_ms < deadline_ms)
        deadline_ms = x->due_ms;
    expiring *fresh = expiring_new(k, db, name, deadline_ms);

    if (!fresh)
        return;
    pthread_mutex_lock(&queue.lock);
    if (x)
        heap_remove(x);
    k->expiring = heap_add(fresh) ? fresh : NULL;
    pthread_mutex_unlock(&queue.lock);
    if (!k->expiring)
        expiring_free(fresh);
    if (x)
        expiring_free(x);
}

void expire_moved(keyed *k, int db, kv_slice name)
{
    if (k->expiring && !same_name(k->expiring, db, name))
        expire_watch(k, db, name, KV_FOREVER);
}

void expire_swapped(int first_db, int second_db)
{
    pthread_mutex_lock(&queue.lock);
    for (size_t i = 0; i < queue.count; i++) {
        expiring *x = queue.heap[i];

        x->db = x->db == first_db ? second_db : x->db == second_db ? first_db : x->db;
    }
    pthread_mutex_unlock(&queue.lock);
}

void expire_forget(keyed *k)
{
    expiring *x = k->expiring;

    if (!x)
        return;
    pthread_mutex_lock(&queue.lock);
    heap_remove(x);
    pthread_mutex_unlock(&queue.lock);
    expiring_free(x);
    k->expiring = NULL;
}

/* ---- the timer ---- */

/* The first in the queue, when it is due: it is queued for again_ms meanwhile. Its name is copied, since the key may
 * end on another thread. */
static expiring *take_due(int64_t now_ms, int64_t again_ms)
{
    expiring *copy = NULL;

    pthread_mutex_lock(&queue.lock);
    if (queue.count && queue.heap[0]->due_ms <= now_ms) {
        expiring *x = queue.heap[0];

        copy = expiring_new(x->keyed, x->db, kv_slice_of(x->name, x->len), x->due_ms);
        heap_move(x, again_ms);
    }
    pthread_mutex_unlock(&queue.lock);
    return copy;
}

static void expire_due(rm_ctx *ctx, const expiring *x, int64_t now_ms)
{
    rm_str *name = rm.CreateString(ctx, x->name, x->len);

    if (rm.SelectDb(ctx, x->db) == RM_OK)
        run_expire(ctx, name, x->keyed, now_ms);
    rm.FreeString(ctx, name);
}

/* A replica removes nothing by itself, and a primary whose clients are paused (for a failover) tells its replicas
 * nothing. */
static bool may_write(rm_ctx *ctx)
{
    int flags = rm.GetContextFlags(ctx);

    return (flags & RM_IS_PRIMARY) && !(flags & (RM_IS_LOADING | RM_ASYNC_LOADING)) &&
           !(rm.AvoidReplicaTraffic && rm.AvoidReplicaTraffic());
}

static void tick(rm_ctx *ctx, void *arg)
{
    int64_t now_ms = module_now_ms(), end_ms = now_ms + BUDGET_MS;
    expiring *due;

    (void)arg;
    while (may_write(ctx) && module_now_ms() < end_ms &&
           (due = take_due(now_ms, now_ms + AGAIN_MS)) != NULL) {
        expire_due(ctx, due, now_ms);
        expiring_free(due);
    }
    handle_refresh(ctx);
    if (atomic_exchange_explicit(&module.tidy, false, memory_order_relaxed))
        domain_trim(module.domain); /* another thread has freed what this one had made */
    expire_start(ctx);
}

void expire_start(rm_ctx *ctx)
{
    rm.CreateTimer(ctx, PERIOD_MS, tick, NULL);
}
