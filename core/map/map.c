/* map.c - a map from end to end: making it, finding a key, changing a key, and growing into many shards.
 *
 *     find    root -> shard -> directory -> bucket -> entry: acquire loads, then two checks
 *     write   lock the shard; find; publish one word; unlock; retire what was unlinked
 *
 * Invariants
 * 1. An entry is complete before its word is stored (release), and never changes after.
 * 2. Everything a reader may hold (entries, segments, directories, roots) is freed by the epochs.
 * 3. All writing happens under the lock of the shard that map->root leads to. Who waited for a lock checks
 *    after getting it that the root is still the same.
 * 4. A change of several keys raises the mark of its shards (odd) before it publishes anything and lowers it
 *    after everything. A reader looks at the mark after its lookup; raised, it waits for the lock and looks
 *    again. So who has seen one new value finds the mark raised, or all of them published.
 * 5. A reader also checks that the root it started from is still the map's, or it might have looked into
 *    contents that map_swap has given to another map. The root word counts swaps, so that swapping twice
 *    does not look like nothing.
 *
 * A lookup that started before a segment was replaced may finish in the old copy. That is the state of the
 * moment of replacement, which lies within the lookup: linearizable.
 *
 * One shard becomes many when it has some eight segments: all keys (two or three thousand) are re-hashed into a
 * fresh root that is published under the old shard's lock, at an unlock, when nobody holds a place.
 * SPDX-License-Identifier: MIT */
#include "map_check.h"
#include "map_snapshot.h"
#include "shard.h"

#include <assert.h>

#define LOOKS_AHEAD 2 /* buckets behind the home bucket that reading ahead follows a key to */

/* ---- locks ---- */

KV_UNCHECKED void shard_lock(map_shard *s)
{
    shard_acquire(s, NULL);
}

KV_UNCHECKED garbage *shard_unlock(map_shard *s)
{
    garbage *g = s->garbage;

    s->garbage = NULL;
    lock_release(s->lock);
    return g;
}

/* The caller is inside an epoch, so that the root it waits in is not freed. */
KV_UNCHECKED static map_shard *lock_in_epoch(map *m, uint64_t hash)
{
    for (;;) {
        uint64_t word = map_root_word(m);
        map_shard *s = root_word_shard(word, hash);

        shard_acquire(s, &hash);
        if (atomic_load_explicit(&m->root, memory_order_relaxed) == word)
            return s;
        lock_release(s->lock);
    }
}

/* Not at the first attempt: another thread has the lock, or this one holds it (hold.c), the map is growing from
 * one shard to many, or this thread is in no epoch yet. */
KV_UNCHECKED __attribute__((noinline)) static map_shard *lock_slowly(map *m, uint64_t hash)
{
    const domain_thread *holding = holding_thread(m->domain);
    domain_thread *held;
    map_shard *s;

    if (holding) {
        s = root_word_shard(map_root_word(m), hash);
        assert(shard_is_held(s, holding));
        if (shard_is_held(s, holding))
            return s;
    }
    held = epoch_hold(m->domain);
    s = lock_in_epoch(m, hash);
    epoch_let_go(m->domain, held);
    return s;
}

static inline map_shard *lock_at_once(map *m, uint64_t hash) KV_ACQUIRES(kv_shard_held);

KV_UNCHECKED static inline map_shard *lock_at_once(map *m, uint64_t hash)
{
    const domain_thread *t = domain_self;
    uint64_t word = map_root_word(m);
    map_shard *s = root_word_shard(word, hash);

    if (__builtin_expect(t->domain != m->domain || t->nest == 0 || !lock_try(s->lock), 0))
        return lock_slowly(m, hash);
    if (__builtin_expect(atomic_load_explicit(&m->root, memory_order_relaxed) == word, 1))
        return s;
    lock_release(s->lock);
    return lock_slowly(m, hash);
}

KV_UNCHECKED map_shard *map_lock(map *m, uint64_t hash)
{
    return lock_at_once(m, hash);
}

void garbage_retire(kv_domain *domain, garbage *g)
{
    domain_thread *t = g ? epoch_hold(domain) : NULL;

    if (!g)
        return;
    while (g) {
        garbage *next = g->next;

        epoch_retire(domain, g, g->size_bytes, g->release);
        g = next;
    }
    epoch_let_go(domain, t);
}

