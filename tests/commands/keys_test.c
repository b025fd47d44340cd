/* keys_test.c - tests of core/commands/keys.c: keys, whatever they hold.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

static const char not_an_integer[] = "-ERR value is not an integer or out of range";
static const char syntax_error[] = "-ERR syntax error";

static void set_keys(session *s, const char *const names[])
{
    for (size_t i = 0; names[i]; i++)
        expect(s, "+OK", "SET", names[i], names[i]);
}

/* ---- presence --------------------------------------------------------------------------- */

static void del_counts_what_it_removed(void **state)
{
    session *s = *state;

    set_keys(s, (const char *const[]){ "a", "b", "c", "d", NULL });
    expect(s, ":1", "DEL", "a");
    expect(s, ":0", "DEL", "a");
    expect(s, ":2", "DEL", "b", "x", "c", "b", "y");
    expect(s, ":1", "UNLINK", "d", "d");
    expect(s, ":0", "UNLINK", "d", "absent");
    expect(s, ":0", "DBSIZE");
}

static void exists_and_touch_count_a_key_as_often_as_named(void **state)
{
    session *s = *state;

    set_keys(s, (const char *const[]){ "a", "b", NULL });
    expect(s, ":1", "EXISTS", "a");
    expect(s, ":0", "EXISTS", "x");
    expect(s, ":4", "EXISTS", "a", "b", "x", "a", "a");
    expect(s, ":3", "TOUCH", "a", "b", "x", "a");
    expect(s, ":0", "TOUCH", "x");
}

static void type_names_the_type(void **state)
{
    session *s = *state;

    expect(s, "+none", "TYPE", "k");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, "+string", "TYPE", "k");
    expect(s, ":5", "INCRBY", "n", "5");
    expect(s, "+string", "TYPE", "n");
}

static void randomkey_gives_a_key_that_is_there(void **state)
{
    session *s = *state;
    bool seen[3] = { false };

    expect(s, "_", "RANDOMKEY");
    expect(s, "+OK", "SET", "only", "v");
    for (int i = 0; i < 10; i++)
        expect(s, "$only", "RANDOMKEY");
    expect(s, ":1", "DEL", "only");
    set_keys(s, (const char *const[]){ "0", "1", "2", NULL });
    for (int i = 0; i < 1000 && !(seen[0] && seen[1] && seen[2]); i++) {
        const char *text = said(s, "RANDOMKEY");

        assert_true(text[0] == '$' && text[1] >= '0' && text[1] <= '2' && !text[2]);
        seen[text[1] - '0'] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2]);
}

static void randomkey_finds_the_one_key_among_expired_ones(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "alive", "v");
    for (int i = 0; i < 50; i++)
        expect(s, "+OK", "SET", decimal(s, i), "v", "PXAT", "1");
    expect(s, "$alive", "RANDOMKEY");
}

/* ---- KEYS ------------------------------------------------------------------------------- */

static void keys_lists_what_matches(void **state)
{
    session *s = *state;

    expect(s, "*0", "KEYS", "*");
    set_keys(s, (const char *const[]){ "hello", "hallo", "hxllo", "hllo", "heello", "world", NULL });
    expect_sorted(s, "*6 $hallo $heello $hello $hllo $hxllo $world", "KEYS", "*");
    expect_sorted(s, "*3 $hallo $hello $hxllo", "KEYS", "h?llo");
    expect_sorted(s, "*5 $hallo $heello $hello $hllo $hxllo", "KEYS", "h*llo");
    expect_sorted(s, "*2 $hallo $hello", "KEYS", "h[ae]llo");
    expect_sorted(s, "*2 $hallo $hxllo", "KEYS", "h[^e]llo");
    expect_sorted(s, "*1 $hallo", "KEYS", "h[a-b]llo");
    expect_sorted(s, "*1 $hallo", "KEYS", "h[b-a]llo");
    expect(s, "*1 $world", "KEYS", "world");
    expect(s, "*0", "KEYS", "worl");
    expect(s, "*0", "KEYS", "World");
    expect(s, "*0", "KEYS", "");
    expect_sorted(s, "*1 $heello", "KEYS", "h??llo");
    expect_sorted(s, "*1 $world", "KEYS", "*d");
    expect_sorted(s, "*6 $hallo $heello $hello $hllo $hxllo $world", "KEYS", "**l**");
}

