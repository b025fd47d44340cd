/* map.c - the rules by which a map is read and written, and writing: locking a shard, changing a key.
 *
 *     find    root -> shard -> directory -> bucket -> entry: acquire loads, then two checks
 *     write   lock the shard; find; publish one word; unlock; retire what was unlinked
 *
 * Invariants
 * 1. An entry is complete before its word is stored (release), and never changes after.
 * 2. Everything a reader may hold (entries, segments, directories, roots) is freed by the epochs.
 * 3. All writing happens under the lock of the shard that map->root leads to. Who waited for a lock checks
 *    after getting it that the root is still the same.
 * 4. A change of several keys raises the mark of its shards (odd) before it publishes anything and lowers it
 *    after everything. A reader looks at the mark after its lookup; raised, it waits for the lock and looks
 *    again. So who has seen one new value finds the mark raised, or all of them published.
 * 5. A reader also checks that the root it started from is still the map's, or it might have looked into
 *    contents that map_swap has given to another map. The root word counts swaps, so that swapping twice
 *    does not look like nothing.
 *
 * A lookup that started before a segment was replaced may finish in the old copy. That is the state of the
 * moment of replacement, which lies within the lookup: linearizable.
 * Reading is find.c; making a map and growing it into many shards root.c; its segments are grow.c's. SPDX-License-Identifier: MIT */
#include "map_check.h"
#include "map_snapshot.h"
#include "shard.h"

#include <assert.h>

/* ---- locks ---- */

KV_UNCHECKED void shard_lock(map_shard *s)
{
    shard_acquire(s, NULL);
}

KV_UNCHECKED garbage *shard_unlock(map_shard *s)
{
    garbage *g = s->garbage;

    s->garbage = NULL;
    lock_release(s->lock);
    return g;
}

/* The caller is inside an epoch, so that the root it waits in is not freed. */
KV_UNCHECKED static map_shard *lock_in_epoch(map *m, uint64_t hash)
{
    for (;;) {
        uint64_t word = map_root_word(m);
        map_shard *s = root_word_shard(word, hash);

        shard_acquire(s, &hash);
        if (atomic_load_explicit(&m->root, memory_order_relaxed) == word)
            return s;
        lock_release(s->lock);
    }
}

/* Not at the first attempt: another thread has the lock, or this one holds it (hold.c), the map is growing from
 * one shard to many, or this thread is in no epoch yet. */
KV_UNCHECKED __attribute__((noinline)) static map_shard *lock_slowly(map *m, uint64_t hash)
{
    const domain_thread *holding = holding_thread(m->domain);
    domain_thread *held;
    map_shard *s;

    if (holding) {
        s = root_word_shard(map_root_word(m), hash);
        assert(shard_is_held(s, holding));
        if (shard_is_held(s, holding))
            return s;
    }
    held = epoch_hold(m->domain);
    s = lock_in_epoch(m, hash);
    epoch_let_go(m->domain, held);
    return s;
}

static inline map_shard *lock_at_once(map *m, uint64_t hash) KV_ACQUIRES(kv_shard_held);

KV_UNCHECKED static inline map_shard *lock_at_once(map *m, uint64_t hash)
{
    const domain_thread *t = domain_self;
    uint64_t word = map_root_word(m);
    map_shard *s = root_word_shard(word, hash);

    if (__builtin_expect(t->domain != m->domain || t->nest == 0 || !lock_try(s->lock), 0))
        return lock_slowly(m, hash);
    if (__builtin_expect(atomic_load_explicit(&m->root, memory_order_relaxed) == word, 1))
        return s;
    lock_release(s->lock);
    return lock_slowly(m, hash);
}

KV_UNCHECKED map_shard *map_lock(map *m, uint64_t hash)
{
    return lock_at_once(m, hash);
}

void garbage_retire(kv_domain *domain, garbage *g)
{
    domain_thread *t = g ? epoch_hold(domain) : NULL;

    if (!g)
        return;
    while (g) {
        garbage *next = g->next;

        epoch_retire(domain, g, g->size_bytes, g->release);
        g = next;
    }
    epoch_let_go(domain, t);
}

/* With something in the garbage: a segment was replaced, so the shard may have grown enough; or it is the sign of
 * a hold, which goes on. */
KV_UNCHECKED __attribute__((noinline)) static void unlock_slowly(map_shard *s)
{
    kv_domain *domain = s->root->domain;

    if (shard_is_held(s, holding_thread(domain)))
        return;
    shard_promote(s);
    garbage_retire(domain, shard_unlock(s));
}

KV_UNCHECKED void map_unlock(map_shard *s)
{
    if (__builtin_expect(s->garbage != NULL, 0))
        unlock_slowly(s);
    else
        lock_release(s->lock);
}

/* ---- what a shard holds ---- */

