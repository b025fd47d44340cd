/* map_test.c - the map beside a sequential dictionary: an array with a place for each key.
 *
 * A key is a number; keys are drawn so that their hashes are of a wanted kind (any; all in one bucket; all in
 * one corner of the directory), which works because the secret of the hash is fixed here. After each run the
 * map's own checker looks at every invariant. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "map.h"

#define NOW 1000 /* deadlines are drawn around it */

typedef struct cell {
    uint64_t name; /* the key's bytes */
    uint64_t number;
    int64_t deadline_ms;
    uint64_t version;
    bool present, seen;
} cell;

typedef struct model {
    kv_domain *domain;
    map *map;
    cell *cells;
    size_t n, present;
    uint64_t rng;
    size_t bytes, calls, fail_at; /* of the allocator; fail_at 0: never */
    bool fail_on;                 /* all calls from fail_at on */
} model;

/* ---- an allocator that counts and fails ---- */

static void *counted_alloc(void *arg, size_t size, size_t alignment)
{
    model *m = arg;
    void *memory;

    m->calls++;
    if (m->fail_at && (m->calls == m->fail_at || (m->fail_on && m->calls > m->fail_at)))
        return NULL;
    if (posix_memalign(&memory, alignment < sizeof(void *) ? sizeof(void *) : alignment, size))
        return NULL;
    m->bytes += size;
    return memory;
}

static void counted_free(void *arg, void *memory, size_t size)
{
    model *m = arg;

    m->bytes -= size;
    free(memory);
}

/* ---- keys ---- */

