/* resp_test.c - the request parsers. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "resp.h"

static const resp_limits trusted = { .bulk_max = 512 * 1024 * 1024, .authenticated = true };
static const resp_limits unknown = { .bulk_max = 512 * 1024 * 1024, .authenticated = false };

/* A writable copy with the slack behind it. */
static char *copy_of(const char *text, size_t len)
{
    char *copy = calloc(1, len + RESP_SLACK);

    assert_non_null(copy);
    memcpy(copy, text, len);
    return copy;
}

static void expect_arguments(int argc, const kv_slice argv[], const char *const words[])
{
    int i;

    for (i = 0; i < argc; i++) {
        assert_non_null(words[i]);
        assert_int_equal(argv[i].len, strlen(words[i]));
        assert_memory_equal(argv[i].data, words[i], argv[i].len);
    }
    assert_null(words[i]);
}

#define WORDS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* text is one request, which the state machine understands as words. */
static void expect_request(const char *text, const char *const words[])
{
    resp_parser parser = { 0 };
    char *data = copy_of(text, strlen(text));
    size_t used;

    assert_int_equal(resp_parse(&parser, &trusted, data, strlen(text), &used), RESP_REQUEST);
    assert_int_equal(used, strlen(text));
    expect_arguments(parser.argc, parser.argv, words);
    resp_parser_done(&parser);
    free(data);
}

static void expect_error(const resp_limits *limits, const char *text, size_t len, const char *error)
{
    resp_parser parser = { 0 };
    char *data = copy_of(text, len);
    size_t used;

    assert_int_equal(resp_parse(&parser, limits, data, len, &used), RESP_ERROR);
    assert_string_equal(parser.error, error);
    resp_parser_done(&parser);
    free(data);
}

static void a_request_is_parsed_in_place(void **state)
{
    (void)state;
    expect_request("*2\r\n$3\r\nGET\r\n$5\r\nmykey\r\n", WORDS("GET", "mykey"));
    expect_request("*1\r\n$0\r\n\r\n", WORDS(""));
    expect_request("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$4\r\n\r\n\r\n\r\n", WORDS("SET", "a", "\r\n\r\n"));
}

static void an_inline_request_is_split_into_words(void **state)
{
    (void)state;
    expect_request("PING\r\n", WORDS("PING"));
    expect_request("  set  a\tb \n", WORDS("set", "a", "b"));
    expect_request("set \"a b\" 'c d'\r\n", WORDS("set", "a b", "c d"));
    expect_request("set \"\\x41\\n\\t\\\"\\q\" 'it\\'s'\r\n", WORDS("set", "A\n\t\"q", "it's"));
    expect_request("set \"\" ''\r\n", WORDS("set", "", ""));
}

static void empty_requests_are_skipped(void **state)
{
    (void)state;
    expect_request("\r\n*0\r\n*-1\r\n  \r\nPING\r\n", WORDS("PING"));
}

