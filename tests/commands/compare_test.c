/* compare_test.c - tests of core/commands/compare.c: writes that depend on what is there.
 *
 * Redis 8.4 and Valkey 9 have the conditions on values and digests; versions are ours. redis-server 7.0 knows
 * none of it.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "session.h"

static const char syntax_error[] = "-ERR syntax error";
static const char digest_of_v[] = "f7042be43fb80714";

/* The conversation's session, at a door that knows the commands. */
static session *begin(void **state)
{
    not_in_redis(*state, "newer than 7.0");
    return *state;
}

/* The version GETV tells, as text. */
static const char *version_of(session *s, const char *key)
{
    kv_slice argv[] = { KV_STR("GETV"), kv_str(key) };
    reply *r = session_reply(s, 2, argv);
    const char *version;

    assert_int_equal(r->type, '*');
    assert_int_equal(r->count, 3);
    assert_int_equal(r->elements[1].type, ':');
    version = decimal(s, r->elements[1].integer);
    reply_free(r);
    return version;
}

/* ---- values ----------------------------------------------------------------------------- */

static void set_ifeq_replaces_only_that_value(void **state)
{
    session *s = begin(state);

    expect(s, "_", "SET", "k", "w", "IFEQ", "v");
    expect(s, ":0", "EXISTS", "k");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, "_", "SET", "k", "w", "IFEQ", "x");
    expect(s, "_", "SET", "k", "w", "IFEQ", "");
    expect(s, "$v", "GET", "k");
    expect(s, "+OK", "SET", "k", "w", "ifeq", "v");
    expect(s, "$w", "GET", "k");
    expect_bytes(s, "+OK", KV_STR("SET"), KV_STR("k"), KV_STR("a\0b"), KV_STR("IFEQ"), KV_STR("w"));
    expect_bytes(s, "_", KV_STR("SET"), KV_STR("k"), KV_STR("c"), KV_STR("IFEQ"), KV_STR("a\0c"));
    expect_bytes(s, "+OK", KV_STR("SET"), KV_STR("k"), KV_STR("c"), KV_STR("IFEQ"), KV_STR("a\0b"));
}

static void set_ifne_replaces_any_other_value_and_creates(void **state)
{
    session *s = begin(state);

    expect(s, "+OK", "SET", "k", "v", "IFNE", "anything");
    expect(s, "_", "SET", "k", "w", "IFNE", "v");
    expect(s, "$v", "GET", "k");
    expect(s, "+OK", "SET", "k", "w", "IFNE", "x");
    expect(s, "$w", "GET", "k");
}

static void set_ifdeq_and_ifdne_compare_digests(void **state)
{
    session *s = begin(state);

    expect(s, "_", "SET", "k", "v", "IFDEQ", digest_of_v);
    expect(s, ":0", "EXISTS", "k");
    expect(s, "+OK", "SET", "k", "v", "IFDNE", digest_of_v);
    expect(s, "_", "SET", "k", "w", "IFDNE", digest_of_v);
    expect(s, "_", "SET", "k", "w", "IFDEQ", "0000000000000000");
    expect(s, "+OK", "SET", "k", "w", "IFDEQ", "F7042BE43FB80714");
    expect(s, "$w", "GET", "k");
    expect(s, "+OK", "SET", "k", "v", "IFDNE", digest_of_v);
}

static void a_digest_has_sixteen_hexadecimal_digits(void **state)
{
    session *s = begin(state);
    static const char *const wrong[] = {
        "", "f7042be43fb8071", "f7042be43fb807140", "f7042be43fb8071g", "0xf7042be43fb807", " 7042be43fb80714"
    };

    expect(s, "+OK", "SET", "k", "v");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        expect_like(s, "-ERR *must be exactly 16 hexadecimal characters*", "SET", "k", "w", "IFDEQ",
                    wrong[i]);
        expect_like(s, "-ERR *must be exactly 16 hexadecimal characters*", "SET", "k", "w", "IFDNE",
                    wrong[i]);
        expect_like(s, "-ERR *must be exactly 16 hexadecimal characters*", "DELEX", "k", "IFDEQ", wrong[i]);
        expect_like(s, "-ERR *must be exactly 16 hexadecimal characters*", "DELEX", "k", "IFDNE", wrong[i]);
    }
    expect(s, "$v", "GET", "k");
}

