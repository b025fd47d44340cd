/* string_test.c - tests of core/commands/string.c: one key, one string.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

static const char not_an_integer[] = "-ERR value is not an integer or out of range";
static const char syntax_error[] = "-ERR syntax error";
static const char too_big[] = "-ERR string exceeds maximum allowed size (proto-max-bulk-len)";

/* ---- GET and SET ------------------------------------------------------------------------ */

static void a_value_set_is_the_value_got(void **state)
{
    session *s = *state;

    expect(s, "_", "GET", "name");
    expect(s, "+OK", "SET", "name", "Ada");
    expect(s, "$Ada", "GET", "name");
    expect(s, "+OK", "SET", "name", "Grace");
    expect(s, "$Grace", "GET", "name");
    expect(s, ":1", "EXISTS", "name");
    expect(s, "_", "GET", "Name");
}

static void keys_and_values_hold_any_bytes(void **state)
{
    session *s = *state;

    expect_bytes(s, "+OK", KV_STR("SET"), KV_STR("a\0b"), KV_STR("\0\r\n\xff"));
    expect_bytes(s, "$\\x00\\x0d\\x0a\\xff", KV_STR("GET"), KV_STR("a\0b"));
    expect_bytes(s, "_", KV_STR("GET"), KV_STR("a"));
    expect_bytes(s, "_", KV_STR("GET"), KV_STR("a\0c"));
    expect_bytes(s, "*1 $a\\x00b", KV_STR("KEYS"), KV_STR("*"));
}

static void keys_and_values_may_be_empty(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "", "nameless");
    expect(s, "$nameless", "GET", "");
    expect(s, "+OK", "SET", "nothing", "");
    expect(s, "$", "GET", "nothing");
    expect(s, ":1", "EXISTS", "nothing");
    expect(s, ":0", "STRLEN", "nothing");
    expect(s, "*2 $nameless $\"\"", "MGET", "", "nothing");
    expect(s, ":1", "DEL", "");
    expect(s, "_", "GET", "");
}

static void large_values_come_back_whole(void **state)
{
    session *s = *state;
    static const size_t sizes[] = { 55, 56, 255, 256, 1023, 1024, 1025, 16383, 65536, 1000003 };

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *value = malloc(sizes[i] + 2);
        kv_slice set[] = { KV_STR("SET"), KV_STR("big"), kv_slice_of(value + 1, sizes[i]) };

        assert_non_null(value);
        value[0] = '$';
        for (size_t n = 1; n <= sizes[i]; n++)
            value[n] = (char)('a' + n % 23);
        value[sizes[i] + 1] = 0;
        session_expect_bytes(s, __FILE__, __LINE__, "+OK", 3, set);
        expect(s, value, "GET", "big");
        expect_between(s, (long long)sizes[i], (long long)sizes[i], "STRLEN", "big");
        free(value);
    }
}

static void set_nx_only_creates(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "1", "NX");
    expect(s, "_", "SET", "k", "2", "NX");
    expect(s, "$1", "GET", "k");
    expect(s, "_", "SET", "k", "2", "nx", "EX", "100");
    expect(s, ":-1", "TTL", "k");
}

static void set_xx_only_replaces(void **state)
{
    session *s = *state;

    expect(s, "_", "SET", "k", "1", "XX");
    expect(s, ":0", "EXISTS", "k");
    expect(s, "+OK", "SET", "k", "1");
    expect(s, "+OK", "SET", "k", "2", "xx");
    expect(s, "$2", "GET", "k");
}

static void set_get_tells_what_was_there(void **state)
{
    session *s = *state;

    expect(s, "_", "SET", "k", "1", "GET");
    expect(s, "$1", "SET", "k", "2", "GET");
    expect(s, "$2", "SET", "k", "3", "NX", "GET");
    expect(s, "$2", "GET", "k");
    expect(s, "$2", "SET", "k", "4", "XX", "GET");
    expect(s, "$4", "GET", "k");
    expect(s, "_", "SET", "new", "1", "GET", "XX");
    expect(s, ":0", "EXISTS", "new");
    expect(s, "_", "SET", "new", "1", "GET", "NX");
    expect(s, "$1", "GET", "new");
}

