/* dump_test.c - tests of core/persist/dump_commands.c: DUMP and RESTORE.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "session.h"

/* What redis-server 7.0 dumps of "hello". */
#define HELLO KV_STR("\x00\x05hello\x0a\x00\x63\x72\xdf\x76\x65\x34\x20\x0a")

static void same_bytes(session *s, kv_slice expected, const char *key)
{
    reply *r = session_reply(s, 2, (const kv_slice[]){ KV_STR("DUMP"), kv_str(key) });

    assert_non_null(r);
    assert_int_equal(r->type, '$');
    assert_int_equal(r->len, expected.len);
    assert_memory_equal(r->text, expected.data, expected.len);
    reply_free(r);
}

static void dump_gives_the_bytes_of_redis(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "hello");
    same_bytes(s, HELLO, "k");
    expect(s, "_", "DUMP", "absent");
    expect(s, "-ERR wrong number of arguments for 'dump' command", "DUMP");
}

/* To another key, whatever the value is. */
static void carry(session *s, const char *from, const char *to)
{
    reply *r = session_reply(s, 2, (const kv_slice[]){ KV_STR("DUMP"), kv_str(from) });

    assert_non_null(r);
    expect_bytes(s, "+OK", KV_STR("RESTORE"), kv_str(to), KV_STR("0"), kv_slice_of(r->text, r->len));
    reply_free(r);
}

static void restore_makes_what_was_dumped(void **state)
{
    session *s = *state;
    static const char *const values[] = { "", "0", "-1", "127", "-32769", "2147483648", "007", "some text" };
    char large[3001], compact[3002];

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        expect(s, "+OK", "SET", "from", values[i]);
        expect_like(s, ":[01]", "DEL", "to");
        carry(s, "from", "to");
        snprintf(compact, sizeof compact, "$%s", values[i]);
        expect(s, compact, "GET", "to");
        expect(s, ":-1", "TTL", "to");
    }
    for (size_t i = 0; i < sizeof large - 1; i++)
        large[i] = (char)('a' + i * i % 7 * (i / 100 % 3));
    large[sizeof large - 1] = '\0';
    expect(s, "+OK", "SET", "from", large);
    expect(s, ":1", "DEL", "to");
    carry(s, "from", "to");
    snprintf(compact, sizeof compact, "$%s", large);
    expect(s, compact, "GET", "to");
}

static void restore_sets_when_the_key_ends(void **state)
{
    session *s = *state;

    expect_bytes(s, "+OK", KV_STR("RESTORE"), KV_STR("k"), KV_STR("100000000"), HELLO);
    expect_between(s, 99900000, 100000000, "PTTL", "k");
    expect_bytes(s, "+OK", KV_STR("RESTORE"), KV_STR("k"), KV_STR("4102444800000"), HELLO, KV_STR("ABSTTL"),
                 KV_STR("REPLACE"));
    expect(s, ":4102444800000", "PEXPIRETIME", "k");
    expect_bytes(s, "+OK", KV_STR("RESTORE"), KV_STR("k"), KV_STR("0"), HELLO, KV_STR("replace"));
    expect(s, ":-1", "PTTL", "k");
    expect_bytes(s, "+OK", KV_STR("RESTORE"), KV_STR("k"), KV_STR("1000"), HELLO, KV_STR("ABSTTL"),
                 KV_STR("REPLACE"));
    expect(s, ":0", "EXISTS", "k");
    expect_bytes(s, "+OK", KV_STR("RESTORE"), KV_STR("fresh"), KV_STR("1000"), HELLO, KV_STR("ABSTTL"));
    expect(s, ":0", "EXISTS", "fresh");
}

