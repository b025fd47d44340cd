/* hold.c - the shards that one thread holds while it goes through an act of many steps.
 *
 * The steps are the functions of map.h, unchanged: each locks what it needs, as ever. So they must find out that the
 * lock is this thread's already, and nobody else may pay for the question. They ask it where they would otherwise
 * have to wait or to do more than usual:
 *
 *     map_lock         its attempt to take the lock fails, since the hold has it: then it looks at shard->holder
 *     map_unlock       goes its long way when there is garbage; a held shard always has some: `sign`
 *     map_find, _scan  find the mark raised, and go to the lock
 *     map_find_many    finds the marks raised
 *     map_lock_many, map_lock_all, map_swap ask at once
 *
 * Each part is one map with the set of its shards as bits, so that naming a key is a few instructions, and the sorted
 * set without duplicates comes by itself. Parts are sorted by address, which together with ascending bits is
 * the one order of all locks (many.c).
 *
 * What the steps unlink inside (segments that were split) stays in the shards' garbage until the release, in
 * front of the sign. A map of one shard that grows into many does so at the release.
 *
 * Invariants
 * 1. thread->hold is set <=> the shards of its parts are locked, marked, and have that thread as holder.
 * 2. The root of a held map changes by map_swap alone, and both roots are held then: what was taken stays what is to
 *    be released, since a part remembers the root, not the map.
 *
 * SPDX-License-Identifier: MIT */
#include "shard.h"

#include <assert.h>

_Static_assert(sizeof((map_hold_part){ 0 }).shards * 8 == SHARDS_MAX, "a bit for each");

/* Stands last in the garbage of a held shard. Never written to. */
static garbage sign;

/* ---- naming ---- */

void map_hold_begin(map_hold *hold)
{
    hold->count = 0;
}

/* Words of a part that hold bits of its shards. */
static inline size_t part_words(const map_hold_part *part)
{
    return (((size_t)1 << root_word_bits(part->root_word)) + 63) / 64;
}

static map_hold_part *part_of(map_hold *hold, map *m)
{
    map_hold_part *part;

    for (size_t i = hold->count; i-- > 0;)
        if (hold->parts[i].map == m)
            return &hold->parts[i];
    assert(hold->count < hold->room);
    part = &hold->parts[hold->count++];
    part->map = m;
    part->root_word = map_root_word(m);
    for (size_t word = 0, words = part_words(part); word < words; word++)
        part->shards[word] = 0;
    return part;
}

static void add_all(map_hold_part *part)
{
    size_t n = (size_t)1 << root_word_bits(part->root_word);

    for (size_t i = 0; i < n; i += 64)
        part->shards[i / 64] = n - i < 64 ? ((uint64_t)1 << n) - 1 : UINT64_MAX;
}

void map_hold_key(map_hold *hold, map *m, uint64_t hash)
{
    map_hold_part *part = part_of(hold, m);
    unsigned shard = (unsigned)(hash >> 1 >> (63 - root_word_bits(part->root_word)));

    part->shards[shard / 64] |= (uint64_t)1 << (shard & 63);
}

void map_hold_run(map_hold *hold, map *m, size_t n, const uint64_t hashes[], size_t stride)
{
    map_hold_part *part = part_of(hold, m);
    unsigned shift = 63 - root_word_bits(part->root_word);

    for (size_t i = 0; i < n; i++, hashes += stride) {
        unsigned shard = (unsigned)(*hashes >> 1 >> shift);

        part->shards[shard / 64] |= (uint64_t)1 << (shard & 63);
    }
}

void map_hold_map(map_hold *hold, map *m)
{
    add_all(part_of(hold, m));
}

/* ---- locking ---- */

/* The shard of the lowest bit of what is left of a word. */
static inline map_shard *lowest_shard(map_shard *first_of_word, uint64_t left)
{
    return first_of_word + (size_t)__builtin_ctzll(left);
}

/* By the address of the root, where the locks are. False: two maps seem to have the same one, because they were
 * exchanged while they were named. */