static void set_gives_a_deadline_in_four_spellings(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v", "EX", "100");
    expect_between(s, 99, 100, "TTL", "k");
    expect(s, "+OK", "SET", "k", "v", "px", "200000");
    expect_between(s, 199000, 200000, "PTTL", "k");
    expect(s, "+OK", "SET", "k", "v", "EXAT", "33177117420");
    expect(s, ":33177117420", "EXPIRETIME", "k");
    expect(s, "+OK", "SET", "k", "v", "PXAT", "33177117420123");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
}

static void set_drops_the_deadline_unless_told_to_keep_it(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "1", "PXAT", "33177117420123");
    expect(s, "+OK", "SET", "k", "2", "KEEPTTL");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, "$2", "SET", "k", "3", "KEEPTTL", "GET");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, "+OK", "SET", "k", "4");
    expect(s, ":-1", "PEXPIRETIME", "k");
    expect(s, "+OK", "SET", "new", "1", "KEEPTTL");
    expect(s, ":-1", "PEXPIRETIME", "new");
}

static void set_with_a_deadline_long_past_leaves_nothing_to_see(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, "+OK", "SET", "k", "w", "PXAT", "1");
    expect(s, "_", "GET", "k");
    expect(s, ":0", "EXISTS", "k");
    expect(s, "+OK", "SET", "k", "w", "EXAT", "1");
    expect(s, ":-2", "TTL", "k");
}

static void set_takes_its_options_in_any_order_and_case(void **state)
{
    session *s = *state;

    expect(s, "_", "SET", "k", "v", "get", "Nx", "eX", "100");
    expect_between(s, 99, 100, "TTL", "k");
    expect(s, "$v", "SET", "k", "w", "Ex", "50", "xX", "GeT");
    expect_between(s, 49, 50, "TTL", "k");
    expect(s, syntax_error, "SET", "k", "w", "XX", "");
}

static void set_takes_the_last_of_an_option_given_twice(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v", "NX", "NX");
    expect(s, "+OK", "SET", "k", "v", "PXAT", "33177117420123", "PXAT", "33177117420456");
    expect(s, ":33177117420456", "PEXPIRETIME", "k");
    expect(s, "$v", "SET", "k", "w", "KEEPTTL", "GET", "KEEPTTL", "GET");
}

static void set_refuses_options_that_contradict(void **state)
{
    session *s = *state;

    expect(s, syntax_error, "SET", "k", "v", "NX", "XX");
    expect(s, syntax_error, "SET", "k", "v", "XX", "NX");
    expect(s, syntax_error, "SET", "k", "v", "EX", "10", "PX", "10");
    expect(s, syntax_error, "SET", "k", "v", "EX", "10", "KEEPTTL");
    expect(s, syntax_error, "SET", "k", "v", "KEEPTTL", "PXAT", "10");
    expect(s, syntax_error, "SET", "k", "v", "EXAT", "10", "PX", "10");
    expect(s, syntax_error, "SET", "k", "v", "PERSIST");
    expect(s, syntax_error, "SET", "k", "v", "EX");
    expect(s, syntax_error, "SET", "k", "v", "NX", "PXAT");
    expect(s, syntax_error, "SET", "k", "v", "w");
    expect(s, syntax_error, "SET", "k", "v", "NXX");
    expect(s, ":0", "EXISTS", "k");
}

