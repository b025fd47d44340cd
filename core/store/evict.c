/* evict.c - which keys go when memory is short, and how uses are counted for that.
 *
 * 24 bits of an entry say when it was used last, or how often:
 *
 *     LRU   23..0 clock in units of 128 ms
 *     LFU   23..8 minute of the last use | 7..0 counter, logarithmic
 *
 * The counter is Redis's (lfu-log-factor, lfu-decay-time), so that OBJECT FREQ and experience with the two settings
 * carry over. Both kinds are written by relaxed stores that may lose each other: they are estimates.
 *
 * The clock goes round in 24.8 days. What is older would look new, and be kept: so a walk that comes to every entry a few times a day
 * marks what is older than 23 days as just that old. Redis's clock, of seconds, goes round in 194 days, and starts again. The finer
 * one is for LRU: among keys of which thousands are used within a second it can still choose.
 *
 * Which of the two an entry holds is not recorded. After a change of the policy the old ones are misread until they
 * are used again; as times, they then look old, which is about right, and as counters, arbitrary, as in Redis.
 *
 * SPDX-License-Identifier: MIT */
#include "store_private.h"

#define USES_AT_FIRST 5u /* so that a new key is not the first to go */
#define MINUTES       0xffffu
#define LOOKS         40u /* how many entries one eviction chooses from */

/* ---- counting uses ---- */

void store_count_uses(kv_store *store, bool on, uint32_t log_factor, uint32_t decay_minutes)
{
    atomic_store_explicit(&store->log_factor, log_factor, memory_order_relaxed);
    atomic_store_explicit(&store->decay_minutes, decay_minutes, memory_order_relaxed);
    if (on)
        atomic_fetch_or_explicit(&store->hooked, STORE_COUNTS, memory_order_relaxed);
    else
        atomic_fetch_and_explicit(&store->hooked, ~(unsigned)STORE_COUNTS, memory_order_relaxed);
}

bool store_counts_uses(const kv_store *store)
{
    return atomic_load_explicit(&((kv_store *)store)->hooked, memory_order_relaxed) & STORE_COUNTS;
}

static uint32_t minute_of(int64_t now_ms)
{
    return (uint32_t)(now_ms / 60000) & MINUTES;
}

static unsigned decayed(const kv_store *store, uint32_t access, int64_t now_ms)
{
    uint32_t period = atomic_load_explicit(&((kv_store *)store)->decay_minutes, memory_order_relaxed);
    uint32_t idle = (minute_of(now_ms) - (access >> 8)) & MINUTES, counter = access & 255;
    uint32_t lost = period ? idle / period : 0;

    return lost > counter ? 0 : counter - lost;
}

unsigned store_frequency(const kv_store *store, const entry *e, int64_t now_ms)
{
    return decayed(store, entry_access(e), now_ms);
}

static uint64_t random_next(uint64_t *rng)
{
    uint64_t x = *rng += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    return x ^ x >> 31;
}

/* The access clock with one use more. */
static uint32_t used_again(const kv_store *store, uint32_t access, int64_t now_ms, uint64_t random)
{
    uint32_t factor = atomic_load_explicit(&((kv_store *)store)->log_factor, memory_order_relaxed);
    unsigned counter = decayed(store, access, now_ms);
    unsigned base = counter > USES_AT_FIRST ? counter - USES_AT_FIRST : 0;
    double chance = 1.0 / ((double)base * factor + 1);

    if (counter < 255 && (double)(random >> 11) * 0x1p-53 < chance)
        counter++;
    return minute_of(now_ms) << 8 | counter;
}

uint32_t store_access_known(const kv_store *store, int64_t idle_ms, int frequency, int64_t now_ms)
{
    bool counts = store_counts_uses(store);

    if (counts && frequency >= 0)
        return minute_of(now_ms) << 8 | ((unsigned)frequency & 255);
    if (idle_ms > STORE_IDLE_MOST_MS)
        idle_ms = STORE_IDLE_MOST_MS;
    if (!counts && idle_ms >= 0) /* rounded up: it was not used later than that */
        return (store_access_clock(now_ms) -
                (uint32_t)(idle_ms / STORE_ACCESS_MS + (idle_ms % STORE_ACCESS_MS != 0))) &
               0xffffff;
    return store_access_new(store, now_ms);
}

