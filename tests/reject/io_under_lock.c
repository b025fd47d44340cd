/* io_under_lock.c - a shard is held across a function that may block.
 *
 * REJECT: cannot call function 'send_reply' while .*'kv_shard_held' is held
 *
 * SPDX-License-Identifier: MIT */
#include <sys/socket.h>

#include "map.h"

/* What may block says so. */
static void send_reply(int fd, const char *data, size_t len) KV_EXCLUDES(kv_shard_held);

static void send_reply(int fd, const char *data, size_t len)
{
    (void)!send(fd, data, len, 0);
}

void reply(map *m, kv_slice key, uint64_t hash, int fd);

void reply(map *m, kv_slice key, uint64_t hash, int fd)
{
    map_shard *shard = map_lock(m, hash);
    map_place place = shard_find(shard, key, hash);
    bool found = place.entry != NULL;

#ifdef FIXED
    map_unlock(shard);
    send_reply(fd, found ? "1" : "0", 1);
#else
    send_reply(fd, found ? "1" : "0", 1);
    map_unlock(shard);
#endif
}