static void set_refuses_deadlines_that_make_no_sense(void **state)
{
    session *s = *state;
    static const char invalid[] = "-ERR invalid expire time in 'set' command";

    expect(s, invalid, "SET", "k", "v", "EX", "0");
    expect(s, invalid, "SET", "k", "v", "EX", "-1");
    expect(s, invalid, "SET", "k", "v", "PX", "0");
    expect(s, invalid, "SET", "k", "v", "PX", "-100");
    expect(s, invalid, "SET", "k", "v", "EXAT", "0");
    expect(s, invalid, "SET", "k", "v", "PXAT", "-5");
    expect(s, invalid, "SET", "k", "v", "EX", "9223372036854775807");
    expect(s, invalid, "SET", "k", "v", "EX", "9223372036854775");
    expect(s, invalid, "SET", "k", "v", "PX", "9223372036854775807");
    expect(s, invalid, "SET", "k", "v", "EXAT", "9223372036854776");
    expect(s, not_an_integer, "SET", "k", "v", "EX", "ten");
    expect(s, not_an_integer, "SET", "k", "v", "EX", "");
    expect(s, not_an_integer, "SET", "k", "v", "EX", "10.0");
    expect(s, not_an_integer, "SET", "k", "v", "EX", " 10");
    expect(s, not_an_integer, "SET", "k", "v", "EX", "10 ");
    expect(s, not_an_integer, "SET", "k", "v", "EX", "+10");
    expect(s, not_an_integer, "SET", "k", "v", "EX", "010");
    expect(s, not_an_integer, "SET", "k", "v", "PX", "9223372036854775808");
    expect(s, ":0", "EXISTS", "k");
    expect(s, "+OK", "SET", "k", "v", "PXAT", "9223372036854775807");
    expect(s, "$v", "GET", "k");
}

static void a_refused_set_leaves_value_and_deadline(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v", "PXAT", "33177117420123");
    expect(s, syntax_error, "SET", "k", "w", "NX", "XX");
    expect(s, "-ERR invalid expire time in 'set' command", "SET", "k", "w", "EX", "0");
    expect(s, "_", "SET", "k", "w", "NX");
    expect(s, "$v", "GET", "k");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
}

static void string_commands_count_their_arguments(void **state)
{
    session *s = *state;

    expect(s, "-ERR wrong number of arguments for 'get' command", "GET");
    expect(s, "-ERR wrong number of arguments for 'get' command", "GET", "a", "b");
    expect(s, "-ERR wrong number of arguments for 'set' command", "SET", "a");
    expect(s, "-ERR wrong number of arguments for 'setnx' command", "SETNX", "a");
    expect(s, "-ERR wrong number of arguments for 'setex' command", "SETEX", "a", "1");
    expect(s, "-ERR wrong number of arguments for 'psetex' command", "PSETEX", "a", "1", "v", "w");
    expect(s, "-ERR wrong number of arguments for 'getset' command", "GETSET", "a");
    expect(s, "-ERR wrong number of arguments for 'getdel' command", "GETDEL");
    expect(s, "-ERR wrong number of arguments for 'getex' command", "GETEX");
    expect(s, "-ERR wrong number of arguments for 'append' command", "APPEND", "a");
    expect(s, "-ERR wrong number of arguments for 'strlen' command", "STRLEN");
    expect(s, "-ERR wrong number of arguments for 'getrange' command", "GETRANGE", "a", "0");
    expect(s, "-ERR wrong number of arguments for 'substr' command", "SUBSTR", "a", "0");
    expect(s, "-ERR wrong number of arguments for 'setrange' command", "SETRANGE", "a", "0");
    expect(s, "-ERR wrong number of arguments for 'mget' command", "MGET");
    expect(s, "-ERR wrong number of arguments for 'mset' command", "MSET", "a");
    expect(s, "-ERR wrong number of arguments for 'mset' command", "MSET", "a", "1", "b");
    expect(s, "-ERR wrong number of arguments for 'msetnx' command", "MSETNX", "a", "1", "b");
    expect(s, "-ERR wrong number of arguments for 'lcs' command", "LCS", "a");
}

/* ---- the older spellings ---------------------------------------------------------------- */

