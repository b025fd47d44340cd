/* pairs.h - MSET, MSETNX and MSETEX: any number of keys stored as one act.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_PAIRS_H
#define KV_COMMANDS_PAIRS_H

#include "call.h"
#include "store.h"

typedef struct kv_pairs {
    int first; /* argument: the first key */
    size_t count;
    store_put_if condition;
    int64_t deadline_ms;
    bool keep_deadline;
    void (*reply)(kv_call *call, int err); /* what store_put_many returned */
} kv_pairs;

/* Stores them and replies. Many are made ready in parts, between which the host serves others; the act itself is one. */
void kv_put_pairs(kv_call *call, const kv_pairs *pairs) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);
/* For reply: 1, or 0 when the condition did not hold. */
void kv_reply_whether_put(kv_call *call, int err);

#endif
