/* expiry_test.c - tests of core/commands/expiry.c: deadlines.
 *
 * Nobody waits here: a deadline is far away or long past, except in process, where time is an argument.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

static const char not_an_integer[] = "-ERR value is not an integer or out of range";

static void a_key_has_no_deadline_until_given_one(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":-1", "TTL", "k");
    expect(s, ":-1", "PTTL", "k");
    expect(s, ":-1", "EXPIRETIME", "k");
    expect(s, ":-1", "PEXPIRETIME", "k");
    expect(s, ":-2", "TTL", "absent");
    expect(s, ":-2", "PTTL", "absent");
    expect(s, ":-2", "EXPIRETIME", "absent");
    expect(s, ":-2", "PEXPIRETIME", "absent");
}

static void four_commands_set_a_deadline(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":1", "EXPIRE", "k", "100");
    expect_between(s, 99, 100, "TTL", "k");
    expect(s, ":1", "PEXPIRE", "k", "200000");
    expect_between(s, 199000, 200000, "PTTL", "k");
    expect(s, ":1", "EXPIREAT", "k", "33177117420");
    expect(s, ":33177117420", "EXPIRETIME", "k");
    expect(s, ":33177117420000", "PEXPIRETIME", "k");
    expect(s, ":1", "PEXPIREAT", "k", "33177117420499");
    expect(s, ":33177117420499", "PEXPIRETIME", "k");
    expect(s, "$v", "GET", "k");
    expect(s, ":0", "EXPIRE", "absent", "100");
    expect(s, ":0", "PEXPIRE", "absent", "100");
    expect(s, ":0", "EXPIREAT", "absent", "33177117420");
    expect(s, ":0", "PEXPIREAT", "absent", "33177117420499");
}

static void seconds_are_rounded(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v", "PXAT", "33177117420499");
    expect(s, ":33177117420", "EXPIRETIME", "k");
    expect(s, "+OK", "SET", "k", "v", "PXAT", "33177117420500");
    expect(s, ":33177117421", "EXPIRETIME", "k");
    expect(s, "+OK", "SET", "k", "v", "PX", "100999");
    expect_between(s, 100, 101, "TTL", "k");
}

static void a_deadline_long_past_removes_the_key(void **state)
{
    session *s = *state;
    static const char *const commands[][3] = { { "EXPIRE", "k", "0" },    { "EXPIRE", "k", "-1" },
                                               { "PEXPIRE", "k", "0" },   { "PEXPIRE", "k", "-10000" },
                                               { "EXPIREAT", "k", "1" },  { "EXPIREAT", "k", "0" },
                                               { "PEXPIREAT", "k", "1" }, { "PEXPIREAT", "k", "-5" } };

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        expect(s, "+OK", "SET", "k", "v");
        expect(s, ":1", commands[i][0], commands[i][1], commands[i][2]);
        expect(s, ":0", "DBSIZE");
        expect(s, "_", "GET", "k");
        expect(s, ":-2", "TTL", "k");
    }
}

static void an_expired_key_is_absent_for_every_command(void **state)
{
    session *s = *state;

#define with_expired_key(reply, ...)                \
    expect(s, "+OK", "SET", "k", "v", "PXAT", "1"); \
    expect(s, reply, __VA_ARGS__)
    with_expired_key("_", "GET", "k");
    with_expired_key("*1 _", "MGET", "k");
    with_expired_key(":0", "EXISTS", "k");
    with_expired_key(":0", "STRLEN", "k");
    with_expired_key("$", "GETRANGE", "k", "0", "-1");
    with_expired_key("+none", "TYPE", "k");
    with_expired_key(":-2", "TTL", "k");
    with_expired_key(":-2", "PEXPIRETIME", "k");
    with_expired_key(":0", "DEL", "k");
    with_expired_key(":0", "UNLINK", "k");
    with_expired_key(":0", "TOUCH", "k");
    with_expired_key(":0", "EXPIRE", "k", "100");
    with_expired_key(":0", "PERSIST", "k");
    with_expired_key("_", "GETDEL", "k");
    with_expired_key("_", "GETEX", "k", "PERSIST");
    with_expired_key("_", "GETSET", "k", "new");
    with_expired_key(":3", "APPEND", "k", "new");
    with_expired_key(":3", "SETRANGE", "k", "0", "new");
    with_expired_key("_", "SET", "k", "new", "XX");
    with_expired_key("+OK", "SET", "k", "new", "NX");
    with_expired_key("_", "SET", "k", "new", "GET");
    with_expired_key("-ERR no such key", "RENAME", "k", "other");
    with_expired_key(":0", "COPY", "k", "other");
    with_expired_key(":0", "MOVE", "k", "1");
    with_expired_key("_", "OBJECT", "ENCODING", "k");
    with_expired_key("*0", "KEYS", "*");
    with_expired_key("_", "RANDOMKEY");
    with_expired_key("*2 $0 *0", "SCAN", "0", "COUNT", "1000");
#undef with_expired_key
}

static void a_deadline_passes_with_time(void **state)
{
    session *s = *state;

    let_pass(s, 0);
    expect(s, "+OK", "SET", "k", "v", "PX", "1000");
    expect(s, "+OK", "SET", "other", "v", "EX", "2");
    let_pass(s, 999);
    expect(s, "$v", "GET", "k");
    expect(s, ":1", "PTTL", "k");
    let_pass(s, 1);
    expect(s, "_", "GET", "k");
    expect(s, ":0", "EXISTS", "k");
    expect(s, ":1000", "PTTL", "other");
    expect(s, "$v", "GETEX", "other", "PX", "5000");
    let_pass(s, 4999);
    expect(s, ":1", "EXISTS", "other");
    expect(s, "*1 $other", "KEYS", "*");
    let_pass(s, 1);
    expect(s, "*0", "KEYS", "*");
    expect(s, ":1", "SETNX", "other", "again");
    expect(s, ":-1", "TTL", "other");
}

static void persist_takes_the_deadline_away(void **state)
{
    session *s = *state;

    expect(s, ":0", "PERSIST", "absent");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":0", "PERSIST", "k");
    expect(s, ":1", "EXPIRE", "k", "100");
    expect(s, ":1", "PERSIST", "k");
    expect(s, ":-1", "TTL", "k");
    expect(s, ":0", "PERSIST", "k");
}

static void expire_nx_only_gives_a_first_deadline(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":1", "EXPIRE", "k", "100", "NX");
    expect(s, ":0", "EXPIRE", "k", "200", "NX");
    expect_between(s, 99, 100, "TTL", "k");
    expect(s, ":0", "EXPIRE", "absent", "100", "NX");
}

static void expire_xx_only_changes_a_deadline(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":0", "PEXPIREAT", "k", "33177117420123", "XX");
    expect(s, ":-1", "TTL", "k");
    expect(s, ":1", "EXPIRE", "k", "100");
    expect(s, ":1", "PEXPIREAT", "k", "33177117420123", "xx");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
}

static void expire_gt_only_prolongs_and_no_deadline_is_infinite(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":0", "EXPIRE", "k", "100", "GT");
    expect(s, ":-1", "TTL", "k");
    expect(s, ":1", "PEXPIREAT", "k", "33177117420123");
    expect(s, ":0", "PEXPIREAT", "k", "33177117420123", "GT");
    expect(s, ":0", "PEXPIREAT", "k", "33177117420122", "GT");
    expect(s, ":1", "PEXPIREAT", "k", "33177117420124", "GT");
    expect(s, ":33177117420124", "PEXPIRETIME", "k");
    expect(s, ":0", "EXPIRE", "k", "-1", "GT");
    expect(s, ":1", "EXISTS", "k");
}

static void expire_lt_only_shortens(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":1", "PEXPIREAT", "k", "33177117420123", "LT");
    expect(s, ":0", "PEXPIREAT", "k", "33177117420123", "LT");
    expect(s, ":0", "PEXPIREAT", "k", "33177117420124", "LT");
    expect(s, ":1", "PEXPIREAT", "k", "33177117420122", "lt");
    expect(s, ":33177117420122", "PEXPIRETIME", "k");
    expect(s, ":1", "EXPIRE", "k", "-1", "LT");
    expect(s, ":0", "EXISTS", "k");
}

static void expire_combines_its_options(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":0", "EXPIRE", "k", "100", "XX", "LT");
    expect(s, ":1", "EXPIRE", "k", "100", "LT");
    expect(s, ":1", "EXPIRE", "k", "200", "XX", "GT");
    expect(s, ":0", "EXPIRE", "k", "100", "GT", "XX");
    expect_between(s, 199, 200, "TTL", "k");
    expect(s, ":1", "EXPIRE", "k", "50", "LT", "XX", "LT");
    expect_between(s, 49, 50, "TTL", "k");
}

static void expire_refuses_options_that_contradict(void **state)
{
    session *s = *state;
    static const char together[] = "-ERR NX and XX, GT or LT options at the same time are not compatible";
    static const char gt_lt[] = "-ERR GT and LT options at the same time are not compatible";

    expect(s, "+OK", "SET", "k", "v");
    expect(s, together, "EXPIRE", "k", "100", "NX", "XX");
    expect(s, together, "PEXPIRE", "k", "100", "NX", "GT");
    expect(s, together, "EXPIREAT", "k", "33177117420", "LT", "NX");
    expect(s, gt_lt, "PEXPIREAT", "k", "33177117420123", "GT", "LT");
    expect(s, gt_lt, "EXPIRE", "k", "100", "LT", "XX", "GT");
    expect(s, "-ERR Unsupported option AB", "EXPIRE", "k", "100", "AB");
    expect(s, "-ERR Unsupported option KEEPTTL", "EXPIRE", "k", "100", "XX", "KEEPTTL");
    expect(s, "-ERR Unsupported option ", "EXPIRE", "k", "100", "");
    expect(s, together, "EXPIRE", "absent", "100", "NX", "LT");
    expect(s, "-ERR Unsupported option AB", "EXPIRE", "absent", "x", "AB");
    expect(s, ":-1", "TTL", "k");
}

static void expire_refuses_times_out_of_range(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v", "PXAT", "33177117420123");
    expect(s, "-ERR invalid expire time in 'expire' command", "EXPIRE", "k", "9223372036854775807");
    expect(s, "-ERR invalid expire time in 'expire' command", "EXPIRE", "k", "9223372036854775");
    expect(s, "-ERR invalid expire time in 'expire' command", "EXPIRE", "k", "-9223372036854775808");
    expect(s, "-ERR invalid expire time in 'pexpire' command", "PEXPIRE", "k", "9223372036854775807");
    expect(s, "-ERR invalid expire time in 'expireat' command", "EXPIREAT", "k", "9223372036854776");
    expect(s, not_an_integer, "EXPIRE", "k", "x");
    expect(s, not_an_integer, "EXPIRE", "k", "1.5");
    expect(s, not_an_integer, "EXPIRE", "k", "");
    expect(s, not_an_integer, "PEXPIRE", "k", "9223372036854775808");
    expect(s, not_an_integer, "EXPIREAT", "k", " 1");
    expect(s, not_an_integer, "PEXPIREAT", "absent", "x");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, ":1", "PEXPIREAT", "k", "9223372036854775807");
    /* the largest deadline of all may be indistinguishable from the one before it */
    expect_between(s, 9223372036854775806, 9223372036854775807, "PEXPIRETIME", "k");
}

