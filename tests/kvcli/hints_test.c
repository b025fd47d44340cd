/* hints_test.c - help, hints and completion from the command table. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "completion.h"
#include "help.h"
#include "hints.h"
#include "server_commands.h"

static void hints(const char *line, const char *expected)
{
    text out = { 0 };

    hint_for(kvc_str(line), &out);
    assert_string_equal(text_str(&out), expected);
    text_done(&out);
}

static void hints_beginning(const char *line, const char *expected)
{
    text out = { 0 };

    hint_for(kvc_str(line), &out);
    if (strncmp(text_str(&out), expected, strlen(expected)) != 0)
        fail_msg("the hint for \"%s\" is \"%s\"", line, text_str(&out));
    text_done(&out);
}

/* The candidates, with blanks between. */
static void completes(const char *line, size_t from, const char *expected)
{
    completion c = { 0 };
    text got = { 0 };

    complete(kvc_str(line), &c);
    for (size_t i = 0; i < c.words.n; i++)
        text_printf(&got, "%s%s", i ? " " : "", c.words.items[i].data);
    assert_string_equal(text_str(&got), expected);
    assert_int_equal(c.from, from);
    text_done(&got);
    completion_done(&c);
}

static void a_hint_shows_what_is_still_to_come(void **state)
{
    (void)state;
    hints("get", " key");
    hints("get ", "key");
    hints("GET k", "");
    hints("incrby x", " increment");
    hints("mset a", " value [key value ...]");
    hints("mget a", " [key ...]");
    hints("nosuchcommand", "");
    hints("", "");
    hints("get \"unfinished", "");
}

static void options_that_were_used_leave_the_hint(void **state)
{
    (void)state;
    hints_beginning("set k", " value [NX | XX | ");
    hints_beginning("set k v NX", " [GET] [EX seconds | ");
    hints_beginning("set k v NX GET", " [EX seconds | ");
    hints_beginning("set k v ex", " seconds [NX | XX | ");
    hints_beginning("set k v ex 10", " [NX | XX | ");
    hints("set k v nx get ex 10", "");
    hints("set get set",
          " [NX | XX | IFEQ ifeq-value | IFNE ifne-value | IFDEQ ifdeq-digest | IFDNE ifdne-digest | "
          "IFVER ifver-version] [GET] [EX seconds | PX milliseconds | EXAT unix-time-seconds | "
          "PXAT unix-time-milliseconds | KEEPTTL]"); /* a key may be called get */
    hints_beginning("scan 0 match", " pattern [COUNT count]");
    hints_beginning("scan 0 match x count", " count");
}

static void a_servers_own_command_has_a_plain_hint(void **state)
{
    const server_command hset = { .arity = -4, .first_key = 1, .last_key = 1, .key_step = 1 },
                         sdiff = { .arity = -2, .first_key = 1, .last_key = -1, .key_step = 1 },
                         lset = { .arity = 4, .first_key = 1, .last_key = 1, .key_step = 1 };
    static const struct {
        size_t typed;
        const char *of_hset, *of_sdiff, *of_lset;
    } cases[] = { { 1, "key arg arg [arg ...]", "key [key ...]", "key arg arg" },
                  { 2, "arg arg [arg ...]", "[key ...]", "arg arg" },
                  { 9, "[arg ...]", "[key ...]", "" } };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        text out = { 0 };

        server_command_print(&hset, cases[i].typed, &out);
        assert_string_equal(text_str(&out), cases[i].of_hset);
        text_clear(&out);
        server_command_print(&sdiff, cases[i].typed, &out);
        assert_string_equal(text_str(&out), cases[i].of_sdiff);
        text_clear(&out);
        server_command_print(&lset, cases[i].typed, &out);
        assert_string_equal(text_str(&out), cases[i].of_lset);
        text_done(&out);
    }
}

static void completion_knows_commands_subcommands_and_options(void **state)
{
    (void)state;
    completes("getr", 0, "getrange");
    completes("GETR", 0, "GETRANGE");
    completes("object enc", 7, "encoding");
    completes("nosuch x", 7, "");
    completes("set k v ke", 8, "keepttl");
    completes("set k v EX 10 k", 14, "");
    completes("help @conn", 5, "@connection");
    completes("help getr", 5, "getrange");
    completes("\"unfin", 0, "");
}

static void completion_tells_where_a_key_is_expected(void **state)
{
    completion c = { 0 };

    (void)state;
    complete(kvc_str("get us"), &c);
    assert_true(c.key);
    assert_int_equal(c.from, 4);
    completion_done(&c);
    c = (completion){ 0 };
    complete(kvc_str("set k us"), &c);
    assert_false(c.key);
    completion_done(&c);
    c = (completion){ 0 };
    complete(kvc_str("mset a 1 us"), &c);
    assert_true(c.key);
    completion_done(&c);
}

static void candidates_share_a_beginning(void **state)
{
    completion c = { 0 };
    kvc_slice common;

    (void)state;
    complete(kvc_str("pexpireat"), &c);
    assert_int_equal(c.words.n, 1);
    completion_done(&c);
    c = (completion){ 0 };
    complete(kvc_str("pex"), &c);
    common = completion_common(&c);
    assert_int_equal(common.len, strlen("pexpire"));
    completion_done(&c);
}

static void help_says(const char *line, const char *expected)
{
    words w = { 0 };
    text out = { 0 };

    assert_null(words_split(kvc_str(line), &w));
    assert_int_equal(help_on(w.n, w.items, false, &out), expected != NULL);
    if (expected && !strstr(text_str(&out), expected))
        fail_msg("no \"%s\" in help %s:\n%s", expected, line, text_str(&out));
    text_done(&out);
    words_done(&w);
}

static void help_comes_from_the_table(void **state)
{
    (void)state;
    help_says("get", "GET key\n");
    help_says("get", "since: 1.0.0");
    help_says("OBJECT encoding", "OBJECT ENCODING key");
    help_says("client", "CLIENT KILL ");
    help_says("@string", "\n  GETSET key value\n");
    help_says("", "help @<group>");
    help_says("nosuch", NULL);
    help_says("get nosuch", NULL);
    help_says("@nosuch", NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_hint_shows_what_is_still_to_come),
        cmocka_unit_test(options_that_were_used_leave_the_hint),
        cmocka_unit_test(a_servers_own_command_has_a_plain_hint),
        cmocka_unit_test(completion_knows_commands_subcommands_and_options),
        cmocka_unit_test(completion_tells_where_a_key_is_expected),
        cmocka_unit_test(candidates_share_a_beginning),
        cmocka_unit_test(help_comes_from_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