static void setnx_answers_with_a_number(void **state)
{
    session *s = *state;

    expect(s, ":1", "SETNX", "k", "1");
    expect(s, ":0", "SETNX", "k", "2");
    expect(s, "$1", "GET", "k");
}

static void setnx_sets_over_an_expired_key(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "old", "PXAT", "1");
    expect(s, ":1", "SETNX", "k", "new");
    expect(s, "$new", "GET", "k");
    expect(s, ":-1", "TTL", "k");
}

static void setex_and_psetex_set_a_deadline(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SETEX", "k", "100", "v");
    expect_between(s, 99, 100, "TTL", "k");
    expect(s, "+OK", "PSETEX", "k", "300000", "w");
    expect_between(s, 299000, 300000, "PTTL", "k");
    expect(s, "$w", "GET", "k");
    expect(s, "-ERR invalid expire time in 'setex' command", "SETEX", "k", "0", "v");
    expect(s, "-ERR invalid expire time in 'setex' command", "SETEX", "k", "-10", "v");
    expect(s, "-ERR invalid expire time in 'setex' command", "SETEX", "k", "9223372036854775807", "v");
    expect(s, "-ERR invalid expire time in 'psetex' command", "PSETEX", "k", "0", "v");
    expect(s, "-ERR invalid expire time in 'psetex' command", "PSETEX", "k", "9223372036854775807", "v");
    expect(s, not_an_integer, "SETEX", "k", "x", "v");
    expect(s, not_an_integer, "PSETEX", "k", "1.5", "v");
    expect(s, "$w", "GET", "k");
}

static void getset_swaps_and_drops_the_deadline(void **state)
{
    session *s = *state;

    expect(s, "_", "GETSET", "k", "1");
    expect(s, ":1", "EXPIRE", "k", "100");
    expect(s, "$1", "GETSET", "k", "2");
    expect(s, "$2", "GET", "k");
    expect(s, ":-1", "TTL", "k");
}

static void getdel_takes_the_value_away(void **state)
{
    session *s = *state;

    expect(s, "_", "GETDEL", "k");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, "$v", "GETDEL", "k");
    expect(s, "_", "GETDEL", "k");
    expect(s, ":0", "EXISTS", "k");
}

/* ---- GETEX ------------------------------------------------------------------------------ */

static void getex_alone_is_get(void **state)
{
    session *s = *state;

    expect(s, "_", "GETEX", "k");
    expect(s, "+OK", "SET", "k", "v", "PXAT", "33177117420123");
    expect(s, "$v", "GETEX", "k");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
}

static void getex_moves_the_deadline(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, "$v", "GETEX", "k", "EX", "100");
    expect_between(s, 99, 100, "TTL", "k");
    expect(s, "$v", "GETEX", "k", "PX", "200000");
    expect_between(s, 199000, 200000, "PTTL", "k");
    expect(s, "$v", "GETEX", "k", "EXAT", "33177117420");
    expect(s, ":33177117420", "EXPIRETIME", "k");
    expect(s, "$v", "GETEX", "k", "pxat", "33177117420123");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, "$v", "GETEX", "k", "PERSIST");
    expect(s, ":-1", "TTL", "k");
    expect(s, "$v", "GETEX", "k", "PERSIST");
}

static void getex_with_a_deadline_long_past_reads_for_the_last_time(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, "$v", "GETEX", "k", "PXAT", "1");
    expect(s, "_", "GET", "k");
    expect(s, ":0", "DBSIZE");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, "$v", "GETEX", "k", "EXAT", "1");
    expect(s, ":0", "EXISTS", "k");
}

