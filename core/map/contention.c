/* contention.c - see contention.h.
 *
 * The problem: to tell what is waited for without asking anything of those who need not wait. A lock's fast path is
 * one exchange to take it and one to let it go, and stays that.
 *
 *     lock_try fails --> shard_wait: clock, spin or sleep, clock, note in the thread: lock, shard, both times
 *                                                            |  the lock's state is 3 (or 2), not 1
 *     lock_release: exchange gives 3 or 2 --> lock_released: wake, and contention_released: clock, count
 *
 * Who has waited takes the lock in a state of its own (lock.h), so that its release, which looks at the old state as
 * it always did, goes the slow way and finds the note. Everything is counted there, after the lock is free again:
 * a contended section grows by one reading of the clock and a few stores to memory of the thread's own.
 *
 * What is counted, in one block per domain: two histograms; a table of shards, in which a shard finds its place by
 * hashing, for good, at its first wait; a list of the keys waited for most (Space-Saving), of which a thread that finds
 * it in use leaves its key out: a sample. Keys are remembered by their hashes, 8 bytes whatever their length, and
 * found again in the map when somebody asks.
 *
 * A thread may hold many locks that it waited for (a change of several keys). It notes the first HOLDS_MAX of them;
 * of the others the wait is counted at once, and not how long they were held.
 *
 * Cost: of an uncontended pair of lock and unlock, no instruction (kvbench server --callgrind counts the same with and
 * without). Of a contended one two readings of the clock and about 100 instructions outside of the lock.
 *
 * Rejected: timing every hold, so as to know how long those held who were waited for: two clock readings for each SET;
 * asking the thread that is in the way for its time: it would have to publish when it began. SPDX-License-Identifier: MIT */
#include "contention.h"

#include <stdlib.h>

#include "domain_private.h"
#include "shard.h"

#define HOLDS_MAX 4  /* locks that were waited for, and are held by one thread */
#define PROBES    16 /* places that a shard may have in the table */

typedef struct counted_times {
    _Atomic uint64_t count, total_ns, max_ns;
} counted_times;

typedef struct counted_histogram {
    counted_times times;
    _Atomic uint64_t buckets[CONTENTION_BUCKETS];
} counted_histogram;

typedef struct counted_shard {
    _Atomic uint64_t name; /* address of the map and, from bit 48 on, the index; 0: free. Set once */
    counted_times wait, hold;
} counted_shard;

typedef struct counted_key {
    uint64_t name; /* of the shard */
    uint64_t hash;
    uint64_t waits, error; /* waits 0: free */
} counted_key;

typedef struct contention {
    contention_clock *clock_ns;
    counted_histogram wait, hold;
    _Atomic uint64_t unlisted_waits;
    counted_shard shards[CONTENTION_SHARDS_MAX];
    kv_lock keys_lock; /* leaf: keys */
    size_t max_keys;
    counted_key keys[];
} contention;

/* A lock that this thread waited for and holds. */
typedef struct contended_hold {
    kv_lock *lock;
    contention *counted;
    uint64_t shard; /* its name */
    uint64_t hash;
    bool has_hash;
    uint64_t wait_ns, since_ns;
} contended_hold;

static _Thread_local struct {
    unsigned count;
    contended_hold held[HOLDS_MAX];
} holds __attribute__((tls_model("initial-exec")));

static size_t contention_size(size_t max_keys)
{
    return sizeof(contention) + max_keys * sizeof(counted_key);
}

int contention_start(kv_domain *domain, contention_clock *clock_ns, size_t max_keys)
{
    contention *c;

    if (max_keys > CONTENTION_KEYS_MAX || domain->contention)
        return KV_EINVAL;
    c = domain_alloc(domain, contention_size(max_keys), 64);
    if (!c)
        return KV_ENOMEM;
    memset(c, 0, contention_size(max_keys));
    c->clock_ns = clock_ns;
    c->max_keys = max_keys;
    domain->contention = c;
    return 0;
}

void contention_done(kv_domain *domain)
{
    if (domain->contention)
        domain_free(domain, domain->contention, contention_size(domain->contention->max_keys));
}

/* ---- counting ---- */

static void count_time(counted_times *t, uint64_t ns)
{
    uint64_t max = atomic_load_explicit(&t->max_ns, memory_order_relaxed);

    atomic_fetch_add_explicit(&t->count, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&t->total_ns, ns, memory_order_relaxed);
    while (ns > max && !atomic_compare_exchange_weak_explicit(&t->max_ns, &max, ns, memory_order_relaxed,
                                                              memory_order_relaxed))
        ;
}