static void a_conditional_set_takes_the_other_options(void **state)
{
    session *s = begin(state);

    expect(s, "+OK", "SET", "k", "v", "IFNE", "x", "PXAT", "33177117420123");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, "+OK", "SET", "k", "w", "KEEPTTL", "IFEQ", "v");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, "_", "SET", "k", "x", "IFEQ", "v", "EX", "100");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, "+OK", "SET", "k", "v", "EX", "100", "IFEQ", "w");
    expect_between(s, 99, 100, "TTL", "k");
    expect(s, "+OK", "SET", "k", "v", "IFEQ", "v");
    expect(s, ":-1", "TTL", "k");
}

static void a_conditional_set_get_tells_the_old_value_either_way(void **state)
{
    session *s = begin(state);

    expect(s, "_", "SET", "k", "v", "IFEQ", "v", "GET");
    expect(s, ":0", "EXISTS", "k");
    expect(s, "_", "SET", "k", "v", "GET", "IFNE", "x");
    expect(s, "$v", "SET", "k", "w", "IFEQ", "x", "GET");
    expect(s, "$v", "GET", "k");
    expect(s, "$v", "SET", "k", "w", "IFEQ", "v", "GET");
    expect(s, "$w", "SET", "k", "x", "IFDEQ", digest_of_v, "GET");
    expect(s, "$w", "GET", "k");
}

static void one_condition_is_enough(void **state)
{
    session *s = begin(state);

    expect(s, "+OK", "SET", "k", "v");
    expect(s, syntax_error, "SET", "k", "w", "IFEQ", "v", "NX");
    expect(s, syntax_error, "SET", "k", "w", "XX", "IFEQ", "v");
    expect(s, syntax_error, "SET", "k", "w", "IFEQ", "v", "IFNE", "x");
    expect(s, syntax_error, "SET", "k", "w", "IFDEQ", digest_of_v, "IFEQ", "v");
    expect(s, syntax_error, "SET", "k", "w", "IFVER", "1", "IFEQ", "v");
    expect(s, syntax_error, "SET", "k", "w", "IFVER", "1", "XX");
    expect(s, syntax_error, "SET", "k", "w", "IFEQ");
    expect(s, syntax_error, "SET", "k", "w", "IFVER");
    expect(s, "$v", "GET", "k");
}

static void an_expired_key_equals_nothing(void **state)
{
    session *s = begin(state);

    expect(s, "+OK", "SET", "k", "v", "PXAT", "1");
    expect(s, "_", "SET", "k", "w", "IFEQ", "v");
    expect(s, ":0", "EXISTS", "k");
    expect(s, "+OK", "SET", "k", "v", "PXAT", "1");
    expect(s, ":0", "DELIFEQ", "k", "v");
    expect(s, "+OK", "SET", "k", "v", "PXAT", "1");
    expect(s, "+OK", "SET", "k", "w", "IFNE", "v");
    expect(s, "$w", "GET", "k");
}

static void delifeq_deletes_only_that_value(void **state)
{
    session *s = begin(state);

    expect(s, ":0", "DELIFEQ", "k", "v");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":0", "DELIFEQ", "k", "w");
    expect(s, ":1", "EXISTS", "k");
    expect(s, ":1", "DELIFEQ", "k", "v");
    expect(s, ":0", "EXISTS", "k");
    expect(s, ":5", "INCRBY", "n", "5");
    expect(s, ":1", "DELIFEQ", "n", "5");
    expect(s, "-ERR wrong number of arguments for 'delifeq' command", "DELIFEQ", "k");
}