static void getex_refuses_what_it_does_not_know(void **state)
{
    session *s = *state;
    static const char invalid[] = "-ERR invalid expire time in 'getex' command";

    expect(s, "+OK", "SET", "k", "v");
    expect(s, syntax_error, "GETEX", "k", "EX");
    expect(s, syntax_error, "GETEX", "k", "EX", "10", "PERSIST");
    expect(s, syntax_error, "GETEX", "k", "PERSIST", "EX", "10");
    expect(s, syntax_error, "GETEX", "k", "EX", "10", "PX", "10");
    expect(s, syntax_error, "GETEX", "k", "KEEPTTL");
    expect(s, syntax_error, "GETEX", "k", "NX");
    expect(s, syntax_error, "GETEX", "k", "GET");
    expect(s, syntax_error, "GETEX", "k", "10");
    expect(s, invalid, "GETEX", "k", "EX", "0");
    expect(s, invalid, "GETEX", "k", "PX", "-1");
    expect(s, invalid, "GETEX", "k", "EXAT", "9223372036854776");
    expect(s, not_an_integer, "GETEX", "k", "EX", "x");
    expect(s, ":-1", "TTL", "k");
    expect(s, syntax_error, "GETEX", "absent", "EX", "10", "PERSIST");
    expect(s, "_", "GETEX", "absent", "EX", "10");
}

/* ---- parts of a string ------------------------------------------------------------------ */

static void append_makes_and_extends(void **state)
{
    session *s = *state;

    expect(s, ":3", "APPEND", "k", "one");
    expect(s, ":7", "APPEND", "k", " two");
    expect(s, "$one two", "GET", "k");
    expect(s, ":7", "APPEND", "k", "");
    expect(s, ":0", "APPEND", "empty", "");
    expect(s, ":1", "EXISTS", "empty");
    expect_bytes(s, ":9", KV_STR("APPEND"), KV_STR("k"), KV_STR("\0\0"));
    expect(s, "$one two\\x00\\x00", "GET", "k");
}

static void append_keeps_the_deadline(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "1", "PXAT", "33177117420123");
    expect(s, ":2", "APPEND", "k", "2");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, ":13", "INCR", "k");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
}

static void append_grows_a_value_through_every_size(void **state)
{
    session *s = *state;
    static const char chunk[] = "0123456789abcdefghijklmnopqrstuvwxyz-";

    for (long long i = 1; i <= 100; i++)
        expect_between(s, 37 * i, 37 * i, "APPEND", "k", chunk);
    expect(s, "$vwxyz-0123456789abcdefghijklmnopqrstuvwxyz-", "GETRANGE", "k", "-43", "-1");
    expect(s, "$0123", "GETRANGE", "k", "0", "3");
    expect(s, ":3700", "STRLEN", "k");
}

static void strlen_counts_bytes(void **state)
{
    session *s = *state;

    expect(s, ":0", "STRLEN", "k");
    expect(s, "+OK", "SET", "k", "12345");
    expect(s, ":5", "STRLEN", "k");
    expect(s, "+OK", "SET", "k", "-9223372036854775808");
    expect(s, ":20", "STRLEN", "k");
    expect(s, "+OK", "SET", "k", "h\xc3\xa9");
    expect(s, ":3", "STRLEN", "k");
}

static void getrange_counts_from_both_ends(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "Hello World");
    expect(s, "$Hell", "GETRANGE", "k", "0", "3");
    expect(s, "$Hello World", "GETRANGE", "k", "0", "-1");
    expect(s, "$orld", "GETRANGE", "k", "-4", "-1");
    expect(s, "$o W", "GETRANGE", "k", "4", "-5");
    expect(s, "$d", "GETRANGE", "k", "10", "100");
    expect(s, "$H", "GETRANGE", "k", "-100", "0");
    expect(s, "$Hello World", "GETRANGE", "k", "-100", "100");
    expect(s, "$", "GETRANGE", "k", "5", "3");
    expect(s, "$", "GETRANGE", "k", "-1", "-3");
    expect(s, "$", "GETRANGE", "k", "11", "20");
    expect(s, "$H", "GETRANGE", "k", "-100", "-50");
    expect(s, "$", "GETRANGE", "k", "-50", "-100");
    expect(s, "$H", "GETRANGE", "k", "0", "-9223372036854775808");
    expect(s, "$Hello World", "GETRANGE", "k", "0", "9223372036854775807");
    expect(s, "$", "GETRANGE", "absent", "0", "-1");
    expect(s, not_an_integer, "GETRANGE", "k", "a", "1");
    expect(s, not_an_integer, "GETRANGE", "k", "0", "1.0");
    expect(s, "+OK", "SET", "k", "1234567");
    expect(s, "$234", "GETRANGE", "k", "1", "3");
    expect(s, "+OK", "SET", "empty", "");
    expect(s, "$", "GETRANGE", "empty", "0", "-1");
}