/* Four buckets to each power of two; below 4 one for each number. */
static size_t bucket_of(uint64_t ns)
{
    unsigned log;
    size_t index;

    if (ns < 4)
        return (size_t)ns;
    log = 63 - (unsigned)__builtin_clzll(ns);
    index = 4 * (log - 1) + (ns >> (log - 2) & 3);
    return index < CONTENTION_BUCKETS ? index : CONTENTION_BUCKETS - 1;
}

uint64_t contention_bucket_start(size_t index)
{
    if (index < 4)
        return index;
    return (4 + (uint64_t)(index & 3)) << (index / 4 - 1);
}

static void count_histogram(counted_histogram *h, uint64_t ns)
{
    count_time(&h->times, ns);
    atomic_fetch_add_explicit(&h->buckets[bucket_of(ns)], 1, memory_order_relaxed);
}

/* The shard's place, taken now if it has none; NULL: there is none left for it. */
static counted_shard *place_of(contention *c, uint64_t name)
{
    size_t start = (size_t)((name * 0x9e3779b97f4a7c15u) >> 32);

    for (size_t i = 0; i < PROBES; i++) {
        counted_shard *place = &c->shards[(start + i) % CONTENTION_SHARDS_MAX];
        uint64_t owner = atomic_load_explicit(&place->name, memory_order_relaxed);

        if (owner == 0 && atomic_compare_exchange_strong_explicit(&place->name, &owner, name,
                                                                  memory_order_relaxed, memory_order_relaxed))
            return place;
        if (owner == name)
            return place;
    }
    return NULL;
}

static void count_key(contention *c, uint64_t name, uint64_t hash)
{
    counted_key *least;

    if (c->max_keys == 0 || !lock_try(&c->keys_lock))
        return;
    least = &c->keys[0];
    for (size_t i = 0; i < c->max_keys; i++) {
        counted_key *key = &c->keys[i];

        if (key->hash == hash && key->name == name && key->waits) {
            least = key;
            goto found;
        }
        if (key->waits < least->waits)
            least = key;
    }
    least->error = least->waits; /* who takes the place of the least may have come as often */
    least->name = name;
    least->hash = hash;
found:
    least->waits++;
    lock_release(&c->keys_lock);
}

static void count_wait(const contended_hold *h, counted_shard *place)
{
    contention *c = h->counted;

    count_histogram(&c->wait, h->wait_ns);
    if (place)
        count_time(&place->wait, h->wait_ns);
    else
        atomic_fetch_add_explicit(&c->unlisted_waits, 1, memory_order_relaxed);
    if (h->has_hash)
        count_key(c, h->shard, h->hash);
}

/* ---- waiting and letting go ---- */

KV_UNCHECKED void shard_wait(map_shard *s, const uint64_t *hash)
{
    contention *c = s->root->domain->contention;
    kv_lock *lock = s->lock;
    contended_hold h = { .lock = lock, .counted = c };
    uint64_t start;

    if (!c) {
        lock_wait(lock);
        return;
    }
    start = c->clock_ns();
    lock_wait_timed(lock);
    h.since_ns = c->clock_ns();
    h.wait_ns = h.since_ns > start ? h.since_ns - start : 0;
    h.shard = (uint64_t)(uintptr_t)s->root->map | (uint64_t)(s->root->one ? 0 : s->index) << 48;
    h.has_hash = hash != NULL;
    h.hash = hash ? *hash : 0;
    if (holds.count < HOLDS_MAX)
        holds.held[holds.count++] = h;
    else
        count_wait(&h, place_of(c, h.shard));
}

/* lock is free again, and perhaps gone: it is an address only. */
void contention_released(const kv_lock *lock)
{
    contended_hold h;
    counted_shard *place;
    uint64_t now;
    unsigned i = 0;

    while (i < holds.count && holds.held[i].lock != lock)
        i++;
    if (i == holds.count)
        return;
    h = holds.held[i];
    holds.held[i] = holds.held[--holds.count];
    now = h.counted->clock_ns();
    place = place_of(h.counted, h.shard);
    count_wait(&h, place);
    now = now > h.since_ns ? now - h.since_ns : 0;
    count_histogram(&h.counted->hold, now);
    if (place)
        count_time(&place->hold, now);
}

/* ---- reading ---- */

static void reset_times(counted_times *t)
{
    atomic_store_explicit(&t->count, 0, memory_order_relaxed);
    atomic_store_explicit(&t->total_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&t->max_ns, 0, memory_order_relaxed);
}

