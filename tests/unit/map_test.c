/* map_test.c - the map as a dictionary: keys come and go, by the thousand, of any hash and of hashes chosen to hurt; and with memory
 * out at any moment. SPDX-License-Identifier: MIT */
#include "map_bed.h"

static void scan_sees_exactly_what_is_there(model *m)
{
    uint64_t cursor = 0;

    for (size_t i = 0; i < m->n; i++)
        m->cells[i].seen = false;
    do {
        model_enter(m);
        cursor = map_scan(m->map, cursor, model_see_once, m);
        epoch_leave(m->domain);
    } while (cursor);
    for (size_t i = 0; i < m->n; i++)
        assert_int_equal(m->cells[i].seen, m->cells[i].present);
}

static void layout_counts_what_is_there(model *m)
{
    map_layout layout;
    size_t buckets = 0, entries = 0;

    model_enter(m);
    map_read_layout(m->map, &layout);
    epoch_leave(m->domain);
    assert_int_equal(layout.entries, map_count(m->map));
    for (size_t n = 0; n < MAP_LAYOUT_HOMES; n++) {
        buckets += layout.homes[n];
        entries += n * layout.homes[n];
    }
    assert_int_equal(layout.buckets, buckets);
    assert_int_equal(layout.homes_used, buckets - layout.homes[0]);
    assert_true(layout.looks >= layout.entries);
    if (layout.longest < MAP_LAYOUT_HOMES)
        assert_int_equal(layout.entries, entries);
}

/* Up and down several times, with everything looked at in between. */
static void compare(size_t n, uint64_t mask, const map_options *options)
{
    static const uint8_t parts[] = { 10, 40, 20, 100, 255, 130, 60, 5, 80, 0, 255, 30, 0 };
    model m;
    map_stats stats;

    model_start(&m, n, mask, options);
    assert_int_equal(kv_thread_register(m.domain), 0);
    for (size_t i = 0; i < sizeof parts; i++) {
        model_move_to(&m, parts[i]);
        model_look_at_all(&m);
        scan_sees_exactly_what_is_there(&m);
        layout_counts_what_is_there(&m);
        if (i % 3 == 1) {
            model_expire_all(&m, i % 2 ? 3 : 0);
            model_look_at_all(&m);
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

/* Everything a map does, with failures allowed; whatever fails has changed nothing. Returns whether any did. */
static bool do_everything(model *m)
{
    bool failed = false;
    map_debris *debris = NULL;

    for (size_t i = 0; i < m->n; i++) {
        failed |= !model_put(m, &m->cells[i], i, model_deadline(m));
        if (i % 3 == 0)
            failed |= !model_put(m, model_any(m), i, model_deadline(m));
        if (i % 512 == 0)
            epoch_reclaim(m->domain);
    }
    model_look_at_all(m);
    model_expire_all(m, 0);
    for (size_t i = 0; i < m->n; i += 1 + i % 3)
        model_take(m, &m->cells[i]);
    model_look_at_all(m);
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
        failed |= !model_put(m, &m->cells[i], i, KV_FOREVER);
    model_look_at_all(m);
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
        cmocka_unit_test(a_failed_allocation_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
