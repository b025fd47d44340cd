/* map.h - a concurrent hash map from keys to entries: reads take no lock and write nothing shared.
 *
 *     epoch_enter(domain);                              // reading
 *     const entry *e = map_find(map, key, hash);        // readable until epoch_leave
 *     epoch_leave(domain);
 *
 *     map_shard *shard = map_lock(map, hash);           // writing
 *     map_place place = shard_find(shard, key, hash);
 *     if (place.entry)
 *         shard_replace(shard, &place, fresh);          // fresh was built before the lock
 *     else
 *         err = shard_insert(shard, hash, fresh);
 *     map_unlock(shard);
 *     entry_retire(domain, place.entry);                // after the lock
 *
 * It knows keys, bytes and deadlines as numbers; nothing of clocks, types or Redis.
 *
 * Threads    Any. Reads are inside an epoch; writes hold the key's shard.
 * Atomicity  What one thread changes between map_lock_many and map_unlock_many, no reader sees in part.
 * Ownership  The map owns the entries in it. What replace and remove unlink is the caller's to retire.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MAP_MAP_H
#define KV_MAP_MAP_H

#include "entry.h"

typedef struct map map;

/* A part of the hash space with its lock, counters and version sequence. */
typedef struct KV_CAPABILITY("shard") map_shard map_shard;

typedef struct map_options {
    size_t shards;        /* power of two up to 1024; 0: one while small, then 64 */
    size_t expected_keys; /* so many that one shard would become many: it begins with many */
    bool one_lock;        /* all shards share one lock (--sharing mutex) */
    uint64_t version_start;
    uint64_t version_step; /* at least 1 */
} map_options;

/* The domain is retained. NULL when memory is out. */
map *map_new(kv_domain *domain, const map_options *options);
/* Frees the map and its entries; no other thread may use it. */
void map_free(map *m);
kv_domain *map_domain(const map *m);

/* ---- reading: inside an epoch, lock-free ---- */

/* The entry of key, or NULL. Never an intermediate state of a multi-key change: when the shard's mark is
 * up, waits for that change to end. */
const entry *map_find(const map *m, kv_slice key, uint64_t hash) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);

/* Where reading ahead found the entry of a key, most likely. Good for the epoch in which it was made, whatever is
 * written meanwhile: what it says is checked. All zero says nothing. */
typedef struct map_hint {
    uint64_t directory;     /* the word that led to the segment */
    uint64_t word;          /* what stood in the slot; 0: no entry has that tag */
    _Atomic uint64_t *slot; /* set when word is */
} map_hint;

/* Brings what the lookups of n keys will touch into the cache, their misses overlapping: first all the
 * buckets, then all the entries. To be called ahead of the lookups; it changes no answer. ret_hints: NULL, or
 * what was learned of each key, which saves the lookup most of its way. Works on MAP_PREFETCH_MAX keys at a time. */
#define MAP_PREFETCH_MAX 64u
void map_prefetch(const map *m, size_t n, const uint64_t hashes[], map_hint ret_hints[])
    KV_REQUIRES(kv_epoch_held);
/* Asks for what finding or inserting a key of that hash will touch first, and does not wait for it: for a writer that builds
 * its entry meanwhile. */
void map_expect(const map *m, uint64_t hash) KV_REQUIRES(kv_epoch_held);
/* map_find, looking first where the hint points. */
const entry *map_find_hinted(const map *m, kv_slice key, uint64_t hash, const map_hint *hint)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* n lookups, one after the other, of names[0], names[stride], ...: map_find_hinted without what they have in common. */
void map_find_run(const map *m, size_t n, const kv_slice names[], size_t stride, const uint64_t hashes[],
                  const map_hint hints[], const entry *ret[]) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);

/* Finds n keys as of one moment (no change falls between two of them): ret[i] is the entry or NULL. */
void map_find_many(const map *m, size_t n, const kv_slice keys[], const uint64_t hashes[], const entry *ret[])
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* Visits the entries of at least one home bucket at cursor and returns the next cursor; 0 begins and ends.
 * An entry present throughout is visited once, and no key twice, under any splits and merges meanwhile (but for
 * keys of equal hashes in a chain, see scan.c). The cursor is a position in hash space, so any number that a stranger sends is a valid one. */
