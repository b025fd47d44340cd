/* local_keys.h - keys that clients of a writable replica have given a deadline: the replica removes them itself.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_LOCAL_KEYS_H
#define KV_STANDALONE_LOCAL_KEYS_H

#include "call.h"

struct server;
typedef struct local_keys local_keys;

/* NULL: memory is out. */
local_keys *local_keys_new(struct server *s);
/* NULL is nothing. */
void local_keys_free(local_keys *l) KV_EXCLUDES(kv_shard_held);

/* From the stores' listener, in a writable replica. by_client: it is not the primary's. */
void local_keys_note(local_keys *l, const kv_change *change, int db, bool by_client) KV_UNDER_LOCK;

/* Worker 0, a few times a second: removes what is due. */
void local_keys_expire(local_keys *l, int64_t now_ms) KV_EXCLUDES(kv_shard_held);

/* Any thread: the bytes that are taken by what is remembered of such keys. */
uint64_t local_keys_memory(const local_keys *l);

#endif
