/* shard.h - a shard, the root that holds all shards of a map, and the way from a hash to a bucket.
 *
 *     map -> root word: shards * | log2 of their number in the low bits | swaps in the high bits
 *     root   [ header 128 B ][ shard 0 ][ shard 1 ] ... each 128 B, aligned
 *     shard  [ read by everybody: directory, mark | written by the holder: lock, counters ]
 *     directory pointer: 63..58 63 - depth | address of 2^depth segment words
 *
 * Private to core/map. SPDX-License-Identifier: MIT */
#ifndef KV_MAP_SHARD_H
#define KV_MAP_SHARD_H

#include "lock.h"
#include "segment.h"

#define SHARDS_MAX        1024u
#define SHARDS_WHEN_BIG   64u
#define SEGMENTS_WHEN_BIG 8u  /* one shard with so many segments becomes 64 */
#define RANDOM_COUNTED    64u /* entries per shard: fewer are counted by map_random */
#define DEPTH_MAX         24u

#define ADDRESS (((uint64_t)1 << 48) - 1)

typedef struct root root;

struct KV_CAPABILITY("shard") map_shard {
    /* Read by all: changes only when the shard's index does, or with changes of several keys. */
    _Atomic uint64_t directory;
    _Atomic uint64_t first; /* the only directory word while the depth is 0 */
    _Atomic uint32_t mark;  /* odd: a change of several keys is under way */
    uint16_t index;
    uint8_t bits; /* log2 of the number of shards */
    root *root;
    kv_lock *lock;                   /* own, or the map's only one */
    _Atomic(domain_thread *) holder; /* whose hold has it (hold.c), or NULL; only that thread asks */

    /* Written by the holder of the lock; the atomics are read by others without it. */
    kv_lock own __attribute__((aligned(64)));
    _Atomic uint32_t sequence; /* odd while something is being published: map_find_many */
    uint64_t version;          /* the last one given out */
    _Atomic size_t entries, entry_bytes;
    map_mark told;           /* the listener's */
    _Atomic int64_t past_ms; /* the newest time by which an entry was found past its deadline */
    garbage *garbage;        /* to be retired after the unlock */
} __attribute__((aligned(128)));

_Static_assert(sizeof(struct map_shard) == 128, "two lines");

/* Kept apart from the shards' lines: used by writers now and then. */
typedef struct shard_extra {
    _Atomic int64_t earliest; /* no deadline in the shard is earlier */
    int64_t next_earliest;    /* what earliest will be when the expiry pass under way ends */
    uint32_t pass;            /* that pass */
    _Atomic uint32_t segments;
    uint32_t deepest;             /* segments whose depth is the directory's */
    uint64_t removed;             /* entries taken out; corrected so that shard_changes is right */
    _Atomic size_t index_bytes;   /* segments and directory */
    _Atomic size_t with_deadline; /* entries of the shard, and the sum of their deadlines */
    _Atomic int64_t deadline_sum_ms;
} shard_extra;

_Static_assert(sizeof(shard_extra) == 64, "a line each");

struct snapshot_part;

struct root {
    garbage garbage;
    map *map; /* whose it is; changes with map_swap, all shards locked */
    kv_domain *domain;
    uint64_t version_step;
    _Atomic(struct snapshot_part *)
        snapshot; /* of the snapshot that is being taken (map_snapshot.c), or NULL */
    kv_lock one_lock;
    bool promote; /* grows from one shard to many */
    bool one;     /* one lock for all shards */
    uint8_t bits;
    shard_extra *extra;
    uint64_t version_start; /* of all shards */
    uint64_t changes;       /* before that, see map_changes */
};

static inline shard_extra *shard_extra_of(const map_shard *s)
{
    return &s->root->extra[s->index];
}

/* What happened to the shard since its root was made, see map_changes; it is locked. */
static inline uint64_t shard_changes(const map_shard *s)
{
    return (s->version - s->root->version_start) / s->root->version_step + shard_extra_of(s)->removed;
}

/* Makes a version the newest of a locked shard, which is no change. */
static inline void shard_raise(map_shard *s, uint64_t version)
{
    uint64_t before = shard_changes(s);

    s->version = version;
    shard_extra_of(s)->removed -= shard_changes(s) - before;
}

_Static_assert(sizeof(root) <= 128, "before the first shard");

struct watch_table;

struct map {
    _Atomic uint64_t root;
    kv_domain *domain;
    _Atomic(struct watch_table *) watches; /* NULL until an absent key is watched */
};

static inline map_shard *root_word_shards(uint64_t word)
{
    return (map_shard *)(uintptr_t)(word & ADDRESS & ~(uint64_t)127);
}

static inline unsigned root_word_bits(uint64_t word)
{
    return (unsigned)word & 127;
}

