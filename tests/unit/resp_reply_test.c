/* resp_reply_test.c - replies as RESP2 and RESP3. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "resp_reply.h"

typedef struct sink {
    output out;
    resp_reply reply;
} sink;

static int set_up(void **state)
{
    sink *s = calloc(1, sizeof *s);

    resp_reply_init(&s->reply, &s->out, 2);
    *state = s;
    return 0;
}

static int tear_down(void **state)
{
    sink *s = *state;

    output_done(&s->out);
    free(s);
    return 0;
}

/* What was replied since the last time. */
static void expect_bytes(sink *s, const char *expected)
{
    assert_int_equal(s->out.len, strlen(expected));
    assert_memory_equal(s->out.data, expected, s->out.len);
    output_reset(&s->out, SIZE_MAX);
}

static const kv_reply_ops *ops(sink *s)
{
    return s->reply.base.ops;
}

static void scalars_have_the_form_of_the_protocol(void **state)
{
    sink *s = *state;
    kv_reply *r = &s->reply.base;

    for (int protocol = 2; protocol <= 3; protocol++) {
        bool three = protocol == 3;

        resp_reply_set_protocol(&s->reply, protocol);
        ops(s)->null(r);
        expect_bytes(s, three ? "_\r\n" : "$-1\r\n");
        ops(s)->null_array(r);
        expect_bytes(s, three ? "_\r\n" : "*-1\r\n");
        ops(s)->integer(r, INT64_MIN);
        expect_bytes(s, ":-9223372036854775808\r\n");
        ops(s)->real(r, 0.1);
        expect_bytes(s, three ? ",0.10000000000000001\r\n" : "$19\r\n0.10000000000000001\r\n");
        ops(s)->real(r, -INFINITY);
        expect_bytes(s, three ? ",-inf\r\n" : "$4\r\n-inf\r\n");
        ops(s)->real(r, NAN);
        expect_bytes(s, three ? ",nan\r\n" : "$3\r\nnan\r\n");
        ops(s)->boolean(r, true);
        expect_bytes(s, three ? "#t\r\n" : ":1\r\n");
        ops(s)->verbatim(r, KV_STR("text"), "txt");
        expect_bytes(s, three ? "=8\r\ntxt:text\r\n" : "$4\r\ntext\r\n");
    }
}

static void aggregates_have_the_form_of_the_protocol(void **state)
{
    sink *s = *state;
    kv_reply *r = &s->reply.base;

    ops(s)->array(r, 3);
    ops(s)->map(r, 7);
    ops(s)->set(r, 12);
    ops(s)->push(r, 0);
    expect_bytes(s, "*3\r\n*14\r\n*12\r\n*0\r\n");
    resp_reply_set_protocol(&s->reply, 3);
    ops(s)->array(r, 3);
    ops(s)->map(r, 7);
    ops(s)->set(r, 12);
    ops(s)->push(r, 0);
    expect_bytes(s, "*3\r\n%7\r\n~12\r\n>0\r\n");
}

static void bulks_of_every_length_are_whole(void **state)
{
    sink *s = *state;
    static const size_t lens[] = { 0,  1,  3,  4,  7,  8,  9,  10, 15,  16,  17,  31,   32,
                                   33, 47, 48, 49, 64, 65, 98, 99, 100, 101, 999, 1000, 70000 };
    char *text = malloc(70000);

    for (size_t i = 0; i < 70000; i++)
        text[i] = (char)(i * 7 + i / 251);
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++) {
        char header[32];
        size_t header_len = (size_t)snprintf(header, sizeof header, "$%zu\r\n", lens[i]);

        kv_reply_bulk(&s->reply.base, kv_slice_of(text, lens[i]));
        assert_int_equal(s->out.len, header_len + lens[i] + 2);
        assert_memory_equal(s->out.data, header, header_len);
        assert_memory_equal(s->out.data + header_len, text, lens[i]);
        assert_memory_equal(s->out.data + header_len + lens[i], "\r\n", 2);
        output_reset(&s->out, i % 2 ? 0 : SIZE_MAX);
    }
    free(text);
}

static void a_long_value_goes_by_reference(void **state)
{
    sink *s = *state;
    char *text = calloc(1, RESP_REPLY_REFERENCE_MIN);
    kv_bytes *value = kv_bytes_new(kv_slice_of(text, RESP_REPLY_REFERENCE_MIN));

    free(text);
    ops(s)->bulk(&s->reply.base, kv_bytes_slice(value), value);
    assert_int_equal(s->out.reference_count, 1);
    assert_int_equal(output_unsent(&s->out), 7 + RESP_REPLY_REFERENCE_MIN + 2);
    kv_bytes_unref(value);
}

static void no_text_can_end_a_line(void **state)
{
    sink *s = *state;
    char longest[3000];

    ops(s)->error(&s->reply.base, KV_STR("ERR a\r\n+OK\r\nb\n"));
    expect_bytes(s, "-ERR a  +OK  b \r\n");
    ops(s)->simple(&s->reply.base, KV_STR("a\rb"));
    expect_bytes(s, "+a b\r\n");
    memset(longest, 'x', sizeof longest);
    ops(s)->error(&s->reply.base, kv_slice_of(longest, sizeof longest));
    assert_in_range(s->out.len, 1000, 1100);
}

static void note_error(void *arg, kv_slice text)
{
    assert_true(kv_slice_equal(text, KV_STR("ERR no")));
    ++*(int *)arg;
}

static void errors_are_heard_of(void **state)
{
    sink *s = *state;
    int errors = 0;

    s->reply.on_error = note_error;
    s->reply.arg = &errors;
    ops(s)->error(&s->reply.base, KV_STR("ERR no"));
    kv_reply_ok(&s->reply.base);
    assert_int_equal(errors, 1);
    expect_bytes(s, "-ERR no\r\n+OK\r\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(scalars_have_the_form_of_the_protocol),
        TEST(aggregates_have_the_form_of_the_protocol),
        TEST(bulks_of_every_length_are_whole),
        TEST(a_long_value_goes_by_reference),
        TEST(no_text_can_end_a_line),
        TEST(errors_are_heard_of),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
