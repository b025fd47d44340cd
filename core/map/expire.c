/* expire.c - removing what is due, looking only where something is.
 *
 * Every segment knows its earliest deadline, and every shard the earliest of its segments: lower bounds,
 * lowered by each insert and raised only here. A shard with nothing due is passed without its lock; a
 * segment with nothing due costs a look at its descriptor.
 *
 *     position  63..16 hash, where to go on | 15..0 pass; 0: at the beginning
 *
 * A pass over a shard adds up the new lower bound in next_earliest, which inserts lower as well, and stores it
 * at the end. When two threads pass over the same shard, the one that began last counts, told by the number
 * of the pass. The lock is held for one segment with something due, or some dozens without: either is a
 * step, and how many steps a call makes is what bounds it, however many keys are due at once.
 *
 * What is removed is retired after the lock was released. SPDX-License-Identifier: MIT */
#include "shard.h"

bool shard_is_past_deadline(map_shard *s, int64_t deadline_ms, int64_t now_ms)
{
    int64_t past_ms = atomic_load_explicit(&s->past_ms, memory_order_relaxed);
    bool newer = past_ms <= now_ms || now_ms < past_ms - MAP_CLOCKS_MS;

    if (now_ms == INT64_MIN || deadline_ms > (newer ? now_ms : past_ms))
        return false;
    if (newer) /* pairs with the load in map_past */
        atomic_store_explicit(&s->past_ms, now_ms, memory_order_release);
    return true;
}

int64_t map_past(const map *m, uint64_t hash)
{
    map_shard *s = root_word_shard(map_root_word(m), hash);

    return atomic_load_explicit(&s->past_ms, memory_order_acquire);
}

#define LOOKS_PER_LOCK 64
#define BATCH_MAX      (SEGMENT_BUCKETS * BUCKET_SLOTS)

typedef struct sweep {
    kv_domain *domain;
    int64_t now_ms;
    map_due_fn *due;
    void *arg;
    size_t removed, batch; /* in all; waiting to be retired */
    entry *retired[BATCH_MAX];
} sweep;

static int64_t min_deadline(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Takes out what is due; the earliest of what stays becomes the segment's. Returns whether all was looked at. */
static bool sweep_segment(sweep *w, map_shard *s, segment *seg) KV_REQUIRES(kv_shard_held)
{
    segment_cursor cursor = { 0 };
    segment_slot slot;
    int64_t earliest = KV_FOREVER;
    bool complete = true;

    while (segment_walk(seg, &cursor, &slot)) {
        int64_t deadline_ms = entry_deadline(slot.entry);

        if (deadline_ms > w->now_ms || w->batch == BATCH_MAX) {
            complete = complete && deadline_ms > w->now_ms;
            earliest = min_deadline(earliest, deadline_ms);
            continue;
        }
        map_place place = { slot.entry, slot.word, seg };

        shard_unlink(s, &place);
        w->due(w->arg, s, slot.entry);
        w->retired[w->batch++] = slot.entry;
    }
    atomic_store_explicit(&seg->earliest, earliest, memory_order_relaxed);
    return complete;
}

static void retire_batch(sweep *w)
{
    for (size_t i = 0; i < w->batch; i++)
        entry_retire(w->domain, w->retired[i]);
    w->removed += w->batch;
    w->batch = 0;
}

/* Goes on in a locked shard from *hash (its first bits are the shard's) until a segment was swept, the shard
 * ends (then returns true), or it was long enough. */
static bool sweep_some(sweep *w, map_shard *s, uint64_t *hash) KV_REQUIRES(kv_shard_held)
{
    shard_extra *extra = shard_extra_of(s);

    for (int look = 0; look < LOOKS_PER_LOCK; look++) {
        uint64_t word = shard_segment_word(s, *hash);
        segment *seg = directory_segment(word);
        unsigned depth = s->bits + directory_depth(word);
        bool swept = false, complete = true;

        if (seg && atomic_load_explicit(&seg->earliest, memory_order_relaxed) <= w->now_ms) {
            complete = sweep_segment(w, s, seg);
            swept = true;
        }
        if (seg)
            extra->next_earliest = min_deadline(extra->next_earliest,
                                                atomic_load_explicit(&seg->earliest, memory_order_relaxed));
        if (seg && swept && complete)
            shard_shrink(s, *hash, seg);
        if (complete) {
            uint64_t next = depth == 0 ? 0 : ((*hash >> (64 - depth)) + 1) << (64 - depth);
            bool last = s->bits == 0 ? next == 0 : next >> (64 - s->bits) != s->index;

            if (last)
                return true;
            *hash = next;
        }
        if (swept)
            return false;
    }
    return false;
}

/* One shard, until it ends (true) or *steps_left is used up. */
static bool sweep_shard(map *m, sweep *w, size_t index, uint64_t *hash, uint32_t *pass, size_t *steps_left)
{
    while (epoch_reserve(m->domain, BATCH_MAX) == 0) { /* or memory is out: the next cycle will do it */
        map_shard *s = map_lock(m, *hash);
        shard_extra *extra = shard_extra_of(s);
        uint64_t start = s->bits ? (uint64_t)s->index << (64 - s->bits) : 0;

        if (s->index != index) { /* one shard has become many: go on with this one */
            *hash = start;
            index = s->index;
        }
        if (*hash == start) {
            *pass = ++extra->pass;
            extra->next_earliest = KV_FOREVER;
        }
        bool ended = sweep_some(w, s, hash);

        if (ended && *pass == extra->pass)
            atomic_store_explicit(&extra->earliest, extra->next_earliest, memory_order_relaxed);
        map_unlock(s);
        retire_batch(w);
        if (ended)
            return true;
        if (--*steps_left == 0)
            return false;
    }
    *steps_left = 0;
    return false;
}

size_t map_expire(map *m, uint64_t *position, int64_t now_ms, size_t max_steps, map_due_fn *due, void *arg)
{
    sweep w = { .domain = m->domain, .now_ms = now_ms, .due = due, .arg = arg };
    size_t left = max_steps ? max_steps : SIZE_MAX;
    domain_thread *held = epoch_hold(m->domain);
    uint32_t pass = (uint32_t)*position & 0xffff;
    uint64_t hash = *position & ~(uint64_t)0xffff;

    for (bool more = true; more;) {
        uint64_t word = map_root_word(m);
        map_shard *s = root_word_shard(word, hash);
        unsigned bits = root_word_bits(word);
        bool ended = true;

        if (atomic_load_explicit(&root_of_word(word)->extra[s->index].earliest, memory_order_relaxed) <=
            now_ms)
            ended = sweep_shard(m, &w, s->index, &hash, &pass, &left);
        if (!ended)
            break;
        bits = root_word_bits(map_root_word(m));
        hash = bits == 0 ? 0 : ((hash >> (64 - bits)) + 1) << (64 - bits);
        pass = 0;
        more = hash != 0 && left > 0;
    }
    *position = hash | (pass & 0xffff);
    epoch_let_go(m->domain, held);
    epoch_reclaim(m->domain);
    return w.removed;
}

int64_t map_next_deadline(const map *m)
{
    root *r = root_of_word(map_root_word(m));
    int64_t next_ms = KV_FOREVER;

    for (size_t i = 0; i < root_shards(r); i++)
        next_ms = min_deadline(next_ms, atomic_load_explicit(&r->extra[i].earliest, memory_order_relaxed));
    return next_ms;
}