static void substr_is_getrange(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "Hello World");
    expect(s, "$ello", "SUBSTR", "k", "1", "4");
    expect(s, "$ld", "SUBSTR", "k", "-2", "-1");
    expect(s, "$", "SUBSTR", "absent", "0", "1");
    expect(s, not_an_integer, "SUBSTR", "k", "0", "x");
}

static void setrange_writes_over_and_pads_with_nul(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "Hello World");
    expect(s, ":11", "SETRANGE", "k", "6", "Redis");
    expect(s, "$Hello Redis", "GET", "k");
    expect(s, ":14", "SETRANGE", "k", "11", "!!!");
    expect(s, "$Hello Redis!!!", "GET", "k");
    expect(s, ":17", "SETRANGE", "k", "16", "?");
    expect(s, "$Hello Redis!!!\\x00\\x00?", "GET", "k");
    expect(s, ":5", "SETRANGE", "new", "3", "ab");
    expect(s, "$\\x00\\x00\\x00ab", "GET", "new");
    expect(s, ":3", "SETRANGE", "other", "0", "abc");
}

static void setrange_with_nothing_changes_nothing(void **state)
{
    session *s = *state;

    expect(s, ":0", "SETRANGE", "k", "0", "");
    expect(s, ":0", "SETRANGE", "k", "100", "");
    expect(s, ":0", "EXISTS", "k");
    expect(s, "+OK", "SET", "k", "abc");
    expect(s, ":3", "SETRANGE", "k", "100", "");
    expect(s, "$abc", "GET", "k");
    expect(s, ":3", "SETRANGE", "k", "536870912", "");
}

static void setrange_keeps_the_deadline(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "12", "PXAT", "33177117420123");
    expect(s, ":2", "SETRANGE", "k", "1", "5");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, ":16", "INCR", "k");
}

static void setrange_refuses_offsets_out_of_range(void **state)
{
    session *s = *state;

    expect(s, "-ERR offset is out of range", "SETRANGE", "k", "-1", "x");
    expect(s, "-ERR offset is out of range", "SETRANGE", "k", "-9223372036854775808", "");
    expect(s, not_an_integer, "SETRANGE", "k", "x", "y");
    expect(s, not_an_integer, "SETRANGE", "k", "9223372036854775808", "y");
    expect(s, too_big, "SETRANGE", "k", "536870912", "x");
    expect(s, too_big, "SETRANGE", "k", "536870911", "xy");
    expect(s, too_big, "SETRANGE", "k", "9223372036854775807", "x");
    expect(s, ":0", "EXISTS", "k");
    expect(s, "+OK", "SET", "k", "abc");
    expect(s, too_big, "SETRANGE", "k", "536870910", "xyz");
    expect(s, "$abc", "GET", "k");
}

static void append_stops_at_the_largest_value(void **state)
{
    session *s = *state;

    expect(s, ":536870912", "SETRANGE", "k", "536870911", "x");
    expect(s, too_big, "APPEND", "k", "y");
    expect(s, ":536870912", "STRLEN", "k");
    expect(s, ":536870912", "APPEND", "k", "");
    expect(s, "$\\x00x", "GETRANGE", "k", "536870910", "-1");
    expect(s, ":1", "UNLINK", "k");
}

/* ---- several keys ----------------------------------------------------------------------- */

