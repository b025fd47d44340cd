/* latency_test.c - tests of the list of events that took long.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "latency.h"

static void only_what_reaches_the_threshold_is_kept(void **state)
{
    latency_monitor *l = latency_new();
    latency_event e;

    (void)state;
    latency_add(l, "command", 1000, 1000);
    assert_false(latency_read(l, KV_STR("command"), &e));
    atomic_store(&l->threshold_ms, 10);
    latency_add(l, "command", 9, 1000);
    assert_false(latency_read(l, KV_STR("command"), &e));
    latency_add(l, "command", 10, 1000);
    assert_true(latency_read(l, KV_STR("command"), &e));
    assert_int_equal(e.count, 1);
    latency_free(l);
}

static void of_a_second_the_longest_is_kept_and_of_all_the_newest(void **state)
{
    latency_monitor *l = latency_new();
    latency_event e;

    (void)state;
    atomic_store(&l->threshold_ms, 1);
    latency_add(l, "x", 500, 1000);
    latency_add(l, "x", 700, 1999);
    latency_add(l, "x", 600, 1999);
    assert_true(latency_read(l, KV_STR("x"), &e));
    assert_int_equal(e.count, 1);
    assert_int_equal(e.samples[0].time_s, 1);
    assert_int_equal(e.samples[0].ms, 700);
    for (int s = 2; s < 2 + 2 * LATENCY_SAMPLES; s++)
        latency_add(l, "x", s, s * 1000);
    assert_true(latency_read(l, KV_STR("x"), &e));
    assert_int_equal(e.count, LATENCY_SAMPLES);
    assert_int_equal(e.max_ms, 700);
    for (int i = 0; i < LATENCY_SAMPLES; i++)
        assert_int_equal(e.samples[i].time_s, 2 + LATENCY_SAMPLES + i);
    latency_free(l);
}

static void events_are_forgotten_one_by_one_or_all(void **state)
{
    static const char *const names[] = { "a", "b", "c" };
    const char *found[LATENCY_EVENTS];
    latency_monitor *l = latency_new();

    (void)state;
    atomic_store(&l->threshold_ms, 1);
    for (int i = 0; i < 3; i++)
        latency_add(l, names[i], 1, 0);
    assert_int_equal(latency_reset(l, KV_STR("b")), 1);
    assert_int_equal(latency_reset(l, KV_STR("b")), 0);
    assert_int_equal(latency_names(l, found), 2);
    assert_string_equal(found[1], "c");
    assert_int_equal(latency_reset(l, kv_slice_of(NULL, 0)), 2);
    assert_int_equal(latency_names(l, found), 0);
    latency_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_reaches_the_threshold_is_kept),
        cmocka_unit_test(of_a_second_the_longest_is_kept_and_of_all_the_newest),
        cmocka_unit_test(events_are_forgotten_one_by_one_or_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