static uint64_t draw(uint64_t *rng)
{
    uint64_t x = *rng += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static kv_slice key_of(const cell *c)
{
    return kv_slice_of(&c->name, sizeof c->name);
}

static uint64_t hash_of(const model *m, const cell *c)
{
    return domain_hash(m->domain, key_of(c));
}

/* Draws n keys whose hashes agree with zero in the bits of mask. */
static void draw_keys(model *m, size_t n, uint64_t mask)
{
    uint64_t name = 0;

    m->cells = calloc(n, sizeof *m->cells);
    assert_non_null(m->cells);
    m->n = n;
    for (size_t i = 0; i < n; i++)
        do
            m->cells[i].name = name++;
        while (hash_of(m, &m->cells[i]) & mask);
}

static void model_start(model *m, size_t n, uint64_t mask, const map_options *options)
{
    static unsigned char secret[192];
    kv_allocator allocator = { counted_alloc, counted_free, m };
    kv_domain_options domain_options = { .allocator = &allocator, .secret = secret };

    for (size_t i = 0; i < sizeof secret; i++)
        secret[i] = (unsigned char)(i * 73 + 11);
    *m = (model){ .rng = 42 };
    m->domain = kv_domain_new(&domain_options);
    assert_non_null(m->domain);
    m->map = map_new(m->domain, options);
    assert_non_null(m->map);
    draw_keys(m, n, mask);
}

static void model_done(model *m)
{
    map_free(m->map);
    kv_domain_unref(m->domain);
    assert_int_equal(m->bytes, 0);
    free(m->cells);
}

/* ---- one step on both ---- */

static entry *build(model *m, const cell *c, uint64_t number, int64_t deadline_ms)
{
    entry_parts parts = { .key = key_of(c),
                          .value = kv_slice_of(&number, sizeof number),
                          .deadline_ms = deadline_ms };

    return entry_new(m->domain, &parts);
}

static bool entry_is(const entry *e, const cell *c)
{
    kv_slice value = entry_value(e, NULL);

    return kv_slice_equal(entry_key(e), key_of(c)) &&
           kv_slice_equal(value, kv_slice_of(&c->number, sizeof c->number)) &&
           entry_deadline(e) == c->deadline_ms && e->version == c->version;
}

/* Stores; false when memory was out, and then nothing has changed. */
static bool put(model *m, cell *c, uint64_t number, int64_t deadline_ms)
{
    uint64_t hash = hash_of(m, c);
    int err = epoch_reserve(m->domain, 1);
    entry *fresh = err ? NULL : build(m, c, number, deadline_ms);

    if (!fresh)
        return false;
    map_shard *s = map_lock(m->map, hash);
    map_place place = shard_find(s, key_of(c), hash);

    assert_int_equal(place.entry != NULL, c->present);
    if (place.entry) {
        assert_true(entry_is(place.entry, c));
        shard_replace(s, &place, fresh);
    } else {
        err = shard_insert(s, hash, fresh);
    }
    map_unlock(s);
    if (err) {
        assert_int_equal(err, KV_ENOMEM);
        entry_free(m->domain, fresh);
        return false;
    }
    assert_true(fresh->version > c->version);
    m->present += !c->present;
    *c = (cell){ c->name, number, deadline_ms, fresh->version, true, false };
    if (place.entry)
        entry_retire(m->domain, place.entry);
    return true;
}

struct told {
    const model *model;
    const cell *cell;
    int calls;
};

KV_UNDER_LOCK static void tell(void *arg, const entry *before, const entry *fresh, map_mark *mark)
{
    struct told *told = arg;

    told->calls++;
    assert_int_equal(mark->epoch,
                     mark->version); /* only this function writes it, and once for each change of the shard */
    mark->epoch = mark->version = fresh->version;
    assert_int_equal(before != NULL, told->cell->present);
    if (before)
        assert_true(entry_is(before, told->cell));
    assert_true(kv_slice_equal(entry_key(fresh), key_of(told->cell)));
}

/* put, by the way that does all in one; hint: as old as it may be, or NULL. */
static void put_in_one(model *m, cell *c, uint64_t number, const map_hint *hint) KV_REQUIRES(kv_epoch_held)
{
    struct told told = { m, c, 0 };
    entry *before = NULL, *fresh = build(m, c, number, KV_FOREVER);
    int err;

    assert_non_null(fresh);
    err = map_put(m->map, key_of(c), hash_of(m, c), hint, fresh, &before, number & 1 ? tell : NULL, &told);
    assert_int_equal(err, 0);
    assert_int_equal(told.calls, number & 1);
    assert_int_equal(before != NULL, c->present);
    entry_retire(m->domain, before);
    m->present += !c->present;
    *c = (cell){ c->name, number, KV_FOREVER, fresh->version, true, false };
}

static void take(model *m, cell *c)
{
    uint64_t hash = hash_of(m, c);

    if (epoch_reserve(m->domain, 1))
        return;
    map_shard *s = map_lock(m->map, hash);
    map_place place = shard_find(s, key_of(c), hash);

    assert_int_equal(place.entry != NULL, c->present);
    if (place.entry)
        shard_remove(s, &place);
    map_unlock(s);
    entry_retire(m->domain, place.entry);
    m->present -= c->present;
    c->present = false;
}

static void look(model *m, const cell *c) KV_REQUIRES(kv_epoch_held)
{
    const entry *e = map_find(m->map, key_of(c), hash_of(m, c));

    assert_int_equal(e != NULL, c->present);
    if (e)
        assert_true(entry_is(e, c));
}

static void enter(model *m) KV_ACQUIRES(kv_epoch_held)
{
    if (epoch_enter(m->domain))
        abort();
}

static void look_at_all(model *m)
{
    map_stats stats;
    size_t with_deadline = 0;

    enter(m);
    for (size_t i = 0; i < m->n; i++) {
        look(m, &m->cells[i]);
        with_deadline += m->cells[i].present && m->cells[i].deadline_ms != KV_FOREVER;
    }
    epoch_leave(m->domain);
    map_check(m->map);
    map_read_stats(m->map, &stats);
    assert_int_equal(stats.entries, m->present);
    assert_int_equal(map_count(m->map), m->present);
    assert_int_equal(stats.with_deadline, with_deadline);
}

static cell *any(model *m)
{
    return &m->cells[draw(&m->rng) % m->n];
}

static int64_t any_deadline(model *m)
{
    return draw(&m->rng) % 4 ? KV_FOREVER : (int64_t)(draw(&m->rng) % (2 * NOW));
}

/* Fills up to a part of 256 of the keys or empties down to it, at first with some of the contrary in between. */
static void move_to(model *m, size_t part)
{
    size_t target = m->n * part / 256;
    bool up = m->present < target;

    for (size_t i = 0; m->present != target; i++) {
        cell *c = any(m);

        if (i % 256 == 0)
            kv_thread_quiesce(m->domain);
        if ((i > m->n || draw(&m->rng) % 8 != 0) == up)
            assert_true(put(m, c, draw(&m->rng), any_deadline(m)));
        else
            take(m, c);
    }
}

/* ---- scan ---- */

static cell *cell_of(model *m, const entry *e)
{
    uint64_t name;

    memcpy(&name, entry_key(e).data, sizeof name);
    size_t low = 0, high = m->n; /* names grow with their index */

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (m->cells[middle].name < name)
            low = middle + 1;
        else
            high = middle;
    }
    assert_true(low < m->n && m->cells[low].name == name);
    return &m->cells[low];
}

