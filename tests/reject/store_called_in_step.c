/* store_called_in_step.c - a step calls back into the store.
 *
 * REJECT: cannot call function 'kv_store_get' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "kvstore/kvstore.h"

kv_step copy_step;

struct copy {
    kv_store *store;
    kv_bytes *value;
};

KV_UNDER_LOCK int copy_step(kv_slot *slot, void *arg)
{
    struct copy *copy = arg;

#ifndef FIXED
    copy->value = kv_store_get(copy->store, KV_STR("other"), 0);
#endif
    return kv_slot_set(slot, kv_bytes_slice(copy->value));
}
