/* figures_test.c - percentiles, progress, INFO, and what changed between two pictures. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "confirm.h"
#include "histogram.h"
#include "info.h"
#include "progress.h"
#include "watch.h"

static void percentiles_are_right_to_within_a_bucket(void **state)
{
    static histogram h;

    (void)state;
    assert_int_equal(histogram_percentile(&h, 50), 0);
    for (uint64_t i = 1; i <= 100000; i++)
        histogram_add(&h, i);
    assert_in_range(histogram_percentile(&h, 50), 50000, 50800);
    assert_in_range(histogram_percentile(&h, 99), 99000, 100000);
    assert_int_equal(histogram_percentile(&h, 100), 100000);
    assert_int_equal(h.least, 1);
    assert_int_equal(h.most, 100000);
    assert_true(histogram_mean(&h) == 50000.5);
}

static void small_and_huge_values_have_buckets(void **state)
{
    static histogram h;

    (void)state;
    for (uint64_t i = 0; i < 128; i++)
        histogram_add(&h, i);
    for (int percent = 1; percent <= 100; percent++) /* exact below 128 */
        assert_int_equal(histogram_percentile(&h, percent), (128 * percent + 99) / 100 - 1);
    histogram_add(&h, UINT64_MAX);
    assert_true(histogram_percentile(&h, 100) > 1000);
    assert_true(h.most == UINT64_MAX);
}

static void number_is(double n, const char *expected)
{
    text out = { 0 };

    progress_number(n, &out);
    assert_string_equal(text_str(&out), expected);
    text_done(&out);
}

static void large_numbers_are_short(void **state)
{
    (void)state;
    number_is(0, "0");
    number_is(999, "999");
    number_is(1000, "1.0k");
    number_is(1234567, "1.2M");
    number_is(999960, "1.0M");
    number_is(5e9, "5.0G");
}

static void line_is(double done, double total, double seconds, const char *expected)
{
    progress p = { .unit = "keys", .done = done, .total = total };
    text out = { 0 };

    progress_line(&p, seconds, &out);
    assert_string_equal(text_str(&out), expected);
    text_done(&out);
}

static void progress_tells_rate_part_and_time_left(void **state)
{
    (void)state;
    line_is(500, 1000, 5, "[############            ]  50%  500 keys  100/s  ETA 0:05");
    line_is(1200, 1000, 10, "[########################] 100%  1.2k keys  120/s  ETA 0:00");
    line_is(5000, 0, 2, "5.0k keys  2.5k/s");
    line_is(0, 1000, 0, "[                        ]   0%  0 keys  0/s");
}

static void note(void *arg, kvc_slice rest, kvc_slice value)
{
    text_printf(arg, "%.*s=%.*s;", (int)rest.len, rest.data, (int)value.len, value.data);
}

static void info_is_looked_up(void **state)
{
    info i = { 0 };
    text seen = { 0 };

    (void)state;
    text_add_str(&i.lines, "# Memory\r\nused_memory:1024\r\nused_memory_human:1.00K\r\n\r\n# Keyspace\r\n"
                           "db0:keys=5,expires=1\r\ndb3:keys=7,expires=0\r\n");
    assert_true(info_number(&i, "used_memory", -1) == 1024);
    assert_true(info_number(&i, "memory", -1) == -1);
    assert_null(info_find(&i, "used").data);
    info_each(&i, "db", note, &seen);
    assert_string_equal(text_str(&seen), "0=keys=5,expires=1;3=keys=7,expires=0;");
    assert_true(info_field(kvc_str("calls=5,usec=17"), "usec", 0) == 17);
    assert_true(info_field(kvc_str("calls=5,usec=17"), "sec", -1) == -1);
    text_done(&seen);
    info_done(&i);
}

static void marks(const char *before, const char *now, const char *expected)
{
    text out = { 0 };

    watch_mark(kvc_str(before), kvc_str(now), &out);
    assert_string_equal(text_str(&out), expected);
    text_done(&out);
}

static void what_changed_is_marked(void **state)
{
    (void)state;
    marks("a\n", "a\n", "a\n");
    marks("x:1\ny:2\n", "x:1\ny:3\n", "x:1\ny:\x1b[7m3\x1b[27m\n");
    marks("keys=5,expires=1", "keys=6,expires=1", "keys=\x1b[7m6\x1b[27m,expires=1");
    marks("a\n", "a\nnew\n", "a\n\x1b[7mnew\x1b[27m\n");
    marks("a b\n", "a\n", "a\n");
}

static bool is_dangerous(const char *line)
{
    words w = { 0 };
    bool dangerous;

    assert_null(words_split(kvc_str(line), &w));
    dangerous = confirm_reason(w.n, w.items) != NULL;
    words_done(&w);
    return dangerous;
}

static void dangers_are_known(void **state)
{
    (void)state;
    assert_true(is_dangerous("FLUSHALL async"));
    assert_true(is_dangerous("shutdown nosave"));
    assert_true(is_dangerous("config resetstat"));
    assert_false(is_dangerous("config get save"));
    assert_false(is_dangerous("get flushall"));
    assert_false(is_dangerous("del key"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_right_to_within_a_bucket),
        cmocka_unit_test(small_and_huge_values_have_buckets),
        cmocka_unit_test(large_numbers_are_short),
        cmocka_unit_test(progress_tells_rate_part_and_time_left),
        cmocka_unit_test(info_is_looked_up),
        cmocka_unit_test(what_changed_is_marked),
        cmocka_unit_test(dangers_are_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
