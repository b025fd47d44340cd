/* map_walk_test.c - the ways through a map that do not begin with a key: scans, random entries, what is due.
 * SPDX-License-Identifier: MIT */
#include "map_bed.h"

#include <stdlib.h>

/* However many are model_due, a step takes some hundred of them; and where nothing is model_due, not many looks. */
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
        assert_true(model_put(&m, &m.cells[i], i, NOW));
    do {
        at_once = map_expire(m.map, &position, NOW, 3, model_due, &m);
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
        assert_true(model_put(&m, &m.cells[i], i, i == 77 ? NOW : NOW + 1));
    assert_true(model_put(&m, &m.cells[77], 0, KV_FOREVER));
    for (steps = 0; steps == 0 || position; steps++)
        assert_int_equal(map_expire(m.map, &position, NOW, 1, model_due, &m), 0);
    assert_in_range(steps, 2, N / 400);
    model_look_at_all(&m);
    model_done(&m);
}

static void any_cursor_is_a_valid_one(void **state)
{
    model m;

    (void)state;
    model_start(&m, 9000, 0, NULL);
    model_move_to(&m, 255);
    model_enter(&m);
    for (int i = 0; i < 20000; i++)
        map_scan(m.map, model_draw(&m.rng) >> model_draw(&m.rng) % 64, model_see, &m);
    map_scan(m.map, UINT64_MAX, model_see, &m);
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
                assert_true(model_put(&m, &m.cells[i], i, KV_FOREVER));
        for (size_t turn = 0; turn == 0 || cursor; turn++) {
            bool grow = turn / 40 % 2 == (unsigned)run % 2;

            model_enter(&m);
            cursor = map_scan(m.map, cursor, model_see_once, &m);
            epoch_leave(m.domain);
            for (size_t i = 0; turn < 400 && i < 250; i++) {
                cell *c = &m.cells[STAY + model_draw(&m.rng) % (m.n - STAY)];

                if (grow)
                    assert_true(model_put(&m, c, i, KV_FOREVER));
                else
                    model_take(&m, c);
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
        assert_true(model_put(&m, &m.cells[i], i, KV_FOREVER));
    for (size_t i = filled; i < n; i++)
        model_take(&m, &m.cells[i]);
    for (size_t i = 0; i < filled * draws_per_key; i++) {
        model_enter(&m);
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
    model_enter(&m);
    assert_null(map_random(m.map, &m.rng));
    epoch_leave(m.domain);
    model_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cursor_is_a_valid_one),
        cmocka_unit_test(a_scan_sees_once_what_stays_while_the_map_changes),
        cmocka_unit_test(a_random_entry_is_any_with_equal_chance),
        cmocka_unit_test(an_empty_map_has_no_random_entry),
        cmocka_unit_test(expiry_goes_in_steps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
