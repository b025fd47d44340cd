/* store_called_between_many.c - the store is called between map_lock_many and map_unlock_many.
 *
 * REJECT: cannot call function 'kv_store_count' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

size_t count(kv_store *store, map_key keys[], size_t n, map_shard *scratch[]);

size_t count(kv_store *store, map_key keys[], size_t n, map_shard *scratch[])
{
    size_t all = 0;

    map_lock_many(keys, n, scratch);
#ifndef FIXED
    all = kv_store_count(store);
#endif
    map_unlock_many(keys, n, scratch);
#ifdef FIXED
    all = kv_store_count(store);
#endif
    return all;
}