/* ---- one shard into many ---- */

size_t root_size(unsigned bits)
{
    return 128 + ((sizeof(map_shard) + sizeof(shard_extra)) << bits);
}

static root *root_new(kv_domain *domain, unsigned bits, const map_options *options)
{
    root *r = domain_alloc(domain, root_size(bits), 128);

    if (!r)
        return NULL;
    memset(r, 0, root_size(bits));
    r->domain = domain;
    r->bits = (uint8_t)bits;
    r->version_step = options->version_step ? options->version_step : 1;
    r->version_start = options->version_start;
    r->one = options->one_lock;
    r->promote = options->shards == 0 && bits == 0;
    r->extra = (shard_extra *)((char *)r + 128 + (sizeof(map_shard) << bits));
    for (size_t i = 0; i < root_shards(r); i++) {
        map_shard *s = root_shard(r, i);

        atomic_init(&s->directory, directory_pointer(&s->first, 0));
        s->index = (uint16_t)i;
        s->bits = (uint8_t)bits;
        s->root = r;
        s->lock = r->one ? &r->one_lock : &s->own;
        s->version = options->version_start;
        atomic_init(&s->past_ms, 0);
        atomic_init(&r->extra[i].earliest, KV_FOREVER);
        r->extra[i].next_earliest = KV_FOREVER;
    }
    return r;
}

static void release_root(kv_domain *domain, void *memory)
{
    root *r = memory;

    domain_free(domain, r, root_size(r->bits));
}

static uint64_t root_word(const root *r, uint64_t swaps)
{
    return (uint64_t)(uintptr_t)root_shard(r, 0) | r->bits | swaps << 48;
}

/* Puts an entry where its hash leads, counting it; the key must be absent. KV_ENOMEM. */
static int put(map_shard *s, uint64_t hash, entry *e)
{
    probe p = probe_of(hash, s->bits);
    int err = shard_make_room(s, hash, false);

    for (unsigned tries = 0;; tries++) {
        segment *to = directory_segment(shard_segment_word(s, hash));

        if (!to)
            return KV_ENOMEM;
        bool placed = segment_place(to, p, e);

        if (!placed && err != KV_ERANGE && tries < DEPTH_MAX + 8) {
            int room = shard_make_room(s, hash, true);

            if (room == KV_ENOMEM)
                return KV_ENOMEM;
            err = room;
            continue;
        }
        if (!placed) {
            if (segment_chain(s->root->domain, to, p, e))
                return KV_ENOMEM;
            shard_republish(s, hash, to);
        }
        segment_count_deadline(to, entry_deadline(e), 1);
        return 0;
    }
}

