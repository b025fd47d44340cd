/* store_called_by_listener.c - a listener of changes writes to the store it listens to.
 *
 * REJECT: cannot call function 'kv_store_set' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "kvstore/kvstore.h"

void mirror(void *arg, const kv_change *change) KV_UNDER_LOCK;

void mirror(void *arg, const kv_change *change)
{
    kv_store *copy = arg;

#ifdef FIXED
    (void)copy;
    (void)change;
#else
    kv_store_set(copy, change->key, change->value, NULL, 0, NULL);
#endif
}
