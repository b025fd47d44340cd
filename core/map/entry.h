/* entry.h - one key with what belongs to it, in one block; immutable once a map has published it.
 *
 *     offset 0   version   u64   stamped by the map when the entry is published
 *            8   key_len   u16   ENTRY_LONG_KEY: the real length stands in the long field
 *           10   value_len u16   inline bytes; 0 when the value is out of line
 *           12   meta      u32   type 3 bits | flags 5 bits | access clock 24 bits
 *           16   [deadline i64]              ENTRY_DEADLINE
 *                [long key length u64]       ENTRY_LONG_KEY
 *                [kv_bytes *, length u64]    ENTRY_OUTLINE
 *                key bytes, then inline value bytes
 *
 * A value of up to ENTRY_INLINE_MAX bytes lives in the entry; a longer one is a kv_bytes of which the
 * entry holds a reference, with a length of its own: APPEND may fill the spare room of the bytes behind
 * what older entries show (kv_bytes_extend).
 *
 * The only field that changes after publication is the access clock, by relaxed atomics, at most once a
 * second, so that a hot key stays a line that all cores share. Eviction and OBJECT IDLETIME read it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MAP_ENTRY_H
#define KV_MAP_ENTRY_H

#include <stdatomic.h>

#include "bytes.h"
#include "domain.h"

#define ENTRY_INLINE_MAX 1024u
#define ENTRY_LONG_LEN   0xffffu /* key_len of an entry whose length stands in the long field */

enum entry_type { ENTRY_STRING = 0 /* 1..7: the compound types to come */ };

enum entry_flag {
    ENTRY_DEADLINE = 1 << 3,
    ENTRY_LONG_KEY = 1 << 4,
    ENTRY_OUTLINE = 1 << 5,
    ENTRY_RAW = 1 << 6,  /* OBJECT ENCODING is raw, however short (APPEND, SETRANGE made it) */
    ENTRY_TEXT = 1 << 7, /* never reported as int, although it reads as one (INCRBYFLOAT made it) */
};

typedef struct entry {
    uint64_t version;
    uint16_t key_len;
    uint16_t value_len;
    _Atomic uint32_t meta;
    unsigned char tail[];
} entry;

/* What an entry is made of. */
typedef struct entry_parts {
    kv_slice key;
    kv_slice value;      /* copied, unless bytes is set */
    kv_bytes *bytes;     /* when set: value is its first value.len bytes; one reference is taken over */
    int64_t deadline_ms; /* or KV_FOREVER */
    unsigned encoding;   /* 0, ENTRY_RAW, ENTRY_TEXT */
    uint32_t access;     /* the access clock to start from: 24 bits */
} entry_parts;

/* A new entry, not yet in any map; NULL when memory is out (then bytes is still the caller's). With a
 * value of NULL data, room for value.len bytes is reserved for the caller to fill (entry_value_room). */
static inline entry *entry_new(kv_domain *domain, const entry_parts *parts);
/* The inline value's bytes, writable until the entry is published. NULL for an outline value. */
unsigned char *entry_value_room(entry *e);
/* Frees an entry that no thread can read any more, and its reference to the value. NULL is nothing. */
void entry_free(kv_domain *domain, entry *e);
/* Frees e once no reader can have it. */
static inline void entry_retire(kv_domain *domain, entry *e) KV_EXCLUDES(kv_shard_held);
/* As allocated: the block and, when out of line, the value. */
static inline size_t entry_size(const entry *e);

static inline uint32_t entry_meta(const entry *e)
{
    return atomic_load_explicit(&((entry *)e)->meta, memory_order_relaxed);
}

static inline enum entry_type entry_type(const entry *e)
{
    return (enum entry_type)(entry_meta(e) & 7);
}

/* Offset of the optional fields in tail: [deadline][long key][outline] key value. */
static inline const unsigned char *entry_after_deadline(const entry *e, uint32_t meta)
{
    return e->tail + ((meta & ENTRY_DEADLINE) ? 8 : 0);
}

static inline int64_t entry_deadline(const entry *e)
{
    int64_t deadline_ms;

    if (!(entry_meta(e) & ENTRY_DEADLINE))
        return KV_FOREVER;
    memcpy(&deadline_ms, e->tail, sizeof deadline_ms);
    return deadline_ms;
}

/* Where in tail the key begins: each flag stands for 8 or 16 bytes before it. */
static inline size_t entry_key_offset(uint32_t meta)
{
    return (meta & ENTRY_DEADLINE) + ((meta & (ENTRY_LONG_KEY | ENTRY_OUTLINE)) >> 1);
}

__attribute__((always_inline)) static inline kv_slice entry_key(const entry *e)
{
    uint32_t meta = entry_meta(e);
    uint64_t len = e->key_len;

    if (__builtin_expect(meta & ENTRY_LONG_KEY, 0))
        memcpy(&len, entry_after_deadline(e, meta), sizeof len);
    return kv_slice_of(e->tail + entry_key_offset(meta), (size_t)len);
}

/* The bytes of the block as laid out. */
static inline size_t entry_block_size(const entry *e)
{
    uint32_t meta = entry_meta(e);
    uint64_t len = e->key_len;

    if (__builtin_expect(meta & ENTRY_LONG_KEY, 0))
        memcpy(&len, entry_after_deadline(e, meta), sizeof len);
    return sizeof(entry) + entry_key_offset(meta) + (size_t)len + e->value_len;
}

/* The string value; borrowed: valid inside the epoch in which e was found. ret_bytes (may be NULL) gets the
 * kv_bytes that holds an outline value, or NULL. */
