/* segment.h - a piece of the index: buckets of one cache line, and what a lookup in them needs.
 *
 *     segment  [ descriptor 64 B | bucket 0 | bucket 1 | ... | bucket n-1 ]
 *     bucket   [ 7 tags, overflow counter : 8 B | 7 slot words : 56 B ]
 *     word     63..51 split bits | 50..48 displacement | 47..3 entry pointer | 2..0 sub-home bits
 *     hash     [shard bits] [split and directory bits, from there on down] ... [tag 15..8] [lo 7..0]
 *
 * lo picks the home bucket: lo * n / 256. An entry stands in its home bucket or in one of the seven that
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

#include "map.h"

#define BUCKET_SLOTS    7u
#define SEGMENT_WINDOW  8u   /* home bucket and seven neighbours */
#define SEGMENT_BUCKETS 96u  /* the largest */
#define MERGE_MAX       179u /* two buddies with so many entries together become one: 40 % of 64 buckets */
#define EXACT_BUCKETS   32u  /* from here on lo can be told from the place */
#define SPLIT_BITS      13u
#define IN_CHAIN        0xffffu /* map_place.bucket of an entry in the chain */

#define WORD_POINTER (((uint64_t)1 << 48) - 8)
#define WORD_SPLIT   (~(uint64_t)0 << 51)

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
    uint16_t count, in_chain; /* entries; of these in the chain */
    uint16_t with_deadline;
    uint16_t low; /* below this count, try to shrink */
    uint8_t buckets, depth;
    bucket bucket[] __attribute__((aligned(64)));
} segment;

_Static_assert(sizeof(bucket) == 64 && sizeof(segment) == 64, "a line each");

/* A hash taken apart for a segment lookup. */
typedef struct probe {
    uint64_t split; /* in place: bits 63..51 */
    uint8_t tag, lo;
} probe;

static inline probe probe_of(uint64_t hash, unsigned shard_bits)
{
    uint8_t tag = (uint8_t)(hash >> 8);
    probe p = { (hash << shard_bits) & WORD_SPLIT, (uint8_t)(tag + (tag == 0)), (uint8_t)hash };

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

#define TAG_BYTES 0x0101010101010101u

/* A bit at 8 * i + 7 for each slot i whose tag matches (SWAR after Mycroft; exact, no false bytes). */
static inline uint64_t tags_match(uint64_t tags, uint8_t tag)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu;
    uint64_t x = tags ^ (TAG_BYTES * tag);

    return ~(((x & low) + low) | x | low) & 0x0080808080808080u;
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

static inline bool key_equal(const char *a, const char *b, size_t len)
{
    uint64_t a0, a1, b0, b1;

    if (len > 16)
        return memcmp(a, b, len) == 0;
    if (len >= 8) {
        memcpy(&a0, a, 8);
        memcpy(&b0, b, 8);
        memcpy(&a1, a + len - 8, 8);
        memcpy(&b1, b + len - 8, 8);
        return ((a0 ^ b0) | (a1 ^ b1)) == 0;
    }
    return len == 0 || memcmp(a, b, len) == 0;
}

static inline bool entry_has_key(const entry *e, kv_slice key)
{
    kv_slice own = entry_key(e);

    return own.len == key.len && key_equal(own.data, key.data, key.len);
}

static inline unsigned bucket_home(uint8_t lo, unsigned buckets)
{
    return lo * buckets >> 8;
}

/* The first lo of a home bucket. */
static inline unsigned bucket_first_lo(unsigned home, unsigned buckets)
{
    return (home * 256 + buckets - 1) / buckets;
}

/* Finds key in the segment of a directory word: NULL, or the entry, its word's address in *ret_word. */
static inline entry *segment_find(uint64_t directory, kv_slice key, probe p, _Atomic uint64_t **ret_word)
{
    segment *s = directory_segment(directory);
    unsigned buckets = directory_buckets(directory), index = bucket_home(p.lo, buckets);

    for (unsigned step = 0; step < SEGMENT_WINDOW; step++) {
        bucket *b = &s->bucket[index];
        /* Pairs with the release stores in segment_place: a tag seen means its word is seen. */
        uint64_t tags = atomic_load_explicit(&b->tags, memory_order_acquire);

        for (uint64_t match = tags_match(tags, p.tag); match; match &= match - 1) {
            _Atomic uint64_t *slot = &b->words[__builtin_ctzll(match) >> 3];
            /* Pairs with the release store that published the entry. */
            uint64_t word = atomic_load_explicit(slot, memory_order_acquire);

            if ((word ^ p.split) >> 51 || !word_entry(word))
                continue;
            if (__builtin_expect(entry_has_key(word_entry(word), key), 1)) {
                *ret_word = slot;
                return word_entry(word);
            }
        }
        if (__builtin_expect(tags_overflow(tags) == 0, 1))
            break;
        if (++index == buckets)
            index = 0;
    }
    return NULL;
}

/* The same in the chain, for directory words with DIRECTORY_CHAIN. */
entry *segment_find_in_chain(segment *s, kv_slice key, probe p, _Atomic uint64_t **ret_word);

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
void segment_take(segment *s, const map_place *place);
/* Counts an entry with a deadline in or out. */
void segment_count_deadline(segment *s, int64_t deadline_ms, int by);

/* An entry as the segment knows it while it is walked. */
typedef struct segment_slot {
    _Atomic uint64_t *word;
    entry *entry;
    uint64_t value;         /* of the word */
    unsigned bucket, index; /* home bucket or IN_CHAIN */
    uint8_t tag;
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

/* Copies the entries of from whose hash bit number `depth - 1` (from the shard bits down) is side into to; side
 * < 0: all. KV_ENOMEM (a chain was needed). */
int segment_copy(segment_context context, segment *to, segment *from, int side);
/* How many of its entries would go to the second of the two sides. */
unsigned segment_count_side(segment_context context, segment *s, unsigned depth);

#endif