void store_note_use(const kv_store *store, const entry *e, int64_t now_ms, uint64_t *rng)
{
    entry_touch(e, used_again(store, entry_access(e), now_ms, random_next(rng)));
}

uint32_t store_access_after(const kv_store *store, const entry *before, int64_t now_ms)
{
    uint64_t seed = (uint64_t)now_ms ^ (uint64_t)(uintptr_t)before;

    if (!store_counts_uses(store))
        return store_access_clock(now_ms);
    if (!before)
        return minute_of(now_ms) << 8 | USES_AT_FIRST;
    return used_again(store, entry_access(before), now_ms, random_next(&seed));
}

uint32_t store_access_new(const kv_store *store, int64_t now_ms)
{
    return store_access_after(store, NULL, now_ms);
}

/* ---- what is very old ---- */

typedef struct aging {
    size_t visited;
    int64_t now_ms;
} aging;

static void keep_old(void *arg, const entry *e)
{
    aging *a = arg;
    uint32_t access = entry_access(e);

    a->visited++;
    if (store_idle_ms(e, a->now_ms) > STORE_IDLE_MOST_MS)
        entry_retouch(e, access, store_access_clock(a->now_ms - STORE_IDLE_MOST_MS));
}

void store_age_some(kv_store *store, size_t entries, int64_t now_ms)
{
    uint64_t cursor = atomic_load_explicit(&store->age_position, memory_order_relaxed);
    aging a = { .now_ms = now_ms };

    if (store_counts_uses(store))
        return;
    for (size_t steps = 0; steps < entries && a.visited < entries; steps++)
        cursor = map_scan(store->map, cursor, keep_old, &a);
    atomic_store_explicit(&store->age_position, cursor, memory_order_relaxed);
}

/* ---- eviction ---- */

typedef struct eviction {
    kv_store *store;
    int64_t now_ms;
    store_victim victim;
    bool only_deadline;
    uint64_t random; /* another for each entry */
    uint64_t count;  /* evicted */
} eviction;

static uint64_t score(void *arg, const entry *e)
{
    eviction *ev = arg;
    int64_t deadline_ms = entry_deadline(e);

    if (deadline_ms <= ev->now_ms)
        return UINT64_MAX; /* it is gone already */
    if (ev->only_deadline && deadline_ms == KV_FOREVER)
        return 0;
    switch (ev->victim) {
    case STORE_EVICT_LRU:
        return (uint64_t)store_idle_ms(e, ev->now_ms) + 1;
    case STORE_EVICT_LFU:
        return 256 - store_frequency(ev->store, e, ev->now_ms);
    case STORE_EVICT_TTL:
        return (uint64_t)(INT64_MAX - deadline_ms) + 1;
    default:
        return random_next(&ev->random) | 1;
    }
}

KV_UNDER_LOCK static void evicted(void *arg, map_shard *shard, const entry *e)
{
    eviction *ev = arg;

    (void)shard;
    if (entry_expired(e, ev->now_ms)) {
        store_tell_expired(ev->store, e);
        return;
    }
    ev->count++;
    store_tell_gone(ev->store, KV_CHANGE_EVICT, entry_key(e));
}

/* Redis draws `samples` keys at random for each that goes. With a hand that comes to all keys in turn, two fifths of
 * that give the same hit rate (map/evict.c). */
static size_t share_of(size_t samples)
{
    size_t share = LOOKS * 5 / (2 * (samples ? samples : 1));

    return share == 0 ? 1 : share > LOOKS ? LOOKS : share;
}

size_t store_evict(kv_store *store, store_victim victim, bool only_deadline, size_t samples, uint64_t *hand,
                   int64_t now_ms, size_t want_bytes, size_t *ret_bytes)
{
    eviction ev = { .store = store,
                    .now_ms = now_ms,
                    .victim = victim,
                    .only_deadline = only_deadline || victim == STORE_EVICT_TTL,
                    .random = *hand };
    map_eviction how = {
        .looks = LOOKS,
        .most = share_of(samples),
        .only_deadline = ev.only_deadline,
        .score = score,
        .gone = evicted,
    };
    _Atomic uint64_t *span = store_span_begin(store);
    size_t gone = map_evict(store->map, hand, &how, &ev, want_bytes, ret_bytes);

    span_end(span);
    if (ev.count)
        atomic_fetch_add_explicit(&store->evicted, ev.count, memory_order_relaxed);
    return gone;
}
