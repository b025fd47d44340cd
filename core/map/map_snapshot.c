/* map_snapshot.c - one moment of many maps, without a fork and without a second copy.
 *
 * The problem: to write out what the maps held at one moment, which takes seconds, while they are written to as ever. A
 * fork freezes the process for as long as copying its page tables takes, and may double its memory. The idea: entries
 * never change once they are published, so a snapshot is a set of pointers; only those must be saved that leave the map before
 * they were visited. Versions tell them: each shard stamps ascending numbers.
 *
 *     moment    all shards are locked at once; each notes the last version it gave out (limit) and where
 *               the walk begins in it (next); root->snapshot says so to the writers
 *     walker    a segment at a time, in order of hashes: under the shard's lock it collects the pointers and moves
 *               next behind the segment; after the lock it visits those whose version is within the limit,
 *               inside the same epoch, so that none of them can be freed
 *     writer    whoever unlinks or replaces an entry within the limit at next or behind it hands a copy to
 *               the snapshot first (snapshot_keep); large values are shared by reference
 *
 *     shard     [ visited | next ....... not yet visited ]   e->version <= limit and hash >= next: keep it
 *
 * A snapshot belongs to roots, not to maps: SWAPDB moves a root from map to map, and its snapshot goes along. A map that is
 * emptied gives its old directories to the snapshot instead of the helper: the walk goes on in them, and frees them as it
 * goes; what comes into the map later is newer than the limit. A map of one shard does not become many while a
 * snapshot is in it (grow later): so roots stay.
 *
 * Kept copies stand on a stack that writers push to and the walker takes as a whole; they are visited first, so they are
 * there for few steps of the walk only. Where the walker cannot keep up (a slow disk) more than keep_bytes may come together:
 * then writers are told to wait outside of the locks (map_snapshot_pressed), and with twice as much the snapshot fails,
 * rather than memory.
 *
 * Invariants
 * 1. Each entry of the moment is visited exactly once: by the walker, if it is in the map when next passes it, as a
 *    copy otherwise; both happen under its shard's lock.
 * 2. limit, next and cleared of a shard are read and written under its lock. root->snapshot is set while all shards are
 *    locked; it is reset without, and then every shard is locked once before the part is freed.
 * 3. An entry restored with an older version than the limit gets a new one (map.c), or it would be taken for an old one.
 *
 * Cost: without a snapshot one load of a line that a write has before it anyway, and a branch. The moment takes a
 * lock and some stores per shard. Each visited segment is locked for the time that reading its words takes: one or two
 * microseconds.
 *
 * Rejected: marking entries as saved (they are read by all, and would be written), a copy of each segment at the first write
 * (large, and under the lock), a second version chain per entry.
 *
 * SPDX-License-Identifier: MIT */
#include "map_snapshot.h"

#include <stdlib.h>

#include "shard.h"

#define GATHER_MAX (SEGMENT_BUCKETS * BUCKET_SLOTS) /* entries of a segment without its chain */
#define AHEAD      8                                /* entries fetched before they are visited */

/* A copy of an entry that has left the map. */
typedef struct kept {
    struct kept *next;
    size_t index, size;
    kv_bytes *bytes; /* a reference to the value when it is out of line */
    uint64_t block[];
} kept;

typedef struct shard_state {
    uint64_t limit; /* versions above are of after the moment */
    uint64_t next;  /* hashes below were visited */
    bool done;      /* all were */
} shard_state;

typedef struct snapshot_part {
    map_snapshot *snap;
    size_t index; /* in maps */
    root *root;   /* NULL: done with */
    size_t shard; /* being walked */
    map_snapshot_count counted;
    map_debris *debris; /* room for what the map is emptied of; once it is, what the walk goes on in */
    bool cleared;
    shard_state *shards;
} snapshot_part;

struct map_snapshot {
    kv_domain *domain;
    size_t count, keep_bytes;
    _Atomic size_t kept_bytes;
    _Atomic(kept *) stack; /* pushed by writers */
    kept *taken;           /* from there, by the walker */
    _Atomic int failed;
    bool begun;
    map_hold hold;
    map *const *maps;
    snapshot_part *parts;
    const entry *gathered[GATHER_MAX];
};

/* ---- life ---- */

