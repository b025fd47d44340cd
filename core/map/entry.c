/* entry.c - building and freeing entries; the layout is drawn in entry.h.
 *
 * One slab block for header, key and short value; a long value is a kv_bytes beside it. The size of the
 * block is computed from the header, so nothing stores it, and freeing needs no lookup. A block longer
 * than SLAB_MAX (long keys) comes straight from the domain's allocator. SPDX-License-Identifier: MIT */
#include "entry.h"

#include <assert.h>

static void *block_new(kv_domain *domain, size_t size)
{
    return size <= SLAB_MAX ? slab_alloc(domain, size) : domain_alloc(domain, size, 8);
}

static void put_u64(unsigned char **p, uint64_t x)
{
    memcpy(*p, &x, sizeof x);
    *p += sizeof x;
}

/* Entries with a long key or a value beside them. */
entry *entry_new_large(kv_domain *domain, const entry_parts *parts)
{
    bool outline = parts->bytes || parts->value.len > ENTRY_INLINE_MAX;
    bool long_key = parts->key.len >= ENTRY_LONG_LEN;
    bool deadline = parts->deadline_ms != KV_FOREVER;
    kv_bytes *bytes = parts->bytes;

    if (parts->key.len > KV_VALUE_MAX || parts->value.len > KV_VALUE_MAX)
        return NULL;
    if (outline && !bytes) {
        bytes = parts->value.data ? kv_bytes_copy(domain_account(domain), parts->value)
                                  : kv_bytes_room(domain_account(domain), parts->value.len, 0);
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
    uint32_t meta = entry_make_meta(parts->deadline_ms, parts->encoding, parts->access) |
                    (long_key ? ENTRY_LONG_KEY : 0) | (outline ? ENTRY_OUTLINE : 0);
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
    entry_copy(p, parts->key.data, parts->key.len);
    if (parts->value.data)
        entry_copy(p + parts->key.len, parts->value.data, value_len);
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

    if (__builtin_expect(size > ENTRY_SMALL || (entry_meta(e) & ENTRY_OUTLINE), 0))
        entry_free_large(domain, e);
    else
        slab_free(domain, e, size);
}

static void release_entry(kv_domain *domain, void *memory)
{
    entry_free(domain, memory);
}

void entry_retire_large(kv_domain *domain, entry *e)
{
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