static void delex_deletes_under_a_condition(void **state)
{
    session *s = begin(state);

    expect(s, ":0", "DELEX", "k");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":1", "DELEX", "k");
    expect(s, ":0", "DELEX", "k", "IFEQ", "v");
    expect(s, ":0", "DELEX", "k", "IFNE", "v");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":0", "DELEX", "k", "IFEQ", "w");
    expect(s, ":0", "DELEX", "k", "IFNE", "v");
    expect(s, ":0", "DELEX", "k", "IFDEQ", "0000000000000000");
    expect(s, ":0", "DELEX", "k", "IFDNE", digest_of_v);
    expect(s, ":1", "DELEX", "k", "ifeq", "v");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":1", "DELEX", "k", "IFNE", "w");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":1", "DELEX", "k", "IFDEQ", digest_of_v);
    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":1", "DELEX", "k", "IFDNE", "0000000000000000");
    expect(s, ":0", "EXISTS", "k");
}

static void delex_refuses_what_it_does_not_know(void **state)
{
    session *s = begin(state);

    expect(s, "+OK", "SET", "k", "v");
    expect_like(s, "-ERR *", "DELEX", "k", "IFEQ");
    expect_like(s, "-ERR *", "DELEX", "k", "NOPE", "v");
    expect_like(s, "-ERR *", "DELEX", "k", "IFEQ", "v", "IFNE", "w");
    expect_like(s, "-ERR *", "DELEX", "k", "NX");
    expect(s, "-ERR wrong number of arguments for 'delex' command", "DELEX");
    expect(s, ":1", "EXISTS", "k");
}

static void digest_is_xxh3(void **state)
{
    session *s = begin(state);

    expect(s, "_", "DIGEST", "k");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, "$f7042be43fb80714", "DIGEST", "k");
    expect(s, "+OK", "SET", "k", "");
    expect(s, "$2d06800538d394c2", "DIGEST", "k");
    expect(s, "+OK", "SET", "k", "Hello world");
    expect(s, "$b6acb9d84a38ff74", "DIGEST", "k");
    expect(s, "+OK", "SET", "k", "91");
    expect(s, "$004901d6d0084f13", "DIGEST", "k");
    expect(s, ":933", "INCRBY", "n", "933");
    expect(s, "$00fb6650be70c92a", "DIGEST", "n");
}

/* ---- MSETEX ----------------------------------------------------------------------------- */

static void msetex_sets_all_with_one_deadline(void **state)
{
    session *s = begin(state);

    expect(s, ":1", "MSETEX", "2", "a", "1", "b", "2");
    expect(s, "*2 $1 $2", "MGET", "a", "b");
    expect(s, ":-1", "TTL", "a");
    expect(s, ":1", "MSETEX", "2", "a", "3", "b", "4", "PXAT", "33177117420123");
    expect(s, ":33177117420123", "PEXPIRETIME", "a");
    expect(s, ":33177117420123", "PEXPIRETIME", "b");
    expect(s, ":1", "MSETEX", "3", "a", "5", "c", "6", "a", "7", "keepttl");
    expect(s, "*3 $7 $4 $6", "MGET", "a", "b", "c");
    expect(s, ":33177117420123", "PEXPIRETIME", "a");
    expect(s, ":-1", "PEXPIRETIME", "c");
    expect(s, ":1", "MSETEX", "1", "a", "8", "EX", "100");
    expect_between(s, 99, 100, "TTL", "a");
    expect(s, ":1", "MSETEX", "1", "EX", "EX", "EX", "100");
    expect(s, "$EX", "GET", "EX");
}

static void msetex_nx_and_xx_ask_for_none_or_all(void **state)
{
    session *s = begin(state);

    expect(s, ":0", "MSETEX", "2", "a", "1", "b", "2", "XX");
    expect(s, ":1", "MSETEX", "2", "a", "1", "b", "2", "NX");
    expect(s, ":0", "MSETEX", "2", "b", "3", "c", "3", "NX");
    expect(s, ":0", "MSETEX", "2", "b", "3", "c", "3", "XX", "EX", "100");
    expect(s, "*3 $1 $2 _", "MGET", "a", "b", "c");
    expect(s, ":-1", "TTL", "b");
    expect(s, ":1", "MSETEX", "2", "a", "3", "b", "4", "PX", "100000", "xx");
    expect(s, "*2 $3 $4", "MGET", "a", "b");
    expect_between(s, 99, 100, "TTL", "b");
}

