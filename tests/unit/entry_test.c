/* entry_test.c - an entry gives back what it was made of, whatever its shape. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "entry.h"

static int set_up(void **state)
{
    *state = kv_domain_new(NULL);
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    kv_domain_unref(*state);
    return 0;
}

/* All shapes: key and value lengths around every limit, with and without deadline. */
/* Not inlined: the compiler does not know that assert_non_null ends the test, and would warn of what cannot
 * happen after it. */
static __attribute__((noinline)) entry *made(kv_domain *domain, const entry_parts *parts)
{
    entry *e = entry_new(domain, parts);

    assert_non_null(e);
    return e;
}

static void every_shape_gives_back_what_it_was_made_of(void **state)
{
    static const size_t key_lens[] = { 0, 1, 7, 8, 16, 255, 65534, 65535, 65536, 200000 };
    static const size_t value_lens[] = { 0, 1, 32, ENTRY_INLINE_MAX, ENTRY_INLINE_MAX + 1, 100000 };
    char *text = malloc(300000);

    assert_non_null(text);
    for (size_t i = 0; i < 300000; i++)
        text[i] = (char)(i * 31 + i / 256);
    for (size_t k = 0; k < sizeof key_lens / sizeof key_lens[0]; k++) {
        for (size_t v = 0; v < sizeof value_lens / sizeof value_lens[0]; v++) {
            for (int deadline = 0; deadline < 2; deadline++) {
                entry_parts parts = { .key = kv_slice_of(text, key_lens[k]),
                                      .value = kv_slice_of(text + 5, value_lens[v]),
                                      .deadline_ms = deadline ? 123456789 : KV_FOREVER,
                                      .access = 77 };
                entry *e = made(*state, &parts);
                kv_bytes *bytes;

                assert_true(kv_slice_equal(entry_key(e), parts.key));
                assert_true(kv_slice_equal(entry_value(e, &bytes), parts.value));
                assert_int_equal(bytes != NULL, value_lens[v] > ENTRY_INLINE_MAX);
                assert_int_equal(entry_deadline(e), parts.deadline_ms);
                assert_int_equal(entry_access(e), 77);
                assert_int_equal(entry_type(e), ENTRY_STRING);
                assert_true(entry_size(e) >= sizeof(entry) + key_lens[k] + value_lens[v]);
                entry_free(*state, e);
            }
        }
    }
    free(text);
}

static void a_typical_entry_has_sixteen_bytes_of_header(void **state)
{
    entry_parts parts = { .key = KV_STR("0123456789abcdef"),
                          .value = KV_STR("0123456789abcdef0123456789abcdef"),
                          .deadline_ms = KV_FOREVER };
    entry *e = made(*state, &parts);

    assert_int_equal(entry_size(e), 64);
    assert_int_equal((uintptr_t)e % 64, 0);
    entry_free(*state, e);
}

static void room_in_an_entry_is_filled_later(void **state)
{
    entry_parts parts = { .key = KV_STR("key"), .value = kv_slice_of(NULL, 5), .deadline_ms = KV_FOREVER };
    entry *e = entry_new(*state, &parts);

    assert_non_null(e);
    memcpy(entry_value_room(e), "12345", 5);
    assert_true(kv_slice_equal(entry_value(e, NULL), KV_STR("12345")));
    assert_true(kv_slice_equal(entry_key(e), KV_STR("key")));
    entry_free(*state, e);
}

static void a_reference_is_taken_over(void **state)
{
    kv_bytes *bytes = kv_bytes_room(NULL, 4, 100), *shown;

    assert_non_null(bytes);
    memcpy(kv_bytes_data(bytes), "abcd", 4);
    entry_parts parts = { .key = KV_STR("key"),
                          .bytes = kv_bytes_ref(bytes),
                          .value = { NULL, 3 },
                          .deadline_ms = 5,
                          .encoding = ENTRY_RAW };
    entry *e = entry_new(*state, &parts);

    assert_non_null(e);
    assert_true(kv_slice_equal(entry_value(e, &shown), KV_STR("abc")));
    assert_ptr_equal(shown, bytes);
    assert_true(entry_meta(e) & ENTRY_RAW);
    assert_false(entry_meta(e) & ENTRY_TEXT);
    assert_null(entry_value_room(e));
    entry_free(*state, e);
    assert_true(kv_slice_equal(kv_bytes_slice(bytes), KV_STR("abcd")));
    kv_bytes_unref(bytes);
}

static void touching_changes_only_the_clock(void **state)
{
    entry_parts parts = {
        .key = KV_STR("key"), .value = KV_STR("value"), .deadline_ms = 9, .encoding = ENTRY_TEXT, .access = 1
    };
    entry *e = entry_new(*state, &parts);

    assert_non_null(e);
    entry_touch(e, 0xffffff);
    assert_int_equal(entry_access(e), 0xffffff);
    entry_touch(e, 0);
    assert_int_equal(entry_access(e), 0);
    assert_int_equal(entry_deadline(e), 9);
    assert_true(entry_meta(e) & ENTRY_TEXT);
    assert_true(kv_slice_equal(entry_value(e, NULL), KV_STR("value")));
    entry_free(*state, e);
}

static void what_is_too_long_is_refused(void **state)
{
    entry_parts parts = { .key = KV_STR("key"),
                          .value = { NULL, (size_t)KV_VALUE_MAX + 1 },
                          .deadline_ms = KV_FOREVER };

    assert_null(entry_new(*state, &parts));
    entry_free(*state, NULL);
}

static void retiring_frees_after_the_readers(void **state)
{
    entry_parts parts = { .key = KV_STR("key"), .value = KV_STR("value"), .deadline_ms = KV_FOREVER };
    entry *e = entry_new(*state, &parts);
    epoch_stats stats;

    assert_non_null(e);
    if (epoch_enter(*state))
        abort();
    entry_retire(*state, e);
    entry_retire(*state, NULL);
    epoch_leave(*state);
    epoch_read_stats(*state, &stats);
    assert_true(stats.retired_bytes > 0);
    epoch_drain(*state);
    epoch_read_stats(*state, &stats);
    assert_int_equal(stats.retired_bytes, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_shape_gives_back_what_it_was_made_of),
        TEST(a_typical_entry_has_sixteen_bytes_of_header),
        TEST(room_in_an_entry_is_filled_later),
        TEST(a_reference_is_taken_over),
        TEST(touching_changes_only_the_clock),
        TEST(what_is_too_long_is_refused),
        TEST(retiring_frees_after_the_readers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