static void errors_have_the_texts_of_redis(void **state)
{
    static const struct {
        const char *text, *error;
    } cases[] = {
        { "*a\r\n", "Protocol error: invalid multibulk length" },
        { "*3000000000\r\n", "Protocol error: invalid multibulk length" },
        { "*2147483648\r\n", "Protocol error: invalid multibulk length" },
        { "*+1\r\n", "Protocol error: invalid multibulk length" },
        { "*01\r\n", "Protocol error: invalid multibulk length" },
        { "* 1\r\n", "Protocol error: invalid multibulk length" },
        { "*\r\n", "Protocol error: invalid multibulk length" },
        { "*99999999999999999999\r\n", "Protocol error: invalid multibulk length" },
        { "*1\r\nfoo\r\n", "Protocol error: expected '$', got 'f'" },
        { "*2\r\n$1\r\na\r\n*1\r\n", "Protocol error: expected '$', got '*'" },
        { "*1\r\n$-1\r\n", "Protocol error: invalid bulk length" },
        { "*1\r\n$-0\r\n", "Protocol error: invalid bulk length" },
        { "*1\r\n$03\r\nabc\r\n", "Protocol error: invalid bulk length" },
        { "*1\r\n$3 \r\nabc\r\n", "Protocol error: invalid bulk length" },
        { "*1\r\n$536870913\r\n", "Protocol error: invalid bulk length" },
        { "*1\r\n$9223372036854775808\r\n", "Protocol error: invalid bulk length" },
        { "set \"a\r\n", "Protocol error: unbalanced quotes in request" },
        { "set \"a\"b\r\n", "Protocol error: unbalanced quotes in request" },
        { "set 'a\r\n", "Protocol error: unbalanced quotes in request" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_error(&trusted, cases[i].text, strlen(cases[i].text), cases[i].error);
}

static void a_line_that_does_not_end_is_an_error(void **state)
{
    static const struct {
        const char *start, *error;
    } cases[] = {
        { "PING ", "Protocol error: too big inline request" },
        { "*1", "Protocol error: too big mbulk count string" },
        { "*1\r\n$1", "Protocol error: too big bulk count string" },
    };
    size_t len = RESP_LINE_MAX + 64;
    char *text = malloc(len);

    (void)state;
    assert_non_null(text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        memset(text, '1', len);
        memcpy(text, cases[i].start, strlen(cases[i].start));
        expect_error(&trusted, text, len, cases[i].error);
    }
    free(text);
}

static void who_is_not_authenticated_gets_small_limits(void **state)
{
    (void)state;
    expect_error(&unknown, "*11\r\n", 5, "Protocol error: unauthenticated multibulk length");
    expect_error(&unknown, "*1\r\n$16385\r\n", 12, "Protocol error: unauthenticated bulk length");
}

static void an_announced_length_allocates_nothing(void **state)
{
    const char text[] = "*1048576\r\n$1\r\na\r\n$536870912\r\nb";
    resp_parser parser = { 0 };
    char *data = copy_of(text, sizeof text - 1);
    size_t used;

    (void)state;
    assert_int_equal(resp_parse(&parser, &trusted, data, sizeof text - 1, &used), RESP_MORE);
    assert_int_equal(parser.argc, 1);
    assert_in_range(parser.capacity, 1, 64);
    resp_parser_done(&parser);
    free(data);
}

static void a_reset_parser_begins_a_new_request(void **state)
{
    char *half = copy_of("*2\r\n$3\r\nGET\r\n$10\r\nabc", 22), *next = copy_of("PING\r\n", 6);
    resp_parser parser = { 0 };
    size_t used;

    (void)state;
    assert_int_equal(resp_parse(&parser, &trusted, half, 22, &used), RESP_MORE);
    resp_parser_reset(&parser);
    assert_int_equal(resp_parse(&parser, &trusted, next, 6, &used), RESP_REQUEST);
    expect_arguments(parser.argc, parser.argv, WORDS("PING"));
    resp_parser_done(&parser);
    free(half);
    free(next);
}

/* Feeds the stream cut at two places, each time into another buffer, and expects the same three requests. */
static void parse_cut(const char *text, size_t len, size_t cut1, size_t cut2)
{
    static const char *const expected[][4] = { { "SET", "key", "va\r\nlue", NULL },
                                               { "ping", "a b", NULL },
                                               { "GET", "key", NULL } };
    resp_parser parser = { 0 };
    size_t ends[] = { cut1, cut2, len }, at = 0;
    char *buffers[3];
    int found = 0;

    for (int piece = 0; piece < 3; piece++) {
        char *data = buffers[piece] = copy_of(text + at, ends[piece] - at);
        size_t have = ends[piece] - at, offset = 0, used;
        resp_status status;

        while ((status = resp_parse(&parser, &trusted, data + offset, have - offset, &used)) ==
               RESP_REQUEST) {
            assert_in_range(found, 0, 2);
            expect_arguments(parser.argc, parser.argv, expected[found++]);
            offset += used;
        }
        assert_int_equal(status, RESP_MORE);
        at += offset + used;
    }
    assert_int_equal(found, 3);
    assert_int_equal(at, len);
    resp_parser_done(&parser);
    for (int piece = 0; piece < 3; piece++)
        free(buffers[piece]);
}

static void a_stream_may_be_cut_at_any_two_bytes(void **state)
{
    const char text[] = "*3\r\n$3\r\nSET\r\n$3\r\nkey\r\n$7\r\nva\r\nlue\r\nping \"a "
                        "b\"\r\n*0\r\n*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n";
    size_t len = sizeof text - 1;

    (void)state;
    for (size_t cut1 = 0; cut1 <= len; cut1++)
        for (size_t cut2 = cut1; cut2 <= len; cut2++)
            parse_cut(text, len, cut1, cut2);
}

/* ---- the fast parser ---- */

static int parse_small(const char *text, size_t len, size_t *ret_used)
{
    kv_slice argv[RESP_SMALL_ARGS];
    char *data = copy_of(text, len);
    int argc = resp_parse_small(data, len, argv, ret_used);

    free(data);
    return argc;
}

static void the_fast_parser_takes_short_whole_requests(void **state)
{
    const char text[] = "*2\r\n$3\r\nGET\r\n$12\r\nkey:00000001\r\n*1\r\n$4\r\nPING\r\n";
    kv_slice argv[RESP_SMALL_ARGS];
    char *data = copy_of(text, sizeof text - 1);
    size_t used;

    (void)state;
    assert_int_equal(resp_parse_small(data, sizeof text - 1, argv, &used), 2);
    assert_int_equal(used, 32);
    expect_arguments(2, argv, WORDS("GET", "key:00000001"));
    assert_int_equal(resp_parse_small(data + 32, sizeof text - 33, argv, &used), 1);
    expect_arguments(1, argv, WORDS("PING"));
    free(data);
}

static void the_fast_parser_leaves_what_is_cut(void **state)
{
    const char text[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$10\r\n0123456789\r\n";
    size_t used;

    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++)
        assert_int_equal(parse_small(text, len, &used), 0);
    assert_int_equal(parse_small(text, sizeof text - 1, &used), 3);
}

static void the_fast_parser_leaves_what_is_wrong_or_unusual(void **state)
{
    static const char *const texts[] = {
        "PING\r\n",           "*0\r\n",           "*-1\r\n",           "*10\r\n$1\r\na\r\n",
        "*1\r\n$01\r\na\r\n", "*1\r\n$-1\r\n",    "*1\r\n$a\r\nb\r\n", "*1\r\n:1\r\n",
        "*1\n$1\na\n",        "*1\r\n$99999\r\n", "*1\r\n$\r\n\r\n"
    };
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_int_equal(parse_small(texts[i], strlen(texts[i]), &used), 0);
}

static void http_is_recognised(void **state)
{
    (void)state;
    assert_true(resp_is_http(KV_STR("POST")));
    assert_true(resp_is_http(KV_STR("Host:")));
    assert_true(resp_is_http(KV_STR("host:")));
    assert_false(resp_is_http(KV_STR("GET")));
    assert_false(resp_is_http(KV_STR("hosts")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_parsed_in_place),
        cmocka_unit_test(an_inline_request_is_split_into_words),
        cmocka_unit_test(empty_requests_are_skipped),
        cmocka_unit_test(errors_have_the_texts_of_redis),
        cmocka_unit_test(a_line_that_does_not_end_is_an_error),
        cmocka_unit_test(who_is_not_authenticated_gets_small_limits),
        cmocka_unit_test(an_announced_length_allocates_nothing),
        cmocka_unit_test(a_reset_parser_begins_a_new_request),
        cmocka_unit_test(a_stream_may_be_cut_at_any_two_bytes),
        cmocka_unit_test(the_fast_parser_takes_short_whole_requests),
        cmocka_unit_test(the_fast_parser_leaves_what_is_cut),
        cmocka_unit_test(the_fast_parser_leaves_what_is_wrong_or_unusual),
        cmocka_unit_test(http_is_recognised),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
