/* segment.h - a piece of the index: buckets of one cache line, and what a lookup in them needs.
 *
 *     segment  [ descriptor 64 B | bucket 0 | bucket 1 | ... | bucket n-1 ]
 *     bucket   [ 7 tags, overflow counter : 8 B | 7 slot words : 56 B ]
 *     word     63..52 split bits | 51..48 displacement | 47..3 entry pointer | 2..0 sub-home bits
 *     hash     [shard bits] [split and directory bits, from there on down] ... [tag 15..8] [lo 7..0]
 *
 * lo picks the home bucket: lo * n / 256. An entry stands in its home bucket or in one of the 15 that
 * follow (wrapping); the displacement says how far. A bucket that an entry had to pass counts it in its
 * overflow counter, so a lookup goes on to the next bucket only when that counter is not 0. What finds no
 * place in its window stands in the segment's chain (only with pathological hashes).
 *
 * From 32 buckets on a home bucket stands for at most 8 values of lo, so the three sub-home bits tell lo
 * again, and a segment can be rebuilt in another size, or split, without touching its entries.
 *
 * Readers take no lock: tags and words are atomics, written by the holder of the shard's lock in the order
 * given at segment_place and segment_take. A rebuilt segment is a copy; the old one is never written again.
 *
 * Private to core/map. SPDX-License-Identifier: MIT */
#ifndef KV_MAP_SEGMENT_H
#define KV_MAP_SEGMENT_H

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "map.h"

#define BUCKET_SLOTS    7u
#define SEGMENT_WINDOW  16u /* home bucket and 15 neighbours */
#define SEGMENT_BUCKETS 89u /* the largest */
#define MERGE_MAX \
    179u /* two buddies with so many entries together become one: half of what 59 buckets hold */
#define EXACT_BUCKETS 32u /* from here on lo can be told from the place */
#define SPLIT_BITS    12u
#define IN_CHAIN      0xffffu /* map_place.bucket of an entry in the chain */

#define WORD_POINTER (((uint64_t)1 << 48) - 8)
#define WORD_SPLIT   (~(uint64_t)0 << (64 - SPLIT_BITS))

/* Something unlinked that waits for the shard's lock to be released, and then for the readers. */
typedef struct garbage {
    struct garbage *next;
    epoch_release_fn *release;
    size_t size_bytes;
} garbage;

/* Keeps what could not be retired for want of memory until the domain ends, and releases it then. */
void epoch_leave_behind(kv_domain *domain, garbage *g);

typedef struct bucket {
    _Atomic uint64_t tags; /* bytes 0..6: tags, 0 for a free slot; byte 7: overflow counter, 255 sticks */
    _Atomic uint64_t words[BUCKET_SLOTS];
} bucket;

/* Entries that found no place in their window. */
typedef struct chain {
    _Atomic(struct chain *) next;
    _Atomic uint64_t words[BUCKET_SLOTS];
} chain;

typedef struct segment {
    garbage garbage;          /* when it has been replaced */
    _Atomic(chain *) chain;   /* readers look only when the directory word says so */
    _Atomic int64_t earliest; /* no deadline in here is earlier; KV_FOREVER: none at all */
    _Atomic uint16_t count;   /* entries; map_random reads it without the lock */
    uint16_t in_chain;        /* of these in the chain */
    uint16_t with_deadline;
    uint16_t low; /* below this count, try to shrink */
    uint8_t buckets, depth;
    bucket bucket[] __attribute__((aligned(64)));
} segment;

_Static_assert(sizeof(bucket) == 64 && sizeof(segment) == 64, "a line each");

static inline unsigned segment_entries(const segment *s)
{
    return atomic_load_explicit(&((segment *)s)->count, memory_order_relaxed);
}

/* A hash taken apart for a segment lookup. A tag has its high bit set: 0 is a free slot. */
typedef struct probe {
    uint64_t split; /* the hash from the split bits on: 63..52 are they */
    uint32_t tag, lo;
} probe;

static inline probe probe_of(uint64_t hash, unsigned shard_bits)
{
    probe p = { hash << shard_bits, (uint32_t)(hash >> 8 & 0x7f) | 0x80, (uint32_t)hash & 0xff };

    return p;
}

/* ---- directory words: 63..59 local depth | 55 chain flag | 54..48 buckets | segment pointer ---- */

#define DIRECTORY_CHAIN ((uint64_t)1 << 55)

static inline segment *directory_segment(uint64_t word)
{
    return (segment *)(uintptr_t)(word & WORD_POINTER);
}

static inline unsigned directory_buckets(uint64_t word)
{
    return (unsigned)(word >> 48) & 0x7f;
}

