/* map_whole_test.c - what concerns a map as a whole: its size, its versions, its locks; clearing it, exchanging it for another.
 * SPDX-License-Identifier: MIT */
#include "map_bed.h"

static void an_empty_map_is_small(void **state)
{
    model m;

    (void)state;
    model_start(&m, 5, 0, NULL);
    assert_true(m.bytes <= 1024);
    model_move_to(&m, 255);
    for (size_t i = 0; i < m.n; i++)
        assert_true(model_put(&m, &m.cells[i], i, KV_FOREVER));
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
        assert_true(model_put(&m, &m.cells[i], i, KV_FOREVER));
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
        assert_true(model_put(&m, &m.cells[0], 1, KV_FOREVER));
        assert_int_equal(m.cells[0].version, last + 16);
        last += 16;
        if (i % 3 == 0)
            model_take(&m, &m.cells[0]);
    }
    model_done(&m);
}

static void the_same_key_may_be_locked_twice(void **state)
{
    model m;
    map_key keys[4];
    map_shard *scratch[4];

    (void)state;
    model_start(&m, 20000, 0, NULL);
    model_move_to(&m, 255);
    for (size_t i = 0; i < 4; i++)
        keys[i] = (map_key){ m.map, model_hash(&m, &m.cells[i / 2]), NULL };
    map_lock_many(keys, 4, scratch);
    assert_ptr_equal(keys[0].shard, keys[1].shard);
    map_place place = shard_find(keys[2].shard, model_key(&m.cells[1]), keys[2].hash);
    assert_int_equal(place.entry != NULL, m.cells[1].present);
    map_unlock_many(keys, 4, scratch);
    model_look_at_all(&m);
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
    model_move_to(&m, 200);
    version = m.cells[0].version;
    assert_false(map_clear(m.map, debris, count_call, &calls)); /* one shard has become many */
    assert_int_equal(calls, 1);
    model_look_at_all(&m);
    assert_false(map_debris_free(debris, 1));
    debris = map_debris_new(m.map);
    assert_true(map_clear(m.map, debris, NULL, NULL));
    for (size_t i = 0; i < m.n; i++)
        m.cells[i].present = false;
    m.present = 0;
    model_look_at_all(&m);
    assert_true(map_debris_free(debris, 1));
    while (map_debris_free(debris, 7))
        ;
    assert_true(model_put(&m, &m.cells[0], 1, KV_FOREVER));
    assert_true(m.cells[0].version > version);
    model_look_at_all(&m);
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
    model_move_to(&m, 255);
    map_swap(full, empty, 0, count_call, &calls);
    assert_int_equal(calls, 1);
    assert_int_equal(map_count(full), 0);
    map_check(full);
    m.map = empty;
    model_look_at_all(&m);
    model_move_to(&m, 100);
    map_swap(m.map, m.map, 0, count_call, &calls);
    assert_int_equal(calls, 2);
    map_swap(empty, full, 0, NULL, NULL);
    m.map = full;
    model_look_at_all(&m);
    assert_int_equal(map_count(empty), 0);
    map_free(empty);
    model_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_is_small),
        cmocka_unit_test(the_index_costs_less_than_seventeen_bytes_an_entry),
        cmocka_unit_test(versions_never_repeat),
        cmocka_unit_test(the_same_key_may_be_locked_twice),
        cmocka_unit_test(clearing_leaves_an_empty_map_and_debris),
        cmocka_unit_test(swapping_exchanges_the_contents),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
