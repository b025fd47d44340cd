/* durations_test.c - tests of the histogram of times, and of the clock that measures them.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "durations.h"
#include "ticks.h"

static void every_time_is_in_the_bucket_that_names_its_longest(void **state)
{
    (void)state;
    for (uint64_t ns = 0; ns < UINT64_C(1) << 40; ns = ns < 4096 ? ns + 1 : ns + ns / 7) {
        uint64_t highest = durations_highest_like(ns);

        assert_true(highest >= ns);
        assert_true(highest - ns <= ns / 16);
        assert_true(durations_highest_like(highest) == highest);
        assert_true(durations_highest_like(highest + 1) > highest || highest + 1 == UINT64_C(1) << 40);
    }
}

static void percentiles_are_those_of_the_sorted_times(void **state)
{
    durations *d = calloc(1, sizeof *d);
    durations_sum sum = { 0 };

    (void)state;
    assert_int_equal(durations_percentile(&sum, 50), 0);
    for (uint64_t ns = 1; ns <= 1000; ns++)
        durations_add(d, 0, ns * 1000, 1);
    durations_sum_up(d, 0, &sum);
    assert_int_equal(sum.total, 1000);
    assert_true(durations_percentile(&sum, 50) == durations_highest_like(500000));
    assert_true(durations_percentile(&sum, 99) == durations_highest_like(990000));
    assert_true(durations_percentile(&sum, 100) == durations_highest_like(1000000));
    assert_true(durations_percentile(&sum, 0) == durations_highest_like(1000));
    assert_int_equal(durations_below(&sum, 1024), 1);
    assert_int_equal(durations_below(&sum, 262144), 262);
    assert_int_equal(durations_below(&sum, 1 << 20), 1000);
    free(d);
}

static void a_new_generation_begins_empty(void **state)
{
    durations *d = calloc(1, sizeof *d);
    durations_sum before = { 0 }, sum = { 0 };

    (void)state;
    durations_add(d, 0, 5, 64);
    durations_sum_up(d, 1, &before);
    assert_int_equal(before.total, 0);
    durations_add(d, 1, UINT64_MAX, 2);
    durations_sum_up(d, 1, &sum);
    assert_int_equal(sum.total, 2);
    assert_int_equal(sum.counts[DURATIONS_BUCKETS - 1], 2);
    free(d);
}

static void ticks_become_the_time_that_passed(void **state)
{
    ticks_clock clock;
    uint64_t start_ns, end_ns, start, ns;

    (void)state;
    ticks_init(&clock);
    start = ticks_now(&clock);
    start_ns = ticks_of_system();
    do
        end_ns = ticks_of_system();
    while (end_ns - start_ns < 5000000);
    ns = ticks_to_ns(&clock, ticks_now(&clock) - start);
    assert_true(ns >= (end_ns - start_ns) / 10 * 9);
    assert_int_equal(ticks_to_ns(&clock, (uint64_t)-5), 0);
    assert_true(ticks_of_ns(&clock, UINT64_MAX) == INT64_MAX || !clock.counter);
    ns = ticks_to_ns(&clock, ticks_of_ns(&clock, 1000000000));
    assert_in_range(ns, 999999000, 1000001000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_time_is_in_the_bucket_that_names_its_longest),
        cmocka_unit_test(percentiles_are_those_of_the_sorted_times),
        cmocka_unit_test(a_new_generation_begins_empty),
        cmocka_unit_test(ticks_become_the_time_that_passed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
