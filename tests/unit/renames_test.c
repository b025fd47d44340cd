/* renames_test.c - tests of renames.c.
 *
 * SPDX-License-Identifier: MIT */
#include "renames.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const kv_command *row_of(int id)
{
    return &kv_command_table[id];
}

static void without_renames_the_table_decides(void **state)
{
    (void)state;
    assert_ptr_equal(kv_renames_find(NULL, KV_STR("GET")), row_of(KV_COMMAND_get));
    assert_ptr_equal(kv_renames_find_full(NULL, KV_STR("config|get")), row_of(KV_COMMAND_config_get));
    assert_null(kv_renames_find(NULL, KV_STR("nope")));
    assert_true(kv_renames_has(NULL, row_of(KV_COMMAND_get)));
}

static void a_renamed_command_has_one_name(void **state)
{
    kv_renames *r = kv_renames_new();

    (void)state;
    assert_int_equal(kv_renames_add(r, KV_STR("CONFIG"), KV_STR("cfg")), KV_RENAME_OK);
    assert_null(kv_renames_find(r, KV_STR("config")));
    assert_ptr_equal(kv_renames_find(r, KV_STR("CFG")), row_of(KV_COMMAND_config));
    assert_ptr_equal(kv_renames_find_full(r, KV_STR("cfg|get")), row_of(KV_COMMAND_config_get));
    assert_null(kv_renames_find_full(r, KV_STR("config|get")));
    assert_true(kv_renames_has(r, row_of(KV_COMMAND_config)));
    assert_true(kv_renames_has(r, row_of(KV_COMMAND_config_get)));
    assert_ptr_equal(kv_renames_find(r, KV_STR("get")), row_of(KV_COMMAND_get));
    kv_renames_free(r);
}

static void a_removed_command_has_none(void **state)
{
    kv_renames *r = kv_renames_new();

    (void)state;
    assert_int_equal(kv_renames_add(r, KV_STR("flushall"), KV_STR("")), KV_RENAME_OK);
    assert_null(kv_renames_find(r, KV_STR("flushall")));
    assert_null(kv_renames_find(r, KV_STR("")));
    assert_false(kv_renames_has(r, row_of(KV_COMMAND_flushall)));
    assert_int_equal(kv_renames_add(r, KV_STR("flushall"), KV_STR("x")), KV_RENAME_UNKNOWN);
    kv_renames_free(r);
}

static void names_may_be_exchanged_by_way_of_a_third(void **state)
{
    kv_renames *r = kv_renames_new();

    (void)state;
    assert_int_equal(kv_renames_add(r, KV_STR("get"), KV_STR("set")), KV_RENAME_TAKEN);
    assert_int_equal(kv_renames_add(r, KV_STR("get"), KV_STR("third")), KV_RENAME_OK);
    assert_int_equal(kv_renames_add(r, KV_STR("set"), KV_STR("get")), KV_RENAME_OK);
    assert_int_equal(kv_renames_add(r, KV_STR("third"), KV_STR("set")), KV_RENAME_OK);
    assert_ptr_equal(kv_renames_find(r, KV_STR("get")), row_of(KV_COMMAND_set));
    assert_ptr_equal(kv_renames_find(r, KV_STR("set")), row_of(KV_COMMAND_get));
    assert_null(kv_renames_find(r, KV_STR("third")));
    assert_int_equal(kv_renames_add(r, KV_STR("set"), KV_STR("")), KV_RENAME_OK);
    assert_null(kv_renames_find(r, KV_STR("set")));
    assert_false(kv_renames_has(r, row_of(KV_COMMAND_get)));
    kv_renames_free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_renames_the_table_decides),
        cmocka_unit_test(a_renamed_command_has_one_name),
        cmocka_unit_test(a_removed_command_has_none),
        cmocka_unit_test(names_may_be_exchanged_by_way_of_a_third),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