static void mget_answers_in_order_and_with_nulls(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MSET", "a", "1", "b", "two");
    expect(s, "*2 $1 $two", "MGET", "a", "b");
    expect(s, "*5 $two _ $1 $1 _", "MGET", "b", "x", "a", "a", "y");
    expect(s, "+OK", "SET", "gone", "v", "PXAT", "1");
    expect(s, "*2 _ $1", "MGET", "gone", "a");
}

static void mset_sets_all_and_the_last_of_a_key_wins(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "a", "old", "EX", "100");
    expect(s, "+OK", "MSET", "a", "1", "b", "2", "a", "3", "c", "");
    expect(s, "*3 $3 $2 $\"\"", "MGET", "a", "b", "c");
    expect(s, ":-1", "TTL", "a");
    expect(s, ":3", "DBSIZE");
}

static void msetnx_sets_all_or_nothing(void **state)
{
    session *s = *state;

    expect(s, ":1", "MSETNX", "a", "1", "b", "2");
    expect(s, ":0", "MSETNX", "c", "3", "b", "4");
    expect(s, ":0", "MSETNX", "b", "4", "c", "3");
    expect(s, "*3 $1 $2 _", "MGET", "a", "b", "c");
    expect(s, ":1", "MSETNX", "x", "1", "x", "2");
    expect(s, "$2", "GET", "x");
    expect(s, "+OK", "SET", "gone", "v", "PXAT", "1");
    expect(s, ":1", "MSETNX", "gone", "back", "d", "4");
    expect(s, "*2 $back $4", "MGET", "gone", "d");
    expect(s, ":-1", "TTL", "gone");
}

static void many_keys_at_once(void **state)
{
    session *s = *state;
    enum { n = 300 };
    kv_slice set[1 + 2 * n], get[1 + n];
    char names[n][16], wanted[16 * n], *at = wanted;

    set[0] = KV_STR("MSET");
    get[0] = KV_STR("MGET");
    at += sprintf(at, "*%d", n);
    for (int i = 0; i < n; i++) {
        sprintf(names[i], "key:%d", i);
        set[1 + 2 * i] = get[1 + i] = set[2 + 2 * i] = kv_str(names[i]);
        at += sprintf(at, " $key:%d", i);
    }
    session_expect_bytes(s, __FILE__, __LINE__, "+OK", 1 + 2 * n, set);
    session_expect_bytes(s, __FILE__, __LINE__, wanted, 1 + n, get);
    get[0] = KV_STR("EXISTS");
    session_expect_bytes(s, __FILE__, __LINE__, ":300", 1 + n, get);
    get[0] = KV_STR("DEL");
    session_expect_bytes(s, __FILE__, __LINE__, ":300", 1 + n, get);
    session_expect_bytes(s, __FILE__, __LINE__, ":0", 1 + n, get);
}

/* ---- LCS -------------------------------------------------------------------------------- */

static void lcs_finds_the_longest_common_subsequence(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MSET", "a", "ohmytext", "b", "mynewtext");
    expect(s, "$mytext", "LCS", "a", "b");
    expect(s, ":6", "LCS", "a", "b", "LEN");
    expect(s, ":6", "LCS", "b", "a", "len");
    expect(s, "$ohmytext", "LCS", "a", "a");
    expect(s, "$", "LCS", "a", "absent");
    expect(s, ":0", "LCS", "absent", "nothing", "LEN");
    expect(s, "+OK", "MSET", "x", "123", "y", "456");
    expect(s, "$", "LCS", "x", "y");
    expect(s, "+OK", "SET", "y", "1532");
    expect_like(s, "$1[23]", "LCS", "x", "y");
}