static void see(void *arg, const entry *e)
{
    cell_of(arg, e)->seen = true;
}

static void see_once(void *arg, const entry *e)
{
    cell *c = cell_of(arg, e);

    assert_false(c->seen);
    see(arg, e);
}

static void scan_sees_exactly_what_is_there(model *m)
{
    uint64_t cursor = 0;

    for (size_t i = 0; i < m->n; i++)
        m->cells[i].seen = false;
    do {
        enter(m);
        cursor = map_scan(m->map, cursor, see_once, m);
        epoch_leave(m->domain);
    } while (cursor);
    for (size_t i = 0; i < m->n; i++)
        assert_int_equal(m->cells[i].seen, m->cells[i].present);
}

static void due(void *arg, map_shard *s, const entry *e)
{
    model *m = arg;

    (void)s;
    assert_true(entry_deadline(e) <= NOW);
    see(m, e);
}

static void expire_all(model *m, size_t max_segments)
{
    uint64_t position = 0;
    size_t removed = 0, expected = 0, calls = 0;

    for (size_t i = 0; i < m->n; i++) {
        m->cells[i].seen = false;
        expected += m->cells[i].present && m->cells[i].deadline_ms <= NOW;
    }
    while (removed < expected && calls++ < 2000)
        removed += map_expire(m->map, &position, NOW, max_segments, due, m);
    if (!m->fail_at) { /* without memory it may do nothing, but nothing wrong */
        assert_int_equal(removed, expected);
        position = 0;
        assert_int_equal(map_expire(m->map, &position, NOW, 0, due, m), 0);
        assert_int_equal(position, 0);
    }
    for (size_t i = 0; i < m->n; i++) {
        cell *c = &m->cells[i];

        assert_true(!c->seen || (c->present && c->deadline_ms <= NOW));
        m->present -= c->seen;
        c->present = c->present && !c->seen;
    }
}

/* ---- the dictionary ---- */

/* Up and down several times, with everything looked at in between. */
static void compare(size_t n, uint64_t mask, const map_options *options)
{
    static const uint8_t parts[] = { 10, 40, 20, 100, 255, 130, 60, 5, 80, 0, 255, 30, 0 };
    model m;
    map_stats stats;

    model_start(&m, n, mask, options);
    assert_int_equal(kv_thread_register(m.domain), 0);
    for (size_t i = 0; i < sizeof parts; i++) {
        move_to(&m, parts[i]);
        look_at_all(&m);
        scan_sees_exactly_what_is_there(&m);
        if (i % 3 == 1) {
            expire_all(&m, i % 2 ? 3 : 0);
            look_at_all(&m);
        }
    }
    map_read_stats(m.map, &stats);
    assert_int_equal(stats.segments, 0);
    assert_int_equal(stats.entry_bytes, 0);
    kv_thread_unregister(m.domain);
    model_done(&m);
}

static void a_tiny_map_is_a_dictionary(void **state)
{
    (void)state;
    for (size_t n = 1; n < 30; n++)
        compare(n, 0, NULL);
}

static void a_map_that_becomes_many_shards_is_a_dictionary(void **state)
{
    (void)state;
    compare(20000, 0, NULL);
}

static void any_number_of_shards_is_a_dictionary(void **state)
{
    map_options options = { .version_step = 1 };

    (void)state;
    for (options.shards = 1; options.shards <= 1024; options.shards *= 8)
        compare(4000, 0, &options);
    options.shards = 64;
    options.one_lock = true;
    compare(4000, 0, &options);
}

/* The same tag and home bucket for all: windows overflow, chains form. */
static void keys_of_one_bucket_are_a_dictionary(void **state)
{
    map_options options = { .shards = 1, .version_step = 1 };

    (void)state;
    compare(1500, 0xffff, &options);
}

