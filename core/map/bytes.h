/* bytes.h - reference-counted immutable bytes (kv_bytes), and the one way they may still grow.
 *
 * A kv_bytes has a length that its first owner saw and may have spare room behind it. Whoever holds the
 * shard lock of the only key that shows the *whole* of it may append in place: readers of older entries
 * have a shorter length and never look behind it. That makes APPEND to a large value linear in what is
 * added. SPDX-License-Identifier: MIT */
#ifndef KV_MAP_BYTES_H
#define KV_MAP_BYTES_H

#include "account.h"

/* Room for len bytes to be filled by the caller before anybody else sees them, and spare bytes behind; memory from a
 * domain's account, or NULL: from libc. NULL: memory is out. */
kv_bytes *kv_bytes_room(account *from, size_t len, size_t spare);
/* A copy of data, out of the same. */
kv_bytes *kv_bytes_copy(account *from, kv_slice data);
/* The same with another length and other spare room, for who alone has seen it; what it held stays as far as that goes. It may be
 * elsewhere then. NULL: memory is out, and bytes is as before. */
kv_bytes *kv_bytes_resize(kv_bytes *bytes, size_t len, size_t spare);
char *kv_bytes_data(kv_bytes *bytes);
/* Appends when bytes shows exactly len bytes so far and has the room; returns whether it did. Two callers
 * that both believe to be at the end are told apart: one of them gets false. */
bool kv_bytes_extend(kv_bytes *bytes, size_t len, kv_slice more);
/* Whether it would, unless another caller comes first. */
bool kv_bytes_extends(const kv_bytes *bytes, size_t len, size_t more);
/* Another kv_bytes that shows the first len bytes of bytes, for callers who got to it through an older entry; bytes
 * itself (one more reference) where that is all it shows. NULL: memory is out. */
kv_bytes *kv_bytes_prefix(kv_bytes *bytes, size_t len);
/* As allocated, header included. */
size_t kv_bytes_size(const kv_bytes *bytes);

/* ---- what a host has received into memory of its own ---- */

#define KV_OWNED_MIN \
    ((size_t)64 * 1024) /* bytes of the shortest: for less, copying is cheaper than all this */

/* Arguments, each of which is the whole of one of these: who stores one takes a reference, and copies nothing. */
typedef struct kv_owned {
    kv_bytes **bytes;
    size_t count;
} kv_owned;

kv_bytes *kv_owner_in(const kv_owned *owned, kv_slice data);

/* The one that data is the whole of, or NULL. owned may be NULL. */
static inline kv_bytes *kv_owner_of(const kv_owned *owned, kv_slice data)
{
    return __builtin_expect(data.len >= KV_OWNED_MIN && owned != NULL, 0) ? kv_owner_in(owned, data) : NULL;
}

#endif
