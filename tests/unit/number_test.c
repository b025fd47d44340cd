/* number_test.c - fractions as text. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <locale.h>
#include <math.h>
#include <stdlib.h>

#include "number.h"

static void assert_formats(const char *text, const char *expected)
{
    char buffer[NUMBER_TEXT_MAX];
    long double value;
    kv_slice got;

    assert_true(number_parse(kv_str(text), &value));
    assert_true(number_format(value, buffer, &got));
    assert_int_equal(got.len, strlen(expected));
    assert_memory_equal(got.data, expected, got.len);
}

static void assert_refused(kv_slice text)
{
    long double value = 42;

    assert_false(number_parse(text, &value));
    assert_true(value == 42);
}

static void fractions_survive_a_round_trip(void **state)
{
    (void)state;
    assert_formats("10.5", "10.5");
    assert_formats("3.0e3", "3000");
    assert_formats("-0", "0");
    assert_formats("-0.1", "-0.1");
    assert_formats("+1", "1");
    assert_formats(".5", "0.5");
    assert_formats("0x10", "16");
    assert_formats("1e17", "100000000000000000");
    assert_formats("100", "100");
    assert_formats("0.00000000000000001", "0.00000000000000001");
    assert_formats("1e-30", "0");
    assert_formats("-1e-30", "0");
}

static void only_a_whole_number_is_one(void **state)
{
    (void)state;
    assert_refused(KV_STR(""));
    assert_refused(KV_STR(" 1"));
    assert_refused(KV_STR("1 "));
    assert_refused(KV_STR("1x"));
    assert_refused(KV_STR("x"));
    assert_refused(KV_STR("nan"));
    assert_refused(KV_STR("-nan(1)"));
    assert_refused(KV_STR("1e5000"));
    assert_refused(KV_STR("1e-5000"));
    assert_refused(kv_slice_of("1\0", 2));
    assert_refused(kv_slice_of("1\0002", 3));
    assert_refused(KV_STR("1,5"));
}

static void a_long_text_is_refused_before_it_is_copied(void **state)
{
    char *text = malloc(NUMBER_TEXT_MAX);
    long double value;

    (void)state;
    assert_non_null(text);
    memset(text, '1', NUMBER_TEXT_MAX);
    assert_refused(kv_slice_of(text, NUMBER_TEXT_MAX));
    text[1] = '.';
    assert_true(number_parse(kv_slice_of(text, NUMBER_TEXT_MAX - 1), &value));
    free(text);
}

static void what_is_not_finite_has_no_text(void **state)
{
    char buffer[NUMBER_TEXT_MAX];
    long double value;
    kv_slice text;

    (void)state;
    assert_true(number_parse(KV_STR("inf"), &value));
    assert_false(number_format(value, buffer, &text));
    assert_true(number_parse(KV_STR("-Infinity"), &value));
    assert_false(number_format(value, buffer, &text));
    assert_false(number_format(value - value, buffer, &text));
}

static void the_largest_number_fits(void **state)
{
    char buffer[NUMBER_TEXT_MAX];
    long double value;
    kv_slice text;

    (void)state;
    assert_true(number_parse(KV_STR("-1.18973149535723176502e+4932"), &value));
    assert_true(number_format(value, buffer, &text));
    assert_int_equal(text.len, 4934);
}

/* A program with a decimal comma gets the same texts, if this machine knows such a locale. */
static void the_locale_does_not_matter(void **state)
{
    locale_t german = newlocale(LC_ALL_MASK, "de_DE.UTF-8", (locale_t)0), before;

    (void)state;
    if (!german)
        skip();
    before = uselocale(german);
    fractions_survive_a_round_trip(state);
    only_a_whole_number_is_one(state);
    uselocale(before);
    freelocale(german);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fractions_survive_a_round_trip),
        cmocka_unit_test(only_a_whole_number_is_one),
        cmocka_unit_test(a_long_text_is_refused_before_it_is_copied),
        cmocka_unit_test(what_is_not_finite_has_no_text),
        cmocka_unit_test(the_largest_number_fits),
        cmocka_unit_test(the_locale_does_not_matter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