static inline unsigned directory_depth(uint64_t word)
{
    return (unsigned)(word >> 59);
}

static inline uint64_t directory_word(const segment *s)
{
    return (uint64_t)(uintptr_t)s | (uint64_t)s->buckets << 48 | (uint64_t)s->depth << 59 |
           (atomic_load_explicit(&s->chain, memory_order_relaxed) ? DIRECTORY_CHAIN : 0);
}

/* ---- tags ---- */

/* A bit per slot. */
typedef uint32_t tag_match;

/* The slots whose tag is this one. */
static inline tag_match tags_match(uint64_t tags, uint32_t tag)
{
    const uint64_t bytes = 0x0101010101010101u;
#ifdef __SSE2__
    __m128i equal =
        _mm_cmpeq_epi8(_mm_cvtsi64_si128((long long)tags), _mm_cvtsi64_si128((long long)(bytes * tag)));

    return (tag_match)_mm_movemask_epi8(equal) & 0x7f;
#else /* SWAR after Mycroft; the multiplication gathers the high bits of the bytes */
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu;
    uint64_t x = tags ^ (bytes * tag);

    x = ~(((x & low) + low) | x | low) & 0x0080808080808080u;
    return (tag_match)((x >> 7) * 0x0102040810204080u >> 56) & 0x7f;
#endif
}

/* The slots that are taken. */
static inline tag_match tags_used(uint64_t tags)
{
#ifdef __SSE2__
    return (tag_match)_mm_movemask_epi8(_mm_cvtsi64_si128((long long)tags)) & 0x7f;
#else
    return (tag_match)((tags >> 7 & 0x0001010101010101u) * 0x0102040810204080u >> 56) & 0x7f;
#endif
}

static inline unsigned tags_overflow(uint64_t tags)
{
    return (unsigned)(tags >> 56);
}

/* ---- entries ---- */

static inline entry *word_entry(uint64_t word)
{
    return (entry *)(uintptr_t)(word & WORD_POINTER);
}

#define KEY_SHORT 32u /* bytes; what key_equal can compare */

static inline uint64_t load_u64(const char *p)
{
    uint64_t x;

    memcpy(&x, p, sizeof x);
    return x;
}

static inline uint32_t load_u32(const char *p)
{
    uint32_t x;

    memcpy(&x, p, sizeof x);
    return x;
}

/* Whether two keys of len bytes, at most KEY_SHORT, are equal: a few loads that may overlap, no call. */
static inline bool key_equal(const char *a, const char *b, size_t len)
{
    if (__builtin_expect(len >= 8, 1)) {
        uint64_t differ = (load_u64(a) ^ load_u64(b)) | (load_u64(a + len - 8) ^ load_u64(b + len - 8));

        if (len > 16)
            differ |= (load_u64(a + 8) ^ load_u64(b + 8)) | (load_u64(a + len - 16) ^ load_u64(b + len - 16));
        return differ == 0;
    }
    if (len >= 4)
        return ((load_u32(a) ^ load_u32(b)) | (load_u32(a + len - 4) ^ load_u32(b + len - 4))) == 0;
    return len == 0 || (a[0] == b[0] && a[len / 2] == b[len / 2] && a[len - 1] == b[len - 1]);
}

static inline unsigned bucket_home(uint32_t lo, unsigned buckets)
{
    return lo * buckets >> 8;
}

/* The first lo of a home bucket. */
static inline unsigned bucket_first_lo(unsigned home, unsigned buckets)
{
    return (home * 256 + buckets - 1) / buckets;
}

/* Where an entry was found. */
typedef struct found {
    entry *entry; /* NULL: nowhere */
    _Atomic uint64_t *word;
} found;

/* key: at most KEY_SHORT bytes. */
static inline bool entry_has_short_key(const entry *e, kv_slice key)
{
    return e->key_len == key.len &&
           key_equal((const char *)e->tail + entry_key_offset(entry_meta(e)), key.data, key.len);
}

/* Whether a word is of another part of the hash space, as far as it knows. */
static inline bool split_differs(uint64_t word, probe p)
{
    return (word ^ p.split) >> (64 - SPLIT_BITS) != 0;
}

/* How many buckets behind its home the entry of a word stands. */
static inline unsigned word_steps(uint64_t word)
{
    return (unsigned)(word >> 48) & (SEGMENT_WINDOW - 1);
}