__attribute__((always_inline)) static inline kv_slice entry_value(const entry *e, kv_bytes **ret_bytes)
{
    uint32_t meta = entry_meta(e);

    if (!(meta & ENTRY_OUTLINE)) {
        kv_slice key = entry_key(e);

        if (ret_bytes)
            *ret_bytes = NULL;
        return kv_slice_of(key.data + key.len, e->value_len);
    }
    const unsigned char *p = entry_after_deadline(e, meta) + ((meta & ENTRY_LONG_KEY) ? 8 : 0);
    kv_bytes *bytes;
    uint64_t len;

    memcpy(&bytes, p, sizeof bytes);
    memcpy(&len, p + 8, sizeof len);
    if (ret_bytes)
        *ret_bytes = bytes;
    return kv_slice_of(kv_bytes_slice(bytes).data, (size_t)len);
}

/* Access clock: 24 bits whose meaning is the store's (seconds for LRU, counters for LFU). */
static inline uint32_t entry_access(const entry *e)
{
    return entry_meta(e) >> 8;
}

static inline void entry_touch(const entry *e, uint32_t access)
{
    uint32_t meta = entry_meta(e);

    if (meta >> 8 != (access & 0xffffff)) /* write only what changes: the line stays shared */
        atomic_store_explicit(&((entry *)e)->meta, (meta & 0xff) | access << 8, memory_order_relaxed);
}

/* The same, unless somebody has done so since it was read as `before`. */
static inline void entry_retouch(const entry *e, uint32_t before, uint32_t access)
{
    uint32_t expected = (entry_meta(e) & 0xff) | before << 8;

    atomic_compare_exchange_strong_explicit(&((entry *)e)->meta, &expected, (expected & 0xff) | access << 8,
                                            memory_order_relaxed, memory_order_relaxed);
}

/* Whether two entries of one key are alike in size, without deadline and parts elsewhere: one comparison of
 * lengths, type and flags. */
static inline bool entry_alike(const entry *a, const entry *b)
{
    uint32_t meta = entry_meta(a);

    return a->value_len == b->value_len && ((meta ^ entry_meta(b)) & 0xff) == 0 &&
           !(meta & (ENTRY_DEADLINE | ENTRY_LONG_KEY | ENTRY_OUTLINE));
}

size_t entry_size_slow(const entry *e);

static inline size_t entry_size(const entry *e)
{
    size_t size = entry_block_size(e);

    if (__builtin_expect(size > 256 || (entry_meta(e) & ENTRY_OUTLINE), 0))
        return entry_size_slow(e);
    return slab_block_size(size);
}

/* ---- building ---- */

#define ENTRY_SMALL 256u /* bytes of a block that entry_new builds here, inlined */

/* Any entry. */
entry *entry_new_large(kv_domain *domain, const entry_parts *parts);

static inline uint32_t entry_make_meta(int64_t deadline_ms, unsigned encoding, uint32_t access)
{
    return (encoding & (ENTRY_RAW | ENTRY_TEXT)) | access << 8 |
           (deadline_ms != KV_FOREVER ? ENTRY_DEADLINE : 0);
}

/* Copies; the usual short lengths without a call. */
__attribute__((always_inline)) static inline void entry_copy(unsigned char *to, const char *from, size_t len)
{
    if (len - 8 <= 8) { /* 8..16: two words that may overlap */
        memcpy(to, from, 8);
        memcpy(to + len - 8, from + len - 8, 8);
    } else if (len - 16 <= 16) { /* 17..32 */
        memcpy(to, from, 16);
        memcpy(to + len - 16, from + len - 16, 16);
    } else if (len) {
        memcpy(to, from, len);
    }
}

/* entry_new where parts->bytes is not set, with the parts one by one. What a server builds a million times a second:
 * short key, short value. Always inlined, or the compiler's mood would decide over 30 instructions of a SET. */
__attribute__((always_inline)) static inline entry *entry_new_plain(kv_domain *domain, kv_slice key,
                                                                    kv_slice value, int64_t deadline_ms,
                                                                    unsigned encoding, uint32_t access)
{
    size_t deadline = deadline_ms != KV_FOREVER ? 8 : 0;
    size_t size = sizeof(entry) + deadline + key.len + value.len;

    if (__builtin_expect(key.len > ENTRY_SMALL || value.len > ENTRY_SMALL || size > ENTRY_SMALL, 0)) {
        entry_parts parts = { key, value, NULL, deadline_ms, encoding, access };

        return entry_new_large(domain, &parts);
    }
    entry *e = slab_alloc(domain, size);

    if (__builtin_expect(!e, 0))
        return NULL;
    unsigned char *p = e->tail;

    e->version = 0;
    e->key_len = (uint16_t)key.len;
    e->value_len = (uint16_t)value.len;
    atomic_init(&e->meta, entry_make_meta(deadline_ms, encoding, access));
    if (deadline)
        memcpy(p, &deadline_ms, 8);
    p += deadline;
    entry_copy(p, key.data, key.len);
    if (value.data)
        entry_copy(p + key.len, value.data, value.len);
    return e;
}

static inline entry *entry_new(kv_domain *domain, const entry_parts *parts)
{
    if (__builtin_expect(parts->bytes != NULL, 0))
        return entry_new_large(domain, parts);
    return entry_new_plain(domain, parts->key, parts->value, parts->deadline_ms, parts->encoding,
                           parts->access);
}

void entry_retire_large(kv_domain *domain, entry *e) KV_EXCLUDES(kv_shard_held);

__attribute__((always_inline)) static inline void entry_retire(kv_domain *domain, entry *e)
{
    if (__builtin_expect(!e, 0))
        return;
    size_t size = entry_block_size(e);

    if (__builtin_expect(size > ENTRY_SMALL || (entry_meta(e) & ENTRY_OUTLINE), 0))
        entry_retire_large(domain, e);
    else
        epoch_retire_block(domain, e, size);
}

#endif