static bool sort_parts(map_hold *hold)
{
    for (size_t i = 1; i < hold->count; i++) {
        map_hold_part part = hold->parts[i];
        size_t j = i;

        for (; j > 0 && (hold->parts[j - 1].root_word & ADDRESS) > (part.root_word & ADDRESS); j--)
            hold->parts[j] = hold->parts[j - 1];
        if (j > 0 && !((hold->parts[j - 1].root_word ^ part.root_word) & ADDRESS))
            return false;
        hold->parts[j] = part;
    }
    return true;
}

/* The shard is locked: makes it this thread's, and raises its mark. */
static inline void take_shard(map_hold *hold, map_shard *s, domain_thread *t)
{
    if (s->garbage) /* of the growth of the map: nobody has locked this shard since */
        hold->found = shard_take_garbage(s, hold->found);
    s->garbage = &sign;
    atomic_store_explicit(&s->holder, t, memory_order_relaxed);
    shard_flip_mark(s);
}

KV_UNCHECKED static void lock_part(map_hold *hold, map_hold_part *part, domain_thread *t)
{
    map_shard *first = root_word_shards(part->root_word);
    bool one = root_of_word(part->root_word)->one;

    if (one) { /* who has one shard has them all */
        add_all(part);
        shard_acquire(first, NULL);
    }
    for (size_t word = 0, words = part_words(part); word < words; word++, first += 64)
        for (uint64_t left = part->shards[word]; left; left &= left - 1) {
            map_shard *s = lowest_shard(first, left);

            if (!one)
                shard_acquire(s, NULL);
            take_shard(hold, s, t);
        }
}

/* Moves what a shard has unlinked, without the sign, in front of all. */
static garbage *take_garbage(map_shard *s, garbage *all)
{
    while (s->garbage != &sign) {
        garbage *g = s->garbage;

        s->garbage = g->next;
        g->next = all;
        all = g;
    }
    s->garbage = NULL;
    return all;
}

/* All is published: who meets a shard that is free already finds the others either free or locked. */
KV_UNCHECKED static garbage *unlock_part(const map_hold_part *part, garbage *all)
{
    map_shard *first = root_word_shards(part->root_word);
    bool one = root_of_word(part->root_word)->one;

    for (size_t word = 0, words = part_words(part); word < words; word++, first += 64)
        for (uint64_t left = part->shards[word]; left; left &= left - 1) {
            map_shard *s = lowest_shard(first, left);

            all = take_garbage(s, all);
            atomic_store_explicit(&s->holder, NULL, memory_order_relaxed);
            shard_flip_mark(s);
            if (!one)
                lock_release(s->lock);
        }
    if (one)
        lock_release(root_word_shards(part->root_word)->lock);
    return all;
}

static bool roots_are_current(const map_hold *hold)
{
    for (size_t i = 0; i < hold->count; i++)
        if (map_root_word(hold->parts[i].map) != hold->parts[i].root_word)
            return false;
    return true;
}

KV_UNCHECKED bool map_hold_lock(map_hold *hold)
{
    domain_thread *t = domain_thread_self(hold->domain);

    assert(t && t->nest > 0 && !t->hold);
    if (!sort_parts(hold))
        return false;
    for (size_t i = 0; i < hold->count; i++)
        lock_part(hold, &hold->parts[i], t);
    if (!roots_are_current(hold)) {
        for (size_t i = hold->count; i-- > 0;)
            hold->found = unlock_part(&hold->parts[i], hold->found);
        return false;
    }
    t->hold = hold;
    return true;
}

KV_UNCHECKED void map_hold_release(map_hold *hold)
{
    domain_thread *t = domain_thread_self(hold->domain);
    garbage *all = hold->found;

    assert(t && t->hold == hold);
    hold->found = NULL;
    for (size_t i = 0; i < hold->count; i++)
        if (root_word_bits(hold->parts[i].root_word) == 0)
            shard_promote(root_word_shards(hold->parts[i].root_word));
    t->hold = NULL;
    for (size_t i = hold->count; i-- > 0;)
        all = unlock_part(&hold->parts[i], all);
    garbage_retire(hold->domain, all);
}

map_hold *map_hold_current(kv_domain *domain)
{
    const domain_thread *t = holding_thread(domain);

    return t ? t->hold : NULL;
}