static inline map_shard *root_word_shard(uint64_t word, uint64_t hash)
{
    return root_word_shards(word) + (hash >> 1 >> (63 - root_word_bits(word)));
}

static inline root *root_of_word(uint64_t word)
{
    return (root *)((char *)root_word_shards(word) - 128);
}

static inline uint64_t map_root_word(const map *m)
{
    /* Pairs with the release stores in map_new, promote and map_swap. */
    return atomic_load_explicit(&((map *)m)->root, memory_order_acquire);
}

static inline size_t root_shards(const root *r)
{
    return (size_t)1 << r->bits;
}

static inline map_shard *root_shard(const root *r, size_t index)
{
    return (map_shard *)((char *)r + 128) + index;
}

/* The next number of a random state: SplitMix64 (Steele, Lea, Flood 2014). */
static inline uint64_t random_next(uint64_t *rng)
{
    uint64_t x = *rng += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* ---- directories ---- */

/* A shard's pointer to its directory: the address, and in the high bits how far to shift a hash. */
static inline uint64_t directory_pointer(_Atomic uint64_t *words, unsigned depth)
{
    return (uint64_t)(uintptr_t)words | (uint64_t)(63 - depth) << 58;
}

static inline unsigned directory_pointer_depth(uint64_t pointer)
{
    return 63 - (unsigned)(pointer >> 58);
}

/* The directory slot for the part of a hash behind the shard bits. */
static inline _Atomic uint64_t *shard_slot_of(const map_shard *s, uint64_t split)
{
    /* Pairs with the release store that published the directory. */
    uint64_t word = atomic_load_explicit(&((map_shard *)s)->directory, memory_order_acquire);

    return (_Atomic uint64_t *)(uintptr_t)(word & ADDRESS) + (split >> 1 >> (word >> 58));
}

static inline _Atomic uint64_t *shard_slot(const map_shard *s, uint64_t hash)
{
    return shard_slot_of(s, hash << s->bits);
}

static inline unsigned shard_depth(const map_shard *s)
{
    return directory_pointer_depth(atomic_load_explicit(&((map_shard *)s)->directory, memory_order_relaxed));
}

static inline _Atomic uint64_t *shard_directory(const map_shard *s)
{
    return (_Atomic uint64_t *)(uintptr_t)(atomic_load_explicit(&((map_shard *)s)->directory,
                                                                memory_order_relaxed) &
                                           ADDRESS);
}

/* The directory word for a hash; 0: no segment. */
static inline uint64_t shard_segment_word(const map_shard *s, uint64_t hash)
{
    /* Pairs with the release store that published the segment. */
    return atomic_load_explicit(shard_slot(s, hash), memory_order_acquire);
}

static inline found shard_lookup(const map_shard *s, kv_slice key, uint64_t hash)
{
    return segment_find(shard_segment_word(s, hash), key, probe_of(hash, s->bits));
}

/* ---- locking: map.c ---- */

/* Waits for the lock of s, which another thread has, and takes it; the wait is measured where the domain asks for it
 * (contention.c). hash: of the one key it is about, or NULL. */
void shard_wait(map_shard *s, const uint64_t *hash);

/* Takes the lock of s. */
KV_UNCHECKED static inline void shard_acquire(map_shard *s, const uint64_t *hash)
{
    if (!lock_try(s->lock))
        shard_wait(s, hash);
}

/* Locks and unlocks without regard to marks; shard_unlock hands back what must be retired then. */
void shard_lock(map_shard *s) KV_ACQUIRES(s);
garbage *shard_unlock(map_shard *s) KV_RELEASES(s);
void garbage_retire(kv_domain *domain, garbage *g) KV_EXCLUDES(kv_shard_held);
void shard_discard(map_shard *s, garbage *g, epoch_release_fn *release, size_t size_bytes);

/* Moves the shard's garbage in front of all. */
static inline garbage *shard_take_garbage(map_shard *s, garbage *all)
{
    while (s->garbage) {
        garbage *g = s->garbage;

        s->garbage = g->next;
        g->next = all;
        all = g;
    }
    return all;
}

/* Says that something is published between the two, for map_find_many. */
static inline void shard_publish_begin(map_shard *s)
{
    uint32_t sequence = atomic_load_explicit(&s->sequence, memory_order_relaxed);

    atomic_store_explicit(&s->sequence, sequence + 1, memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst); /* the publishing stores are releases: they stay behind */
}

static inline void shard_publish_end(map_shard *s)
{
    uint32_t sequence = atomic_load_explicit(&s->sequence, memory_order_relaxed);

    /* Pairs with the acquire loads in map_find_many. */
    atomic_store_explicit(&s->sequence, sequence + 1, memory_order_release);
}

/* Raises the mark, or lowers it; the shard is locked. */
static inline void shard_flip_mark(map_shard *s)
{
    uint32_t mark = atomic_load_explicit(&s->mark, memory_order_relaxed);

    /* Raising: before the releases that publish. Lowering: after them. Pairs with map_undisturbed. */
    atomic_store_explicit(&s->mark, mark + 1, memory_order_release);
}

/* Grows a map of one shard into many, if it is time; the shard is locked, nobody holds a place in it. */
void shard_promote(map_shard *s);

/* The record of this thread, when it has a hold on shards of the domain, else NULL. */
static inline domain_thread *holding_thread(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    return t && t->hold ? t : NULL;
}

/* Whether this thread's hold has the shard. */
static inline bool shard_is_held(map_shard *s, const domain_thread *holding)
{
    return holding && atomic_load_explicit(&s->holder, memory_order_relaxed) == holding;
}

/* Locks every shard of the map, in order, and raises the marks; tells the root word. Within a hold they are. */
uint64_t map_lock_all(map *m) KV_ACQUIRES(kv_shard_held);
void map_unlock_all(uint64_t root_word) KV_RELEASES(kv_shard_held);

/* Whether no change of several keys was under way after what was just read, and the root is still this one. */
static inline bool map_undisturbed(const map *m, uint64_t root_word, const map_shard *s)
{
    /* Pairs with the release stores of the marks: raised before, lowered after what it covers. */
    return !(atomic_load_explicit(&((map_shard *)s)->mark, memory_order_acquire) & 1) &&
           atomic_load_explicit(&((map *)m)->root, memory_order_acquire) == root_word;
}

/* Room for what a map of so many shards will be emptied of; NULL: memory is out. */
map_debris *map_debris_new_for(const map *m, size_t shards);
/* Lets visit see the next segment of it, with the shard that it was in, and disposes of that. 1: there may be more; 0: there
 * was none; KV_ENOMEM: nothing was done. Inside an epoch. */
int map_debris_visit(map_debris *debris, void (*visit)(void *arg, size_t shard, const entry *e), void *arg)
    KV_EXCLUDES(kv_shard_held);
/* Where a map that is being emptied, all shards locked, puts what is in it: debris, or its snapshot's. */
map_debris *snapshot_clear_into(const root *r, map_debris *debris);

/* Tells those that watch an absent key that it is being inserted (watch.c); the shard is locked. */
void map_watch_tell(map *m, uint64_t hash);
/* Tells those that watch an absent key of m, whose contents are being exchanged for those of another, if it is there; both
 * are locked. */
void map_watch_tell_exchanged(map *m, const map *other, int64_t now_ms);
void map_watch_done(map *m);

void map_wait(const map *m, uint64_t hash) KV_EXCLUDES(kv_shard_held);
/* shard_remove without shrinking. */
void shard_unlink(map_shard *s, map_place *place) KV_REQUIRES(kv_shard_held);
void segment_retire(kv_domain *domain, segment *s);

void shard_count_deadline(map_shard *s, int64_t deadline_ms, int by);
/* Puts an entry where its hash leads, and counts it; the key must be absent, and the shard locked or known to nobody. KV_ENOMEM. */
int shard_add(map_shard *s, uint64_t hash, entry *e);
size_t root_size(unsigned bits);

/* ---- hints ---- */

/* The directory word for a hash, from a root. */
static inline uint64_t directory_of(uint64_t root_word, uint64_t hash)
{
    return atomic_load_explicit(
        shard_slot_of(root_word_shard(root_word, hash), hash << root_word_bits(root_word)),
        memory_order_acquire);
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

/* ---- growing and shrinking: grow.c ---- */

/* The segments of a directory, one after the other: start with 0; NULL at the end. */
segment *directory_next(_Atomic uint64_t *words, unsigned depth, size_t *position);
/* Makes all of the index garbage of the shard; the entries are left alone. */
void shard_discard_index(map_shard *s);
size_t directory_bytes(unsigned depth);
/* Retires, or frees, a directory, given as its word, that is not a shard's own. */
void directory_retire(kv_domain *domain, uint64_t directory);
void directory_free(kv_domain *domain, uint64_t directory);
/* Stores the segment's directory word again, because its chain flag has changed. */
void shard_republish(map_shard *s, uint64_t hash, segment *changed);

/* Sees to it that there is a segment for that hash with room for one more entry; window_full: placing it has
 * just failed although there was. KV_ENOMEM; KV_ERANGE: no size would help, the chain must. */
int shard_make_room(map_shard *s, uint64_t hash, bool window_full);
/* After a removal from old, the segment that hash leads to. */
void shard_shrink(map_shard *s, uint64_t hash, segment *old);

#endif
