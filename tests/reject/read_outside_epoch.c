/* read_outside_epoch.c - an entry is looked up where its memory may be reused any moment.
 *
 * REJECT: calling function 'map_find' requires holding .*'kv_epoch_held'
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"

size_t length_of(map *m, kv_slice key, uint64_t hash);

size_t length_of(map *m, kv_slice key, uint64_t hash)
{
    size_t len = 0;

#ifdef FIXED
    if (epoch_enter(map_domain(m)) == 0) {
#else
    {
#endif
        const entry *e = map_find(m, key, hash);

        len = e ? entry_size(e) : 0;
    }
#ifdef FIXED
    epoch_leave(map_domain(m));
#endif
    return len;
}