typedef void map_visit_fn(void *arg, const entry *e);
uint64_t map_scan(const map *m, uint64_t cursor, map_visit_fn *visit, void *arg) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
/* The entry whose key has that hash, or NULL: slow, for reports of what was remembered by its hash. */
const entry *map_find_hash(const map *m, uint64_t hash) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* An entry chosen at random, NULL when the map is empty. Not biased by segment size: a hash position is
 * drawn uniformly, then slots of its segment until one is taken. rng: a seed that the call advances. */
const entry *map_random(const map *m, uint64_t *rng) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* ---- the whole of a map as of one moment ---- */

/* What tells whether anything was changed in a map meanwhile. */
typedef struct map_moment {
    uint64_t root_word, changes;
} map_moment;

/* Before reading: false when a change is under way. After it: whether all that was read is of one moment. */
bool map_moment_begin(const map *m, map_moment *ret_moment) KV_REQUIRES(kv_epoch_held);
bool map_moment_holds(const map *m, const map_moment *moment) KV_REQUIRES(kv_epoch_held);

/* ---- writing one key ---- */

/* Locks the shard that hash belongs to (also when the map grows from one shard to many meanwhile). */
map_shard *map_lock(map *m, uint64_t hash) KV_ACQUIRES(kv_shard_held);
void map_unlock(map_shard *shard) KV_RELEASES(kv_shard_held);

/* Where a key's entry stands; entry is NULL when there is none. Valid until the next insert or the unlock. */
typedef struct map_place {
    entry *entry;
    _Atomic uint64_t *word;
    void *segment;
} map_place;

map_place shard_find(map_shard *shard, kv_slice key, uint64_t hash) KV_REQUIRES(kv_shard_held);
/* The same, looking first where the hint points. */
map_place shard_find_hinted(map_shard *shard, kv_slice key, uint64_t hash, const map_hint *hint)
    KV_REQUIRES(kv_shard_held);
/* Adds an entry whose key is absent, stamping the next version. Splits or grows a segment when needed, a
 * bounded piece of work. KV_ENOMEM: nothing changed. */
int shard_insert(map_shard *shard, uint64_t hash, entry *fresh) KV_REQUIRES(kv_shard_held);
/* Publishes fresh in place of place->entry (same key), stamping the next version. Cannot fail. */
void shard_replace(map_shard *shard, map_place *place, entry *fresh) KV_REQUIRES(kv_shard_held);
/* Unlinks place->entry. May merge segments; cannot fail. */
void shard_remove(map_shard *shard, map_place *place) KV_REQUIRES(kv_shard_held);

/* What whoever is told of puts remembers of a shard, under its lock; all zero in one that is new. */
typedef struct map_mark {
    uint64_t epoch, version;
} map_mark;

/* All of that in one: stores fresh under key, which is its own, whatever stood there; hint may be NULL. *ret_before: what fresh
 * replaced, to be retired by the caller, or NULL. tell (may be NULL) runs under the lock when it is done. KV_ENOMEM. */
typedef void map_tell_fn(void *arg, const entry *before, const entry *fresh, map_mark *mark);
/* The same within this thread's hold, which has the shard. */
int map_put_held(map *m, kv_slice key, uint64_t hash, const map_hint *hint, entry *fresh, entry **ret_before,
                 map_tell_fn *tell, void *arg) KV_EXCLUDES(kv_shard_held);
int map_put(map *m, kv_slice key, uint64_t hash, const map_hint *hint, entry *fresh, entry **ret_before,
            map_tell_fn *tell, void *arg) KV_EXCLUDES(kv_shard_held);

/* ---- versions ---- */

/* The same with the version that the entry had elsewhere, on a primary or in a file; later ones are newer. */
int shard_insert_as(map_shard *shard, uint64_t hash, entry *fresh, uint64_t version)
    KV_REQUIRES(kv_shard_held);
void shard_replace_as(map_shard *shard, map_place *place, entry *fresh, uint64_t version)
    KV_REQUIRES(kv_shard_held);
/* The newest version of all shards; and: none is older than this one any more. */
uint64_t map_version(map *m) KV_EXCLUDES(kv_shard_held);
void map_raise_version(map *m, uint64_t version) KV_EXCLUDES(kv_shard_held);
/* A number that grows by one with each entry that is written or removed, and with an exchange. Of several maps that are
 * exchanged for each other, the sum counts. */
uint64_t map_changes(map *m) KV_EXCLUDES(kv_shard_held);

/* ---- writing several keys, of one map or of several maps of one domain ---- */

typedef struct map_key {
    map *map;
    uint64_t hash;
    map_shard *shard; /* set by map_lock_many */
} map_key;