static void a_glob_may_be_escaped_or_broken(void **state)
{
    session *s = *state;

    set_keys(s, (const char *const[]){ "a*c", "abc", "a?c", "a[c", "a]c", "a\\c", "a-c", "a^c", NULL });
    expect(s, "*1 $a*c", "KEYS", "a\\*c");
    expect(s, "*1 $a?c", "KEYS", "a\\?c");
    expect(s, "*1 $a[c", "KEYS", "a\\[c");
    expect(s, "*1 $a\\x5cc", "KEYS", "a\\\\c");
    expect_sorted(s, "*2 $a*c $a?c", "KEYS", "a[*?]c");
    expect(s, "*1 $a-c", "KEYS", "a[-]c");
    expect_sorted(s, "*2 $a-c $abc", "KEYS", "a[b\\-]c");
    expect(s, "*1 $a]c", "KEYS", "a[\\]]c");
    expect(s, "*1 $abc", "KEYS", "a\\bc");
    expect(s, "*0", "KEYS", "a[");
    expect(s, "*0", "KEYS", "[");
    expect(s, "*0", "KEYS", "a[bc");
    expect(s, "*0", "KEYS", "\\");
    expect_sorted(s, "*1 $a^c", "KEYS", "a[x^]c");
}

static void a_glob_matches_any_bytes(void **state)
{
    session *s = *state;

    expect_bytes(s, "+OK", KV_STR("SET"), KV_STR("a\0\xff"), KV_STR("v"));
    expect_bytes(s, "*1 $a\\x00\\xff", KV_STR("KEYS"), KV_STR("a??"));
    expect_bytes(s, "*1 $a\\x00\\xff", KV_STR("KEYS"), KV_STR("a\0*"));
    expect_bytes(s, "*1 $a\\x00\\xff", KV_STR("KEYS"), KV_STR("*[\xf0-\xff]"));
    expect_bytes(s, "*0", KV_STR("KEYS"), KV_STR("a\0"));
}

static void a_hostile_glob_ends_in_time(void **state)
{
    session *s = *state;
    char key[64];

    memset(key, 'a', sizeof key - 1);
    key[sizeof key - 1] = 0;
    expect(s, "+OK", "SET", key, "v");
    not_in_redis(s, "redis-server 7.0 takes exponential time");
    expect(s, "*0", "KEYS", "a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b");
    expect_like(s, "[*]1 $a*", "KEYS", "a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*");
}

/* pairs times "*?", and at most as many stars as are looked at. */
static void a_glob_may_be_long(void **state)
{
    session *s = *state;
    enum { pairs = 50000, stars = 1000 };
    char *pattern = malloc(2 * pairs + 1), *key = malloc(pairs + 1);

    assert_true(pattern && key);
    for (int i = 0; i < pairs; i++) {
        memcpy(pattern + 2 * i, i < stars ? "*?" : "??", 2);
        key[i] = 'a';
    }
    key[pairs] = 0;
    expect(s, "+OK", "SET", key, "v");
    pattern[2 * stars] = 0;
    expect_like(s, "[*]1 $aaa*", "KEYS", pattern);
    memcpy(pattern + 2 * stars, "*?", 3);
    expect(s, "*0", "KEYS", pattern); /* one star more */
    memcpy(pattern + 2 * stars, "???", 3);
    pattern[pairs + stars] = 0;
    expect_like(s, "[*]1 $aaa*", "KEYS", pattern);
    pattern[pairs + stars] = '?';
    pattern[2 * pairs] = 0;
    expect(s, "*0", "KEYS", pattern); /* longer than the key */
    free(pattern);
    free(key);
}

/* ---- RENAME and COPY -------------------------------------------------------------------- */

static void rename_moves_value_and_deadline(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "a", "v", "PXAT", "33177117420123");
    expect(s, "+OK", "SET", "b", "old", "PXAT", "33177117420999");
    expect(s, "+OK", "RENAME", "a", "b");
    expect(s, ":0", "EXISTS", "a");
    expect(s, "$v", "GET", "b");
    expect(s, ":33177117420123", "PEXPIRETIME", "b");
    expect(s, "+OK", "SET", "a", "w");
    expect(s, "+OK", "RENAME", "a", "b");
    expect(s, "$w", "GET", "b");
    expect(s, ":-1", "TTL", "b");
    expect(s, ":1", "DBSIZE");
}

static void rename_wants_a_source(void **state)
{
    session *s = *state;

    expect(s, "-ERR no such key", "RENAME", "absent", "b");
    expect(s, "-ERR no such key", "RENAME", "absent", "absent");
    expect(s, "-ERR no such key", "RENAMENX", "absent", "b");
    expect(s, "+OK", "SET", "a", "v", "EX", "100");
    expect(s, "+OK", "RENAME", "a", "a");
    expect(s, "$v", "GET", "a");
    expect_between(s, 99, 100, "TTL", "a");
    expect(s, ":0", "RENAMENX", "a", "a");
}

