/* command_test.c - tests of COMMAND: the table, told to clients.
 *
 * That every row of 7.0's data commands says what redis-server says is for the oracle to find.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

static void info_tells_arity_flags_and_keys(void **state)
{
    session *s = *state;

    expect(
        s,
        "*1 *10 $get :2 *2 +readonly +fast :1 :1 :1 *3 +@read +@string +@fast *0 *1 *6 $flags *2 +RO +access "
        "$begin_search *4 $type $index $spec *2 $index :1 $find_keys *4 $type $range $spec *6 $lastkey :0 "
        "$keystep :1 $limit :0 *0",
        "COMMAND", "INFO", "get");
    expect_like(s, "[*]2 [*]10 $mset :-3 [*]2 +write +denyoom :1 :-1 :2 * [*]10 $rename :3 * :1 :2 :1 *",
                "COMMAND", "INFO", "MSET", "Rename");
}

static void info_of_a_stranger_is_null(void **state)
{
    session *s = *state;

    expect(s, "*1 _", "COMMAND", "INFO", "nope");
    expect_like(s, "[*]2 _ [*]10 $get *", "COMMAND", "INFO", "nope", "get");
    expect_like(s, "[*]1 [*]10 $object|encoding :3 *", "COMMAND", "INFO", "object|encoding");
}

static void count_list_and_bare_command_agree(void **state)
{
    session *s = *state;
    kv_slice list[] = { KV_STR("COMMAND"), KV_STR("LIST") }, info[] = { KV_STR("COMMAND"), KV_STR("INFO") };
    reply *count = session_reply(s, 2, (const kv_slice[]){ KV_STR("COMMAND"), KV_STR("COUNT") });
    reply *names = session_reply(s, 2, list), *rows = session_reply(s, 2, info);
    reply *bare = session_reply(s, 1, list);
    bool listed = false;

    assert_int_equal(count->type, ':');
    assert_true(count->integer > 60);
    assert_true(names->count > (size_t)count->integer); /* it names subcommands, too */
    assert_int_equal(rows->count, count->integer);
    assert_int_equal(bare->count, count->integer);
    for (size_t i = 0; i < names->count; i++)
        listed = listed || strcmp(names->elements[i].text, "object|encoding") == 0;
    assert_true(listed);
    reply_free(count);
    reply_free(names);
    reply_free(rows);
    reply_free(bare);
}

static void list_filters(void **state)
{
    session *s = *state;

    expect(s, "*1 $getrange", "COMMAND", "LIST", "FILTERBY", "PATTERN", "getr*");
    expect(s, "*0", "COMMAND", "LIST", "FILTERBY", "PATTERN", "nope*");
    expect(s, "*0", "COMMAND", "LIST", "FILTERBY", "MODULE", "nope");
    expect_like(s, "[*]* $getrange*", "COMMAND", "LIST", "FILTERBY", "ACLCAT", "string");
    expect(s, "*0", "COMMAND", "LIST", "FILTERBY", "ACLCAT", "nope");
    expect(s, "-ERR syntax error", "COMMAND", "LIST", "FILTERBY", "NOPE", "x");
    expect(s, "-ERR syntax error", "COMMAND", "LIST", "FILTERBY", "PATTERN");
    expect(s, "-ERR syntax error", "COMMAND", "LIST", "x");
}

static void getkeys_finds_the_keys(void **state)
{
    session *s = *state;

    expect(s, "*1 $a", "COMMAND", "GETKEYS", "get", "a");
    expect(s, "*2 $a $b", "COMMAND", "GETKEYS", "MSET", "a", "1", "b", "2");
    expect(s, "*3 $a $b $a", "COMMAND", "GETKEYS", "DEL", "a", "b", "a");
    expect(s, "*2 $a $b", "COMMAND", "GETKEYS", "COPY", "a", "b", "DB", "3");
    expect(s, "*1 $a", "COMMAND", "GETKEYS", "object", "encoding", "a");
    expect(s, "*1 $a", "COMMAND", "GETKEYS", "SET", "a", "b", "EX", "10");
    expect(s, "-ERR Invalid command specified", "COMMAND", "GETKEYS", "nope", "a");
    expect(s, "-ERR Invalid number of arguments specified for command", "COMMAND", "GETKEYS", "get", "a",
           "b");
    expect(s, "-ERR The command has no key arguments", "COMMAND", "GETKEYS", "ping", "x");
    expect(s, "-ERR wrong number of arguments for 'command|getkeys' command", "COMMAND", "GETKEYS");
    expect(s, "*1 *2 $a *2 +OW +update", "COMMAND", "GETKEYSANDFLAGS", "mset", "a", "b");
    expect(s, "*2 *2 $a *2 +RO +access *2 $b *2 +OW +update", "COMMAND", "GETKEYSANDFLAGS", "copy", "a", "b");
}

static void getkeys_knows_the_newer_commands(void **state)
{
    session *s = *state;

    not_in_redis(s, "newer than 7.0");
    expect(s, "*2 $a $b", "COMMAND", "GETKEYS", "MSETEX", "2", "a", "1", "b", "2", "EX", "100");
    expect(s, "*1 $a", "COMMAND", "GETKEYS", "DELEX", "a", "IFEQ", "b");
    expect(s, "*1 $a", "COMMAND", "GETKEYS", "GETV", "a");
    expect_like(s, "-ERR *", "COMMAND", "GETKEYS", "MSETEX", "5", "a", "1");
    expect_like(s, "-ERR *", "COMMAND", "GETKEYS", "MSETEX", "-1", "a", "1");
    expect_like(s, "-ERR *", "COMMAND", "GETKEYS", "MSETEX", "9223372036854775807", "a", "1");
}

static void docs_describe(void **state)
{
    session *s = *state;

    expect_like(s, "[*]2 $get [*]* $summary $* $since $1.0.0 $group $string $complexity * $arguments [*]1 *",
                "COMMAND", "DOCS", "GET");
    expect_like(s, "[*]2 $flushdb [*]* $history [*]2 [*]2 $4.0.0 $*ASYNC* [*]2 $6.2.0 $*SYNC* $arguments *",
                "COMMAND", "DOCS", "flushdb");
    expect_like(s, "*$config|set *$history [*]1 [*]2 $7.0.0 $*", "COMMAND", "DOCS", "config");
    assert_null(strstr(said(s, "COMMAND", "DOCS", "get"), "$history"));
    expect(s, "*0", "COMMAND", "DOCS", "nope");
    expect_like(s, "[*]* $object [*]* $subcommands [*]* *", "COMMAND", "DOCS", "object");
}

static void command_counts_its_arguments(void **state)
{
    session *s = *state;

    expect(s, "-ERR wrong number of arguments for 'command|count' command", "COMMAND", "COUNT", "x");
    expect(s, "-ERR unknown subcommand 'nope'. Try COMMAND HELP.", "COMMAND", "nope");
    expect_like(s, "[*]* +*COMMAND <subcommand>*", "COMMAND", "HELP");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(info_tells_arity_flags_and_keys),
        conversation(info_of_a_stranger_is_null),
        conversation(count_list_and_bare_command_agree),
        conversation(list_filters),
        conversation(getkeys_finds_the_keys),
        conversation(getkeys_knows_the_newer_commands),
        conversation(docs_describe),
        conversation(command_counts_its_arguments),
    };

    return run_conversations(argc, argv, tests);
}
