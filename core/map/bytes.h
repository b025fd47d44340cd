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
char *kv_bytes_data(kv_bytes *bytes);
/* Appends when bytes shows exactly len bytes so far and has the room; returns whether it did. Two callers
 * that both believe to be at the end are told apart: one of them gets false. */
bool kv_bytes_extend(kv_bytes *bytes, size_t len, kv_slice more);
/* Another kv_bytes that shows the first len bytes of bytes, for callers who got to it through an older entry; bytes
 * itself (one more reference) where that is all it shows. NULL: memory is out. */
kv_bytes *kv_bytes_prefix(kv_bytes *bytes, size_t len);
/* As allocated, header included. */
size_t kv_bytes_size(const kv_bytes *bytes);

#endif
