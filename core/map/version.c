/* version.c - the versions of a whole map. Each shard stamps what it publishes with the next number of a sequence of its
 * own. SPDX-License-Identifier: MIT */
#include "shard.h"

uint64_t map_version(map *m)
{
    uint64_t word = map_lock_all(m), newest = 0;
    root *r = root_of_word(word);

    for (size_t i = 0; i < root_shards(r); i++) {
        if (root_shard(r, i)->version > newest)
            newest = root_shard(r, i)->version;
    }
    map_unlock_all(word);
    return newest;
}

void map_raise_version(map *m, uint64_t version)
{
    uint64_t word = map_lock_all(m);
    root *r = root_of_word(word);

    for (size_t i = 0; i < root_shards(r); i++) {
        if (root_shard(r, i)->version < version)
            root_shard(r, i)->version = version;
    }
    map_unlock_all(word);
}
