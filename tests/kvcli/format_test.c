/* format_test.c - replies to bytes: for terminals, raw, CSV, JSON. What redis-cli prints for RESP2 is compared with redis-cli
 * itself (beside_redis_cli_test.c); here stand RESP3's types and what redis-cli cannot print.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "format.h"
#include "json.h"
#include "reply.h"

/* ---- replies ---- */

static kvc_reply *string(const char *s)
{
    return kvc_reply_new_text(KVC_TYPE_STRING, kvc_str(s));
}

static kvc_reply *number(int64_t n)
{
    return kvc_reply_new_int(KVC_TYPE_INT, n);
}

static kvc_reply *list_of(kvc_type type, size_t n, kvc_reply *const items[])
{
    kvc_reply *list = kvc_reply_new(type);

    for (size_t i = 0; i < n; i++)
        assert_true(kvc_reply_add(list, items[i]));
    return list;
}

#define list(type, ...)                                                              \
    list_of(type, sizeof((kvc_reply *const[]){ __VA_ARGS__ }) / sizeof(kvc_reply *), \
            (kvc_reply *const[]){ __VA_ARGS__ })

/* Frees reply. */
static void prints(format_kind kind, kvc_reply *reply, const char *expected)
{
    format f = { .kind = kind, .element_delimiter = "\n", .reply_delimiter = "\n" };
    text out = { 0 };

    format_reply(&f, reply, &out);
    assert_string_equal(text_str(&out), expected);
    text_done(&out);
    kvc_reply_free(reply);
}

static kvc_reply *a_map(void)
{
    return list(KVC_TYPE_MAP, string("one"), number(1), string("list"),
                list(KVC_TYPE_ARRAY, string("a"), kvc_reply_new(KVC_TYPE_NIL)), string("set"),
                list(KVC_TYPE_SET, string("m")), string("none"), kvc_reply_new(KVC_TYPE_ARRAY));
}

/* ---- terminals ---- */

static void a_terminal_shows_types(void **state)
{
    (void)state;
    prints(FORMAT_TERMINAL, string("a\n\"\x01"), "\"a\\n\\\"\\x01\"\n");
    prints(FORMAT_TERMINAL, kvc_reply_new_text(KVC_TYPE_SIMPLE, kvc_str("OK")), "OK\n");
    prints(FORMAT_TERMINAL, kvc_reply_new_text(KVC_TYPE_ERROR, kvc_str("ERR x")), "(error) ERR x\n");
    prints(FORMAT_TERMINAL, number(-5), "(integer) -5\n");
    prints(FORMAT_TERMINAL, kvc_reply_new(KVC_TYPE_NIL), "(nil)\n");
    prints(FORMAT_TERMINAL, kvc_reply_new_double(1.5, kvc_str("1.5")), "(double) 1.5\n");
    prints(FORMAT_TERMINAL, kvc_reply_new_int(KVC_TYPE_BOOL, 1), "(true)\n");
    prints(FORMAT_TERMINAL, kvc_reply_new_text(KVC_TYPE_BIGNUM, kvc_str("123")), "(big number) 123\n");
    prints(FORMAT_TERMINAL, kvc_reply_new_text(KVC_TYPE_VERBATIM, kvc_str("two\nlines")), "two\nlines\n");
    prints(FORMAT_TERMINAL, kvc_reply_new(KVC_TYPE_MAP), "(empty hash)\n");
    prints(FORMAT_TERMINAL, kvc_reply_new(KVC_TYPE_SET), "(empty set)\n");
    prints(FORMAT_TERMINAL, kvc_reply_new(KVC_TYPE_ARRAY), "(empty array)\n");
}

static void a_terminal_numbers_what_is_nested(void **state)
{
    (void)state;
    prints(FORMAT_TERMINAL, a_map(),
           "1# \"one\" => (integer) 1\n2# \"list\" => \n   1) \"a\"\n   2) (nil)\n3# \"set\" => 1~ \"m\"\n"
           "4# \"none\" => (empty array)\n");
    prints(FORMAT_TERMINAL, list(KVC_TYPE_ARRAY, list(KVC_TYPE_ARRAY, number(1), number(2)), number(3)),
           "1) 1) (integer) 1\n   2) (integer) 2\n2) (integer) 3\n");
}

