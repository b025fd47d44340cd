/* decimal_test.c - SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "decimal.h"

static void each_integer_has_one_text(void **state)
{
    static const struct {
        const char *text;
        int64_t value;
    } integers[] = {
        { "0", 0 },
        { "7", 7 },
        { "-1", -1 },
        { "10", 10 },
        { "1234567890123456789", 1234567890123456789 },
        { "9223372036854775807", INT64_MAX },
        { "-9223372036854775808", INT64_MIN },
    };
    char buffer[DECIMAL_MAX];
    int64_t value;

    (void)state;
    for (size_t i = 0; i < sizeof integers / sizeof integers[0]; i++) {
        assert_true(decimal_parse(kv_str(integers[i].text), &value));
        assert_true(value == integers[i].value);
        assert_true(kv_slice_equal(decimal_format(buffer, value), kv_str(integers[i].text)));
    }
}

static void other_text_is_no_integer(void **state)
{
    static const char *const others[] = {
        "",
        "-",
        "+1",
        "00",
        "01",
        "-0",
        "-01",
        " 1",
        "1 ",
        "1.0",
        "1e3",
        "0x1",
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "99999999999999999999",
        "100000000000000000000",
        "184467440737095516160",
    };
    int64_t value = 42;

    (void)state;
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(decimal_parse(kv_str(others[i]), &value));
    assert_false(decimal_parse(kv_slice_of("1\0", 2), &value));
    assert_int_equal(value, 42);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_integer_has_one_text),
        cmocka_unit_test(other_text_is_no_integer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
