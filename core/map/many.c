/* many.c - several keys at one moment: locking many shards, and finding many keys without a lock.
 *
 * Writers of several keys lock each shard once, ordered by the address of its lock, which is the same order
 * for all threads (within a map: ascending index), also over several maps. Having them all, they check that
 * no map got another root meanwhile, and raise the marks.
 *
 * map_find_many is optimistic: it notes mark and sequence of each shard involved, looks the keys up and checks
 * that none has moved. The lookups then all saw the same moment. When writers keep disturbing it, it takes the locks.
 * SPDX-License-Identifier: MIT */
#include "shard.h"

#include <assert.h>

#define TRIES     4
#define MARK_FROM 64 /* keys of one map from which their shards are marked, not sorted */
#define GROUP     16 /* keys whose cache misses overlap */

/* ---- locking the shards of some keys ---- */

static bool shard_before(const map_shard *a, const map_shard *b)
{
    return a->lock != b->lock ? a->lock < b->lock : a < b;
}

/* Shell's sort, with Ciura's gaps: no memory, and quick for a few as for thousands. */
static void sort_shards(map_shard **shards, size_t n)
{
    static const size_t gaps[] = { 3937, 1750, 701, 301, 132, 57, 23, 10, 4, 1 };

    for (size_t g = 0; g < sizeof gaps / sizeof gaps[0]; g++) {
        size_t gap = gaps[g];

        for (size_t i = gap; i < n; i++) {
            map_shard *s = shards[i];
            size_t j = i;

            for (; j >= gap && shard_before(s, shards[j - gap]); j -= gap)
                shards[j] = shards[j - gap];
            shards[j] = s;
        }
    }
}

/* Sorts n shards, and leaves each once; returns how many. */
static size_t distinct_shards(map_shard *scratch[], size_t n)
{
    size_t distinct = 0;

    sort_shards(scratch, n);
    for (size_t i = 0; i < n; i++)
        if (distinct == 0 || scratch[i] != scratch[distinct - 1])
            scratch[distinct++] = scratch[i];
    return distinct;
}

/* The same for many keys of one map: a bit for each of its shards sorts them. */
static size_t marked_shards(const map_key keys[], size_t n, uint64_t root_word, map_shard *scratch[])
{
    uint64_t marked[SHARDS_MAX / 64] = { 0 };
    map_shard *shards = root_word_shards(root_word);
    size_t distinct = 0;

    for (size_t i = 0; i < n; i++) {
        size_t index = (size_t)(keys[i].shard - shards);

        marked[index / 64] |= (uint64_t)1 << (index & 63);
    }
    for (size_t word = 0; word < SHARDS_MAX / 64; word++)
        for (uint64_t left = marked[word]; left; left &= left - 1)
            scratch[distinct++] = shards + word * 64 + (size_t)__builtin_ctzll(left);
    return distinct;
}

/* Finds the shards of all keys. Returns the root word of their map, when they are of one; 0: of several. */
static uint64_t find_shards(map_key keys[], size_t n)
{
    uint64_t root_word = map_root_word(keys[0].map);
    bool one = true;

    for (size_t i = 0; i < n; i++) {
        bool same = keys[i].map == keys[0].map;

        keys[i].shard = root_word_shard(same ? root_word : map_root_word(keys[i].map), keys[i].hash);
        one &= same;
    }
    return one ? root_word : 0;
}

/* The shards of all keys, in the order of locks, each once; behind them in scratch is NULL. */
static void gather_shards(map_key keys[], size_t n, map_shard *scratch[])
{
    uint64_t root_word = find_shards(keys, n);
    size_t distinct;

    if (root_word && n > MARK_FROM) {
        distinct = marked_shards(keys, n, root_word, scratch);
    } else {
        for (size_t i = 0; i < n; i++)
            scratch[i] = keys[i].shard;
        distinct = distinct_shards(scratch, n);
    }
    if (distinct < n)
        scratch[distinct] = NULL;
}

static bool first_with_lock(map_shard *const scratch[], size_t i)
{
    return i == 0 || scratch[i]->lock != scratch[i - 1]->lock;
}