static void numbers_are_aligned_from_ten_on(void **state)
{
    kvc_reply *ten = kvc_reply_new(KVC_TYPE_ARRAY);
    format f = { .kind = FORMAT_TERMINAL };
    text out = { 0 };

    (void)state;
    for (int i = 0; i < 10; i++)
        assert_true(kvc_reply_add(ten, number(i)));
    format_reply(&f, ten, &out);
    assert_true(strncmp(text_str(&out), " 1) (integer) 0\n 2) ", 20) == 0);
    assert_non_null(strstr(text_str(&out), "\n10) (integer) 9\n"));
    text_done(&out);
    kvc_reply_free(ten);
}

static void utf8_is_shown_where_it_is_wanted(void **state)
{
    format f = { .kind = FORMAT_TERMINAL, .utf8 = true };
    kvc_reply *reply = string("\xc3\xa9\xff\xc2\x9b");
    text out = { 0 };

    (void)state;
    format_reply(&f, reply, &out); /* U+009B would begin a terminal's command */
    assert_string_equal(text_str(&out), "\"\xc3\xa9\\xff\\xc2\\x9b\"\n");
    text_done(&out);
    kvc_reply_free(reply);
}

/* ---- raw and CSV ---- */

static void raw_is_the_bytes(void **state)
{
    (void)state;
    prints(FORMAT_RAW, a_map(), "one 1\nlist a\n\nset m\nnone \n");
    prints(FORMAT_RAW, kvc_reply_new_int(KVC_TYPE_BOOL, 0), "(false)\n");
    prints(FORMAT_RAW, kvc_reply_new_text(KVC_TYPE_ERROR, kvc_str("ERR x")), "ERR x\n\n");
}

static void raw_takes_the_delimiters_given(void **state)
{
    format f = { .kind = FORMAT_RAW, .element_delimiter = "<>", .reply_delimiter = ";" };
    kvc_reply *reply =
        list(KVC_TYPE_ARRAY, string("a"), number(1), list(KVC_TYPE_ARRAY, string("b"), string("c")));
    text out = { 0 };

    (void)state;
    format_reply(&f, reply, &out);
    assert_string_equal(text_str(&out), "a<>1<>b<>c;");
    text_done(&out);
    kvc_reply_free(reply);
}

static void csv_is_one_line(void **state)
{
    (void)state;
    prints(FORMAT_CSV, a_map(), "\"one\",1,\"list\",\"a\",NULL,\"set\",\"m\",\"none\",\n");
    prints(FORMAT_CSV, kvc_reply_new_int(KVC_TYPE_BOOL, 1), "true\n");
    prints(FORMAT_CSV, kvc_reply_new_text(KVC_TYPE_ERROR, kvc_str("ERR \"x\"")), "ERROR,\"ERR \\\"x\\\"\"\n");
}

/* ---- JSON ---- */

static void json_has_every_type(void **state)
{
    (void)state;
    prints(FORMAT_JSON, a_map(), "{\"one\":1,\"list\":[\"a\",null],\"set\":[\"m\"],\"none\":[]}\n");
    prints(FORMAT_JSON, kvc_reply_new_double(1.5, kvc_str("1.5")), "1.5\n");
    prints(FORMAT_JSON, kvc_reply_new_double(1e20, kvc_str("1e+20")), "1e+20\n");
    prints(FORMAT_JSON, kvc_reply_new_double(0, kvc_str("inf")), "\"inf\"\n");
    prints(FORMAT_JSON, kvc_reply_new_double(0, kvc_str("-nan")), "\"-nan\"\n");
    prints(FORMAT_JSON, kvc_reply_new_double(0, kvc_str(".5")), "\".5\"\n");
    prints(FORMAT_JSON, kvc_reply_new_double(0, kvc_str("01")), "\"01\"\n");
    prints(FORMAT_JSON, kvc_reply_new_text(KVC_TYPE_BIGNUM, kvc_str("-12345678901234567890123")),
           "-12345678901234567890123\n");
    prints(FORMAT_JSON, kvc_reply_new_int(KVC_TYPE_BOOL, 0), "false\n");
    prints(FORMAT_JSON, kvc_reply_new_text(KVC_TYPE_ERROR, kvc_str("ERR \"x\"")),
           "{\"error\":\"ERR \\\"x\\\"\"}\n");
    prints(FORMAT_JSON, kvc_reply_new_text(KVC_TYPE_VERBATIM, kvc_str("a\r\n")), "\"a\\r\\n\"\n");
}

