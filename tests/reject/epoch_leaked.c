/* epoch_leaked.c - an early return stays in the epoch for ever, and no memory is reused again.
 *
 * REJECT: 'kv_epoch_held' is (still held at the end of function|not held on every path)
 *
 * SPDX-License-Identifier: MIT */
#include "store.h"

int check(kv_store *store, kv_slice key);

int check(kv_store *store, kv_slice key)
{
    kv_domain *domain = kv_store_domain(store);
    int err = epoch_enter(domain);

    if (!err && !store_find(store, store_key_of(store, key), 0)) {
#ifdef FIXED
        epoch_leave(domain);
#endif
        return KV_ENOKEY;
    }
    epoch_leave(domain);
    return err;
}