static void add_to(_Atomic size_t *counter, size_t by)
{
    /* A release, so that it comes after shard_publish_begin; pairs with map_count. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_release);
}

/* Counts an entry in (by 1) or out (by -1). */
static void count_entry(map_shard *s, const entry *e, int by)
{
    add_to(&s->entries, (size_t)by);
    add_to(&s->entry_bytes, (size_t)by * entry_size(e));
    if (__builtin_expect(entry_meta(e) & ENTRY_DEADLINE, 0))
        shard_count_deadline(s, entry_deadline(e), by);
}

/* The same for one that takes the place of another. */
__attribute__((noinline)) static void count_replacement(map_shard *s, segment *in, const entry *old,
                                                        const entry *fresh)
{
    size_t old_size = entry_size(old), fresh_size = entry_size(fresh);

    if (old_size != fresh_size)
        add_to(&s->entry_bytes, fresh_size - old_size);
    if (__builtin_expect((entry_meta(old) | entry_meta(fresh)) & ENTRY_DEADLINE, 0)) {
        segment_count_deadline(in, entry_deadline(old), -1);
        segment_count_deadline(in, entry_deadline(fresh), 1);
        if (entry_meta(old) & ENTRY_DEADLINE)
            shard_count_deadline(s, entry_deadline(old), -1);
        if (entry_meta(fresh) & ENTRY_DEADLINE)
            shard_count_deadline(s, entry_deadline(fresh), 1);
    }
}

void shard_count_deadline(map_shard *s, int64_t deadline_ms, int by)
{
    shard_extra *extra = shard_extra_of(s);
    int64_t sum = atomic_load_explicit(&extra->deadline_sum_ms, memory_order_relaxed);

    add_to(&extra->with_deadline, (size_t)by);
    sum = (int64_t)((uint64_t)sum + (uint64_t)by * (uint64_t)deadline_ms);
    atomic_store_explicit(&extra->deadline_sum_ms, sum, memory_order_relaxed);
    if (by < 0)
        return;
    if (deadline_ms < atomic_load_explicit(&extra->earliest, memory_order_relaxed))
        atomic_store_explicit(&extra->earliest, deadline_ms, memory_order_relaxed);
    if (deadline_ms < extra->next_earliest)
        extra->next_earliest = deadline_ms;
}

/* Fills a fresh root with what the only shard of another holds. */
static int refill(root *to, map_shard *from)
{
    size_t slots = (size_t)1 << shard_depth(from);
    segment *last = NULL;

    for (size_t i = 0; i < slots; i++) {
        segment *seg =
            directory_segment(atomic_load_explicit(&shard_directory(from)[i], memory_order_relaxed));
        segment_cursor cursor = { 0 };
        segment_slot slot;

        if (!seg || seg == last)
            continue;
        last = seg;
        while (segment_walk(seg, &cursor, &slot)) {
            uint64_t hash = domain_hash(to->domain, entry_key(slot.entry));
            map_shard *s = root_word_shard(root_word(to, 0), hash);

            if (put(s, hash, slot.entry))
                return KV_ENOMEM;
            count_entry(s, slot.entry, 1);
        }
    }
    return 0;
}

/* Frees a root and its index, the entries not; nobody else knows it any more. */
static void root_free(root *r)
{
    for (size_t i = 0; i < root_shards(r); i++) {
        map_shard *s = root_shard(r, i);

        shard_discard_index(s);
        while (s->garbage) {
            garbage *g = s->garbage;

            s->garbage = g->next;
            g->release(r->domain, g);
        }
    }
    domain_free(r->domain, r, root_size(r->bits));
}

/* Memory may be out: then later. The old shard's index becomes its garbage. */
__attribute__((noinline)) static void promote(map_shard *old)
{
    map_options options = { .version_start = old->version,
                            .version_step = old->root->version_step,
                            .shards = SHARDS_WHEN_BIG,
                            .one_lock = old->root->one };
    map *m = old->root->map;
    root *r = root_new(m->domain, (unsigned)__builtin_ctz(SHARDS_WHEN_BIG), &options);

    if (!r)
        return;
    r->map = m;
    for (size_t i = 0; i < root_shards(r); i++)
        atomic_init(&root_shard(r, i)->past_ms, atomic_load_explicit(&old->past_ms, memory_order_relaxed));
    if (refill(r, old)) {
        root_free(r);
        return;
    }
    uint64_t swaps = atomic_load_explicit(&m->root, memory_order_relaxed) >> 48;

    atomic_store_explicit(&m->root, root_word(r, swaps), memory_order_release);
    shard_discard_index(old);
    shard_discard(old, &old->root->garbage, release_root, root_size(0));
}

void shard_promote(map_shard *s)
{
    if (s->root->promote && s->root->bits == 0 &&
        !atomic_load_explicit(&s->root->snapshot, memory_order_relaxed) &&
        atomic_load_explicit(&shard_extra_of(s)->segments, memory_order_relaxed) >= SEGMENTS_WHEN_BIG)
        promote(s);
}

/* With something in the garbage: a segment was replaced, so the shard may have grown enough; or it is the sign of
 * a hold, which goes on. */
KV_UNCHECKED __attribute__((noinline)) static void unlock_slowly(map_shard *s)
{
    kv_domain *domain = s->root->domain;

    if (shard_is_held(s, holding_thread(domain)))
        return;
    shard_promote(s);
    garbage_retire(domain, shard_unlock(s));
}

KV_UNCHECKED void map_unlock(map_shard *s)
{
    if (__builtin_expect(s->garbage != NULL, 0))
        unlock_slowly(s);
    else
        lock_release(s->lock);
}

/* ---- life ---- */

map *map_new(kv_domain *domain, const map_options *options)
{
    static const map_options defaults = { .version_step = 1 };
    map *m = domain_alloc(domain, sizeof *m, 64);

    if (!m)
        return NULL;
    options = options ? options : &defaults;
    size_t shards = options->shards;

    assert(shards <= SHARDS_MAX && (shards & (shards - 1)) == 0);
    if (shards == 0)
        shards = options->expected_keys > SEGMENTS_WHEN_BIG * SEGMENT_BUCKETS * BUCKET_SLOTS / 2
                     ? SHARDS_WHEN_BIG
                     : 1;
    root *r = root_new(domain, (unsigned)__builtin_ctzll(shards), options);

    if (!r) {
        domain_free(domain, m, sizeof *m);
        return NULL;
    }
    r->map = m;
    m->domain = kv_domain_ref(domain);
    atomic_init(&m->watches, NULL);
    atomic_init(&m->root, root_word(r, 0));
    return m;
}

static void free_entries(map_shard *s)
{
    size_t position = 0;
    segment *seg;
    segment_slot slot;

    while ((seg = directory_next(shard_directory(s), shard_depth(s), &position)) != NULL) {
        segment_cursor cursor = { 0 };

        while (segment_walk(seg, &cursor, &slot))
            entry_free(s->root->domain, slot.entry);
    }
}

void map_free(map *m)
{
    if (!m)
        return;
    kv_domain *domain = m->domain;
    root *r = root_of_word(map_root_word(m));

    for (size_t i = 0; i < root_shards(r); i++)
        free_entries(root_shard(r, i));
    root_free(r);
    map_watch_done(m);
    domain_free(domain, m, sizeof *m);
    kv_domain_unref(domain);
}

kv_domain *map_domain(const map *m)
{
    return m->domain;
}

/* ---- reading ---- */

/* The lookup for when a change of several keys is under way: behind the lock. */
__attribute__((noinline)) static const entry *find_locked(const map *m, kv_slice key, uint64_t hash)
{
    map_shard *s = map_lock((map *)m, hash);
    const entry *e = shard_lookup(s, key, hash).entry;

    map_unlock(s);
    return e;
}

/* Until what disturbs the shard of that hash is over. */
void map_wait(const map *m, uint64_t hash)
{
    map_unlock(map_lock((map *)m, hash));
}

/* Any key, anywhere. */
__attribute__((noinline)) static const entry *find_anywhere(const map *m, kv_slice key, uint64_t hash)
    KV_REQUIRES(kv_epoch_held)
{
    uint64_t word = map_root_word(m);
    map_shard *s = root_word_shard(word, hash);
    const entry *e = shard_lookup(s, key, hash).entry;

    if (__builtin_expect(map_undisturbed(m, word, s), 1))
        return e;
    return find_locked(m, key, hash);
}

/* What nearly every lookup is stands here, and nothing else: a short key whose entry, or whose absence, shows in its
 * home bucket. */
const entry *map_find(const map *m, kv_slice key, uint64_t hash)
{
    uint64_t word = map_root_word(m);
    map_shard *s = root_word_shard(word, hash);
    probe p = probe_of(hash, root_word_bits(word));
    /* Pairs with the release store that published the segment. */
    uint64_t directory = atomic_load_explicit(shard_slot_of(s, p.split), memory_order_acquire);

    if (__builtin_expect(directory == 0 || key.len > KEY_SHORT, 0))
        return find_anywhere(m, key, hash);
    bucket *b = directory_bucket(directory, p.lo);
    /* Pairs with the release stores in segment_place: a tag seen means its word is seen. */
    uint64_t tags = atomic_load_explicit(&b->tags, memory_order_acquire);
    tag_match match = tags_match(tags, p.tag);
    entry *e = NULL;

    if (__builtin_expect(match != 0, 1)) {
        /* Pairs with the release store that published the entry. */
        uint64_t at = atomic_load_explicit(&b->words[__builtin_ctz(match)], memory_order_acquire);

        e = word_entry(at);
        if (__builtin_expect(!e || split_differs(at, p) || !entry_has_short_key(e, key), 0))
            return find_anywhere(m, key, hash);
    } else if (tags_overflow(tags) != 0 || directory & DIRECTORY_CHAIN) {
        return find_anywhere(m, key, hash);
    }
    if (__builtin_expect(map_undisturbed(m, word, s), 1))
        return e;
    return find_anywhere(m, key, hash);
}

/* ---- reading ahead ---- */

/* All buckets are asked for before the first is read, and all entries before the first is compared: so many misses are under way
 * together as the processor can have. Cost of 64 keys out of five million, beyond what it is in the cache: 26 ns a key where the
 * same two misses with no map around them cost 23 (kvbench map, "two misses, 64 at a time"). Tried and rejected: smaller groups (16
 * at a time cost half as much again, with a map or without); prefetches past the second-level cache (prefetchnta), which made
 * GET and SET dearer at every size, since buckets and entries of a small map are then never in it. */

static inline uint64_t directory_of(uint64_t root_word, uint64_t hash)
{
    return atomic_load_explicit(
        shard_slot_of(root_word_shard(root_word, hash), hash << root_word_bits(root_word)),
        memory_order_acquire);
}

/* The bucket after that one, in the segment of a directory word. */
static inline bucket *bucket_after(uint64_t directory, bucket *b)
{
    segment *s = directory_segment(directory);

    return b + 1 == &s->bucket[directory_buckets(directory)] ? s->bucket : b + 1;
}

/* Fetches the entry whose tag and split bits match in bucket b, and notes where; false: there is none. A short
 * entry lies on one line or on two. */
static inline bool fetch_entry(bucket *b, probe p, uint64_t tags, map_hint *hint)
{
    for (tag_match match = tags_match(tags, p.tag); match; match &= match - 1) {
        _Atomic uint64_t *slot = &b->words[__builtin_ctz(match)];
        /* Pairs with the release store that published the entry. */
        uint64_t word = atomic_load_explicit(slot, memory_order_acquire);

        if (!split_differs(word, p)) {
            __builtin_prefetch(word_entry(word));
            __builtin_prefetch((const char *)word_entry(word) + 40);
            hint->slot = slot;
            hint->word = word;
            return true;
        }
    }
    return false;
}

/* Keys whose entry is not in the bucket that was looked at, although others passed by it. */
typedef struct astray {
    size_t n;
    uint8_t key[MAP_PREFETCH_MAX];
    bucket *at[MAP_PREFETCH_MAX]; /* the bucket to look at next; it was fetched */
} astray;

/* Looks for the entry of a key in bucket b, which was fetched. */
static inline void fetch_from(bucket *b, size_t key, unsigned bits, uint64_t hash, map_hint *hint,
                              astray *more)
{
    uint64_t tags = atomic_load_explicit(&b->tags, memory_order_acquire);

    if (__builtin_expect(fetch_entry(b, probe_of(hash, bits), tags, hint), 1))
        return;
    if (tags_overflow(tags) == 0) { /* it is absent: who inserts it needs the segment's counts */
        __builtin_prefetch(directory_segment(hint->directory));
        return;
    }
    b = bucket_after(hint->directory, b);
    __builtin_prefetch(b);
    more->key[more->n] = (uint8_t)key;
    more->at[more->n++] = b;
}

/* One more look for those that stand further on. */
static void fetch_astray(unsigned bits, astray *from, const uint64_t hashes[], map_hint hints[])
{
    size_t n = from->n;

    from->n = 0; /* what is noted anew comes not before what was read */
    for (size_t i = 0; i < n; i++) {
        size_t key = from->key[i];

        fetch_from(from->at[i], key, bits, hashes[key], &hints[key], from);
    }
}

static const bucket no_bucket; /* of an empty shard */

static void prefetch_some(uint64_t root_word, size_t n, const uint64_t hashes[], map_hint hints[])
{
    unsigned bits = root_word_bits(root_word);
    bucket *buckets[MAP_PREFETCH_MAX];
    astray more;

    for (size_t i = 0; i < n; i++) {
        uint64_t directory = directory_of(root_word, hashes[i]);

        hints[i].directory = directory;
        hints[i].word = 0;
        buckets[i] = (bucket *)&no_bucket;
        if (__builtin_expect(directory != 0, 1)) {
            buckets[i] = directory_bucket(directory, hashes[i]);
            __builtin_prefetch(buckets[i]);
        }
    }
    more.n = 0;
    for (size_t i = 0; i < n; i++)
        fetch_from(buckets[i], i, bits, hashes[i], &hints[i], &more);
    for (int look = 0; more.n && look < LOOKS_AHEAD; look++)
        fetch_astray(bits, &more, hashes, hints);
}

void map_prefetch(const map *m, size_t n, const uint64_t hashes[], map_hint ret_hints[])
{
    uint64_t root_word = map_root_word(m);
    map_hint unwanted[MAP_PREFETCH_MAX];

    for (size_t some; n > 0; n -= some, hashes += some) {
        some = n < MAP_PREFETCH_MAX ? n : MAP_PREFETCH_MAX;
        prefetch_some(root_word, some, hashes, ret_hints ? ret_hints : unwanted);
        ret_hints = ret_hints ? ret_hints + some : NULL;
    }
}

/* The entry that a hint points at, if it is still there and has that key. The segment is the one that the map
 * uses as long as the directory word is the same, and the entry the one of now as long as its slot's word is:
 * neither can be freed and used again within the epoch. */
static inline entry *hint_entry(const map_hint *hint, uint64_t directory, kv_slice key)
{
    entry *e = word_entry(hint->word);

    if (!e || hint->directory != directory || key.len > KEY_SHORT ||
        atomic_load_explicit(hint->slot, memory_order_acquire) != hint->word)
        return NULL;
    return entry_has_short_key(e, key) ? e : NULL;
}

static inline const entry *find_hinted(const map *m, uint64_t root_word, kv_slice key, uint64_t hash,
                                       const map_hint *hint) KV_REQUIRES(kv_epoch_held)
{
    const entry *e = hint_entry(hint, directory_of(root_word, hash), key);

    if (__builtin_expect(e && map_undisturbed(m, root_word, root_word_shard(root_word, hash)), 1))
        return e;
    return map_find(m, key, hash);
}

/* Not inlined where it is one of several ways: those are short without it. */
__attribute__((noinline)) const entry *map_find_hinted(const map *m, kv_slice key, uint64_t hash,
                                                       const map_hint *hint)
{
    return find_hinted(m, map_root_word(m), key, hash, hint);
}

void map_find_run(const map *m, size_t n, const kv_slice names[], size_t stride, const uint64_t hashes[],
                  const map_hint hints[], const entry *ret[])
{
    uint64_t root_word = map_root_word(m); /* another one later is a disturbance */

    for (size_t i = 0; i < n; i++)
        ret[i] = find_hinted(m, root_word, names[i * stride], hashes[i], &hints[i]);
}

/* ---- writing ---- */

map_place shard_find(map_shard *s, kv_slice key, uint64_t hash)
{
    uint64_t directory = shard_segment_word(s, hash);
    found f = segment_find(directory, key, probe_of(hash, s->bits));

    return (map_place){ f.entry, f.word, directory_segment(directory) };
}

static inline map_place place_hinted(map_shard *s, kv_slice key, uint64_t hash, const map_hint *hint)
    KV_REQUIRES(kv_shard_held)
{
    uint64_t directory = shard_segment_word(s, hash);
    entry *e = hint_entry(hint, directory, key);

    if (__builtin_expect(e != NULL, 1))
        return (map_place){ e, hint->slot, directory_segment(directory) };
    return shard_find(s, key, hash);
}

map_place shard_find_hinted(map_shard *s, kv_slice key, uint64_t hash, const map_hint *hint)
{
    return place_hinted(s, key, hash, hint);
}

static void stamp(map_shard *s, entry *e)
{
    s->version += s->root->version_step;
    e->version = s->version;
}

/* In debug builds the segment that was changed is checked after one change in 64; maps test themselves in full. */
static void check_changed(const map_shard *s, uint64_t hash)
{
#ifdef KV_CHECKS
    segment *changed = directory_segment(shard_segment_word(s, hash));
    check_sums sums = { 0 };

    if (changed && s->version / s->root->version_step % 64 == 0)
        segment_check(s, changed, &sums);
#else
    (void)s;
    (void)hash;
#endif
}

/* Lets the snapshot that is being taken, if any, have an entry before it goes. */
static inline void keep_for_snapshot(map_shard *s, const entry *e) KV_REQUIRES(kv_shard_held)
{
    /* Set and reset under the lock. */
    if (__builtin_expect(atomic_load_explicit(&s->root->snapshot, memory_order_relaxed) != NULL, 0))
        snapshot_keep(s, e);
}

/* Later versions are newer than the one it comes with. */
static void adopt(map_shard *s, entry *e, uint64_t version) KV_REQUIRES(kv_shard_held)
{
    if (snapshot_covers(s, version)) { /* it was not there then */
        stamp(s, e);
        return;
    }
    e->version = version;
    shard_extra_of(s)->removed++; /* it counts as one change, whatever becomes of the version */
    if (s->version < version)
        shard_raise(s, version);
}

/* Publishes what has its version. */
static inline int insert(map_shard *s, uint64_t hash, entry *fresh)
{
    /* Under the shard's lock, as the store in map_watch_add is. */
    if (__builtin_expect(atomic_load_explicit(&s->root->map->watches, memory_order_relaxed) != NULL, 0))
        map_watch_tell(s->root->map, hash);
    shard_publish_begin(s);
    int err = put(s, hash, fresh);

    if (__builtin_expect(!err, 1))
        count_entry(s, fresh, 1);
    shard_publish_end(s);
    if (!err)
        check_changed(s, hash);
    return err;
}

int shard_insert(map_shard *s, uint64_t hash, entry *fresh)
{
    stamp(s, fresh);
    return insert(s, hash, fresh);
}

int shard_insert_as(map_shard *s, uint64_t hash, entry *fresh, uint64_t version)
{
    adopt(s, fresh, version);
    return insert(s, hash, fresh);
}

static inline void replace(map_shard *s, const map_place *place, entry *fresh) KV_REQUIRES(kv_shard_held)
{
    uint64_t word = atomic_load_explicit(place->word, memory_order_relaxed);

    keep_for_snapshot(s, place->entry);
    if (__builtin_expect(!entry_alike(place->entry, fresh), 0))
        count_replacement(s, place->segment, place->entry, fresh);
    shard_publish_begin(s);
    /* Pairs with the acquire of the word in segment_find. */
    atomic_store_explicit(place->word, (word & ~WORD_POINTER) | (uint64_t)(uintptr_t)fresh,
                          memory_order_release);
    shard_publish_end(s);
}

void shard_replace(map_shard *s, map_place *place, entry *fresh)
{
    stamp(s, fresh);
    replace(s, place, fresh);
}

void shard_replace_as(map_shard *s, map_place *place, entry *fresh, uint64_t version)
{
    adopt(s, fresh, version);
    replace(s, place, fresh);
}

void shard_unlink(map_shard *s, map_place *place)
{
    keep_for_snapshot(s, place->entry);
    shard_extra_of(s)->removed++;
    shard_publish_begin(s);
    segment_take(place->segment, place->word);
    count_entry(s, place->entry, -1);
    shard_publish_end(s);
    segment_count_deadline(place->segment, entry_deadline(place->entry), -1);
}

void shard_remove(map_shard *s, map_place *place)
{
    segment *from = place->segment;

    shard_unlink(s, place);
    if (__builtin_expect(segment_entries(from) < from->low, 0))
        shard_shrink(s, domain_hash(s->root->domain, entry_key(place->entry)), from);
}

static inline int put_locked(map_shard *s, kv_slice key, uint64_t hash, const map_hint *hint, entry *fresh,
                             entry **ret_before, map_tell_fn *tell, void *arg) KV_REQUIRES(kv_shard_held)
{
    map_place place = hint ? place_hinted(s, key, hash, hint) : shard_find(s, key, hash);
    int err = 0;

    if (__builtin_expect(place.entry != NULL, 1)) {
        stamp(s, fresh);
        replace(s, &place, fresh);
    } else {
        err = shard_insert(s, hash, fresh);
    }
    if (tell && !err)
        tell(arg, place.entry, fresh, &s->told);
    *ret_before = place.entry;
    return err;
}

int map_put(map *m, kv_slice key, uint64_t hash, const map_hint *hint, entry *fresh, entry **ret_before,
            map_tell_fn *tell, void *arg)
{
    map_shard *s = lock_at_once(m, hash);
    int err = put_locked(s, key, hash, hint, fresh, ret_before, tell, arg);

    map_unlock(s);
    return err;
}

KV_UNCHECKED int map_put_held(map *m, kv_slice key, uint64_t hash, const map_hint *hint, entry *fresh,
                              entry **ret_before, map_tell_fn *tell, void *arg)
{
    map_shard *s = root_word_shard(map_root_word(m), hash);

    assert(shard_is_held(s, holding_thread(m->domain)));
    return put_locked(s, key, hash, hint, fresh, ret_before, tell, arg);
}
