/* io_under_lock.c - a shard is held across a system call on a socket.
 *
 * REJECT: cannot call function 'socket_send' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include "map.h"
#include "socket_io.h"

void reply(map *m, kv_slice key, uint64_t hash, int fd);

void reply(map *m, kv_slice key, uint64_t hash, int fd)
{
    map_shard *shard = map_lock(m, hash);
    map_place place = shard_find(shard, key, hash);
    bool found = place.entry != NULL;

#ifdef FIXED
    map_unlock(shard);
    socket_send(fd, found ? "1" : "0", 1);
#else
    socket_send(fd, found ? "1" : "0", 1);
    map_unlock(shard);
#endif
}
