/* entry.c - building and freeing entries; the layout is drawn in entry.h.
 *
 * One slab block for header, key and short value; a long value is a kv_bytes beside it. The size of the
 * block is computed from the header, so nothing stores it, and freeing needs no lookup. A block longer
 * than SLAB_MAX (long keys) comes straight from the domain's allocator. SPDX-License-Identifier: MIT */
#include "entry.h"

#include <assert.h>

#define ENTRY_LONG_LEN 0xffffu /* key_len of an entry whose length stands in the long field */

/* Bytes of the block as laid out. */
static size_t block_size(const entry *e)
{
    kv_slice key = entry_key(e);

    return (size_t)(key.data - (const char *)e) + key.len + e->value_len;
}

static void *block_new(kv_domain *domain, size_t size)
{
    return size <= SLAB_MAX ? slab_alloc(domain, size) : domain_alloc(domain, size, 8);
}

static void put_u64(unsigned char **p, uint64_t x)
{
    memcpy(*p, &x, sizeof x);
    *p += sizeof x;
}

entry *entry_new(kv_domain *domain, const entry_parts *parts)
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
    uint32_t meta = (parts->encoding & (ENTRY_RAW | ENTRY_TEXT)) | parts->access << 8;
    unsigned char *p = e->tail;

    if (deadline) {
        meta |= ENTRY_DEADLINE;
        put_u64(&p, (uint64_t)parts->deadline_ms);
    }
    if (long_key) {
        meta |= ENTRY_LONG_KEY;
        put_u64(&p, parts->key.len);
    }
    if (outline) {
        meta |= ENTRY_OUTLINE;
        memcpy(p, &bytes, sizeof bytes);
        p += sizeof bytes;
        put_u64(&p, parts->value.len);
    }
    e->version = 0;
    e->key_len = long_key ? (uint16_t)ENTRY_LONG_LEN : (uint16_t)parts->key.len;
    e->value_len = (uint16_t)value_len;
    atomic_init(&e->meta, meta);
    if (parts->key.len)
        memcpy(p, parts->key.data, parts->key.len);
    if (value_len && parts->value.data)
        memcpy(p + parts->key.len, parts->value.data, value_len);
    return e;
}

unsigned char *entry_value_room(entry *e)
{
    kv_slice key = entry_key(e);

    return entry_meta(e) & ENTRY_OUTLINE ? NULL : (unsigned char *)e + (key.data - (char *)e) + key.len;
}

void entry_free(kv_domain *domain, entry *e)
{
    kv_bytes *bytes;

    if (!e)
        return;
    size_t size = block_size(e);

    if (entry_meta(e) & ENTRY_OUTLINE) {
        entry_value(e, &bytes);
        kv_bytes_unref(bytes);
    }
    if (size <= SLAB_MAX)
        slab_free(domain, e, size);
    else
        domain_free(domain, e, size);
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

size_t entry_size(const entry *e)
{
    size_t size = block_size(e);
    kv_bytes *bytes = NULL;

    if (entry_meta(e) & ENTRY_OUTLINE)
        entry_value(e, &bytes);
    return (size <= SLAB_MAX ? slab_block_size(size) : size) + (bytes ? kv_bytes_size(bytes) : 0);
}