/* Locks the shards of all n keys, each once, in one order for all threads, and raises their marks: until
 * map_unlock_many readers of those shards wait. n >= 1; the same key may stand twice. keys stay in the
 * caller's order. scratch: room for n pointers. */
void map_lock_many(map_key keys[], size_t n, map_shard *scratch[]) KV_ACQUIRES(kv_shard_held);
void map_unlock_many(map_key keys[], size_t n, map_shard *scratch[]) KV_RELEASES(kv_shard_held);

/* Room for what a map will be emptied of; NULL: memory is out. */
typedef struct map_debris map_debris;
map_debris *map_debris_new(const map *m);
/* Takes everything out of the map at one moment, all shards locked; readers see all or nothing. It becomes debris, which
 * is dismantled with map_debris_free. under_lock(arg) (may be NULL) runs while all shards are locked. Versions go on
 * from where they were. False: the map has another number of shards than when debris was made; nothing was done. */
bool map_clear(map *m, map_debris *debris, void (*under_lock)(void *arg), void *arg)
    KV_EXCLUDES(kv_shard_held);
/* Frees up to max_segments worth of it (NULL is none) and, with the last of it, debris itself; returns whether anything
 * is left. Callers need no epoch. */
bool map_debris_free(map_debris *debris, size_t max_segments) KV_EXCLUDES(kv_shard_held);

/* Exchanges the contents of two maps of one domain, as one atomic act, all shards of both locked. under_lock as above. What
 * has expired by now_ms counts as absent for those who watch. */
void map_swap(map *a, map *b, int64_t now_ms, void (*under_lock)(void *arg), void *arg)
    KV_EXCLUDES(kv_shard_held);

/* ---- an act of many steps: a hold ---- */

/* The shards that one thread holds while it goes through an act of many steps. Say what the act touches, lock, do
 * it with any functions of this header (they find the shards held), release:
 *
 *     do {
 *         map_hold_begin(&hold);
 *         map_hold_key(&hold, map, hash); ...       // one key
 *         map_hold_map(&hold, other); ...           // all keys of a map
 *     } while (!map_hold_lock(&hold));
 *     ... act ...
 *     map_hold_release(&hold);
 *
 * Nobody sees the act in part. Within it, what was not named must not be touched (checked in debug builds): it would
 * be locked out of order. A thread has one hold at a time, in one domain, and is inside an epoch meanwhile. */
typedef struct map_hold_part {
    map *map;
    uint64_t root_word;
    uint64_t shards[16]; /* a bit for each of up to 1024 */
} map_hold_part;

typedef struct map_hold {
    kv_domain *domain;
    map_hold_part *parts; /* the caller's room for so many maps */
    size_t room, count;
    struct garbage *found; /* what lay in the shards when they were taken; NULL at first */
} map_hold;

void map_hold_begin(map_hold *hold);
void map_hold_key(map_hold *hold, map *m, uint64_t hash);
/* n keys: hashes[0], hashes[stride], ... */
void map_hold_run(map_hold *hold, map *m, size_t n, const uint64_t hashes[], size_t stride);
void map_hold_map(map_hold *hold, map *m);
/* Locks, in the order of map_lock_many, and raises the marks. False: a map has got another shape since it was named, or
 * nothing could be done for lack of memory at the very first call of a thread: name everything again. */
bool map_hold_lock(map_hold *hold) KV_TRIES(true, kv_hold_held) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);
void map_hold_release(map_hold *hold) KV_RELEASES(kv_hold_held) KV_EXCLUDES(kv_shard_held);
/* The hold of this thread in a domain, or NULL. */
map_hold *map_hold_current(kv_domain *domain);

/* ---- noticing that an absent key was inserted ---- */

/* Whoever found a key absent, and wants to know later whether it has been there in between. */
typedef struct map_watch {
    map *map;
    uint64_t hash;
    kv_slice key;                   /* the caller's */
    struct map_watch *next, **link; /* in the map's table */
    _Atomic bool inserted;          /* since map_watch_add; read with the key's shard locked, this is exact */
} map_watch;

/* w->map, w->hash and w->key are set, and the key's shard is locked. KV_ENOMEM. */
int map_watch_add(map_watch *w) KV_REQUIRES(kv_shard_held);
void map_watch_remove(map_watch *w);
/* How often the map's contents were exchanged, modulo 65536. */
unsigned map_swaps(const map *m);

/* ---- deadlines ---- */

