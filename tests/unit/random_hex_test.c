/* random_hex_test.c - names of random digits. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "random_hex.h"

static void a_name_is_as_long_as_it_should_be_and_of_digits(void **state)
{
    static const size_t lengths[] = { 0, 1, 31, 32, 33, 40, 100 };
    char text[102];

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        memset(text, '!', sizeof text);
        random_hex(text, lengths[i]);
        assert_int_equal(strlen(text), lengths[i]);
        assert_int_equal(strspn(text, "0123456789abcdef"), lengths[i]);
        assert_int_equal(text[lengths[i] + 1], '!');
    }
}

static void two_names_differ(void **state)
{
    char a[41], b[41];

    (void)state;
    random_hex(a, 40);
    random_hex(b, 40);
    assert_string_not_equal(a, b);
    assert_int_not_equal(strspn(a, "0"), 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_as_long_as_it_should_be_and_of_digits),
        cmocka_unit_test(two_names_differ),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