static void json_holds_any_bytes(void **state)
{
    (void)state;
    prints(FORMAT_JSON, string("\x01\x1f\x7f\t\b\f\\\"/"), "\"\\u0001\\u001f\\u007f\\t\\b\\f\\\\\\\"/\"\n");
    prints(FORMAT_JSON, string("\xc3\xa9 \xf0\x9f\x98\x80"), "\"\xc3\xa9 \xf0\x9f\x98\x80\"\n");
    prints(FORMAT_JSON_ASCII, string("\xc3\xa9 \xf0\x9f\x98\x80"), "\"\\u00e9 \\ud83d\\ude00\"\n");
    prints(FORMAT_JSON, string("\xff"), "{\"base64\":\"/w==\"}\n");
    prints(FORMAT_JSON, string("\xff\xfe"), "{\"base64\":\"//4=\"}\n");
    prints(FORMAT_JSON, string("\xff\xfe\xfd"), "{\"base64\":\"//79\"}\n");
    prints(FORMAT_JSON, kvc_reply_new_text(KVC_TYPE_STRING, kvc_bytes("a\0b", 3)), "\"a\\u0000b\"\n");
}

static void a_json_key_is_a_string_whatever_it_was(void **state)
{
    (void)state;
    prints(FORMAT_JSON,
           list(KVC_TYPE_MAP, number(1), number(2), kvc_reply_new(KVC_TYPE_NIL), number(3),
                list(KVC_TYPE_ARRAY, string("a")), number(4), string("\xff"), number(5)),
           "{\"1\":2,\"null\":3,\"[\\\"a\\\"]\":4,\"base64:/w==\":5}\n");
}

static void text_for_people_is_left_alone_but_in_json(void **state)
{
    const kvc_slice info[] = { kvc_str("INFO") }, list_clients[] = { kvc_str("client"), kvc_str("LIST") },
                    get[] = { kvc_str("get"), kvc_str("list") };
    format f = { .kind = FORMAT_TERMINAL, .verbatim = true };
    kvc_reply *reply = string("# Server\r\na:1\r\n");
    text out = { 0 };

    (void)state;
    assert_true(format_is_verbatim(1, info));
    assert_true(format_is_verbatim(2, list_clients));
    assert_false(format_is_verbatim(1, list_clients));
    assert_false(format_is_verbatim(2, get));
    format_reply(&f, reply, &out);
    assert_string_equal(text_str(&out), "# Server\r\na:1\r\n");
    text_clear(&out);
    f.kind = FORMAT_JSON;
    format_reply(&f, reply, &out);
    assert_string_equal(text_str(&out), "\"# Server\\r\\na:1\\r\\n\"\n");
    text_done(&out);
    kvc_reply_free(reply);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_terminal_shows_types),
        cmocka_unit_test(a_terminal_numbers_what_is_nested),
        cmocka_unit_test(numbers_are_aligned_from_ten_on),
        cmocka_unit_test(utf8_is_shown_where_it_is_wanted),
        cmocka_unit_test(raw_is_the_bytes),
        cmocka_unit_test(raw_takes_the_delimiters_given),
        cmocka_unit_test(csv_is_one_line),
        cmocka_unit_test(json_has_every_type),
        cmocka_unit_test(json_holds_any_bytes),
        cmocka_unit_test(a_json_key_is_a_string_whatever_it_was),
        cmocka_unit_test(text_for_people_is_left_alone_but_in_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