map_snapshot *map_snapshot_new(kv_domain *domain, size_t n, map *const maps[], size_t keep_bytes)
{
    map_snapshot *snap = calloc(1, sizeof *snap);

    if (!snap)
        return NULL;
    snap->domain = domain;
    snap->count = n;
    snap->keep_bytes = keep_bytes;
    snap->hold = (map_hold){ .domain = domain, .room = n, .parts = calloc(n, sizeof *snap->hold.parts) };
    snap->maps = malloc(n * sizeof *maps);
    snap->parts = calloc(n, sizeof *snap->parts);
    if (!snap->hold.parts || !snap->maps || !snap->parts) {
        map_snapshot_free(snap);
        return NULL;
    }
    memcpy((void *)snap->maps, maps, n * sizeof *maps);
    for (size_t i = 0; i < n; i++)
        snap->parts[i] = (snapshot_part){ .snap = snap, .index = i };
    return snap;
}

/* Waits until no writer can know the part any more. */
KV_UNCHECKED static void pass_all_locks(const root *r)
{
    for (size_t i = 0; i < root_shards(r); i++) {
        shard_acquire(root_shard(r, i), NULL);
        lock_release(root_shard(r, i)->lock);
    }
}

/* Writers need not care about this part any more. */
static void detach(snapshot_part *part)
{
    root *r = part->root;

    if (!r)
        return;
    /* Relaxed: the locks order it. */
    atomic_store_explicit(&r->snapshot, NULL, memory_order_relaxed);
    pass_all_locks(r);
    part->root = NULL;
    while (map_debris_free(part->debris, 64))
        ;
    part->debris = NULL;
    free(part->shards);
    part->shards = NULL;
}

static void free_kept(map_snapshot *snap, kept *k)
{
    atomic_fetch_sub_explicit(&snap->kept_bytes, k->size, memory_order_relaxed);
    kv_bytes_unref(k->bytes);
    free(k);
}

static void free_all_kept(map_snapshot *snap, kept *k)
{
    while (k) {
        kept *next = k->next;

        free_kept(snap, k);
        k = next;
    }
}

void map_snapshot_free(map_snapshot *snap)
{
    if (!snap)
        return;
    for (size_t i = 0; snap->parts && i < snap->count; i++)
        detach(&snap->parts[i]);
    free_all_kept(snap, snap->taken);
    free_all_kept(snap, atomic_load_explicit(&snap->stack, memory_order_acquire));
    free(snap->hold.parts);
    free((void *)snap->maps);
    free(snap->parts);
    free(snap);
}

map_snapshot_count map_snapshot_counted(const map_snapshot *snap, size_t index)
{
    return snap->parts[index].counted;
}

size_t map_snapshot_kept(const map_snapshot *snap)
{
    return atomic_load_explicit(&((map_snapshot *)snap)->kept_bytes, memory_order_relaxed);
}

bool map_snapshot_pressed(const map_snapshot *snap)
{
    return map_snapshot_kept(snap) > snap->keep_bytes;
}

bool map_snapshot_failed(const map_snapshot *snap)
{
    return atomic_load_explicit(&((map_snapshot *)snap)->failed, memory_order_relaxed) != 0;
}

/* ---- the moment ---- */

/* Makes what the moment needs, for the shape that the map was named with. KV_ENOMEM. */
static int prepare(snapshot_part *part, const map *m, uint64_t root_word)
{
    size_t shards = (size_t)1 << root_word_bits(root_word);

    map_debris_free(part->debris, 1);
    free(part->shards);
    part->shards = calloc(shards, sizeof *part->shards);
    part->debris = map_debris_new_for(m, shards);
    return part->shards && part->debris ? 0 : KV_ENOMEM;
}

/* Everything is locked. */
static void attach(snapshot_part *part, uint64_t root_word)
{
    root *r = root_of_word(root_word);

    part->root = r;
    part->counted = (map_snapshot_count){ 0, 0 };
    for (size_t i = 0; i < root_shards(r); i++) {
        map_shard *s = root_shard(r, i);

        part->shards[i] = (shard_state){ s->version, s->bits ? (uint64_t)i << (64 - s->bits) : 0, false };
        part->counted.entries += atomic_load_explicit(&s->entries, memory_order_relaxed);
        part->counted.with_deadline +=
            atomic_load_explicit(&shard_extra_of(s)->with_deadline, memory_order_relaxed);
    }
    atomic_store_explicit(&r->snapshot, part, memory_order_relaxed);
}

/* The parts of a hold are sorted by address. */
static snapshot_part *part_of(map_snapshot *snap, const map_hold_part *held)
{
    for (size_t i = 0; i < snap->count; i++)
        if (snap->maps[i] == held->map)
            return &snap->parts[i];
    return NULL;
}

/* Names the maps and makes what they need. KV_ENOMEM. */
static int name_maps(map_snapshot *snap)
{
    map_hold_begin(&snap->hold);
    for (size_t i = 0; i < snap->count; i++) {
        map_hold_map(&snap->hold, snap->maps[i]);
        if (prepare(&snap->parts[i], snap->maps[i], snap->hold.parts[i].root_word))
            return KV_ENOMEM;
    }
    return 0;
}