static void lcs_idx_tells_where(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MSET", "a", "ohmytext", "b", "mynewtext");
    expect(s, "*4 $matches *2 *2 *2 :4 :7 *2 :5 :8 *2 *2 :2 :3 *2 :0 :1 $len :6", "LCS", "a", "b", "IDX");
    expect(s, "*4 $matches *1 *2 *2 :4 :7 *2 :5 :8 $len :6", "LCS", "a", "b", "IDX", "MINMATCHLEN", "4");
    expect(s, "*4 $matches *0 $len :6", "LCS", "a", "b", "IDX", "MINMATCHLEN", "5");
    expect(s, "*4 $matches *1 *3 *2 :4 :7 *2 :5 :8 :4 $len :6", "LCS", "a", "b", "MINMATCHLEN", "4", "idx",
           "WITHMATCHLEN");
    expect(s, "*4 $matches *2 *3 *2 :4 :7 *2 :5 :8 :4 *3 *2 :2 :3 *2 :0 :1 :2 $len :6", "LCS", "a", "b",
           "IDX", "WITHMATCHLEN", "MINMATCHLEN", "-3");
    expect(s, "*4 $matches *0 $len :0", "LCS", "a", "absent", "IDX");
}

static void lcs_refuses_what_makes_no_sense(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MSET", "a", "ohmytext", "b", "mynewtext");
    expect(s, "-ERR If you want both the length and indexes, please just use IDX.", "LCS", "a", "b", "IDX",
           "LEN");
    expect(s, syntax_error, "LCS", "a", "b", "MINMATCHLEN");
    expect(s, syntax_error, "LCS", "a", "b", "LENGTH");
    expect(s, not_an_integer, "LCS", "a", "b", "IDX", "MINMATCHLEN", "x");
    expect(s, ":6", "LCS", "a", "b", "LEN", "WITHMATCHLEN");
    expect(s, ":6", "LCS", "a", "b", "LEN", "MINMATCHLEN", "100");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(a_value_set_is_the_value_got),
        conversation(keys_and_values_hold_any_bytes),
        conversation(keys_and_values_may_be_empty),
        conversation(large_values_come_back_whole),
        conversation(set_nx_only_creates),
        conversation(set_xx_only_replaces),
        conversation(set_get_tells_what_was_there),
        conversation(set_gives_a_deadline_in_four_spellings),
        conversation(set_drops_the_deadline_unless_told_to_keep_it),
        conversation(set_with_a_deadline_long_past_leaves_nothing_to_see),
        conversation(set_takes_its_options_in_any_order_and_case),
        conversation(set_takes_the_last_of_an_option_given_twice),
        conversation(set_refuses_options_that_contradict),
        conversation(set_refuses_deadlines_that_make_no_sense),
        conversation(a_refused_set_leaves_value_and_deadline),
        conversation(string_commands_count_their_arguments),
        conversation(setnx_answers_with_a_number),
        conversation(setnx_sets_over_an_expired_key),
        conversation(setex_and_psetex_set_a_deadline),
        conversation(getset_swaps_and_drops_the_deadline),
        conversation(getdel_takes_the_value_away),
        conversation(getex_alone_is_get),
        conversation(getex_moves_the_deadline),
        conversation(getex_with_a_deadline_long_past_reads_for_the_last_time),
        conversation(getex_refuses_what_it_does_not_know),
        conversation(append_makes_and_extends),
        conversation(append_keeps_the_deadline),
        conversation(append_grows_a_value_through_every_size),
        conversation(strlen_counts_bytes),
        conversation(getrange_counts_from_both_ends),
        conversation(substr_is_getrange),
        conversation(setrange_writes_over_and_pads_with_nul),
        conversation(setrange_with_nothing_changes_nothing),
        conversation(setrange_keeps_the_deadline),
        conversation(setrange_refuses_offsets_out_of_range),
        conversation(append_stops_at_the_largest_value),
        conversation(mget_answers_in_order_and_with_nulls),
        conversation(mset_sets_all_and_the_last_of_a_key_wins),
        conversation(msetnx_sets_all_or_nothing),
        conversation(many_keys_at_once),
        conversation(lcs_finds_the_longest_common_subsequence),
        conversation(lcs_idx_tells_where),
        conversation(lcs_refuses_what_makes_no_sense),
    };

    return run_conversations(argc, argv, tests);
}