static void msetex_counts_its_keys(void **state)
{
    session *s = begin(state);

    expect_like(s, "-ERR *", "MSETEX", "0", "a", "1");
    expect_like(s, "-ERR *", "MSETEX", "-1", "a", "1");
    expect_like(s, "-ERR *", "MSETEX", "x", "a", "1");
    expect_like(s, "-ERR *", "MSETEX", "2", "a", "1");
    expect_like(s, "-ERR *", "MSETEX", "2", "a", "1", "b");
    expect_like(s, "-ERR *", "MSETEX", "1", "a", "1", "b", "2");
    expect_like(s, "-ERR *", "MSETEX", "9223372036854775807", "a", "1");
    expect_like(s, "-ERR *", "MSETEX", "2147483648", "a", "1");
    expect_like(s, "-ERR *", "MSETEX", "1", "a", "1", "NX", "XX");
    expect_like(s, "-ERR *", "MSETEX", "1", "a", "1", "EX", "0");
    expect_like(s, "-ERR *", "MSETEX", "1", "a", "1", "EX", "10", "KEEPTTL");
    expect_like(s, "-ERR *", "MSETEX", "1", "a", "1", "EX");
    expect(s, ":0", "DBSIZE");
}

/* ---- versions --------------------------------------------------------------------------- */

static void getv_tells_value_version_and_time_left(void **state)
{
    session *s = begin(state);

    expect(s, "*_", "GETV", "k");
    expect(s, "+OK", "SET", "k", "v");
    expect_like(s, "[*]3 $v :[1-9]* :-1", "GETV", "k");
    expect(s, ":1", "EXPIRE", "k", "100");
    expect_like(s, "[*]3 $v :[1-9]* :[19][90][90][0-9]*", "GETV", "k");
    expect(s, "+OK", "SET", "k", "v", "PXAT", "1");
    expect(s, "*_", "GETV", "k");
    expect(s, "-ERR wrong number of arguments for 'getv' command", "GETV");
}

static void every_write_changes_the_version_and_no_read_does(void **state)
{
    session *s = begin(state);
    const char *versions[32];
    size_t n = 0;

#define new_version_after(...)                             \
    said(s, __VA_ARGS__);                                  \
    versions[n] = version_of(s, "k");                      \
    for (size_t i = 0; i < n; i++)                         \
        assert_string_not_equal(versions[i], versions[n]); \
    said(s, "GET", "k");                                   \
    said(s, "GETRANGE", "k", "0", "1");                    \
    said(s, "SET", "k", "never", "NX");                    \
    said(s, "TTL", "k");                                   \
    assert_string_equal(version_of(s, "k"), versions[n]);  \
    n++
    new_version_after("SET", "k", "1");
    new_version_after("SET", "k", "1");
    new_version_after("SET", "k", "2", "XX");
    new_version_after("INCR", "k");
    new_version_after("APPEND", "k", "0");
    new_version_after("SETRANGE", "k", "1", "5");
    new_version_after("INCRBYFLOAT", "k", "1");
    new_version_after("GETSET", "k", "7");
    new_version_after("MSET", "k", "8", "k2", "9");
    new_version_after("EXPIRE", "k", "100");
    new_version_after("GETEX", "k", "EX", "200");
    new_version_after("PERSIST", "k");
    new_version_after("RENAME", "k2", "k");
    said(s, "DEL", "k");
    new_version_after("SET", "k", "again");
    said(s, "GETDEL", "k");
    new_version_after("SETNX", "k", "again");
    said(s, "FLUSHALL");
    new_version_after("SET", "k", "again");
#undef new_version_after
}

static void set_ifver_replaces_only_that_version(void **state)
{
    session *s = begin(state);
    const char *first, *second;

    expect(s, "+OK", "SET", "k", "1");
    first = version_of(s, "k");
    expect(s, "+OK", "SET", "k", "2", "IFVER", first);
    second = version_of(s, "k");
    assert_string_not_equal(first, second);
    expect(s, "_", "SET", "k", "3", "IFVER", first);
    expect(s, "$2", "GET", "k");
    expect(s, "$2", "SET", "k", "3", "IFVER", first, "GET");
    expect(s, "$2", "SET", "k", "3", "ifver", second, "GET", "EX", "100");
    expect(s, "$3", "GET", "k");
    expect_between(s, 99, 100, "TTL", "k");
}