static int begin_in_epoch(map_snapshot *snap, void (*at_moment)(void *arg), void *arg)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held)
{
    for (;;) {
        if (name_maps(snap))
            return KV_ENOMEM;
        if (map_hold_lock(&snap->hold)) {
            for (size_t i = 0; i < snap->hold.count; i++)
                attach(part_of(snap, &snap->hold.parts[i]), snap->hold.parts[i].root_word);
            if (at_moment)
                at_moment(arg);
            map_hold_release(&snap->hold);
            return 0;
        }
    }
}

int map_snapshot_begin(map_snapshot *snap, void (*at_moment)(void *arg), void *arg)
{
    int err = epoch_enter(snap->domain);

    if (!err)
        err = begin_in_epoch(snap, at_moment, arg);
    epoch_leave(snap->domain);
    return err;
}

/* ---- what writers do ---- */

static void fail(map_snapshot *snap, int err)
{
    int none = 0;

    atomic_compare_exchange_strong_explicit(&snap->failed, &none, err, memory_order_relaxed,
                                            memory_order_relaxed);
}

static void push(map_snapshot *snap, kept *k)
{
    kept *top = atomic_load_explicit(&snap->stack, memory_order_relaxed);

    do
        k->next = top;
    while (
        !atomic_compare_exchange_weak_explicit(&snap->stack, &top, k, memory_order_release,
                                               memory_order_relaxed)); /* pairs with the exchange in step */
}

/* Readers may touch the access clock meanwhile. */
static void copy_block(entry *to, const entry *e, size_t size)
{
    uint32_t meta = entry_meta(e);

    to->version = e->version;
    to->key_len = e->key_len;
    to->value_len = e->value_len;
    atomic_init(&to->meta, meta);
    memcpy(to->tail, e->tail, size - offsetof(entry, tail));
}

/* Copies an entry for later. */
static void keep_copy(map_snapshot *snap, size_t index, const entry *e)
{
    size_t block = entry_block_size(e), size = sizeof(kept) + block;
    kv_bytes *bytes;
    kept *k;

    if (atomic_load_explicit(&snap->failed, memory_order_relaxed))
        return;
    entry_value(e, &bytes);
    if (bytes)
        size += kv_bytes_size(bytes);
    if (atomic_load_explicit(&snap->kept_bytes, memory_order_relaxed) / 2 > snap->keep_bytes) {
        fail(snap, KV_ETOOBIG);
        return;
    }
    k = malloc(sizeof(kept) + block);
    if (!k) {
        fail(snap, KV_ENOMEM);
        return;
    }
    k->index = index;
    k->size = size;
    k->bytes = bytes ? kv_bytes_ref(bytes) : NULL;
    copy_block((entry *)k->block, e, block);
    atomic_fetch_add_explicit(&snap->kept_bytes, size, memory_order_relaxed);
    push(snap, k);
}

static snapshot_part *part_of_shard(const map_shard *s)
{
    return atomic_load_explicit(&s->root->snapshot, memory_order_relaxed);
}

void snapshot_keep(map_shard *s, const entry *e)
{
    snapshot_part *part = part_of_shard(s);

    if (!part) /* it has ended since the caller looked */
        return;
    const shard_state *state = &part->shards[s->index];

    if (e->version > state->limit || state->done || part->cleared ||
        domain_hash(part->snap->domain, entry_key(e)) < state->next)
        return;
    keep_copy(part->snap, part->index, e);
}

bool snapshot_covers(const map_shard *s, uint64_t version)
{
    const snapshot_part *part = part_of_shard(s);

    return part && version <= part->shards[s->index].limit;
}

map_debris *snapshot_clear_into(const root *r, map_debris *debris)
{
    snapshot_part *part = atomic_load_explicit(&r->snapshot, memory_order_relaxed);

    if (!part || part->cleared)
        return debris;
    part->cleared = true;
    return part->debris;
}

/* ---- what the walker does ---- */

/* Visits some of what writers have kept; false: there was nothing. */
static bool visit_kept(map_snapshot *snap, map_snapshot_visit_fn *visit, void *arg)
{
    bool any = false;

    if (!snap->taken) /* pairs with the release in push */
        snap->taken = atomic_exchange_explicit(&snap->stack, NULL, memory_order_acquire);
    for (size_t i = 0; i < GATHER_MAX && snap->taken; i++) {
        kept *k = snap->taken;

        any = true;
        snap->taken = k->next;
        visit(arg, k->index, (const entry *)k->block);
        free_kept(snap, k);
    }
    return any;
}