static void writing_a_new_value_drops_the_deadline_and_changing_it_does_not(void **state)
{
    session *s = *state;

#define deadline_after(deadline, ...)                            \
    expect(s, "+OK", "SET", "k", "1", "PXAT", "33177117420123"); \
    said(s, __VA_ARGS__);                                        \
    expect(s, deadline, "PEXPIRETIME", "k")
    deadline_after(":-1", "SET", "k", "2");
    deadline_after(":-1", "GETSET", "k", "2");
    deadline_after(":-1", "MSET", "k", "2");
    deadline_after(":33177117420123", "SET", "k", "2", "KEEPTTL");
    deadline_after(":33177117420123", "INCR", "k");
    deadline_after(":33177117420123", "DECRBY", "k", "100");
    deadline_after(":33177117420123", "INCRBYFLOAT", "k", "0.5");
    deadline_after(":33177117420123", "APPEND", "k", "x");
    deadline_after(":33177117420123", "SETRANGE", "k", "5", "x");
    deadline_after(":33177117420123", "SETNX", "k", "x");
    deadline_after(":33177117420123", "GETEX", "k");
    deadline_after(":33177117420123", "TOUCH", "k");
    deadline_after(":33177117420123", "COPY", "k", "k2");
    deadline_after(":-2", "DEL", "k");
    deadline_after(":-2", "GETDEL", "k");
#undef deadline_after
    expect(s, ":33177117420123", "PEXPIRETIME", "k2");
}

