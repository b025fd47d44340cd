/* bytes.c - reference-counted bytes: one block with a small header, shared by entries and their readers.
 *
 *     [ references | used | capacity | len | from | whole | data ][ len bytes shown to all | spare room ]
 *
 * len never changes and is what kv_bytes_slice shows. used says how much of the room has been given out:
 * kv_bytes_extend moves it by compare-and-swap from exactly the length that its caller shows, so of two
 * owners of the same bytes (a key and its copy, say) only one can grow in place; the other must copy. The
 * bytes behind what a reader was shown may be written while it reads, those before never.
 *
 * A prefix is a kv_bytes without room: it shows a part of another, the whole, to which it holds a
 * reference.
 *
 * Its memory is on the account of a domain, which it may outlive (account.h).
 *
 * The count is a 32-bit word; a reference is dropped with release and the last one acquires, so whoever
 * frees sees all reads done. SPDX-License-Identifier: MIT */
#include "bytes.h"

#include <assert.h>
#include <stdatomic.h>

struct kv_bytes {
    _Atomic uint32_t references;
    _Atomic size_t used; /* bytes of the room that somebody shows */
    size_t capacity, len;
    account *from;   /* where it came from and goes to; NULL: libc */
    kv_bytes *whole; /* of a prefix: whose bytes it shows; else NULL */
    char *data;      /* room, or the whole's */
    char room[];
};

kv_bytes *kv_bytes_room(account *from, size_t len, size_t spare)
{
    if (spare > SIZE_MAX / 2 || len > SIZE_MAX / 2 - sizeof(kv_bytes))
        return NULL;
    kv_bytes *bytes = account_alloc(from, sizeof *bytes + len + spare, _Alignof(kv_bytes));

    if (!bytes)
        return NULL;
    atomic_init(&bytes->references, 1);
    atomic_init(&bytes->used, len);
    bytes->capacity = len + spare;
    bytes->len = len;
    bytes->from = from;
    bytes->whole = NULL;
    bytes->data = bytes->room;
    return bytes;
}

kv_bytes *kv_bytes_resize(kv_bytes *bytes, size_t len, size_t spare)
{
    if (spare > SIZE_MAX / 2 || len > SIZE_MAX / 2 - sizeof(kv_bytes))
        return NULL;
    assert(atomic_load_explicit(&bytes->references, memory_order_relaxed) == 1 && !bytes->whole);
    bytes = account_resize(bytes->from, bytes, kv_bytes_size(bytes), sizeof *bytes + len + spare);
    if (!bytes)
        return NULL;
    atomic_store_explicit(&bytes->used, len, memory_order_relaxed);
    bytes->capacity = len + spare;
    bytes->len = len;
    bytes->data = bytes->room;
    return bytes;
}

kv_bytes *kv_bytes_prefix(kv_bytes *bytes, size_t len)
{
    kv_bytes *prefix;

    if (len == bytes->len)
        return kv_bytes_ref(bytes);
    prefix = kv_bytes_room(bytes->from, 0, 0);
    if (!prefix)
        return NULL;
    prefix->whole = kv_bytes_ref(bytes);
    prefix->data = bytes->data;
    prefix->len = len;
    return prefix;
}

char *kv_bytes_data(kv_bytes *bytes)
{
    return bytes->data;
}

kv_bytes *kv_bytes_copy(account *from, kv_slice data)
{
    kv_bytes *bytes = kv_bytes_room(from, data.len, 0);

    if (bytes && data.len)
        memcpy(bytes->data, data.data, data.len);
    return bytes;
}

kv_bytes *kv_bytes_new(kv_slice data)
{
    return kv_bytes_copy(NULL, data);
}

kv_bytes *kv_bytes_ref(kv_bytes *bytes)
{
    if (bytes) {
        uint32_t before = atomic_fetch_add_explicit(&bytes->references, 1, memory_order_relaxed);

        assert(before != 0 && before < UINT32_MAX);
        (void)before;
    }
    return bytes;
}

void kv_bytes_unref(kv_bytes *bytes)
{
    /* Pairs with the same of the other owners: their reads come before our free. */
    if (!bytes || atomic_fetch_sub_explicit(&bytes->references, 1, memory_order_acq_rel) != 1)
        return;
    kv_bytes_unref(bytes->whole); /* a whole is no prefix itself, so this ends here */
    account_free(bytes->from, bytes, kv_bytes_size(bytes));
}

kv_bytes *kv_owner_in(const kv_owned *owned, kv_slice data)
{
    for (size_t i = 0; i < owned->count; i++)
        if (owned->bytes[i]->data == data.data && owned->bytes[i]->len == data.len)
            return owned->bytes[i];
    return NULL;
}

kv_slice kv_bytes_slice(const kv_bytes *bytes)
{
    return kv_slice_of(bytes->data, bytes->len);
}

bool kv_bytes_extends(const kv_bytes *bytes, size_t len, size_t more)
{
    return len <= bytes->capacity && more <= bytes->capacity - len &&
           atomic_load_explicit(&((kv_bytes *)bytes)->used, memory_order_relaxed) == len;
}

bool kv_bytes_extend(kv_bytes *bytes, size_t len, kv_slice more)
{
    size_t shown = len;

    if (!kv_bytes_extends(bytes, len, more.len))
        return false;
    if (!atomic_compare_exchange_strong_explicit(&bytes->used, &shown, len + more.len, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return false;
    if (more.len)
        memcpy(bytes->data + len, more.data, more.len);
    return true;
}

size_t kv_bytes_size(const kv_bytes *bytes)
{
    return sizeof *bytes + bytes->capacity;
}
