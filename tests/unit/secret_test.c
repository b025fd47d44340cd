/* secret_test.c - tests of secret.c.
 *
 * SPDX-License-Identifier: MIT */
#include "secret.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* The secret ones of the words, as a string of '-' and '*'. */
static void expect_hidden(const char *hidden, int argc, const kv_slice argv[])
{
    const kv_command *row = kv_command_find(argv[0]),
                     *sub = argc > 1 ? kv_command_find_sub(row, argv[1]) : NULL;

    assert_non_null(row);
    assert_int_equal(strlen(hidden), argc);
    for (int i = 0; i < argc; i++)
        assert_int_equal(secret_argument(sub ? sub : row, argc, argv, i), hidden[i] == '*');
}
#define HIDDEN(hidden, ...)                                                                    \
    expect_hidden(hidden, (int)(sizeof((const kv_slice[]){ __VA_ARGS__ }) / sizeof(kv_slice)), \
                  (const kv_slice[]){ __VA_ARGS__ })
#define W KV_STR

static void passwords_and_rules_are_secret(void **state)
{
    (void)state;
    HIDDEN("-*", W("auth"), W("pw"));
    HIDDEN("-**", W("AUTH"), W("alice"), W("pw"));
    HIDDEN("---**", W("hello"), W("3"), W("auth"), W("alice"), W("pw"));
    HIDDEN("---**--", W("hello"), W("3"), W("AUTH"), W("auth"), W("auth"), W("setname"), W("me"));
    HIDDEN("-----**", W("hello"), W("3"), W("setname"), W("me"), W("auth"), W("a"), W("b"));
    HIDDEN("-------*--", W("migrate"), W("h"), W("1"), W(""), W("0"), W("5"), W("auth"), W("pw"), W("keys"),
           W("k"));
    HIDDEN("--------**-", W("migrate"), W("h"), W("1"), W("k"), W("0"), W("5"), W("copy"), W("AUTH2"), W("u"),
           W("pw"), W("replace"));
    HIDDEN("--**", W("acl"), W("setuser"), W("alice"), W(">pw"));
    HIDDEN("--*", W("ACL"), W("GETUSER"), W("alice"));
    HIDDEN("---*", W("config"), W("set"), W("requirepass"), W("pw"));
    HIDDEN("-----*-*", W("CONFIG"), W("SET"), W("maxmemory"), W("1gb"), W("RequirePass"), W("pw"),
           W("masterauth"), W("pw"));
}

static void all_else_is_shown(void **state)
{
    (void)state;
    HIDDEN("---", W("set"), W("auth"), W("x"));
    HIDDEN("---", W("config"), W("get"), W("requirepass"));
    HIDDEN("----", W("config"), W("set"), W("maxmemory"), W("requirepass"));
    HIDDEN("--", W("hello"), W("3"));
    HIDDEN("--", W("echo"), W("auth"));
}

static void equality_is_that_of_all_bytes(void **state)
{
    char bytes[32] = "same", other[32] = "same";

    (void)state;
    assert_true(secret_equal(bytes, other, sizeof bytes));
    other[31] = 1;
    assert_false(secret_equal(bytes, other, sizeof bytes));
    assert_true(secret_equal(bytes, other, 31));
    secret_wipe(bytes, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes; i++)
        assert_int_equal(bytes[i], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passwords_and_rules_are_secret),
        cmocka_unit_test(all_else_is_shown),
        cmocka_unit_test(equality_is_that_of_all_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
