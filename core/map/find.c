/* find.c - finding a key without a lock, and finding many whose cache misses overlap.
 *
 *     find    root -> shard -> directory -> bucket -> entry: acquire loads, then two checks (map.c, invariants 4 and 5)
 *     ahead   buckets of all; entries of all, noted as hints; then find each by its hint
 *
 * A cold lookup is two misses, bucket and entry (the directory is small); nothing is written, so that any number of threads read
 * the same key without a line that one of them takes from the others: a hot key costs each of two threads as much as it costs
 * one alone (kvbench map, "one hot key ... ns of each").
 *
 * Reading ahead: all buckets are asked for before the first is read, and all entries before the first is compared, so many misses
 * are under way together as the processor can have. A hint is the directory word and the slot's word that were seen: as long as both
 * are the same the key need not be looked for again.
 *
 * Cost of 64 keys out of five million, beyond what it is in the cache: 26 ns a key where the same two misses with no map around them
 * cost 23 (kvbench map, "two misses, 64 at a time"); what else a server's request costs more with many keys is not the map's.
 * Rejected: smaller groups (16 at a time cost half as much again for the bare misses); prefetches past the second-level cache
 * (prefetchnta), with which GET and SET in pipelines were dearer, with few keys as with many.
 * SPDX-License-Identifier: MIT */
#include "shard.h"

#define LOOKS_AHEAD 2 /* buckets behind the home bucket that reading ahead follows a key to */

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

/* The descriptor, too: an insert counts there. */
void map_expect(const map *m, uint64_t hash)
{
    uint64_t directory = directory_of(map_root_word(m), hash);

    if (__builtin_expect(directory == 0, 0))
        return;
    __builtin_prefetch(directory_bucket(directory, hash), 1);
    __builtin_prefetch(directory_segment(directory), 1);
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
