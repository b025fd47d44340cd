/* pattern_test.c - patterns, and that no pattern is slow. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "pattern.h"

static bool match(const char *pattern, const char *text)
{
    return pattern_match(kv_str(pattern), kv_str(text), false);
}

#define yes(pattern, text) assert_true(match(pattern, text))
#define no(pattern, text)  assert_false(match(pattern, text))

static void plain_text_matches_itself_only(void **state)
{
    (void)state;
    yes("", "");
    no("", "a");
    no("a", "");
    yes("user:1", "user:1");
    no("user:1", "user:11");
    no("user:11", "user:1");
    no("user", "User");
}

static void a_question_mark_is_any_one_byte(void **state)
{
    (void)state;
    yes("h?llo", "hello");
    no("h?llo", "hllo");
    no("?", "");
    no("?", "ab");
    yes("??", "ab");
}

static void a_star_is_any_bytes(void **state)
{
    (void)state;
    yes("*", "");
    yes("*", "anything");
    yes("**", "");
    yes("h*llo", "hllo");
    yes("h*llo", "heeeello");
    no("h*llo", "hell");
    yes("*b*c", "aabbbc");
    no("*b*c", "aabbbcd");
    yes("a*", "a");
    yes("*a*a*", "aa");
    no("*a*a*", "a");
    yes("*ab", "aab");
    yes("*?", "x");
    no("*?", "");
}

static void brackets_name_bytes(void **state)
{
    (void)state;
    yes("h[ae]llo", "hallo");
    no("h[ae]llo", "hillo");
    yes("[a-c]", "b");
    yes("[c-a]", "b");
    no("[a-c]", "d");
    no("[^a-c]", "b");
    yes("[^a-c]", "d");
    no("[^a-c]", "");
    yes("[a\\-c]", "-");
    no("[a\\-c]", "b");
    yes("[\\]]", "]");
    yes("[-a]", "-");
    yes("*[0-9]", "key7");
    no("[]", "a");
    yes("[^]", "a");
}

static void an_open_bracket_ends_with_the_pattern(void **state)
{
    (void)state;
    yes("[abc", "b");
    no("[abc", "d");
    no("[", "[");
    no("[", "");
    yes("[^", "x");
    yes("[a-", "-");
    yes("[\\", "\\");
    no("[a-", "b");
}

static void a_backslash_takes_the_next_byte_as_it_is(void **state)
{
    (void)state;
    yes("\\*", "*");
    no("\\*", "a");
    yes("\\?\\[", "?[");
    yes("a\\", "a\\");
    yes("\\a", "a");
}

static void case_can_be_ignored(void **state)
{
    (void)state;
    assert_true(pattern_match(KV_STR("CONFIG|[A-G]*"), KV_STR("config|get"), true));
    assert_false(pattern_match(KV_STR("CONFIG|*"), KV_STR("config|get"), false));
    assert_true(pattern_match(KV_STR("[x-Z]"), KV_STR("Y"), true));
}

static void bytes_are_bytes(void **state)
{
    (void)state;
    assert_true(pattern_match(kv_slice_of("a\0?", 3), kv_slice_of("a\0b", 3), false));
    assert_false(pattern_match(kv_slice_of("a\0c", 3), kv_slice_of("a\0b", 3), false));
    assert_true(pattern_match(kv_slice_of("[\x80-\xff]", 5), kv_slice_of("\xc3", 1), false));
}

/* Exponential matchers take longer than the universe here; ours takes the product of the lengths. */
static void many_stars_are_harmless(void **state)
{
    enum { stars = PATTERN_STARS_MAX, len = 20000 };
    char *pattern = malloc(2 * stars + 2), *text = malloc(len);

    (void)state;
    assert_non_null(pattern);
    assert_non_null(text);
    for (int i = 0; i < stars; i++) {
        pattern[2 * i] = '*';
        pattern[2 * i + 1] = 'a';
    }
    pattern[2 * stars] = 'b';
    memset(text, 'a', len);
    assert_false(pattern_match(kv_slice_of(pattern, 2 * stars + 1), kv_slice_of(text, len), false));
    assert_true(pattern_match(kv_slice_of(pattern, 2 * stars), kv_slice_of(text, len), false));
    memcpy(pattern + 2 * stars, "**", 2); /* the last one takes all there is, and costs nothing */
    assert_true(pattern_match(kv_slice_of(pattern, 2 * stars + 2), kv_slice_of(text, len), false));
    memcpy(pattern + 2 * stars, "*a", 2);
    assert_false(pattern_match(kv_slice_of(pattern, 2 * stars + 2), kv_slice_of(text, len), false));
    free(pattern);
    free(text);
}

/* A pattern and a text made to take 60,000,000,000 steps. */
static void a_match_that_takes_for_ever_is_none(void **state)
{
    enum { pattern_len = 60000, text_len = 1000000 };
    char *pattern = malloc(pattern_len), *text = malloc(text_len);
    uint64_t steps = 0;

    (void)state;
    assert_non_null(pattern);
    assert_non_null(text);
    memset(pattern, 'a', pattern_len);
    memset(text, 'a', text_len);
    pattern[0] = '*';
    assert_true(pattern_match_counting(kv_slice_of(pattern, 100), kv_slice_of(text, 99), false, &steps));
    assert_in_range(steps, 100, 300);
    pattern[pattern_len - 1] = 'b';
    text[text_len - 1] = 'b';
    assert_false(pattern_match_counting(kv_slice_of(pattern, pattern_len), kv_slice_of(text, text_len), false,
                                        &steps));
    assert_in_range(steps, PATTERN_STEPS_MAX, PATTERN_STEPS_MAX + 4 * pattern_len);
    assert_true(pattern_match(kv_slice_of(pattern, pattern_len),
                              kv_slice_of(text + text_len - pattern_len + 1, pattern_len - 1), false));
    free(pattern);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_text_matches_itself_only),
        cmocka_unit_test(a_question_mark_is_any_one_byte),
        cmocka_unit_test(a_star_is_any_bytes),
        cmocka_unit_test(brackets_name_bytes),
        cmocka_unit_test(an_open_bracket_ends_with_the_pattern),
        cmocka_unit_test(a_backslash_takes_the_next_byte_as_it_is),
        cmocka_unit_test(case_can_be_ignored),
        cmocka_unit_test(bytes_are_bytes),
        cmocka_unit_test(many_stars_are_harmless),
        cmocka_unit_test(a_match_that_takes_for_ever_is_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