/* Collects the segment that stands at state->next, and moves that behind it. What has no room is kept at once. */
static size_t gather(snapshot_part *part, map_shard *s, shard_state *state) KV_REQUIRES(kv_shard_held)
{
    map_snapshot *snap = part->snap;
    uint64_t word = shard_segment_word(s, state->next);
    unsigned depth = s->bits + (word ? directory_depth(word) : 0);
    bool doubtful =
        depth > 0 ? state->next << depth != 0 : state->next != 0; /* it begins before next: they merged */
    segment_cursor cursor = { 0 };
    segment_slot slot;
    size_t n = 0;

    while (word && segment_walk(directory_segment(word), &cursor, &slot)) {
        if (doubtful && domain_hash(snap->domain, entry_key(slot.entry)) < state->next)
            continue;
        if (n < GATHER_MAX)
            snap->gathered[n++] = slot.entry;
        else
            snapshot_keep(s, slot.entry);
    }
    state->next = depth == 0 ? 0 : ((state->next >> (64 - depth)) + 1) << (64 - depth);
    state->done = s->bits == 0 ? state->next == 0 : state->next >> (64 - s->bits) != s->index;
    return n;
}

/* The root of a part stays, whatever map it is in. */
KV_UNCHECKED static size_t gather_locked(snapshot_part *part, bool *ret_cleared)
{
    map_shard *s = root_shard(part->root, part->shard);
    size_t n = 0;

    shard_acquire(s, NULL);
    *ret_cleared = part->cleared;
    if (!part->cleared)
        n = gather(part, s, &part->shards[part->shard]);
    map_unlock(s);
    return n;
}

static void visit_gathered(snapshot_part *part, size_t n, uint64_t limit, map_snapshot_visit_fn *visit,
                           void *arg)
{
    const entry **all = part->snap->gathered;

    for (size_t i = 0; i < n && i < AHEAD; i++)
        __builtin_prefetch(all[i]);
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n)
            __builtin_prefetch(all[i + AHEAD]);
        if (all[i]->version <= limit)
            visit(arg, part->index, all[i]);
    }
}

/* Visits the next segment of a map as it stands; false: the part was emptied instead. */
static bool step_in_map(snapshot_part *part, map_snapshot_visit_fn *visit, void *arg)
{
    shard_state *state = &part->shards[part->shard];
    bool cleared;
    size_t n = gather_locked(part, &cleared);

    if (cleared)
        return false;
    visit_gathered(part, n, state->limit, visit, arg);
    if (state->done && ++part->shard == root_shards(part->root))
        detach(part);
    return true;
}

/* ---- a part whose map was emptied ---- */

typedef struct debris_visit {
    snapshot_part *part;
    map_snapshot_visit_fn *visit;
    void *arg;
} debris_visit;

static void visit_debris(void *arg, size_t shard, const entry *e)
{
    debris_visit *v = arg;
    const shard_state *state = &v->part->shards[shard];

    if (e->version <= state->limit && !state->done &&
        domain_hash(v->part->snap->domain, entry_key(e)) >= state->next)
        v->visit(v->arg, v->part->index, e);
}

/* KV_ENOMEM: nothing could be retired; the debris is as it was. */
static int step_in_debris(snapshot_part *part, map_snapshot_visit_fn *visit, void *arg)
{
    debris_visit v = { part, visit, arg };
    int left = map_debris_visit(part->debris, visit_debris, &v);

    if (left < 0)
        return left;
    if (!left)
        detach(part);
    return 0;
}

static snapshot_part *next_part(map_snapshot *snap)
{
    snapshot_part *next = NULL;

    for (size_t i = 0; i < snap->count && !next; i++)
        if (snap->parts[i].root)
            next = &snap->parts[i];
    return next;
}

static int step_in_epoch(map_snapshot *snap, map_snapshot_visit_fn *visit, void *arg)
{
    snapshot_part *part;
    int failed = atomic_load_explicit(&snap->failed, memory_order_relaxed);

    if (failed)
        return failed;
    if (visit_kept(snap, visit, arg))
        return 1;
    part = next_part(snap);
    if (!part) /* since the last one was detached, nobody keeps anything */
        return visit_kept(snap, visit, arg) ? 1 : atomic_load_explicit(&snap->failed, memory_order_relaxed);
    if (step_in_map(part, visit, arg))
        return 1;
    failed = step_in_debris(part, visit, arg);
    return failed ? failed : 1;
}

int map_snapshot_step(map_snapshot *snap, map_snapshot_visit_fn *visit, void *arg)
{
    int err = epoch_enter(snap->domain);

    if (!err)
        err = step_in_epoch(snap, visit, arg);
    epoch_leave(snap->domain);
    return err;
}
