/* entry.c - building and freeing entries; the layout is drawn in entry.h.
 *
 * One slab block for header, key and short value; a long value is a kv_bytes beside it. The size of the
 * block is computed from the header, so nothing stores it, and freeing needs no lookup. A block longer
 * than SLAB_MAX (long keys) comes straight from the domain's allocator. SPDX-License-Identifier: MIT */
#include "entry.h"

#include <assert.h>

#define SMALL_ENTRY 256u /* bytes of a block that entry_new builds the quick way */

static void *block_new(kv_domain *domain, size_t size)
{
    return size <= SLAB_MAX ? slab_alloc(domain, size) : domain_alloc(domain, size, 8);
}

static uint32_t meta_of(const entry_parts *parts)
{
    return (parts->encoding & (ENTRY_RAW | ENTRY_TEXT)) | parts->access << 8 |
           (parts->deadline_ms != KV_FOREVER ? ENTRY_DEADLINE : 0);
}

/* Copies; the usual short lengths without a call. */
static inline void copy(unsigned char *to, const char *from, size_t len)
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

static void put_u64(unsigned char **p, uint64_t x)
{
    memcpy(*p, &x, sizeof x);
    *p += sizeof x;
}

/* Entries with a long key or a value beside them. */
__attribute__((noinline)) static entry *entry_new_large(kv_domain *domain, const entry_parts *parts)
{
    bool outline = parts->bytes || parts->value.len > ENTRY_INLINE_MAX;
    bool long_key = parts->key.len >= ENTRY_LONG_LEN;
    bool deadline = parts->deadline_ms != KV_FOREVER;
    kv_bytes *bytes = parts->bytes;

    if (parts->key.len > KV_VALUE_MAX || parts->value.len > KV_VALUE_MAX)
        return NULL;
    if (outline && !bytes) {
        bytes = parts->value.data ? kv_bytes_new(parts->value) : kv_bytes_room(parts->value.len, 0);
        if (!bytes)
            return NULL;
    }
    size_t value_len = outline ? 0 : parts->value.len;
    size_t size = sizeof(entry) + (deadline ? 8 : 0) + (long_key ? 8 : 0) + (outline ? 16 : 0) +
                  parts->key.len + value_len;
    entry *e = block_new(domain, size);

    if (!e) {
        if (!parts->bytes)
            kv_bytes_unref(bytes);
        return NULL;
    }
    uint32_t meta = meta_of(parts) | (long_key ? ENTRY_LONG_KEY : 0) | (outline ? ENTRY_OUTLINE : 0);
    unsigned char *p = e->tail;

    if (deadline)
        put_u64(&p, (uint64_t)parts->deadline_ms);
    if (long_key)
        put_u64(&p, parts->key.len);
    if (outline) {
        memcpy(p, &bytes, sizeof bytes);
        p += sizeof bytes;
        put_u64(&p, parts->value.len);
    }
    e->version = 0;
    e->key_len = long_key ? (uint16_t)ENTRY_LONG_LEN : (uint16_t)parts->key.len;
    e->value_len = (uint16_t)value_len;
    atomic_init(&e->meta, meta);
    copy(p, parts->key.data, parts->key.len);
    if (parts->value.data)
        copy(p + parts->key.len, parts->value.data, value_len);
    return e;
}

/* What a server builds a million times a second: short key, short value. */
entry *entry_new(kv_domain *domain, const entry_parts *parts)
{
    size_t deadline = parts->deadline_ms != KV_FOREVER ? 8 : 0, key_len = parts->key.len;
    size_t value_len = parts->value.len, size = sizeof(entry) + deadline + key_len + value_len;

    if (__builtin_expect(
            parts->bytes || key_len > SMALL_ENTRY || value_len > SMALL_ENTRY || size > SMALL_ENTRY, 0))
        return entry_new_large(domain, parts);
    entry *e = slab_alloc(domain, size);

    if (__builtin_expect(!e, 0))
        return NULL;
    unsigned char *p = e->tail;

    e->version = 0;
    e->key_len = (uint16_t)key_len;
    e->value_len = (uint16_t)value_len;
    atomic_init(&e->meta, meta_of(parts));
    if (deadline)
        put_u64(&p, (uint64_t)parts->deadline_ms);
    copy(p, parts->key.data, key_len);
    if (parts->value.data)
        copy(p + key_len, parts->value.data, value_len);
    return e;
}

unsigned char *entry_value_room(entry *e)
{
    kv_slice key = entry_key(e);

    return entry_meta(e) & ENTRY_OUTLINE ? NULL : (unsigned char *)e + (key.data - (char *)e) + key.len;
}

__attribute__((noinline)) static void entry_free_large(kv_domain *domain, entry *e)
{
    size_t size = entry_block_size(e);
    kv_bytes *bytes;

    if (entry_meta(e) & ENTRY_OUTLINE) {
        entry_value(e, &bytes);
        kv_bytes_unref(bytes);
    }
    if (size <= SLAB_MAX)
        slab_free(domain, e, size);
    else
        domain_free(domain, e, size);
}

void entry_free(kv_domain *domain, entry *e)
{
    if (!e)
        return;
    size_t size = entry_block_size(e);

    if (__builtin_expect(size > SMALL_ENTRY || (entry_meta(e) & ENTRY_OUTLINE), 0))
        entry_free_large(domain, e);
    else
        slab_free(domain, e, size);
}

static void release_entry(kv_domain *domain, void *memory)
{
    entry_free(domain, memory);
}

void entry_retire(kv_domain *domain, entry *e)
{
    if (e)
        epoch_retire(domain, e, entry_size(e), release_entry);
}

size_t entry_size_slow(const entry *e)
{
    size_t size = entry_block_size(e);
    kv_bytes *bytes = NULL;

    if (entry_meta(e) & ENTRY_OUTLINE)
        entry_value(e, &bytes);
    return (size <= SLAB_MAX ? slab_block_size(size) : size) + (bytes ? kv_bytes_size(bytes) : 0);
}