static bool roots_unchanged(const map_key keys[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (root_word_shard(map_root_word(keys[i].map), keys[i].hash) != keys[i].shard)
            return false;
    return true;
}

KV_UNCHECKED static void release_locks(map_shard *const scratch[], size_t n)
{
    size_t used = 0;

    while (used < n && scratch[used])
        used++;
    for (size_t i = used; i-- > 0;)
        if (first_with_lock(scratch, i))
            lock_release(scratch[i]->lock);
}

/* Within a hold: everything is locked, and stays so. */
static void find_held(map_key keys[], size_t n, map_shard *scratch[], const domain_thread *holding)
{
    scratch[0] = NULL;
    for (size_t i = 0; i < n; i++) {
        keys[i].shard = root_word_shard(map_root_word(keys[i].map), keys[i].hash);
        assert(shard_is_held(keys[i].shard, holding));
    }
    (void)holding;
}

KV_UNCHECKED void map_lock_many(map_key keys[], size_t n, map_shard *scratch[])
{
    kv_domain *domain = keys[0].map->domain;
    const domain_thread *holding = holding_thread(domain);
    domain_thread *held;

    if (holding) {
        find_held(keys, n, scratch, holding);
        return;
    }
    held = epoch_hold(domain);
    for (;;) {
        gather_shards(keys, n, scratch);
        for (size_t i = 0; i < n && scratch[i]; i++)
            if (first_with_lock(scratch, i))
                shard_acquire(scratch[i], NULL);
        if (roots_unchanged(keys, n))
            break;
        release_locks(scratch, n);
    }
    for (size_t i = 0; i < n && scratch[i]; i++)
        shard_flip_mark(scratch[i]);
    epoch_let_go(domain, held);
}

KV_UNCHECKED void map_unlock_many(map_key keys[], size_t n, map_shard *scratch[])
{
    kv_domain *domain = keys[0].map->domain;
    garbage *all = NULL;

    for (size_t i = 0; i < n && scratch[i]; i++) {
        shard_flip_mark(scratch[i]);
        all = shard_take_garbage(scratch[i], all);
    }
    release_locks(scratch, n);
    garbage_retire(domain, all);
}

/* ---- locking a whole map ---- */

KV_UNCHECKED static void lock_shards(const root *r)
{
    for (size_t i = 0; i < (r->one ? 1 : root_shards(r)); i++)
        shard_acquire(root_shard(r, i), NULL);
}

KV_UNCHECKED static void unlock_shards(const root *r)
{
    for (size_t i = r->one ? 1 : root_shards(r); i-- > 0;)
        lock_release(root_shard(r, i)->lock);
}

static void flip_marks(const root *r)
{
    for (size_t i = 0; i < root_shards(r); i++)
        shard_flip_mark(root_shard(r, i));
}

KV_UNCHECKED uint64_t map_lock_all(map *m)
{
    domain_thread *held;

    if (holding_thread(m->domain))
        return map_root_word(m);
    held = epoch_hold(m->domain);
    for (;;) {
        uint64_t word = map_root_word(m);
        root *r = root_of_word(word);

        lock_shards(r);
        if (map_root_word(m) == word) {
            flip_marks(r);
            epoch_let_go(m->domain, held);
            return word;
        }
        unlock_shards(r);
    }
}

KV_UNCHECKED void map_unlock_all(uint64_t root_word)
{
    root *r = root_of_word(root_word);
    kv_domain *domain = r->domain;
    garbage *all = NULL;

    if (holding_thread(domain))
        return;
    flip_marks(r);
    for (size_t i = 0; i < root_shards(r); i++)
        all = shard_take_garbage(root_shard(r, i), all);
    unlock_shards(r);
    garbage_retire(domain, all);
}

/* Exchanges the roots; both maps are locked. The words count swaps (shard.h). */
static void exchange_roots(map *a, map *b, int64_t now_ms)
{
    const uint64_t one_swap = (uint64_t)1 << 48;
    uint64_t word_a = map_root_word(a), word_b = map_root_word(b);

    map_watch_tell_exchanged(a, b, now_ms);
    map_watch_tell_exchanged(b, a, now_ms);
    shard_extra_of(root_word_shards(word_a))->removed++; /* a change, too */
    root_of_word(word_a)->map = b;
    root_of_word(word_b)->map = a;
    /* Pairs with map_root_word. */
    atomic_store_explicit(&a->root, (word_b & ADDRESS) | ((word_a & ~ADDRESS) + one_swap),
                          memory_order_release);
    atomic_store_explicit(&b->root, (word_a & ADDRESS) | ((word_b & ~ADDRESS) + one_swap),
                          memory_order_release);
}

KV_UNCHECKED void map_swap(map *a, map *b, int64_t now_ms, void (*under_lock)(void *arg), void *arg)
{
    domain_thread *held;
    uint64_t word_a, word_b;

    if (holding_thread(a->domain)) {
        if (a != b)
            exchange_roots(a, b, now_ms);
        if (under_lock)
            under_lock(arg);
        return;
    }
    held = epoch_hold(a->domain);
    if (a == b) {
        word_a = map_lock_all(a);
        if (under_lock)
            under_lock(arg);
        map_unlock_all(word_a);
        epoch_let_go(a->domain, held);
        return;
    }
    for (;;) { /* the lower root first, which is the order of the locks */
        word_a = map_root_word(a);
        word_b = map_root_word(b);
        if (!((word_a ^ word_b) & ADDRESS))
            continue; /* they were exchanged between the two looks */
        root *first = root_of_word((word_a & ADDRESS) < (word_b & ADDRESS) ? word_a : word_b);
        root *second = root_of_word((word_a & ADDRESS) < (word_b & ADDRESS) ? word_b : word_a);

        lock_shards(first);
        lock_shards(second);
        if (map_root_word(a) == word_a && map_root_word(b) == word_b)
            break;
        unlock_shards(second);
        unlock_shards(first);
    }
    flip_marks(root_of_word(word_a));
    flip_marks(root_of_word(word_b));
    exchange_roots(a, b, now_ms);
    if (under_lock)
        under_lock(arg);
    map_unlock_all(word_a);
    map_unlock_all(word_b);
    epoch_let_go(a->domain, held);
}

/* ---- finding many ---- */

/* The shards that some keys lead to, and what was seen of them. */
typedef struct view {
    uint64_t root_word;
    uint64_t involved[SHARDS_MAX / 64];
    uint64_t seen[SHARDS_MAX]; /* mark and sequence, of those involved */
} view;

static uint64_t shard_state(const map_shard *s)
{
    map_shard *at = (map_shard *)s;

    /* Pairs with the releases in shard_flip_mark and shard_publish_end. */
    return (uint64_t)atomic_load_explicit(&at->mark, memory_order_acquire) << 32 |
           atomic_load_explicit(&at->sequence, memory_order_acquire);
}

static size_t view_words(const view *v)
{
    return (((size_t)1 << root_word_bits(v->root_word)) + 63) / 64;
}

/* Notes the state of all shards involved; false when something is under way. */
static bool view_open(view *v, const map *m, size_t n, const uint64_t hashes[])
{
    const uint64_t odd = (uint64_t)1 << 32 | 1;

    v->root_word = map_root_word(m);
    memset(v->involved, 0, view_words(v) * sizeof v->involved[0]);
    for (size_t i = 0; i < n; i++) {
        map_shard *s = root_word_shard(v->root_word, hashes[i]);
        uint64_t bit = (uint64_t)1 << (s->index & 63);

        if (v->involved[s->index / 64] & bit)
            continue;
        v->involved[s->index / 64] |= bit;
        v->seen[s->index] = shard_state(s);
        if (v->seen[s->index] & odd)
            return false;
    }
    return true;
}

static bool view_holds(const view *v, const map *m)
{
    for (size_t w = 0; w < view_words(v); w++)
        for (uint64_t left = v->involved[w]; left; left &= left - 1) {
            size_t index = w * 64 + (size_t)__builtin_ctzll(left);

            if (shard_state(root_word_shards(v->root_word) + index) != v->seen[index])
                return false;
        }
    return map_root_word(m) == v->root_word;
}

KV_REQUIRES(kv_epoch_held)
static void find_all(const map *m, uint64_t root_word, size_t n, const kv_slice keys[],
                     const uint64_t hashes[], const entry *ret[])
{
    for (size_t i = 0; i < n; i++) {
        if (i % GROUP == 0)
            map_prefetch(m, n - i < GROUP ? n - i : GROUP, hashes + i, NULL);
        ret[i] = shard_lookup(root_word_shard(root_word, hashes[i]), keys[i], hashes[i]).entry;
    }
}

KV_UNCHECKED static void lock_involved(const view *v, bool lock)
{
    root *r = root_of_word(v->root_word);

    for (size_t w = 0; w < view_words(v); w++)
        for (uint64_t left = v->involved[w]; left; left &= left - 1) {
            map_shard *s = root_shard(r, w * 64 + (size_t)__builtin_ctzll(left));

            if (lock)
                shard_acquire(s, NULL);
            else
                lock_release(s->lock);
            if (r->one)
                return;
        }
}

KV_REQUIRES(kv_epoch_held)
static void find_many_locked(view *v, const map *m, size_t n, const kv_slice keys[], const uint64_t hashes[],
                             const entry *ret[])
{
    for (;;) {
        v->root_word = map_root_word(m);
        memset(v->involved, 0, sizeof v->involved);
        for (size_t i = 0; i < n; i++) {
            unsigned index = root_word_shard(v->root_word, hashes[i])->index;

            v->involved[index / 64] |= (uint64_t)1 << (index & 63);
        }
        lock_involved(v, true);
        bool current = map_root_word(m) == v->root_word;

        if (current)
            find_all(m, v->root_word, n, keys, hashes, ret);
        lock_involved(v, false);
        if (current)
            return;
    }
}

void map_find_many(const map *m, size_t n, const kv_slice keys[], const uint64_t hashes[], const entry *ret[])
{
    view v;

    for (int i = 0; i < TRIES; i++) {
        if (!view_open(&v, m, n, hashes)) {
            if (!holding_thread(m->domain))
                continue;
            find_all(m, map_root_word(m), n, keys, hashes,
                     ret); /* it is this thread's own act that is under way */
            return;
        }
        find_all(m, v.root_word, n, keys, hashes, ret);
        if (view_holds(&v, m))
            return;
    }
    find_many_locked(&v, m, n, keys, hashes, ret);
}
