/* map_ahead_test.c - finding many keys at once: at one moment, and by what reading ahead has learned of them.
 * SPDX-License-Identifier: MIT */
#include "map_bed.h"

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
        assert_true(model_entry_is(before, told->cell));
    assert_true(kv_slice_equal(entry_key(fresh), model_key(told->cell)));
}

/* put, by the way that does all in one; hint: as old as it may be, or NULL. */
static void put_in_one(model *m, cell *c, uint64_t number, const map_hint *hint) KV_REQUIRES(kv_epoch_held)
{
    struct told told = { m, c, 0 };
    entry *before = NULL, *fresh = model_build(m, c, number, KV_FOREVER);
    int err;

    assert_non_null(fresh);
    err = map_put(m->map, model_key(c), model_hash(m, c), hint, fresh, &before, number & 1 ? tell : NULL,
                  &told);
    assert_int_equal(err, 0);
    assert_int_equal(told.calls, number & 1);
    assert_int_equal(before != NULL, c->present);
    entry_retire(m->domain, before);
    m->present += !c->present;
    *c = (cell){ c->name, number, KV_FOREVER, fresh->version, true, false };
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
    model_move_to(&m, 128);
    for (size_t i = 0; i < N; i++) {
        keys[i] = model_key(&m.cells[2 * i]);
        hashes[i] = model_hash(&m, &m.cells[2 * i]);
    }
    model_enter(&m);
    map_find_many(m.map, N, keys, hashes, found);
    for (size_t i = 0; i < N; i++)
        assert_ptr_equal(found[i], map_find(m.map, keys[i], hashes[i]));
    epoch_leave(m.domain);
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
        ahead->cells[i] = &m->cells[model_draw(&m->rng) % m->n];
        ahead->names[2 * i] = model_key(ahead->cells[i]);
        ahead->names[2 * i + 1] = kv_slice_of("not a key", 9);
        ahead->hashes[i] = model_hash(m, ahead->cells[i]);
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
            assert_true(model_entry_is(e, ahead->cells[i]));
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

            model_enter(&m);
            read_ahead(&m, &ahead);
            run_finds_what_is_there(&m, &ahead);
            for (size_t i = 0; i < m.n / 20 + 1; i++) {
                cell *c = &m.cells[model_draw(&m.rng) % m.n];

                if (round % 20 < 13)
                    put_in_one(&m, c, model_draw(&m.rng), NULL);
                else
                    model_take(&m, c);
            }
            for (size_t i = 0; i < run_length; i += 3)
                put_in_one(&m, ahead.cells[i], model_draw(&m.rng), &ahead.hints[i]);
            run_finds_what_is_there(&m, &ahead);
            epoch_leave(m.domain);
        }
        model_look_at_all(&m);
        map_check(m.map);
        model_done(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(find_many_finds_what_find_finds),
        cmocka_unit_test(old_hints_mislead_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
