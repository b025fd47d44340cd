/* channel_set.h - the channels, patterns and shard channels that somebody wants to hear.
 *
 * What a subscription must subscribe to again when its connection was replaced.
 *
 * Threads    One at a time.
 * Ownership  Names are copied.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_CHANNEL_SET_H
#define KVC_CHANNEL_SET_H

#include "kvclient.h"

typedef struct kvc_channel_name {
    kvc_channel_kind kind;
    bool told; /* the user's: false at first */
    size_t len;
    char name[]; /* and a NUL */
} kvc_channel_name;

/* Zeroed: empty. */
typedef struct kvc_channel_set {
    kvc_channel_name **items; /* sorted by kind, then by name */
    size_t n, capacity;
} kvc_channel_set;

/* KVC_OK: it was added; KVC_NIL: it was there; KVC_ENOMEM. */
kvc_status kvc_channel_set_add(kvc_channel_set *set, kvc_channel_kind kind, kvc_slice name);
/* False: it was not there. */
bool kvc_channel_set_remove(kvc_channel_set *set, kvc_channel_kind kind, kvc_slice name);
/* NULL: it is not there. */
kvc_channel_name *kvc_channel_set_find(const kvc_channel_set *set, kvc_channel_kind kind, kvc_slice name);
void kvc_channel_set_done(kvc_channel_set *set);

static inline kvc_slice kvc_channel_name_slice(const kvc_channel_name *item)
{
    return kvc_bytes(item->name, item->len);
}

#endif
