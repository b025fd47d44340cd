/* send_under_lock.c - a shard is held while replies are sent.
 *
 * REJECT: cannot call function 'output_send' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"
#include "output.h"

void act(map *m, uint64_t hash, output *out, int fd, size_t *ret_sent);

void act(map *m, uint64_t hash, output *out, int fd, size_t *ret_sent)
{
    map_shard *shard = map_lock(m, hash);

#ifdef FIXED
    map_unlock(shard);
    output_send(out, fd, ret_sent);
#else
    output_send(out, fd, ret_sent);
    map_unlock(shard);
#endif
}