/* The first 15 bits are the same: segments split beyond the bits that slot words hold. */
static void keys_of_one_corner_are_a_dictionary(void **state)
{
    map_options options = { .shards = 1, .version_step = 1 };

    (void)state;
    compare(1500, (uint64_t)0x7fff << 49, &options);
}

/* ---- single properties ---- */

static void an_empty_map_is_small(void **state)
{
    model m;

    (void)state;
    model_start(&m, 5, 0, NULL);
    assert_true(m.bytes <= 1024);
    move_to(&m, 255);
    for (size_t i = 0; i < m.n; i++)
        assert_true(put(&m, &m.cells[i], i, KV_FOREVER));
    map_stats stats;
    map_read_stats(m.map, &stats);
    assert_true(stats.index_bytes <= 512);
    model_done(&m);
}

static void the_index_costs_less_than_seventeen_bytes_an_entry(void **state)
{
    model m;
    map_stats stats;

    (void)state;
    model_start(&m, 200000, 0, NULL);
    assert_int_equal(kv_thread_register(m.domain), 0);
    for (size_t i = 0; i < m.n; i++) {
        assert_true(put(&m, &m.cells[i], i, KV_FOREVER));
        kv_thread_quiesce(m.domain);
        if (i < 100000 || i % 5000)
            continue;
        map_read_stats(m.map, &stats);
        assert_true((double)stats.index_bytes / (double)(i + 1) < 17.0);
    }
    kv_thread_unregister(m.domain);
    model_done(&m);
}

static void versions_never_repeat(void **state)
{
    map_options options = { .version_start = 5, .version_step = 16 };
    model m;
    uint64_t last = 5;

    (void)state;
    model_start(&m, 1, 0, &options);
    for (int i = 0; i < 10; i++) {
        assert_true(put(&m, &m.cells[0], 1, KV_FOREVER));
        assert_int_equal(m.cells[0].version, last + 16);
        last += 16;
        if (i % 3 == 0)
            take(&m, &m.cells[0]);
    }
    model_done(&m);
}

static void find_many_finds_what_find_finds(void **state)
{
    enum { N = 300 };
    model m;
    kv_slice keys[N];
    uint64_t hashes[N];
    const entry *found[N];

    (void)state;
    model_start(&m, 2 * N, 0, NULL);
    move_to(&m, 128);
    for (size_t i = 0; i < N; i++) {
        keys[i] = key_of(&m.cells[2 * i]);
        hashes[i] = hash_of(&m, &m.cells[2 * i]);
    }
    enter(&m);
    map_find_many(m.map, N, keys, hashes, found);
    for (size_t i = 0; i < N; i++)
        assert_ptr_equal(found[i], map_find(m.map, keys[i], hashes[i]));
    epoch_leave(m.domain);
    model_done(&m);
}

/* However many are due, a step takes some hundred of them; and where nothing is due, not many looks. */
static void expiry_goes_in_steps(void **state)
{
    enum { N = 60000, A_STEP = 89 * 7 };
    map_options options = { .shards = 1 };
    uint64_t position = 0;
    size_t removed = 0, steps = 0, at_once;
    model m;

    (void)state;
    model_start(&m, N, 0, &options);
    for (size_t i = 0; i < N; i++)
        assert_true(put(&m, &m.cells[i], i, NOW));
    do {
        at_once = map_expire(m.map, &position, NOW, 3, due, &m);
        assert_in_range(at_once, 0, 3 * A_STEP);
        removed += at_once;
        steps++;
    } while (position);
    assert_int_equal(removed, N);
    assert_in_range(steps, N / (3 * A_STEP), N / 100);
    for (size_t i = 0; i < N; i++)
        m.cells[i].present = false;
    m.present = 0;

    for (size_t i = 0; i < N; i++) /* so that the map believes something to be due */
        assert_true(put(&m, &m.cells[i], i, i == 77 ? NOW : NOW + 1));
    assert_true(put(&m, &m.cells[77], 0, KV_FOREVER));
    for (steps = 0; steps == 0 || position; steps++)
        assert_int_equal(map_expire(m.map, &position, NOW, 1, due, &m), 0);
    assert_in_range(steps, 2, N / 400);
    look_at_all(&m);
    model_done(&m);
}

/* Some cells, their hashes, and what reading ahead learned of them. */
enum { run_length = 40 };