/* Puts an entry where its hash leads, counting it; the key must be absent. KV_ENOMEM. */
static int put(map_shard *s, uint64_t hash, entry *e)
{
    probe p = probe_of(hash, s->bits);
    int err = shard_make_room(s, hash, false);

    for (unsigned tries = 0;; tries++) {
        segment *to = directory_segment(shard_segment_word(s, hash));

        if (!to)
            return KV_ENOMEM;
        bool placed = segment_place(to, p, e);

        if (!placed && err != KV_ERANGE && tries < DEPTH_MAX + 8) {
            int room = shard_make_room(s, hash, true);

            if (room == KV_ENOMEM)
                return KV_ENOMEM;
            err = room;
            continue;
        }
        if (!placed) {
            if (segment_chain(s->root->domain, to, p, e))
                return KV_ENOMEM;
            shard_republish(s, hash, to);
        }
        segment_count_deadline(to, entry_deadline(e), 1);
        return 0;
    }
}

static void add_to(_Atomic size_t *counter, size_t by)
{
    /* A release, so that it comes after shard_publish_begin; pairs with map_count. */
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by,
                          memory_order_release);
}

/* Counts an entry in (by 1) or out (by -1). */
static void count_entry(map_shard *s, const entry *e, int by)
{
    add_to(&s->entries, (size_t)by);
    add_to(&s->entry_bytes, (size_t)by * entry_size(e));
    if (__builtin_expect(entry_meta(e) & ENTRY_DEADLINE, 0))
        shard_count_deadline(s, entry_deadline(e), by);
}

int shard_add(map_shard *s, uint64_t hash, entry *e)
{
    int err = put(s, hash, e);

    if (__builtin_expect(!err, 1))
        count_entry(s, e, 1);
    return err;
}

/* Counts one that takes the place of another. */
__attribute__((noinline)) static void count_replacement(map_shard *s, segment *in, const entry *old,
                                                        const entry *fresh)
{
    size_t old_size = entry_size(old), fresh_size = entry_size(fresh);

    if (old_size != fresh_size)
        add_to(&s->entry_bytes, fresh_size - old_size);
    if (__builtin_expect((entry_meta(old) | entry_meta(fresh)) & ENTRY_DEADLINE, 0)) {
        segment_count_deadline(in, entry_deadline(old), -1);
        segment_count_deadline(in, entry_deadline(fresh), 1);
        if (entry_meta(old) & ENTRY_DEADLINE)
            shard_count_deadline(s, entry_deadline(old), -1);
        if (entry_meta(fresh) & ENTRY_DEADLINE)
            shard_count_deadline(s, entry_deadline(fresh), 1);
    }
}

void shard_count_deadline(map_shard *s, int64_t deadline_ms, int by)
{
    shard_extra *extra = shard_extra_of(s);
    int64_t sum = atomic_load_explicit(&extra->deadline_sum_ms, memory_order_relaxed);

    add_to(&extra->with_deadline, (size_t)by);
    sum = (int64_t)((uint64_t)sum + (uint64_t)by * (uint64_t)deadline_ms);
    atomic_store_explicit(&extra->deadline_sum_ms, sum, memory_order_relaxed);
    if (by < 0)
        return;
    if (deadline_ms < atomic_load_explicit(&extra->earliest, memory_order_relaxed))
        atomic_store_explicit(&extra->earliest, deadline_ms, memory_order_relaxed);
    if (deadline_ms < extra->next_earliest)
        extra->next_earliest = deadline_ms;
}

/* ---- writing ---- */

map_place shard_find(map_shard *s, kv_slice key, uint64_t hash)
{
    uint64_t directory = shard_segment_word(s, hash);
    found f = segment_find(directory, key, probe_of(hash, s->bits));

    return (map_place){ f.entry, f.word, directory_segment(directory) };
}

static inline map_place place_hinted(map_shard *s, kv_slice key, uint64_t hash, const map_hint *hint)
    KV_REQUIRES(kv_shard_held)
{
    uint64_t directory = shard_segment_word(s, hash);
    entry *e = hint_entry(hint, directory, key);

    if (__builtin_expect(e != NULL, 1))
        return (map_place){ e, hint->slot, directory_segment(directory) };
    return shard_find(s, key, hash);
}

map_place shard_find_hinted(map_shard *s, kv_slice key, uint64_t hash, const map_hint *hint)
{
    return place_hinted(s, key, hash, hint);
}

static void stamp(map_shard *s, entry *e)
{
    s->version += s->root->version_step;
    e->version = s->version;
}

/* In debug builds the segment that was changed is checked after one change in 64; maps test themselves in full. */
static void check_changed(const map_shard *s, uint64_t hash)
{
#ifdef KV_CHECKS
    segment *changed = directory_segment(shard_segment_word(s, hash));
    check_sums sums = { 0 };

    if (changed && s->version / s->root->version_step % 64 == 0)
        segment_check(s, changed, &sums);
#else
    (void)s;
    (void)hash;
#endif
}

