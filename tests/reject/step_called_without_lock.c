/* step_called_without_lock.c - what must run under the lock is called without it.
 *
 * REJECT: calling function 'touch_step' requires holding .*'kv_shard_held'
 *
 * SPDX-License-Identifier: MIT */
#include "kvstore/kvstore.h"

KV_UNDER_LOCK static int touch_step(kv_slot *slot, void *arg)
{
    (void)arg;
    return kv_slot_exists(slot) ? 0 : KV_ENOKEY;
}

int touch(kv_store *store, kv_slot *slot);

int touch(kv_store *store, kv_slot *slot)
{
#ifdef FIXED
    (void)slot;
    return kv_store_update(store, KV_STR("k"), touch_step, NULL, 0);
#else
    (void)store;
    return touch_step(slot, NULL);
#endif
}
