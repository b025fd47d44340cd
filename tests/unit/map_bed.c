/* map_bed.c - see map_bed.h. SPDX-License-Identifier: MIT */
#include "map_bed.h"

#include <stdlib.h>

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

uint64_t model_draw(uint64_t *rng)
{
    uint64_t x = *rng += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

kv_slice model_key(const cell *c)
{
    return kv_slice_of(&c->name, sizeof c->name);
}

uint64_t model_hash(const model *m, const cell *c)
{
    return domain_hash(m->domain, model_key(c));
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
        while (model_hash(m, &m->cells[i]) & mask);
}

void model_start(model *m, size_t n, uint64_t mask, const map_options *options)
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

void model_done(model *m)
{
    map_free(m->map);
    kv_domain_unref(m->domain);
    assert_int_equal(m->bytes, 0);
    free(m->cells);
}

cell *model_any(model *m)
{
    return &m->cells[model_draw(&m->rng) % m->n];
}

int64_t model_deadline(model *m)
{
    return model_draw(&m->rng) % 4 ? KV_FOREVER : (int64_t)(model_draw(&m->rng) % (2 * NOW));
}

/* ---- one step on both ---- */

entry *model_build(model *m, const cell *c, uint64_t number, int64_t deadline_ms)
{
    entry_parts parts = { .key = model_key(c),
                          .value = kv_slice_of(&number, sizeof number),
                          .deadline_ms = deadline_ms };

    return entry_new(m->domain, &parts);
}

bool model_entry_is(const entry *e, const cell *c)
{
    kv_slice value = entry_value(e, NULL);

    return kv_slice_equal(entry_key(e), model_key(c)) &&
           kv_slice_equal(value, kv_slice_of(&c->number, sizeof c->number)) &&
           entry_deadline(e) == c->deadline_ms && e->version == c->version;
}

bool model_put(model *m, cell *c, uint64_t number, int64_t deadline_ms)
{
    uint64_t hash = model_hash(m, c);
    int err = epoch_reserve(m->domain, 1);
    entry *fresh = err ? NULL : model_build(m, c, number, deadline_ms);

    if (!fresh)
        return false;
    map_shard *s = map_lock(m->map, hash);
    map_place place = shard_find(s, model_key(c), hash);

    assert_int_equal(place.entry != NULL, c->present);
    if (place.entry) {
        assert_true(model_entry_is(place.entry, c));
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

void model_take(model *m, cell *c)
{
    uint64_t hash = model_hash(m, c);

    if (epoch_reserve(m->domain, 1))
        return;
    map_shard *s = map_lock(m->map, hash);
    map_place place = shard_find(s, model_key(c), hash);

    assert_int_equal(place.entry != NULL, c->present);
    if (place.entry)
        shard_remove(s, &place);
    map_unlock(s);
    entry_retire(m->domain, place.entry);
    m->present -= c->present;
    c->present = false;
}

void model_move_to(model *m, size_t part)
{
    size_t target = m->n * part / 256;
    bool up = m->present < target;

    for (size_t i = 0; m->present != target; i++) {
        cell *c = model_any(m);

        if (i % 256 == 0)
            kv_thread_quiesce(m->domain);
        if ((i > m->n || model_draw(&m->rng) % 8 != 0) == up)
            assert_true(model_put(m, c, model_draw(&m->rng), model_deadline(m)));
        else
            model_take(m, c);
    }
}

/* ---- looking ---- */

static void look(model *m, const cell *c) KV_REQUIRES(kv_epoch_held)
{
    const entry *e = map_find(m->map, model_key(c), model_hash(m, c));

    assert_int_equal(e != NULL, c->present);
    if (e)
        assert_true(model_entry_is(e, c));
}

void model_enter(model *m) KV_ACQUIRES(kv_epoch_held)
{
    if (epoch_enter(m->domain))
        abort();
}

void model_look_at_all(model *m)
{
    map_stats stats;
    size_t with_deadline = 0;

    model_enter(m);
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

/* ---- scan and expiry ---- */

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

void model_see(void *arg, const entry *e)
{
    cell_of(arg, e)->seen = true;
}

void model_see_once(void *arg, const entry *e)
{
    cell *c = cell_of(arg, e);

    assert_false(c->seen);
    model_see(arg, e);
}

void model_due(void *arg, map_shard *s, const entry *e)
{
    model *m = arg;

    (void)s;
    assert_true(entry_deadline(e) <= NOW);
    model_see(m, e);
}

void model_expire_all(model *m, size_t max_segments)
{
    uint64_t position = 0;
    size_t removed = 0, expected = 0, calls = 0;

    for (size_t i = 0; i < m->n; i++) {
        m->cells[i].seen = false;
        expected += m->cells[i].present && m->cells[i].deadline_ms <= NOW;
    }
    while (removed < expected && calls++ < 2000)
        removed += map_expire(m->map, &position, NOW, max_segments, model_due, m);
    if (!m->fail_at) { /* without memory it may do nothing, but nothing wrong */
        assert_int_equal(removed, expected);
        position = 0;
        assert_int_equal(map_expire(m->map, &position, NOW, 0, model_due, m), 0);
        assert_int_equal(position, 0);
    }
    for (size_t i = 0; i < m->n; i++) {
        cell *c = &m->cells[i];

        assert_true(!c->seen || (c->present && c->deadline_ms <= NOW));
        m->present -= c->seen;
        c->present = c->present && !c->seen;
    }
}
