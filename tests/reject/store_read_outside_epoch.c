/* store_read_outside_epoch.c - the same one floor above.
 *
 * REJECT: calling function 'store_find' requires holding .*'kv_epoch_held'
 *
 * SPDX-License-Identifier: MIT */
#include "store.h"

bool has(kv_store *store, kv_slice key);

bool has(kv_store *store, kv_slice key)
{
    bool found = false;

#ifdef FIXED
    if (epoch_enter(kv_store_domain(store)) == 0)
        found = store_find(store, store_key_of(store, key), 0) != NULL;
    epoch_leave(kv_store_domain(store));
#else
    found = store_find(store, store_key_of(store, key), 0) != NULL;
#endif
    return found;
}
