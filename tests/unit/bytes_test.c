/* bytes_test.c - kv_bytes: counting, showing, growing in place. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "bytes.h"

static void assert_slice(kv_slice slice, const char *text)
{
    assert_int_equal(slice.len, strlen(text));
    assert_memory_equal(slice.data, text, slice.len);
}

static void a_copy_outlives_what_it_was_made_from(void **state)
{
    char text[] = "hello";
    kv_bytes *bytes = kv_bytes_new(kv_str(text));

    (void)state;
    assert_non_null(bytes);
    text[0] = 'j';
    assert_slice(kv_bytes_slice(bytes), "hello");
    kv_bytes_unref(bytes);
}

static void the_last_reference_frees(void **state)
{
    kv_bytes *bytes = kv_bytes_new(KV_STR("x"));

    (void)state;
    assert_ptr_equal(kv_bytes_ref(bytes), bytes);
    kv_bytes_unref(bytes);
    assert_slice(kv_bytes_slice(bytes), "x"); /* AddressSanitizer knows if it was not */
    kv_bytes_unref(bytes);
    kv_bytes_unref(NULL);
    assert_null(kv_bytes_ref(NULL));
}

static void bytes_may_be_empty(void **state)
{
    kv_bytes *bytes = kv_bytes_new(kv_slice_of(NULL, 0));

    (void)state;
    assert_non_null(bytes);
    assert_int_equal(kv_bytes_slice(bytes).len, 0);
    kv_bytes_unref(bytes);
}

static void room_is_filled_by_the_caller(void **state)
{
    kv_bytes *bytes = kv_bytes_room(NULL, 3, 5);

    (void)state;
    assert_non_null(bytes);
    memcpy(kv_bytes_data(bytes), "abc", 3);
    assert_slice(kv_bytes_slice(bytes), "abc");
    assert_true(kv_bytes_size(bytes) >= 8);
    kv_bytes_unref(bytes);
}

static void growing_in_place_leaves_what_others_see(void **state)
{
    kv_bytes *bytes = kv_bytes_room(NULL, 3, 5);

    (void)state;
    memcpy(kv_bytes_data(bytes), "abc", 3);
    assert_true(kv_bytes_extend(bytes, 3, KV_STR("de")));
    assert_slice(kv_bytes_slice(bytes), "abc");
    assert_slice(kv_slice_of(kv_bytes_data(bytes), 5), "abcde");
    assert_true(kv_bytes_extend(bytes, 5, KV_STR("fgh")));
    assert_slice(kv_slice_of(kv_bytes_data(bytes), 8), "abcdefgh");
    kv_bytes_unref(bytes);
}

static void only_one_of_two_that_show_the_same_can_grow(void **state)
{
    kv_bytes *bytes = kv_bytes_room(NULL, 0, 8);

    (void)state;
    assert_true(kv_bytes_extend(bytes, 0, KV_STR("ab")));
    assert_false(kv_bytes_extend(bytes, 0, KV_STR("xy")));
    assert_slice(kv_slice_of(kv_bytes_data(bytes), 2), "ab");
    kv_bytes_unref(bytes);
}

static void nothing_grows_beyond_its_room(void **state)
{
    kv_bytes *bytes = kv_bytes_room(NULL, 2, 2);

    (void)state;
    assert_false(kv_bytes_extend(bytes, 2, KV_STR("abc")));
    assert_false(kv_bytes_extend(bytes, 9, KV_STR("")));
    assert_true(kv_bytes_extend(bytes, 2, KV_STR("ab")));
    assert_false(kv_bytes_extend(bytes, 4, KV_STR("c")));
    kv_bytes_unref(bytes);
}

static void room_that_cannot_be_had_is_refused(void **state)
{
    (void)state;
    assert_null(kv_bytes_room(NULL, SIZE_MAX, 0));
    assert_null(kv_bytes_room(NULL, 1, SIZE_MAX));
    assert_null(kv_bytes_room(NULL, SIZE_MAX / 2, SIZE_MAX / 2));
}

static void who_alone_has_seen_them_may_give_them_another_size(void **state)
{
    kv_bytes *bytes = kv_bytes_room(NULL, 3, 0), *grown;

    (void)state;
    assert_non_null(bytes);
    memcpy(kv_bytes_data(bytes), "abc", 3);
    assert_null(kv_bytes_resize(bytes, SIZE_MAX, 0));
    assert_null(kv_bytes_resize(bytes, 1, SIZE_MAX));
    grown = kv_bytes_resize(bytes, 200000, 2);
    assert_non_null(grown);
    assert_memory_equal(kv_bytes_data(grown), "abc", 3);
    assert_int_equal(kv_bytes_slice(grown).len, 200000);
    memset(kv_bytes_data(grown) + 3, 'd', 200000 - 3);
    assert_true(kv_bytes_extend(grown, 200000, KV_STR("ef")));
    assert_false(kv_bytes_extend(grown, 200002, KV_STR("g")));
    bytes = kv_bytes_resize(grown, 4, 0);
    assert_non_null(bytes);
    assert_slice(kv_bytes_slice(bytes), "abcd");
    assert_false(kv_bytes_extend(bytes, 4, KV_STR("e")));
    kv_bytes_unref(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_outlives_what_it_was_made_from),
        cmocka_unit_test(the_last_reference_frees),
        cmocka_unit_test(bytes_may_be_empty),
        cmocka_unit_test(room_is_filled_by_the_caller),
        cmocka_unit_test(growing_in_place_leaves_what_others_see),
        cmocka_unit_test(only_one_of_two_that_show_the_same_can_grow),
        cmocka_unit_test(nothing_grows_beyond_its_room),
        cmocka_unit_test(room_that_cannot_be_had_is_refused),
        cmocka_unit_test(who_alone_has_seen_them_may_give_them_another_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
