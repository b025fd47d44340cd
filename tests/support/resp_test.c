/* resp_test.c - tests of the tests' own client: it must see every byte that is wrong.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "resp.h"

static void whole_replies_have_a_compact_form(void **state)
{
#define REPLY(bytes, text)                 \
    {                                      \
        { bytes, sizeof(bytes) - 1 }, text \
    }
    static const struct {
        kv_slice bytes;
        const char *text;
    } replies[] = {
        REPLY("+OK\r\n", "+OK"),
        REPLY("+\r\n", "+"),
        REPLY("-ERR no\r\n", "-ERR no"),
        REPLY(":0\r\n", ":0"),
        REPLY(":-9223372036854775808\r\n", ":-9223372036854775808"),
        REPLY("$0\r\n\r\n", "$"),
        REPLY("$4\r\na\0\r\n\r\n", "$a\\x00\\x0d\\x0a"),
        REPLY("$-1\r\n", "_"),
        REPLY("*-1\r\n", "*_"),
        REPLY("_\r\n", "_"),
        REPLY("*0\r\n", "*0"),
        REPLY("*3\r\n:1\r\n$3\r\na b\r\n$0\r\n\r\n", "*3 :1 $\"a b\" $\"\""),
        REPLY("%1\r\n$1\r\nk\r\n*1\r\n_\r\n", "%1 $k *1 _"),
        REPLY("~2\r\n#t\r\n#f\r\n", "~2 #t #f"),
        REPLY(">1\r\n,1.5\r\n", ">1 ,1.5"),
        REPLY(",inf\r\n", ",inf"),
        REPLY("(-123456789012345678901234567890\r\n", "(-123456789012345678901234567890"),
        REPLY("=7\r\ntxt:abc\r\n", "=txt:abc"),
    };
#undef REPLY

    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        const char *why = NULL;
        size_t used = 0;
        reply *r = NULL;
        char *text;

        for (size_t len = 0; len < replies[i].bytes.len; len++)
            assert_int_equal(reply_parse(kv_slice_of(replies[i].bytes.data, len), &r, &used, &why),
                             REPLY_PARTIAL);
        assert_int_equal(reply_parse(replies[i].bytes, &r, &used, &why), REPLY_WHOLE);
        assert_int_equal(used, replies[i].bytes.len);
        text = reply_text(r);
        assert_string_equal(text, replies[i].text);
        free(text);
        reply_free(r);
    }
}

static void what_is_not_resp_is_refused(void **state)
{
    static const char *const wrong[] = {
        "OK\r\n",
        "+OK\n",
        "+O\rK\r\n",
        "\r\n",
        ":\r\n",
        ":+1\r\n",
        ":01\r\n",
        ":-0\r\n",
        ":1 \r\n",
        ":1.0\r\n",
        ":9223372036854775808\r\n",
        "$-2\r\n",
        "$01\r\na\r\n",
        "$1\r\nab\r\n",
        "$1\r\na\n\r",
        "*-2\r\n",
        "*1x\r\n",
        "*1\r\nx\r\n",
        "_x\r\n",
        "#x\r\n",
        "#tt\r\n",
        ",\r\n",
        ",1,5\r\n",
        ",nan0\r\n",
        "(1.5\r\n",
        "(\r\n",
        "(-\r\n",
        "=3\r\ntxt\r\n",
        "%-1\r\n",
        "~-1\r\n",
        "!3\r\nabc\r\n",
        "$1073741825\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const char *why = NULL;
        size_t used = 0;
        reply *r = NULL;

        if (reply_parse(kv_str(wrong[i]), &r, &used, &why) != REPLY_MALFORMED)
            fail_msg("taken for RESP: %s", wrong[i]);
        assert_non_null(why);
    }
}

static void nesting_has_an_end(void **state)
{
    char deep[4 * 40 + 1] = "";
    const char *why = NULL;
    size_t used = 0;
    reply *r = NULL;

    (void)state;
    for (int i = 0; i < 40; i++)
        strcat(deep, "*1\r\n");
    assert_int_equal(reply_parse(kv_str(deep), &r, &used, &why), REPLY_MALFORMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_replies_have_a_compact_form),
        cmocka_unit_test(what_is_not_resp_is_refused),
        cmocka_unit_test(nesting_has_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