struct ahead {
    cell *cells[run_length];
    kv_slice names[2 * run_length];
    uint64_t hashes[run_length];
    map_hint hints[run_length];
};

static void read_ahead(model *m, struct ahead *ahead) KV_REQUIRES(kv_epoch_held)
{
    for (size_t i = 0; i < run_length; i++) {
        ahead->cells[i] = &m->cells[draw(&m->rng) % m->n];
        ahead->names[2 * i] = key_of(ahead->cells[i]);
        ahead->names[2 * i + 1] = kv_slice_of("not a key", 9);
        ahead->hashes[i] = hash_of(m, ahead->cells[i]);
    }
    map_prefetch(m->map, run_length, ahead->hashes, ahead->hints);
}

static void run_finds_what_is_there(model *m, const struct ahead *ahead) KV_REQUIRES(kv_epoch_held)
{
    const entry *found[run_length];

    map_find_run(m->map, run_length, ahead->names, 2, ahead->hashes, ahead->hints, found);
    for (size_t i = 0; i < run_length; i++) {
        const entry *e = map_find_hinted(m->map, ahead->names[2 * i], ahead->hashes[i], &ahead->hints[i]);

        assert_ptr_equal(found[i], e);
        assert_int_equal(e != NULL, ahead->cells[i]->present);
        if (e)
            assert_true(entry_is(e, ahead->cells[i]));
    }
}

/* The hints grow old: their keys are written, removed and added, segments grow, split and merge meanwhile. */
static void old_hints_mislead_nobody(void **state)
{
    static const size_t sizes[] = { 3, 60, 3000, 20000 };

    (void)state;
    for (size_t size = 0; size < sizeof sizes / sizeof sizes[0]; size++) {
        model m;

        model_start(&m, sizes[size], 0, NULL);
        for (int round = 0; round < 60; round++) {
            struct ahead ahead;

            enter(&m);
            read_ahead(&m, &ahead);
            run_finds_what_is_there(&m, &ahead);
            for (size_t i = 0; i < m.n / 20 + 1; i++) {
                cell *c = &m.cells[draw(&m.rng) % m.n];

                if (round % 20 < 13)
                    put_in_one(&m, c, draw(&m.rng), NULL);
                else
                    take(&m, c);
            }
            for (size_t i = 0; i < run_length; i += 3)
                put_in_one(&m, ahead.cells[i], draw(&m.rng), &ahead.hints[i]);
            run_finds_what_is_there(&m, &ahead);
            epoch_leave(m.domain);
        }
        look_at_all(&m);
        map_check(m.map);
        model_done(&m);
    }
}

static void the_same_key_may_be_locked_twice(void **state)
{
    model m;
    map_key keys[4];
    map_shard *scratch[4];

    (void)state;
    model_start(&m, 20000, 0, NULL);
    move_to(&m, 255);
    for (size_t i = 0; i < 4; i++)
        keys[i] = (map_key){ m.map, hash_of(&m, &m.cells[i / 2]), NULL };
    map_lock_many(keys, 4, scratch);
    assert_ptr_equal(keys[0].shard, keys[1].shard);
    map_place place = shard_find(keys[2].shard, key_of(&m.cells[1]), keys[2].hash);
    assert_int_equal(place.entry != NULL, m.cells[1].present);
    map_unlock_many(keys, 4, scratch);
    look_at_all(&m);
    model_done(&m);
}

static void count_call(void *arg)
{
    ++*(int *)arg;
}

static void clearing_leaves_an_empty_map_and_debris(void **state)
{
    model m;
    map_debris *debris;
    int calls = 0;
    uint64_t version;

    (void)state;
    model_start(&m, 20000, 0, NULL);
    debris = map_debris_new(m.map);
    assert_true(map_clear(m.map, debris, count_call, &calls));
    assert_int_equal(calls, 1);
    assert_false(map_debris_free(debris, 1));
    debris = map_debris_new(m.map);
    move_to(&m, 200);
    version = m.cells[0].version;
    assert_false(map_clear(m.map, debris, count_call, &calls)); /* one shard has become many */
    assert_int_equal(calls, 1);
    look_at_all(&m);
    assert_false(map_debris_free(debris, 1));
    debris = map_debris_new(m.map);
    assert_true(map_clear(m.map, debris, NULL, NULL));
    for (size_t i = 0; i < m.n; i++)
        m.cells[i].present = false;
    m.present = 0;
    look_at_all(&m);
    assert_true(map_debris_free(debris, 1));
    while (map_debris_free(debris, 7))
        ;
    assert_true(put(&m, &m.cells[0], 1, KV_FOREVER));
    assert_true(m.cells[0].version > version);
    look_at_all(&m);
    model_done(&m);
}