static void renamenx_keeps_what_is_there(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MSET", "a", "1", "b", "2");
    expect(s, ":0", "RENAMENX", "a", "b");
    expect(s, "*2 $1 $2", "MGET", "a", "b");
    expect(s, ":1", "RENAMENX", "a", "c");
    expect(s, "*3 _ $2 $1", "MGET", "a", "b", "c");
    expect(s, "+OK", "SET", "gone", "x", "PXAT", "1");
    expect(s, ":1", "RENAMENX", "c", "gone");
    expect(s, "$1", "GET", "gone");
    expect(s, ":-1", "TTL", "gone");
}

static void copy_keeps_the_source(void **state)
{
    session *s = *state;

    expect(s, ":0", "COPY", "a", "b");
    expect(s, "+OK", "SET", "a", "v", "PXAT", "33177117420123");
    expect(s, ":1", "COPY", "a", "b");
    expect(s, "*2 $v $v", "MGET", "a", "b");
    expect(s, ":33177117420123", "PEXPIRETIME", "b");
    expect(s, ":2", "APPEND", "b", "w");
    expect(s, "*2 $v $vw", "MGET", "a", "b");
}

static void copy_replaces_only_when_told_to(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "SET", "b", "2", "EX", "100");
    expect(s, ":0", "COPY", "a", "b");
    expect(s, "$2", "GET", "b");
    expect(s, ":1", "COPY", "a", "b", "REPLACE");
    expect(s, "$1", "GET", "b");
    expect(s, ":-1", "TTL", "b");
    expect(s, ":0", "COPY", "absent", "b", "REPLACE");
    expect(s, "$1", "GET", "b");
}

static void copy_reaches_another_database(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "a", "1", "PXAT", "33177117420123");
    expect(s, ":1", "COPY", "a", "a", "DB", "3");
    expect(s, ":0", "COPY", "a", "a", "db", "3");
    expect(s, ":1", "COPY", "a", "b", "replace", "DB", "3");
    expect(s, ":1", "COPY", "a", "c", "DB", "0");
    expect(s, "+OK", "SELECT", "3");
    expect(s, "*3 $1 $1 _", "MGET", "a", "b", "c");
    expect(s, ":33177117420123", "PEXPIRETIME", "b");
}

static void copy_refuses_what_makes_no_sense(void **state)
{
    session *s = *state;
    static const char same[] = "-ERR source and destination objects are the same";
    static const char index[] = "-ERR DB index is out of range";

    expect(s, "+OK", "SET", "a", "1");
    expect(s, same, "COPY", "a", "a");
    expect(s, same, "COPY", "a", "a", "REPLACE");
    expect(s, same, "COPY", "a", "a", "DB", "0");
    expect(s, same, "COPY", "absent", "absent");
    expect(s, index, "COPY", "a", "b", "DB", "16");
    expect(s, index, "COPY", "a", "b", "DB", "-1");
    expect(s, not_an_integer, "COPY", "a", "b", "DB", "x");
    expect(s, "-ERR value is out of range, value must between -2147483648 and 2147483647", "COPY", "a", "b",
           "DB", "4294967296");
    expect(s, syntax_error, "COPY", "a", "b", "DB");
    expect(s, syntax_error, "COPY", "a", "b", "TO", "3");
    expect(s, ":0", "EXISTS", "b");
}

/* ---- OBJECT ----------------------------------------------------------------------------- */

static void object_encoding_tells_how_a_string_came_about(void **state)
{
    session *s = *state;

    expect(s, "_", "OBJECT", "ENCODING", "absent");
#define encoding(name) expect(s, "$" name, "OBJECT", "ENCODING", "k")
    expect(s, "+OK", "SET", "k", "123");
    encoding("int");
    expect(s, "+OK", "SET", "k", "-9223372036854775808");
    encoding("int");
    expect(s, "+OK", "SET", "k", "9223372036854775808");
    encoding("embstr");
    expect(s, "+OK", "SET", "k", "0123");
    encoding("embstr");
    expect(s, "+OK", "SET", "k", "");
    encoding("embstr");
    expect(s, "+OK", "SET", "k", "12345678901234567890123456789012345678901234");
    encoding("embstr");
    expect(s, "+OK", "SET", "k", "123456789012345678901234567890123456789012345");
    encoding("raw");
    expect(s, "+OK", "SET", "k", "1");
    expect(s, ":2", "APPEND", "k", "2");
    encoding("raw");
    expect(s, ":13", "INCR", "k");
    encoding("int");
    expect(s, ":2", "SETRANGE", "k", "1", "4");
    encoding("raw");
    expect(s, "$14.5", "INCRBYFLOAT", "k", "0.5");
    encoding("embstr");
    expect(s, "$15", "INCRBYFLOAT", "k", "0.5");
    encoding("embstr");
    expect(s, ":16", "INCR", "k");
    encoding("int");
    expect(s, "$16", "GETSET", "k", "17");
    encoding("int");
    expect(s, ":1", "DEL", "k");
    expect(s, ":2", "APPEND", "k", "12");
    encoding("int");
    expect(s, ":1", "DEL", "k");
    expect(s, ":2", "SETRANGE", "k", "0", "12");
    encoding("raw");
    expect(s, ":1", "COPY", "k", "k2");
    expect(s, "$raw", "OBJECT", "ENCODING", "k2");
    expect(s, "+OK", "SET", "k", "5");
    expect(s, ":1", "APPEND", "k", "");
    encoding("raw");
    expect(s, "+OK", "SET", "k", "");
    expect(s, ":0", "APPEND", "k", "");
    encoding("raw");
    expect(s, "+OK", "MSET", "k", "1", "k2", "x");
    encoding("int");
    expect(s, "$embstr", "OBJECT", "ENCODING", "k2");
    expect(s, ":1", "MSETNX", "m", "5");
    expect(s, "$int", "OBJECT", "ENCODING", "m");
    expect(s, ":1", "SETNX", "n", "5");
    expect(s, "$int", "OBJECT", "ENCODING", "n");
    expect(s, "+OK", "SETEX", "e", "100", "5");
    expect(s, "$int", "OBJECT", "ENCODING", "e");
#undef encoding
}

