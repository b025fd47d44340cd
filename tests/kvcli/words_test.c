/* words_test.c - lines to words. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text.h"
#include "words.h"

/* The words of line, each quoted, with a bar between; or what is wrong. */
static void splits(const char *line, const char *expected)
{
    words w = { 0 };
    text got = { 0 };
    const char *wrong = words_split(kvc_str(line), &w);

    text_add_str(&got, wrong ? wrong : "");
    for (size_t i = 0; i < w.n; i++) {
        text_add_str(&got, i ? "|" : "");
        text_quoted(&got, w.items[i]);
    }
    assert_string_equal(text_str(&got), expected);
    text_done(&got);
    words_done(&w);
}

static void blanks_separate_words(void **state)
{
    (void)state;
    splits("", "");
    splits("  \t\r\n", "");
    splits("set a b", "\"set\"|\"a\"|\"b\"");
    splits("  set\ta  b \r\n", "\"set\"|\"a\"|\"b\"");
}

static void double_quotes_know_escapes(void **state)
{
    (void)state;
    splits("\"a b\"", "\"a b\"");
    splits("\"\"", "\"\"");
    splits("\"\\n\\r\\t\\b\\a\\\\\\\"\"", "\"\\n\\r\\t\\b\\a\\\\\\\"\"");
    splits("\"\\x00\\xfF\\x4\"", "\"\\x00\\xffx4\"");
    splits("\"\\q\"", "\"q\"");
    splits("\"it's\"", "\"it's\"");
}

static void single_quotes_know_only_one(void **state)
{
    (void)state;
    splits("'a b'", "\"a b\"");
    splits("'a\\n'", "\"a\\\\n\"");
    splits("'it\\'s'", "\"it's\"");
    splits("'\"'", "\"\\\"\"");
}

static void quotes_may_begin_within_a_word(void **state)
{
    (void)state;
    splits("a\"b c\"", "\"ab c\"");
    splits("a'b c'", "\"ab c\"");
}

static void what_is_not_closed_is_named(void **state)
{
    (void)state;
    splits("set \"a", "a closing \" is missing");
    splits("set 'a", "a closing ' is missing");
    splits("set \"a\"b", "a closing quote must be followed by a blank");
    splits("\"a\\", "a closing \" is missing");
}

/* What text_quoted writes, words_split reads. */
static void quoted_text_comes_back(void **state)
{
    (void)state;
    for (int c = 0; c < 256; c++) {
        char bytes[3] = { 'a', (char)c, 'b' };
        text quoted = { 0 };
        words w = { 0 };

        text_quoted(&quoted, kvc_bytes(bytes, 3));
        assert_null(words_split(text_slice(&quoted), &w));
        assert_int_equal(w.n, 1);
        assert_int_equal(w.items[0].len, 3);
        assert_memory_equal(w.items[0].data, bytes, 3);
        words_done(&w);
        text_done(&quoted);
    }
}

static void utf8_is_told_from_what_only_looks_so(void **state)
{
    (void)state;
    assert_int_equal(utf8_len(kvc_str("a")), 1);
    assert_int_equal(utf8_len(kvc_str("\xc3\xa9")), 2);
    assert_int_equal(utf8_len(kvc_str("\xe2\x82\xac")), 3);
    assert_int_equal(utf8_len(kvc_str("\xf0\x9f\x98\x80")), 4);
    assert_int_equal(utf8_len(kvc_str("\xc0\xaf")), 0);         /* overlong */
    assert_int_equal(utf8_len(kvc_str("\xe0\x80\xaf")), 0);     /* overlong */
    assert_int_equal(utf8_len(kvc_str("\xed\xa0\x80")), 0);     /* a surrogate */
    assert_int_equal(utf8_len(kvc_str("\xf4\x90\x80\x80")), 0); /* beyond Unicode */
    assert_int_equal(utf8_len(kvc_str("\xe2\x82")), 0);         /* cut off */
    assert_int_equal(utf8_len(kvc_str("\x80")), 0);
    assert_int_equal(utf8_len(kvc_str("\xff")), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blanks_separate_words),
        cmocka_unit_test(double_quotes_know_escapes),
        cmocka_unit_test(single_quotes_know_only_one),
        cmocka_unit_test(quotes_may_begin_within_a_word),
        cmocka_unit_test(what_is_not_closed_is_named),
        cmocka_unit_test(quoted_text_comes_back),
        cmocka_unit_test(utf8_is_told_from_what_only_looks_so),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