/* Looks for a key of at most KEY_SHORT bytes in one bucket whose tags were loaded. */
static inline found bucket_find(bucket *b, uint64_t tags, kv_slice key, probe p)
{
    for (tag_match match = tags_match(tags, p.tag); match; match &= match - 1) {
        _Atomic uint64_t *slot = &b->words[__builtin_ctz(match)];
        /* Pairs with the release store that published the entry. */
        uint64_t word = atomic_load_explicit(slot, memory_order_acquire);
        entry *e = word_entry(word);

        if (split_differs(word, p) || !e) /* cleared or taken over since, or another */
            continue;
        if (__builtin_expect(entry_has_short_key(e, key), 1))
            return (found){ e, slot };
    }
    return (found){ NULL, NULL };
}

/* The home bucket of a hash; directory is not 0. */
static inline bucket *directory_bucket(uint64_t directory, uint64_t hash)
{
    return &directory_segment(directory)->bucket[bucket_home(hash & 0xff, directory_buckets(directory))];
}

/* A lookup with everything: long keys, and the chain. */
found segment_find_slowly(uint64_t directory, kv_slice key, probe p);

/* Finds key in the segment of a directory word. */
static inline found segment_find(uint64_t directory, kv_slice key, probe p)
{
    if (__builtin_expect(directory == 0, 0))
        return (found){ NULL, NULL };
    if (__builtin_expect(key.len > KEY_SHORT, 0))
        return segment_find_slowly(directory, key, p);
    bucket *b = directory_bucket(directory, p.lo);

    for (unsigned step = 0; step < SEGMENT_WINDOW; step++) {
        /* Pairs with the release stores in segment_place: a tag seen means its word is seen. */
        uint64_t tags = atomic_load_explicit(&b->tags, memory_order_acquire);
        found f = bucket_find(b, tags, key, p);

        if (__builtin_expect(f.entry != NULL, 1))
            return f;
        if (__builtin_expect(tags_overflow(tags) == 0, 1))
            break;
        if (++b == &directory_segment(directory)->bucket[directory_buckets(directory)])
            b = directory_segment(directory)->bucket;
    }
    if (__builtin_expect((directory & DIRECTORY_CHAIN) != 0, 0))
        return segment_find_slowly(directory, key, p);
    return (found){ NULL, NULL };
}

/* ---- writing: the shard's lock is held, or the segment is not yet published ---- */

segment *segment_new(kv_domain *domain, unsigned buckets, unsigned depth);
void segment_free(kv_domain *domain, segment *s);
size_t segment_size(unsigned buckets);
/* The size after this one: 0 when the next step is a split. And the smallest that is comfortable for count. */
unsigned segment_next_size(unsigned buckets);
unsigned segment_fitting_size(unsigned count);
/* Whether it is time to grow before adding one more. */
bool segment_is_full(const segment *s);

/* Puts an entry whose key is absent; false: its window is full. */
bool segment_place(segment *s, probe p, entry *e);
/* Puts it into the chain. KV_ENOMEM. */
int segment_chain(kv_domain *domain, segment *s, probe p, entry *e);
/* Takes the entry of a place out (place->bucket is its home, or IN_CHAIN). */
void segment_take(segment *s, _Atomic uint64_t *slot);
/* Counts an entry with a deadline in or out. */
void segment_count_deadline(segment *s, int64_t deadline_ms, int by);

/* An entry as the segment knows it while it is walked. */
typedef struct segment_slot {
    _Atomic uint64_t *word;
    entry *entry;
    uint64_t value;         /* of the word */
    unsigned bucket, index; /* home bucket or IN_CHAIN */
    uint32_t tag;
} segment_slot;

/* Walks all entries, chain included: start with a zeroed cursor. */
typedef struct segment_cursor {
    unsigned bucket, index;
    chain *chain;
    bool in_chain;
} segment_cursor;
bool segment_walk(segment *s, segment_cursor *cursor, segment_slot *ret_slot);

/* What a segment needs to know of its shard to be rebuilt. */
typedef struct segment_context {
    kv_domain *domain;
    unsigned shard_bits;
} segment_context;

/* Copies the entries of from into to[0] and to[1]: all into the one, when both are the same; else by hash bit number
 * `to[0]->depth - 1` (from the shard bits down). KV_ENOMEM (a chain was needed). */
int segment_copy(segment_context context, segment *const to[2], segment *from);
/* How many of its entries would go to the second of the two sides. */
unsigned segment_count_side(segment_context context, segment *s, unsigned depth);

/* Asks for all lines of a segment that is about to be copied, so that their misses overlap. */
static inline void segment_fetch(const segment *s)
{
    for (unsigned i = 0; i < s->buckets; i++)
        __builtin_prefetch(&s->bucket[i]);
}

#endif