static void ifver_does_not_mistake_a_new_key_for_the_old_one(void **state)
{
    session *s = begin(state);
    const char *version;

    expect(s, "+OK", "SET", "k", "1");
    version = version_of(s, "k");
    expect(s, ":1", "DEL", "k");
    expect(s, "_", "SET", "k", "2", "IFVER", version);
    expect(s, ":0", "EXISTS", "k");
    expect(s, "+OK", "SET", "k", "1");
    expect(s, "_", "SET", "k", "2", "IFVER", version);
    expect(s, ":0", "DELEX", "k", "IFVER", version);
    expect(s, "$1", "GET", "k");
}

static void delex_ifver_deletes_only_that_version(void **state)
{
    session *s = begin(state);
    const char *version;

    expect(s, ":0", "DELEX", "k", "IFVER", "1");
    expect(s, "+OK", "SET", "k", "1");
    version = version_of(s, "k");
    expect(s, "+OK", "SET", "k", "1");
    expect(s, ":0", "DELEX", "k", "IFVER", version);
    expect(s, ":1", "DELEX", "k", "IFVER", version_of(s, "k"));
    expect(s, ":0", "EXISTS", "k");
}

static void expire_ifver_dates_only_that_version(void **state)
{
    session *s = begin(state);
    const char *version;

    expect(s, "+OK", "SET", "k", "1");
    version = version_of(s, "k");
    expect(s, ":1", "EXPIRE", "k", "100", "IFVER", version);
    expect(s, ":0", "EXPIRE", "k", "200", "IFVER", version);
    expect_between(s, 99, 100, "TTL", "k");
    expect(s, ":1", "PEXPIREAT", "k", "33177117420123", "XX", "IFVER", version_of(s, "k"));
    expect(s, ":0", "PEXPIREAT", "k", "33177117420124", "NX", "IFVER", version_of(s, "k"));
    expect(s, ":0", "PEXPIREAT", "k", "33177117420124", "IFVER", version);
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, ":0", "EXPIRE", "absent", "100", "IFVER", "1");
}

static void a_version_is_a_number(void **state)
{
    session *s = begin(state);
    static const char *const wrong[] = { "", "x", "-1", "1.5", " 1", "18446744073709551616" };

    expect(s, "+OK", "SET", "k", "v");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        expect_like(s, "-ERR *", "SET", "k", "w", "IFVER", wrong[i]);
        expect_like(s, "-ERR *", "DELEX", "k", "IFVER", wrong[i]);
        expect_like(s, "-ERR *", "EXPIRE", "k", "100", "IFVER", wrong[i]);
    }
    expect(s, "$v", "GET", "k");
    expect(s, ":-1", "TTL", "k");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(set_ifeq_replaces_only_that_value),
        conversation(set_ifne_replaces_any_other_value_and_creates),
        conversation(set_ifdeq_and_ifdne_compare_digests),
        conversation(a_digest_has_sixteen_hexadecimal_digits),
        conversation(a_conditional_set_takes_the_other_options),
        conversation(a_conditional_set_get_tells_the_old_value_either_way),
        conversation(one_condition_is_enough),
        conversation(an_expired_key_equals_nothing),
        conversation(delifeq_deletes_only_that_value),
        conversation(delex_deletes_under_a_condition),
        conversation(delex_refuses_what_it_does_not_know),
        conversation(digest_is_xxh3),
        conversation(msetex_sets_all_with_one_deadline),
        conversation(msetex_nx_and_xx_ask_for_none_or_all),
        conversation(msetex_counts_its_keys),
        conversation(getv_tells_value_version_and_time_left),
        conversation(every_write_changes_the_version_and_no_read_does),
        conversation(set_ifver_replaces_only_that_version),
        conversation(ifver_does_not_mistake_a_new_key_for_the_old_one),
        conversation(delex_ifver_deletes_only_that_version),
        conversation(expire_ifver_dates_only_that_version),
        conversation(a_version_is_a_number),
    };

    return run_conversations(argc, argv, tests);
}