/* Whether e, an entry of the shard, is past its deadline at now_ms, or at the newest time by which any entry of the shard was
 * said to be: what one thread has found gone is gone for all, although the clock of another may be older. With INT64_MIN
 * nothing is. A clock that is behind by more than MAP_CLOCKS_MS was set back, and is believed. */
#define MAP_CLOCKS_MS 1000

static inline bool shard_is_past(map_shard *shard, const entry *e, int64_t now_ms) KV_REQUIRES(kv_shard_held);
bool shard_is_past_deadline(map_shard *shard, int64_t deadline_ms, int64_t now_ms) KV_REQUIRES(kv_shard_held);
/* That time, of the shard that hash belongs to; what is read after it is not older. */
int64_t map_past(const map *m, uint64_t hash) KV_REQUIRES(kv_epoch_held);

/* What to do with an entry whose deadline has passed; runs under its shard's lock. It has been unlinked
 * already and is retired by the map after the lock is released. */
typedef void map_due_fn(void *arg, map_shard *shard, const entry *e);

/* Removes the entries whose deadline is <= now_ms, from *position (0: the beginning) to the end of the map, and makes
 * that 0; or until it has made max_steps steps (0: any number), of some hundred entries at most each; *position is
 * where to go on then. Each segment knows its earliest deadline, so that a sweep costs nothing where nothing is due. Returns
 * how many entries it removed. When memory is out, it may stop early. */
size_t map_expire(map *m, uint64_t *position, int64_t now_ms, size_t max_steps, map_due_fn *due, void *arg)
    KV_EXCLUDES(kv_shard_held);

/* No entry has a deadline before this one; KV_FOREVER: none has any. As of the last whole sweep: it may be too early. */
int64_t map_next_deadline(const map *m) KV_REQUIRES(kv_epoch_held);

/* ---- making room ---- */

/* How much e deserves to go: the highest go first, 0 stays. Under its shard's lock. */
typedef uint64_t map_score_fn(void *arg, const entry *e);

typedef struct map_eviction {
    size_t looks;       /* entries to choose from; there is a bound */
    size_t most;        /* to be removed */
    bool only_deadline; /* no others score, so that where there are none need not be looked */
    map_score_fn *score;
    map_due_fn *gone; /* as for map_expire */
} map_eviction;

/* Looks at the entries that come next after *hand, a position in hash space that the call advances, and removes those that
 * score highest until want_bytes (of entry_size) are free or `most` have gone. Returns how many: 0 also when there was no
 * candidate among those looked at. Any number is a hand, and behind the last entry it goes on with the first. */
size_t map_evict(map *m, uint64_t *hand, const map_eviction *how, void *arg, size_t want_bytes,
                 size_t *ret_bytes) KV_EXCLUDES(kv_shard_held);

/* ---- figures ---- */

typedef struct map_stats {
    size_t entries, with_deadline;
    int64_t deadline_sum_ms; /* of those with a deadline, for an average (saturating) */
    size_t entry_bytes;      /* sum of entry_size */
    size_t index_bytes;      /* segments, directories, shards */
    size_t shards, segments;
} map_stats;
void map_read_stats(const map *m, map_stats *ret_stats);
size_t map_count(const map *m);

#define MAP_LAYOUT_HOMES 64

/* How the entries are spread. The home of an entry is the bucket that its hash says; it stands there or a little behind. */
typedef struct map_layout {
    size_t shards, segments, buckets, entries;
    size_t homes_used;              /* buckets that are the home of some entry */
    size_t longest;                 /* entries that one bucket is the home of, at most */
    size_t homes[MAP_LAYOUT_HOMES]; /* buckets that are the home of so many; the last: of so many, or more */
    size_t looks;                   /* buckets that are read to find each entry once */
    size_t chained;                 /* entries that found no place near their home */
} map_layout;
/* Visits every entry. What is written meanwhile may be counted or not. */
void map_read_layout(const map *m, map_layout *ret_layout) KV_REQUIRES(kv_epoch_held);

/* Verifies every invariant (segment.h, map.c name them), aborting with a message on stderr; slow. Callers hold no shard and
 * no writer runs. Compiled in always; with KV_CHECKS the map also checks the touched segment after every
 * change. */
void map_check(const map *m);

/* ---- the inline half ---- */

static inline bool shard_is_past(map_shard *shard, const entry *e, int64_t now_ms)
{
    int64_t deadline_ms = entry_deadline(e);

    return deadline_ms != KV_FOREVER && shard_is_past_deadline(shard, deadline_ms, now_ms);
}

#endif