static void expiry_commands_count_their_arguments(void **state)
{
    session *s = *state;

    expect(s, "-ERR wrong number of arguments for 'expire' command", "EXPIRE", "k");
    expect(s, "-ERR wrong number of arguments for 'pexpire' command", "PEXPIRE", "k");
    expect(s, "-ERR wrong number of arguments for 'expireat' command", "EXPIREAT", "k");
    expect(s, "-ERR wrong number of arguments for 'pexpireat' command", "PEXPIREAT", "k");
    expect(s, "-ERR wrong number of arguments for 'ttl' command", "TTL");
    expect(s, "-ERR wrong number of arguments for 'pttl' command", "PTTL", "a", "b");
    expect(s, "-ERR wrong number of arguments for 'expiretime' command", "EXPIRETIME");
    expect(s, "-ERR wrong number of arguments for 'pexpiretime' command", "PEXPIRETIME");
    expect(s, "-ERR wrong number of arguments for 'persist' command", "PERSIST");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(a_key_has_no_deadline_until_given_one),
        conversation(four_commands_set_a_deadline),
        conversation(seconds_are_rounded),
        conversation(a_deadline_long_past_removes_the_key),
        conversation(an_expired_key_is_absent_for_every_command),
        conversation(a_deadline_passes_with_time),
        conversation(persist_takes_the_deadline_away),
        conversation(expire_nx_only_gives_a_first_deadline),
        conversation(expire_xx_only_changes_a_deadline),
        conversation(expire_gt_only_prolongs_and_no_deadline_is_infinite),
        conversation(expire_lt_only_shortens),
        conversation(expire_combines_its_options),
        conversation(expire_refuses_options_that_contradict),
        conversation(expire_refuses_times_out_of_range),
        conversation(writing_a_new_value_drops_the_deadline_and_changing_it_does_not),
        conversation(expiry_commands_count_their_arguments),
    };

    return run_conversations(argc, argv, tests);
}