static void swapping_exchanges_the_contents(void **state)
{
    model m;
    int calls = 0;

    (void)state;
    model_start(&m, 9000, 0, NULL);
    map *empty = map_new(m.domain, NULL), *full = m.map;

    assert_non_null(empty);
    move_to(&m, 255);
    map_swap(full, empty, 0, count_call, &calls);
    assert_int_equal(calls, 1);
    assert_int_equal(map_count(full), 0);
    map_check(full);
    m.map = empty;
    look_at_all(&m);
    move_to(&m, 100);
    map_swap(m.map, m.map, 0, count_call, &calls);
    assert_int_equal(calls, 2);
    map_swap(empty, full, 0, NULL, NULL);
    m.map = full;
    look_at_all(&m);
    assert_int_equal(map_count(empty), 0);
    map_free(empty);
    model_done(&m);
}

static void any_cursor_is_a_valid_one(void **state)
{
    model m;

    (void)state;
    model_start(&m, 9000, 0, NULL);
    move_to(&m, 255);
    enter(&m);
    for (int i = 0; i < 20000; i++)
        map_scan(m.map, draw(&m.rng) >> draw(&m.rng) % 64, see, &m);
    map_scan(m.map, UINT64_MAX, see, &m);
    epoch_leave(m.domain);
    model_done(&m);
}

/* Between two calls the map grows or shrinks a lot: what stays is still seen, and not twice. */
static void a_scan_sees_once_what_stays_while_the_map_changes(void **state)
{
    enum { STAY = 200 };
    model m;

    (void)state;
    model_start(&m, 12000, 0, NULL);
    assert_int_equal(kv_thread_register(m.domain), 0);
    for (int run = 0; run < 6; run++) {
        uint64_t cursor = 0;

        for (size_t i = 0; i < m.n; i++)
            m.cells[i].seen = false;
        for (size_t i = 0; i < STAY; i++)
            if (!m.cells[i].present)
                assert_true(put(&m, &m.cells[i], i, KV_FOREVER));
        for (size_t turn = 0; turn == 0 || cursor; turn++) {
            bool grow = turn / 40 % 2 == (unsigned)run % 2;

            enter(&m);
            cursor = map_scan(m.map, cursor, see_once, &m);
            epoch_leave(m.domain);
            for (size_t i = 0; turn < 400 && i < 250; i++) {
                cell *c = &m.cells[STAY + draw(&m.rng) % (m.n - STAY)];

                if (grow)
                    assert_true(put(&m, c, i, KV_FOREVER));
                else
                    take(&m, c);
            }
            kv_thread_quiesce(m.domain);
        }
        for (size_t i = 0; i < STAY; i++)
            assert_true(m.cells[i].seen);
    }
    map_check(m.map);
    kv_thread_unregister(m.domain);
    model_done(&m);
}

/* Pearson's chi-square over draws_per_key * n draws; five standard deviations above its mean is too much. */
static void draw_evenly(size_t n, size_t filled, size_t draws_per_key)
{
    model m;
    size_t *drawn = calloc(n, sizeof *drawn);
    double chi = 0;

    assert_non_null(drawn);
    model_start(&m, n, 0, NULL);
    assert_int_equal(kv_thread_register(m.domain), 0);
    for (size_t i = 0; i < n; i++)
        assert_true(put(&m, &m.cells[i], i, KV_FOREVER));
    for (size_t i = filled; i < n; i++)
        take(&m, &m.cells[i]);
    for (size_t i = 0; i < filled * draws_per_key; i++) {
        enter(&m);
        const entry *e = map_random(m.map, &m.rng);
        uint64_t number;

        assert_non_null(e);
        memcpy(&number, entry_value(e, NULL).data, sizeof number);
        drawn[number]++;
        epoch_leave(m.domain);
    }
    for (size_t i = 0; i < filled; i++) {
        double off = (double)drawn[i] - (double)draws_per_key;

        chi += off * off / (double)draws_per_key;
    }
    double degrees = (double)(filled - 1), limit = degrees + 5 * 1.4143 * (degrees / 2 + 1);

    if (degrees > 50) /* the standard deviation is the root of twice the degrees */
        for (limit = degrees; (limit - degrees) * (limit - degrees) < 50 * degrees; limit++)
            ;
    assert_true(chi < limit);
    kv_thread_unregister(m.domain);
    free(drawn);
    model_done(&m);
}