static void object_tells_of_references_and_idleness(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "a value");
    expect(s, ":1", "OBJECT", "REFCOUNT", "k");
    expect_between(s, 0, 2, "OBJECT", "IDLETIME", "k");
    expect(s, "_", "OBJECT", "REFCOUNT", "absent");
    expect(s, "_", "OBJECT", "IDLETIME", "absent");
    expect(s, "_", "OBJECT", "FREQ", "absent");
    expect(
        s,
        "-ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when "
        "switching between policies at runtime LRU and LFU data will take some time to adjust.",
        "OBJECT", "FREQ", "k");
}

static void object_refuses_what_it_does_not_know(void **state)
{
    session *s = *state;

    expect(s, "-ERR wrong number of arguments for 'object' command", "OBJECT");
    expect(s, "-ERR wrong number of arguments for 'object|encoding' command", "OBJECT", "ENCODING");
    expect(s, "-ERR wrong number of arguments for 'object|encoding' command", "OBJECT", "ENCODING", "a", "b");
    expect(s, "-ERR unknown subcommand 'NOPE'. Try OBJECT HELP.", "OBJECT", "NOPE", "k");
    expect_like(s, "[*]* +*OBJECT <subcommand>*", "OBJECT", "HELP");
}

static void key_commands_count_their_arguments(void **state)
{
    session *s = *state;

    expect(s, "-ERR wrong number of arguments for 'del' command", "DEL");
    expect(s, "-ERR wrong number of arguments for 'unlink' command", "UNLINK");
    expect(s, "-ERR wrong number of arguments for 'exists' command", "EXISTS");
    expect(s, "-ERR wrong number of arguments for 'touch' command", "TOUCH");
    expect(s, "-ERR wrong number of arguments for 'type' command", "TYPE");
    expect(s, "-ERR wrong number of arguments for 'type' command", "TYPE", "a", "b");
    expect(s, "-ERR wrong number of arguments for 'keys' command", "KEYS");
    expect(s, "-ERR wrong number of arguments for 'randomkey' command", "RANDOMKEY", "a");
    expect(s, "-ERR wrong number of arguments for 'rename' command", "RENAME", "a");
    expect(s, "-ERR wrong number of arguments for 'renamenx' command", "RENAMENX", "a", "b", "c");
    expect(s, "-ERR wrong number of arguments for 'copy' command", "COPY", "a");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(del_counts_what_it_removed),
        conversation(exists_and_touch_count_a_key_as_often_as_named),
        conversation(type_names_the_type),
        conversation(randomkey_gives_a_key_that_is_there),
        conversation(randomkey_finds_the_one_key_among_expired_ones),
        conversation(keys_lists_what_matches),
        conversation(a_glob_may_be_escaped_or_broken),
        conversation(a_glob_matches_any_bytes),
        conversation(a_hostile_glob_ends_in_time),
        conversation(a_glob_may_be_long),
        conversation(rename_moves_value_and_deadline),
        conversation(rename_wants_a_source),
        conversation(renamenx_keeps_what_is_there),
        conversation(copy_keeps_the_source),
        conversation(copy_replaces_only_when_told_to),
        conversation(copy_reaches_another_database),
        conversation(copy_refuses_what_makes_no_sense),
        conversation(object_encoding_tells_how_a_string_came_about),
        conversation(object_tells_of_references_and_idleness),
        conversation(object_refuses_what_it_does_not_know),
        conversation(key_commands_count_their_arguments),
    };

    return run_conversations(argc, argv, tests);
}
