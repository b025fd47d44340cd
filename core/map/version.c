/* version.c - the versions of a whole map. Each shard stamps what it publishes with the next number of a sequence of its
 * own, so that the versions tell, too, how much was written. SPDX-License-Identifier: MIT */
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
            shard_raise(root_shard(r, i), version);
    }
    map_unlock_all(word);
}

/* The shards are locked one after the other: this may be asked often. */
KV_UNCHECKED static uint64_t sum_changes(const root *r)
{
    uint64_t sum = r->changes;

    for (size_t i = 0; i < root_shards(r); i++) {
        map_shard *s = root_shard(r, i);

        shard_acquire(s, NULL);
        sum += shard_changes(s);
        lock_release(s->lock);
    }
    return sum;
}

uint64_t map_changes(map *m)
{
    domain_thread *held = epoch_hold(m->domain);
    uint64_t word, sum;

    do {
        word = map_root_word(m);
        sum = sum_changes(root_of_word(word));
    } while (map_root_word(m) != word);
    epoch_let_go(m->domain, held);
    return sum;
}