static void a_random_entry_is_any_with_equal_chance(void **state)
{
    (void)state;
    draw_evenly(1, 1, 10);
    draw_evenly(13, 13, 500);
    draw_evenly(1000, 1000, 50);
    draw_evenly(20000, 100, 100);
    draw_evenly(20000, 20000, 20);
}

static void an_empty_map_has_no_random_entry(void **state)
{
    model m;

    (void)state;
    model_start(&m, 1, 0, NULL);
    enter(&m);
    assert_null(map_random(m.map, &m.rng));
    epoch_leave(m.domain);
    model_done(&m);
}

/* ---- memory that is out ---- */

/* Everything a map does, with failures allowed; whatever fails has changed nothing. Returns whether any did. */
static bool do_everything(model *m)
{
    bool failed = false;
    map_debris *debris = NULL;

    for (size_t i = 0; i < m->n; i++) {
        failed |= !put(m, &m->cells[i], i, any_deadline(m));
        if (i % 3 == 0)
            failed |= !put(m, any(m), i, any_deadline(m));
        if (i % 512 == 0)
            epoch_reclaim(m->domain);
    }
    look_at_all(m);
    expire_all(m, 0);
    for (size_t i = 0; i < m->n; i += 1 + i % 3)
        take(m, &m->cells[i]);
    look_at_all(m);
    debris = map_debris_new(m->map);
    if (!debris) {
        failed = true;
    } else {
        assert_true(map_clear(m->map, debris, NULL, NULL));
        while (map_debris_free(debris, 16))
            ;
        for (size_t i = 0; i < m->n; i++)
            m->cells[i].present = false;
        m->present = 0;
    }
    for (size_t i = 0; i < m->n; i += 5)
        failed |= !put(m, &m->cells[i], i, KV_FOREVER);
    look_at_all(m);
    return failed;
}

static void a_failed_allocation_changes_nothing(void **state)
{
    size_t failures = 0;

    (void)state;
    for (int on = 0; on < 2; on++) {
        for (size_t at = 1;; at += 1 + (at > 40 ? at / 8 : 0)) {
            model m;

            model_start(&m, 9000, 0, NULL);
            m.fail_at = m.calls + at;
            m.fail_on = on;
            do_everything(&m);
            bool reached = m.calls >= m.fail_at;

            m.fail_at = 0;
            failures += reached;
            assert_false(do_everything(&m));
            model_done(&m);
            if (!reached)
                break;
        }
    }
    assert_true(failures > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tiny_map_is_a_dictionary),
        cmocka_unit_test(a_map_that_becomes_many_shards_is_a_dictionary),
        cmocka_unit_test(any_number_of_shards_is_a_dictionary),
        cmocka_unit_test(keys_of_one_bucket_are_a_dictionary),
        cmocka_unit_test(keys_of_one_corner_are_a_dictionary),
        cmocka_unit_test(an_empty_map_is_small),
        cmocka_unit_test(the_index_costs_less_than_seventeen_bytes_an_entry),
        cmocka_unit_test(versions_never_repeat),
        cmocka_unit_test(find_many_finds_what_find_finds),
        cmocka_unit_test(expiry_goes_in_steps),
        cmocka_unit_test(old_hints_mislead_nobody),
        cmocka_unit_test(the_same_key_may_be_locked_twice),
        cmocka_unit_test(clearing_leaves_an_empty_map_and_debris),
        cmocka_unit_test(swapping_exchanges_the_contents),
        cmocka_unit_test(any_cursor_is_a_valid_one),
        cmocka_unit_test(a_scan_sees_once_what_stays_while_the_map_changes),
        cmocka_unit_test(a_random_entry_is_any_with_equal_chance),
        cmocka_unit_test(an_empty_map_has_no_random_entry),
        cmocka_unit_test(a_failed_allocation_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