static void restore_keeps_what_is_there_unless_told_to_replace_it(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "mine");
    expect_bytes(s, "-BUSYKEY Target key name already exists.", KV_STR("RESTORE"), KV_STR("k"), KV_STR("0"),
                 HELLO);
    expect_bytes(s, "-BUSYKEY Target key name already exists.", KV_STR("RESTORE"), KV_STR("k"), KV_STR("x"),
                 HELLO);
    expect(s, "$mine", "GET", "k");
    expect_bytes(s, "+OK", KV_STR("RESTORE"), KV_STR("k"), KV_STR("0"), HELLO, KV_STR("REPLACE"));
    expect(s, "$hello", "GET", "k");
}

static void restore_says_what_is_wrong(void **state)
{
    session *s = *state;

    expect(s, "-ERR DUMP payload version or checksum are wrong", "RESTORE", "k", "0", "x");
    expect(s, "-ERR DUMP payload version or checksum are wrong", "RESTORE", "k", "0", "");
    expect(s, "-ERR Invalid TTL value, must be >= 0", "RESTORE", "k", "-1", "x");
    expect(s, "-ERR value is not an integer or out of range", "RESTORE", "k", "x", "x");
    expect(s, "-ERR syntax error", "RESTORE", "k", "0", "x", "IDLETIME");
    expect(s, "-ERR syntax error", "RESTORE", "k", "0", "x", "AGAIN");
    expect(s, "-ERR syntax error", "RESTORE", "k", "0", "x", "FREQ", "3", "IDLETIME", "3");
    expect(s, "-ERR syntax error", "RESTORE", "k", "0", "x", "IDLETIME", "3", "FREQ", "3");
    expect(s, "-ERR Invalid IDLETIME value, must be >= 0", "RESTORE", "k", "0", "x", "IDLETIME", "-1");
    expect(s, "-ERR Invalid FREQ value, must be >= 0 and <= 255", "RESTORE", "k", "0", "x", "FREQ", "256");
    expect(s, "-ERR value is not an integer or out of range", "RESTORE", "k", "0", "x", "FREQ", "some");
    expect(s, "-ERR wrong number of arguments for 'restore' command", "RESTORE", "k", "0");
    expect(s, ":0", "EXISTS", "k");
}

static void a_payload_with_any_bit_flipped_is_refused(void **state)
{
    session *s = *state;
    kv_slice hello = HELLO;
    char copy[32];

    for (size_t bit = 0; bit < hello.len * 8; bit++) {
        memcpy(copy, hello.data, hello.len);
        copy[bit / 8] ^= (char)(1 << bit % 8);
        expect_bytes(s, "-ERR DUMP payload version or checksum are wrong", KV_STR("RESTORE"), KV_STR("k"),
                     KV_STR("0"), kv_slice_of(copy, hello.len));
    }
    expect(s, ":0", "EXISTS", "k");
}

static void restore_sets_how_long_the_key_was_idle(void **state)
{
    session *s = *state;

    expect_bytes(s, "+OK", KV_STR("RESTORE"), KV_STR("k"), KV_STR("0"), HELLO, KV_STR("IDLETIME"),
                 KV_STR("1000"));
    expect_between(s, 999, 1010, "OBJECT", "IDLETIME", "k");
    expect(s, "$hello", "GET", "k");
    not_in_redis(s, "its clock goes round in 194 days; ours tells 23 at most");
    expect(s, ":1", "DEL", "k");
    expect_bytes(s, "+OK", KV_STR("RESTORE"), KV_STR("k"), KV_STR("0"), HELLO, KV_STR("IDLETIME"),
                 KV_STR("100000000"));
    expect_between(s, 23 * 86400, 23 * 86400 + 60, "OBJECT", "IDLETIME", "k");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(dump_gives_the_bytes_of_redis),
        conversation(restore_makes_what_was_dumped),
        conversation(restore_sets_when_the_key_ends),
        conversation(restore_keeps_what_is_there_unless_told_to_replace_it),
        conversation(restore_says_what_is_wrong),
        conversation(a_payload_with_any_bit_flipped_is_refused),
        conversation(restore_sets_how_long_the_key_was_idle),
    };

    return run_conversations(argc, argv, tests);
}