/* Lets the snapshot that is being taken, if any, have an entry before it goes. */
static inline void keep_for_snapshot(map_shard *s, const entry *e) KV_REQUIRES(kv_shard_held)
{
    /* Set and reset under the lock. */
    if (__builtin_expect(atomic_load_explicit(&s->root->snapshot, memory_order_relaxed) != NULL, 0))
        snapshot_keep(s, e);
}

/* Later versions are newer than the one it comes with. */
static void adopt(map_shard *s, entry *e, uint64_t version) KV_REQUIRES(kv_shard_held)
{
    if (snapshot_covers(s, version)) { /* it was not there then */
        stamp(s, e);
        return;
    }
    e->version = version;
    shard_extra_of(s)->removed++; /* it counts as one change, whatever becomes of the version */
    if (s->version < version)
        shard_raise(s, version);
}

/* Publishes what has its version. */
static inline int insert(map_shard *s, uint64_t hash, entry *fresh)
{
    /* Under the shard's lock, as the store in map_watch_add is. */
    if (__builtin_expect(atomic_load_explicit(&s->root->map->watches, memory_order_relaxed) != NULL, 0))
        map_watch_tell(s->root->map, hash);
    shard_publish_begin(s);
    int err = shard_add(s, hash, fresh);

    shard_publish_end(s);
    if (!err)
        check_changed(s, hash);
    return err;
}

int shard_insert(map_shard *s, uint64_t hash, entry *fresh)
{
    stamp(s, fresh);
    return insert(s, hash, fresh);
}

int shard_insert_as(map_shard *s, uint64_t hash, entry *fresh, uint64_t version)
{
    adopt(s, fresh, version);
    return insert(s, hash, fresh);
}

static inline void replace(map_shard *s, const map_place *place, entry *fresh) KV_REQUIRES(kv_shard_held)
{
    uint64_t word = atomic_load_explicit(place->word, memory_order_relaxed);

    keep_for_snapshot(s, place->entry);
    if (__builtin_expect(!entry_alike(place->entry, fresh), 0))
        count_replacement(s, place->segment, place->entry, fresh);
    shard_publish_begin(s);
    /* Pairs with the acquire of the word in segment_find. */
    atomic_store_explicit(place->word, (word & ~WORD_POINTER) | (uint64_t)(uintptr_t)fresh,
                          memory_order_release);
    shard_publish_end(s);
}

void shard_replace(map_shard *s, map_place *place, entry *fresh)
{
    stamp(s, fresh);
    replace(s, place, fresh);
}

void shard_replace_as(map_shard *s, map_place *place, entry *fresh, uint64_t version)
{
    adopt(s, fresh, version);
    replace(s, place, fresh);
}

void shard_unlink(map_shard *s, map_place *place)
{
    keep_for_snapshot(s, place->entry);
    shard_extra_of(s)->removed++;
    shard_publish_begin(s);
    segment_take(place->segment, place->word);
    count_entry(s, place->entry, -1);
    shard_publish_end(s);
    segment_count_deadline(place->segment, entry_deadline(place->entry), -1);
}

void shard_remove(map_shard *s, map_place *place)
{
    segment *from = place->segment;

    shard_unlink(s, place);
    if (__builtin_expect(segment_entries(from) < from->low, 0))
        shard_shrink(s, domain_hash(s->root->domain, entry_key(place->entry)), from);
}

static inline int put_locked(map_shard *s, kv_slice key, uint64_t hash, const map_hint *hint, entry *fresh,
                             entry **ret_before, map_tell_fn *tell, void *arg) KV_REQUIRES(kv_shard_held)
{
    map_place place = hint ? place_hinted(s, key, hash, hint) : shard_find(s, key, hash);
    int err = 0;

    if (__builtin_expect(place.entry != NULL, 1)) {
        stamp(s, fresh);
        replace(s, &place, fresh);
    } else {
        err = shard_insert(s, hash, fresh);
    }
    if (tell && !err)
        tell(arg, place.entry, fresh, &s->told);
    *ret_before = place.entry;
    return err;
}

int map_put(map *m, kv_slice key, uint64_t hash, const map_hint *hint, entry *fresh, entry **ret_before,
            map_tell_fn *tell, void *arg)
{
    map_shard *s = lock_at_once(m, hash);
    int err = put_locked(s, key, hash, hint, fresh, ret_before, tell, arg);

    map_unlock(s);
    return err;
}

KV_UNCHECKED int map_put_held(map *m, kv_slice key, uint64_t hash, const map_hint *hint, entry *fresh,
                              entry **ret_before, map_tell_fn *tell, void *arg)
{
    map_shard *s = root_word_shard(map_root_word(m), hash);

    assert(shard_is_held(s, holding_thread(m->domain)));
    return put_locked(s, key, hash, hint, fresh, ret_before, tell, arg);
}