static void reset_histogram(counted_histogram *h)
{
    reset_times(&h->times);
    for (size_t i = 0; i < CONTENTION_BUCKETS; i++)
        atomic_store_explicit(&h->buckets[i], 0, memory_order_relaxed);
}

void contention_reset(kv_domain *domain)
{
    contention *c = domain->contention;

    if (!c)
        return;
    reset_histogram(&c->wait);
    reset_histogram(&c->hold);
    atomic_store_explicit(&c->unlisted_waits, 0, memory_order_relaxed);
    for (size_t i = 0; i < CONTENTION_SHARDS_MAX; i++) {
        reset_times(&c->shards[i].wait);
        reset_times(&c->shards[i].hold);
    }
    lock_acquire(&c->keys_lock);
    memset(c->keys, 0, c->max_keys * sizeof *c->keys);
    lock_release(&c->keys_lock);
}

static contention_times read_times(const counted_times *t)
{
    counted_times *times = (counted_times *)t;

    return (contention_times){
        .count = atomic_load_explicit(&times->count, memory_order_relaxed),
        .total_ns = atomic_load_explicit(&times->total_ns, memory_order_relaxed),
        .max_ns = atomic_load_explicit(&times->max_ns, memory_order_relaxed),
    };
}

static void read_histogram(counted_histogram *h, contention_histogram *ret)
{
    ret->times = read_times(&h->times);
    for (size_t i = 0; i < CONTENTION_BUCKETS; i++)
        ret->buckets[i] = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
}

static const map *map_of(uint64_t name)
{
    return (const map *)(uintptr_t)(name & ADDRESS);
}

static int by_total_wait(const void *a, const void *b)
{
    const contention_shard *x = a, *y = b;

    return x->wait.total_ns < y->wait.total_ns ? 1 : x->wait.total_ns > y->wait.total_ns ? -1 : 0;
}

static int by_waits(const void *a, const void *b)
{
    const contention_key *x = a, *y = b;

    return x->waits < y->waits ? 1 : x->waits > y->waits ? -1 : 0;
}

static void read_shards(contention *c, contention_report *report, size_t most)
{
    for (size_t i = 0; i < CONTENTION_SHARDS_MAX; i++) {
        counted_shard *place = &c->shards[i];
        uint64_t name = atomic_load_explicit(&place->name, memory_order_relaxed);
        contention_shard shard = { map_of(name), (unsigned)(name >> 48), read_times(&place->wait),
                                   read_times(&place->hold) };

        if (shard.wait.count)
            report->shards[report->shard_count++] = shard;
    }
    qsort(report->shards, report->shard_count, sizeof *report->shards, by_total_wait);
    report->shards_waited_for = report->shard_count;
    if (report->shard_count > most)
        report->shard_count = most;
}

static void read_keys(contention *c, contention_report *report, size_t most)
{
    lock_acquire(&c->keys_lock);
    for (size_t i = 0; i < c->max_keys; i++) {
        const counted_key *key = &c->keys[i];

        if (key->waits)
            report->keys[report->key_count++] =
                (contention_key){ map_of(key->name), key->hash, key->waits, key->error };
    }
    lock_release(&c->keys_lock);
    qsort(report->keys, report->key_count, sizeof *report->keys, by_waits);
    if (report->key_count > most)
        report->key_count = most;
}

contention_report *contention_read(kv_domain *domain, size_t most)
{
    contention *c = domain->contention;
    size_t shards = c ? CONTENTION_SHARDS_MAX : 0, keys = c ? c->max_keys : 0;
    contention_report *report =
        malloc(sizeof *report + shards * sizeof *report->shards + keys * sizeof *report->keys);

    if (!report)
        return NULL;
    memset(report, 0, sizeof *report);
    report->shards = (contention_shard *)(report + 1);
    report->keys = (contention_key *)(report->shards + shards);
    if (!c)
        return report;
    read_histogram(&c->wait, &report->wait);
    read_histogram(&c->hold, &report->hold);
    report->unlisted_waits = atomic_load_explicit(&c->unlisted_waits, memory_order_relaxed);
    read_shards(c, report, most);
    read_keys(c, report, most);
    return report;
}

void contention_report_free(contention_report *report)
{
    free(report);
}

uint64_t contention_percentile(const contention_histogram *h, double share)
{
    uint64_t all = 0, seen = 0;

    for (size_t i = 0; i < CONTENTION_BUCKETS; i++)
        all += h->buckets[i];
    for (size_t i = 0; i < CONTENTION_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen && (double)seen >= share * (double)all) {
            uint64_t end = contention_bucket_start(i + 1) - 1;

            return end < h->times.max_ns ? end : h->times.max_ns;
        }
    }
    return 0;
}
