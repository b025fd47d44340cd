/* transaction_test.c - tests of MULTI, EXEC, DISCARD, WATCH and UNWATCH.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

#define ENOUGH  (1024 * 1024) /* bytes of replies after which a batch of kvserver ends: OUTPUT_ENOUGH */
#define ABORTED "-EXECABORT Transaction discarded because of previous errors."

static void exec_runs_what_was_queued(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(s, "+QUEUED", "INCR", "a");
    expect(s, "+QUEUED", "GET", "a");
    expect(s, "+QUEUED", "GET", "nobody");
    expect(s, "*4 +OK :2 $2 _", "EXEC");
    expect(s, "$2", "GET", "a");
}

static void nothing_runs_before_exec(void **state)
{
    session *s = *state, *other = another_client(s);

    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(other, "_", "GET", "a");
    expect(s, "*1 +OK", "EXEC");
    expect(other, "$1", "GET", "a");
}

static void an_empty_transaction_is_an_empty_array(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MULTI");
    expect(s, "*0", "EXEC");
}

static void what_exec_begins_in_the_background_is_scheduled(void **state)
{
    session *s = *state;

    needs_server(s);
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "BGREWRITEAOF");
    expect(s, "*1 +\"Background append only file rewriting scheduled\"", "EXEC");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "BGSAVE");
    expect(s, "*1 +\"Background saving scheduled\"", "EXEC");
}

static void discard_forgets_the_queue(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(s, "+OK", "DISCARD");
    expect(s, "_", "GET", "a");
    expect(s, "-ERR EXEC without MULTI", "EXEC");
    expect(s, "-ERR DISCARD without MULTI", "DISCARD");
}

static void multi_is_not_nested(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MULTI");
    expect(s, "-ERR MULTI calls can not be nested", "MULTI");
    expect(s, "-ERR WATCH inside MULTI is not allowed", "WATCH", "a");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(s, "*1 +OK", "EXEC");
}

static void what_cannot_be_queued_spoils_the_transaction(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(s, "-ERR unknown command 'NOSUCH', with args beginning with: 'x' ", "NOSUCH", "x");
    expect(s, "+QUEUED", "SET", "b", "1");
    expect(s, ABORTED, "EXEC");
    expect(s, ":0", "EXISTS", "a", "b");

    expect(s, "+OK", "MULTI");
    expect(s, "-ERR wrong number of arguments for 'set' command", "SET", "a");
    expect(s, ABORTED, "EXEC");

    expect(s, "+OK", "MULTI");
    expect(s, "-ERR unknown subcommand 'NOPE'. Try OBJECT HELP.", "OBJECT", "NOPE", "x");
    expect(s, ABORTED, "EXEC");

    expect(s, "+OK", "MULTI");
    expect(s, "-ERR wrong number of arguments for 'discard' command", "DISCARD", "x");
    expect(s, ABORTED, "EXEC");
    expect(s, "-ERR EXEC without MULTI", "EXEC");
}

static void an_error_while_running_is_one_of_the_replies(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "text", "many");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "INCR", "text");
    expect(s, "+QUEUED", "SET", "a", "1", "EX", "never");
    expect(s, "+QUEUED", "SET", "b", "1");
    expect(s,
           "*3 -\"ERR value is not an integer or out of range\" -\"ERR value is not an integer or out of "
           "range\" +OK",
           "EXEC");
    expect(s, "*3 $many _ $1", "MGET", "text", "a", "b");
}

static void shutdown_is_not_queued(void **state)
{
    session *s = *state;

    needs_server(s);
    expect(s, "+OK", "MULTI");
    expect(s, "-ERR Command not allowed inside a transaction", "SHUTDOWN");
    expect(s, ABORTED, "EXEC");
    expect(s, "+PONG", "PING");
}

static void many_keys_and_many_forms(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MSET", "a", "1", "b", "2", "c", "3");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "MSET", "a", "4", "d", "5", "a", "6");
    expect(s, "+QUEUED", "MGET", "a", "b", "c", "d");
    expect(s, "+QUEUED", "RENAME", "a", "e");
    expect(s, "+QUEUED", "COPY", "b", "f");
    expect(s, "+QUEUED", "DEL", "b", "c", "nobody");
    expect(s, "+QUEUED", "MSETNX", "d", "1", "g", "1");
    expect(s, "+QUEUED", "EXISTS", "a", "b", "c", "d", "e", "f", "g");
    expect(s, "+QUEUED", "DBSIZE");
    expect(s, "+QUEUED", "APPEND", "e", "7");
    expect(s, "+QUEUED", "GETDEL", "e");
    expect(s, "*10 +OK *4 $6 $2 $3 $5 +OK :1 :2 :0 :3 :3 :2 $67", "EXEC");
    expect_sorted(s, "*2 $d $f", "KEYS", "*");
}

static void commands_about_all_keys(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MSET", "a", "1", "b", "2");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "c", "3");
    expect(s, "+QUEUED", "DEL", "a", "b");
    expect(s, "+QUEUED", "KEYS", "*");
    expect(s, "+QUEUED", "RANDOMKEY");
    expect(s, "+QUEUED", "SCAN", "0", "COUNT", "1000");
    expect(s, "+QUEUED", "FLUSHDB");
    expect(s, "+QUEUED", "DBSIZE");
    expect(s, "+QUEUED", "SET", "d", "4");
    expect(s, "+QUEUED", "FLUSHALL");
    expect(s, "+QUEUED", "SET", "e", "5");
    expect(s, "+QUEUED", "KEYS", "*");
    expect(s, "*11 +OK :2 *1 $c $c *2 $0 *1 $c +OK :0 +OK +OK +OK *1 $e", "EXEC");
    expect(s, ":1", "DBSIZE");
}

static void select_counts_for_what_follows(void **state)
{
    session *s = *state;

    needs_server(s);
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "0");
    expect(s, "+QUEUED", "SELECT", "3");
    expect(s, "+QUEUED", "SET", "a", "3");
    expect(s, "+QUEUED", "SELECT", "99");
    expect(s, "+QUEUED", "SELECT", "x");
    expect(s, "+QUEUED", "GET", "a");
    expect(s,
           "*6 +OK +OK +OK -\"ERR DB index is out of range\" -\"ERR value is not an integer or out of "
           "range\" $3",
           "EXEC");
    expect(s, "$3", "GET", "a");
    expect(s, "+OK", "SELECT", "0");
    expect(s, "$0", "GET", "a");
}

static void several_databases_at_once(void **state)
{
    session *s = *state;

    needs_server(s);
    expect(s, "+OK", "SET", "a", "0");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "COPY", "a", "b", "DB", "5");
    expect(s, "+QUEUED", "MOVE", "a", "5");
    expect(s, "+QUEUED", "DBSIZE");
    expect(s, "+QUEUED", "SWAPDB", "0", "5");
    expect(s, "+QUEUED", "MGET", "a", "b");
    expect(s, "+QUEUED", "SET", "c", "1");
    expect(s, "+QUEUED", "SELECT", "5");
    expect(s, "+QUEUED", "DBSIZE");
    expect(s, "+QUEUED", "SELECT", "0");
    expect(s, "+QUEUED", "DBSIZE");
    expect(s, "*10 :1 :1 :0 +OK *2 $0 $0 +OK +OK :0 +OK :3", "EXEC");
}

static void commands_about_the_connection_run_in_their_place(void **state)
{
    session *s = *state;

    needs_server(s);
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(s, "+QUEUED", "PING", "pong");
    expect(s, "+QUEUED", "CLIENT", "SETNAME", "me");
    expect(s, "+QUEUED", "INCR", "a");
    expect(s, "+QUEUED", "CLIENT", "LIST");
    expect(s, "+QUEUED", "INCR", "a");
    expect(s, "+QUEUED", "CLIENT", "KILL", "ID", "999999");
    expect(s, "+QUEUED", "CLIENT", "GETNAME");
    expect(s, "+QUEUED", "PUBLISH", "nowhere", "x");
    expect(s, "+QUEUED", "GET", "a");
    expect_like(s, "[*]10 +OK $pong +OK :2 $\"id=* name=me * flags=*x* multi=10 *cmd=exec * :3 :0 $me :0 $3",
                "EXEC");
    expect(s, "+PONG", "PING");
    expect_like(s, "$*multi=-1 *", "CLIENT", "INFO");
}

static void a_pipeline_goes_on_after_exec(void **state)
{
    session *s = *state;

    needs_server(s);
    send_raw(
        s,
        "MULTI\r\nSET a 1\r\nCLIENT LIST\r\nINCR a\r\nEXEC\r\nINCR a\r\nMULTI\r\nINCR a\r\nEXEC\r\nPING\r\n");
    expect_next(s, "+OK");
    expect_next(s, "+QUEUED");
    expect_next(s, "+QUEUED");
    expect_next(s, "+QUEUED");
    reply *r = conn_read(session_conn(s));
    assert_non_null(r);
    assert_int_equal(r->count, 3);
    reply_free(r);
    expect_next(s, ":3");
    expect_next(s, "+OK");
    expect_next(s, "+QUEUED");
    expect_next(s, "*1 :4");
    expect_next(s, "+PONG");
}

static void neighbours_that_are_alike_run_in_their_order(void **state)
{
    session *s = *state;

    needs_server(s);
    send_raw(s,
             "*1\r\n$5\r\nMULTI\r\n"
             "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n2\r\n"
             "*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$1\r\n3\r\n"
             "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n*2\r\n$3\r\nGET\r\n$1\r\nc\r\n"
             "*2\r\n$6\r\nSELECT\r\n$1\r\n1\r\n"
             "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"
             "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n4\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$1\r\n5\r\n"
             "*1\r\n$4\r\nEXEC\r\n"
             "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n");
    expect_next(s, "+OK");
    for (int i = 0; i < 11; i++)
        expect_next(s, "+QUEUED");
    expect_next(s, "*11 +OK +OK +OK $2 $3 _ +OK _ _ +OK +OK");
    expect_next(s, "$4");
    expect_next(s, "+OK");
    expect_next(s, "$2");
}

static void one_of_many_that_fails_leaves_the_others(void **state)
{
    session *s = *state;

    needs_server(s);
    send_raw(s, "MULTI\r\nSET a 1 EX\r\nSET b 2 EX 100\r\nSET c 3 NX\r\nSET b 4 NX\r\nGET b\r\nEXEC\r\n");
    expect_next(s, "+OK");
    for (int i = 0; i < 5; i++)
        expect_next(s, "+QUEUED");
    expect_next(s, "*5 -\"ERR syntax error\" +OK +OK _ $2");
    /* The same number of arguments each: they run as one. */
    send_raw(s, "*1\r\n$5\r\nMULTI\r\n"
                "*4\r\n$3\r\nSET\r\n$1\r\nd\r\n$1\r\n1\r\n$2\r\nNX\r\n*4\r\n$3\r\nSET\r\n$1\r\nd\r\n$"
                "1\r\n2\r\n$2\r\nNX\r\n"
                "*4\r\n$3\r\nSET\r\n$1\r\nd\r\n$1\r\n3\r\n$2\r\nNO\r\n*4\r\n$3\r\nSET\r\n$1\r\nd\r\n$"
                "1\r\n4\r\n$2\r\nXX\r\n"
                "*1\r\n$4\r\nEXEC\r\n");
    expect_next(s, "+OK");
    for (int i = 0; i < 4; i++)
        expect_next(s, "+QUEUED");
    expect_next(s, "*4 +OK _ -\"ERR syntax error\" +OK");
    expect(s, "$4", "GET", "d");
}

/* A batch that ends between MULTI and its EXEC, which it holds, since so much has been written: what is queued by then outlives it. */
static void a_batch_may_end_between_multi_and_exec(void **state)
{
    session *s = *state;
    char *value;

    needs_server(s);
    value = malloc(ENOUGH + 1);
    memset(value, 'v', ENOUGH);
    for (size_t less = 0; less < 96; less += 7) {
        value[ENOUGH - less] = '\0';
        expect(s, "+OK", "SET", "big", value);
        send_raw(
            s,
            "*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n*1\r\n$5\r\nMULTI\r\n"
            "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$3\r\none\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$3\r\ntwo\r\n"
            "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n*2\r\n$6\r\nSTRLEN\r\n$3\r\nbig\r\n"
            "*1\r\n$4\r\nEXEC\r\n*1\r\n$4\r\nPING\r\n");
        reply_free(conn_read(session_conn(s)));
        expect_next(s, "+OK");
        for (int i = 0; i < 5; i++)
            expect_next(s, "+QUEUED");
        sprintf(value, "*5 +OK +OK $one $two :%zu", (size_t)ENOUGH - less);
        expect_next(s, value);
        expect_next(s, "+PONG");
        memset(value, 'v', 64);
    }
    free(value);
}

static void reset_ends_a_transaction(void **state)
{
    session *s = *state;

    needs_server(s);
    expect(s, "+OK", "WATCH", "a");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(s, "+RESET", "RESET");
    expect(s, "-ERR EXEC without MULTI", "EXEC");
    expect(s, "+OK", "SET", "a", "2");
    expect(s, "+OK", "MULTI");
    expect(s, "*0", "EXEC");
}

static void a_client_in_a_transaction_may_leave(void **state)
{
    session *s = *state, *other;

    needs_server(s);
    other = another_client(s);
    expect(other, "+OK", "WATCH", "a", "b");
    expect(other, "+OK", "MULTI");
    expect(other, "+QUEUED", "SET", "a", "1");
    expect(other, "+OK", "QUIT");
    expect_closed(other);
    expect(s, "+OK", "MSET", "a", "2", "b", "2");
    other = another_client(s);
    expect(other, "+OK", "WATCH", "c");
    expect(other, "+OK", "MULTI");
    expect(s, ":1", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    expect_closed(other);
    expect(s, "+OK", "SET", "c", "1");
}

static void client_list_tells_of_transactions(void **state)
{
    session *s = *state, *other = another_client(s);
    const char *id;

    not_in_redis(s, "watch= came with 7.4");
    needs_server(s);
    id = said(other, "CLIENT", "ID") + 1;
    expect(other, "+OK", "WATCH", "a", "b", "a");
    expect_like(s, "$* flags=[!xd]* * multi=-1 *watch=2*", "CLIENT", "LIST", "ID", id);
    expect(other, "+OK", "MULTI");
    expect(other, "+QUEUED", "GET", "x");
    expect_like(s, "$* flags=x[!d]* * multi=1 * multi-mem=[1-9]* watch=2*", "CLIENT", "LIST", "ID", id);
    expect(s, "+OK", "SET", "b", "1");
    expect_like(s, "$* flags=xd* *", "CLIENT", "LIST", "ID", id);
    expect(other, "*_", "EXEC");
    expect_like(s, "$* flags=[!xd]* * multi=-1 * multi-mem=0 * watch=0*", "CLIENT", "LIST", "ID", id);
}

/* ---- WATCH ---- */

/* What other does between WATCH key and EXEC; the keys "there" (1) and "gone" are there, or not. */
static void expect_watch(session *s, session *other, const char *key, const char *outcome,
                         const char *const args[])
{
    expect(s, "+OK", "FLUSHALL");
    expect(s, "+OK", "SET", "there", "1");
    expect(s, "+OK", "SET", "else", "1");
    expect(s, "+OK", "WATCH", key);
    session_expect_like(other, __FILE__, __LINE__, "*", args);
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "ECHO", "x");
    expect(s, outcome, "EXEC");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "ECHO", "x");
    expect(s, "*1 $x", "EXEC");
}
#define watch(key, outcome, ...) \
    expect_watch(s, other, key, outcome, (const char *const[]){ __VA_ARGS__, NULL })

static void a_write_of_a_watched_key_stops_exec(void **state)
{
    session *s = *state, *other;

    other = another_client(s);
    watch("there", "*_", "SET", "there", "2");
    watch("there", "*_", "SET", "there", "1");
    watch("there", "*_", "DEL", "there");
    watch("there", "*_", "UNLINK", "there", "else");
    watch("there", "*_", "APPEND", "there", "x");
    watch("there", "*_", "EXPIRE", "there", "1000");
    watch("there", "*_", "EXPIRE", "there", "-1");
    watch("there", "*_", "MSET", "x", "1", "there", "2");
    watch("there", "*_", "RENAME", "there", "x");
    watch("there", "*_", "RENAME", "else", "there");
    watch("there", "*_", "COPY", "else", "there", "REPLACE");
    watch("there", "*_", "MOVE", "there", "7");
    watch("there", "*_", "GETDEL", "there");
    watch("there", "*_", "FLUSHDB");
    watch("there", "*_", "FLUSHALL");
    watch("gone", "*_", "SET", "gone", "1");
    watch("gone", "*_", "SET", "gone", "1", "PX", "1000000");
    watch("gone", "*_", "RENAME", "there", "gone");
    watch("gone", "*_", "COPY", "there", "gone");
    watch("gone", "*_", "MSETNX", "gone", "1", "x", "1");
    watch("gone", "*_", "INCR", "gone");
}

static void what_changes_nothing_does_not_stop_exec(void **state)
{
    session *s = *state, *other;

    other = another_client(s);
    watch("there", "*1 $x", "GET", "there");
    watch("there", "*1 $x", "SET", "else", "2");
    watch("there", "*1 $x", "SETNX", "there", "2");
    watch("there", "*1 $x", "INCRBY", "there", "x");
    watch("there", "*1 $x", "PERSIST", "there");
    watch("there", "*1 $x", "MSETNX", "there", "1", "x", "1");
    watch("gone", "*1 $x", "DEL", "gone");
    watch("gone", "*1 $x", "DEL", "there");
    watch("gone", "*1 $x", "FLUSHALL");
    watch("gone", "*1 $x", "SET", "gone", "1", "XX");
    watch("gone", "*1 $x", "EXPIRE", "gone", "10");
    watch("gone", "*1 $x", "SWAPDB", "3", "4");
    watch("gone", "*1 $x", "SWAPDB", "0", "4");
}

static void a_key_that_came_and_went_was_changed(void **state)
{
    session *s = *state, *other;

    other = another_client(s);
    expect(s, "+OK", "WATCH", "a");
    expect(other, "+OK", "SET", "a", "1");
    expect(other, ":1", "DEL", "a");
    expect(s, "+OK", "MULTI");
    expect(s, "*_", "EXEC");

    expect(s, "+OK", "SET", "b", "1");
    expect(s, "+OK", "WATCH", "b");
    expect(other, ":1", "DEL", "b");
    expect(other, "+OK", "SET", "b", "1");
    expect(s, "+OK", "MULTI");
    expect(s, "*_", "EXEC");

    expect(s, "+OK", "WATCH", "c");
    expect(other, "+OK", "SET", "c", "1");
    expect(other, "+OK", "FLUSHALL");
    expect(s, "+OK", "MULTI");
    expect(s, "*_", "EXEC");
}

static void exchanged_databases_are_changes_where_there_was_a_key(void **state)
{
    session *s = *state, *other;

    other = another_client(s);
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "WATCH", "a");
    expect(other, "+OK", "SWAPDB", "0", "5");
    expect(s, "+OK", "MULTI");
    expect(s, "*_", "EXEC");
    expect(s, "+OK", "WATCH", "a"); /* absent now */
    expect(other, "+OK", "SWAPDB", "0", "5");
    expect(s, "+OK", "MULTI");
    expect(s, "*_", "EXEC");
    expect(s, "+OK", "WATCH", "a");
    expect(other, "+OK", "SWAPDB", "0", "5");
    expect(other, "+OK", "SWAPDB", "5", "0");
    expect(s, "+OK", "MULTI");
    expect(s, "*_", "EXEC");
    expect(s, "$1", "GET", "a");
}

static void a_key_is_watched_in_its_database(void **state)
{
    session *s = *state, *other;

    other = another_client(s);
    expect(s, "+OK", "WATCH", "a");
    expect(other, "+OK", "SELECT", "2");
    expect(other, "+OK", "SET", "a", "1");
    expect(s, "+OK", "SELECT", "2");
    expect(s, "+OK", "MULTI");
    expect(s, "*0", "EXEC");
    expect(s, "+OK", "WATCH", "a");
    expect(s, "+OK", "SELECT", "3");
    expect(other, "+OK", "SET", "a", "2");
    expect(s, "+OK", "MULTI");
    expect(s, "*_", "EXEC");
}

static void ones_own_writes_count_too(void **state)
{
    session *s = *state;

    expect(s, "+OK", "WATCH", "a");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "2");
    expect(s, "*_", "EXEC");
    expect(s, "$1", "GET", "a");
}

static void unwatch_and_discard_forget(void **state)
{
    session *s = *state;

    expect(s, "-ERR wrong number of arguments for 'watch' command", "WATCH");
    expect(s, "-ERR wrong number of arguments for 'unwatch' command", "UNWATCH", "a");
    expect(s, "+OK", "UNWATCH");
    expect(s, "+OK", "WATCH", "a", "b");
    expect(s, "+OK", "WATCH", "c");
    expect(s, "+OK", "SET", "c", "1");
    expect(s, "+OK", "UNWATCH");
    expect(s, "+OK", "MULTI");
    expect(s, "*0", "EXEC");
    expect(s, "+OK", "WATCH", "a");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "MULTI");
    expect(s, "+OK", "DISCARD");
    expect(s, "+OK", "MULTI");
    expect(s, "*0", "EXEC");
    needs_server(s);
    expect(s, "+OK", "WATCH", "a");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "UNWATCH");
    expect(s, "*_", "EXEC");
}

static void previous_errors_come_before_watched_keys(void **state)
{
    session *s = *state;

    expect(s, "+OK", "WATCH", "a");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "MULTI");
    expect_like(s, "-ERR *", "NOSUCH");
    expect(s, ABORTED, "EXEC");
}

static void a_failed_exec_is_a_null_of_its_protocol(void **state)
{
    session *s = *state;

    needs_server(s);
    expect(s, "+OK", "WATCH", "a");
    expect(s, "+OK", "SET", "a", "1");
    send_raw(s, "MULTI\r\nEXEC\r\n");
    expect_next(s, "+OK");
    expect_next(s, "*_");
    expect_like(s, "%*", "HELLO", "3");
    expect(s, "+OK", "WATCH", "a");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "MULTI");
    expect(s, "_", "EXEC");
}

static void a_key_that_expired_before_watch_is_absent(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "a", "1", "PXAT", "1000");
    expect(s, "+OK", "WATCH", "a");
    expect(s, "_", "GET", "a");
    expect(s, ":0", "DEL", "a");
    expect(s, "+OK", "MULTI");
    expect(s, "*0", "EXEC");
}

/* ---- conditions ---- */

static void conditions_decide_about_exec(void **state)
{
    session *s = *state;

    not_in_redis(s, "conditions of EXEC are Valkey's, IFVER ours");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "2");
    expect(s, "*1 +OK", "EXEC", "IFEQ", "a", "1");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "3");
    expect(s, "*_", "EXEC", "ifeq", "a", "1");
    expect(s, "-ERR EXEC without MULTI", "EXEC");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "b", "1");
    expect(s, "*1 +OK", "EXEC", "XX", "a", "NX", "b", "IFNE", "a", "1", "IFNE", "nobody", "x");
    expect(s, "+OK", "MULTI");
    expect(s, "*_", "EXEC", "XX", "a", "NX", "b");
    expect(s, "+OK", "MULTI");
    expect(s, "*_", "EXEC", "XX", "nobody");
    expect(s, "+OK", "MULTI");
    expect(s, "*_", "EXEC", "IFEQ", "nobody", "");
    expect(s, "+OK", "MULTI");
    expect(s, "*0", "EXEC", "IFVER", "nobody", "0", "IFEQ", "a", "2");
}

static void a_version_decides_about_exec(void **state)
{
    session *s = *state;
    const char *version;
    char text[32];

    not_in_redis(s, "IFVER is ours");
    expect(s, "+OK", "SET", "a", "1");
    version = said(s, "GETV", "a"); /* *3 $1 :n :-1 */
    sscanf(version, "*3 $1 :%31[0-9]", text);
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(s, "*1 +OK", "EXEC", "IFVER", "a", text);
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "2");
    expect(s, "*_", "EXEC", "IFVER", "a", text);
    expect(s, "$1", "GET", "a");
}

static void malformed_conditions_discard(void **state)
{
    session *s = *state;
    static const char wrong[] = "-EXECABORT Transaction discarded because of: invalid check condition syntax";

    not_in_redis(s, "conditions of EXEC are Valkey's, IFVER ours");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(s, wrong, "EXEC", "IFEQ", "a");
    expect(s, "-ERR EXEC without MULTI", "EXEC");
    expect(s, "+OK", "MULTI");
    expect(s, wrong, "EXEC", "NX");
    expect(s, "+OK", "MULTI");
    expect(s, wrong, "EXEC", "SOMEHOW", "a");
    expect(s, "+OK", "MULTI");
    expect(s, wrong, "EXEC", "IFVER", "a", "x");
    expect(s, "+OK", "MULTI");
    expect(s, wrong, "EXEC", "NX", "a", "IFEQ", "b");
    expect(s, "_", "GET", "a");
}

/* ---- long ones ---- */

/* As many letters, to be freed. */
static char *text_of(size_t len)
{
    char *text = malloc(len + 1);

    assert_non_null(text);
    memset(text, 'v', len);
    text[len] = '\0';
    return text;
}

static void a_long_queue_runs_as_a_whole(void **state)
{
    session *s = *state;
    char key[32];

    expect(s, "+OK", "MULTI");
    for (int i = 0; i < 3000; i++) {
        sprintf(key, "key:%d", i);
        expect(s, "+QUEUED", "SET", key, key);
    }
    expect(s, "+QUEUED", "DBSIZE");
    assert_non_null(strstr(said(s, "EXEC"), " :3000"));
    expect(s, ":3000", "DBSIZE");
    expect(s, "$key:2999", "GET", "key:2999");
}

static void long_values_are_queued_whole(void **state)
{
    session *s = *state;
    char *value = text_of(300000);

    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", value);
    expect(s, "+QUEUED", "STRLEN", "a");
    expect(s, "+QUEUED", "SET", "b", "");
    expect(s, "+QUEUED", "STRLEN", "b");
    expect(s, "*4 +OK :300000 +OK :0", "EXEC");
    free(value);
}

static void queues_have_a_limit_together(void **state)
{
    session *s = *state, *other;
    char *value;

    not_in_redis(s, "multi-memory-limit is ours");
    needs_server(s);
    other = another_client(s);
    value = text_of(100000);
    expect(s, "+OK", "CONFIG", "SET", "multi-memory-limit", "250000");
    expect(other, "+OK", "MULTI");
    expect(other, "+QUEUED", "SET", "a", value);
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "b", value);
    expect(s, "-OOM the transactions of all clients use more than 'multi-memory-limit'.", "SET", "c", value);
    expect(s, ABORTED, "EXEC");
    expect(other, "*1 +OK", "EXEC");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "b", value);
    expect(s, "+QUEUED", "SET", "c", value);
    expect(s, "*2 +OK +OK", "EXEC");
    expect(s, "+OK", "CONFIG", "SET", "multi-memory-limit", "48mb");
    free(value);
}

static void a_queue_counts_as_query_buffer(void **state)
{
    session *s = *state, *other;
    char *value;

    not_in_redis(s, "it closes one request later");
    needs_server(s);
    other = another_client(s);
    value = text_of(400000);
    expect(s, "+OK", "CONFIG", "SET", "client-query-buffer-limit", "1mb");
    expect(other, "+OK", "MULTI");
    expect(other, "+QUEUED", "SET", "a", value);
    expect(other, "+QUEUED", "SET", "b", value);
    conn_send_args(session_conn(other), 3, (const kv_slice[]){ KV_STR("SET"), KV_STR("c"), kv_str(value) });
    expect_closed(other);
    expect(s, "+OK", "CONFIG", "SET", "client-query-buffer-limit", "1gb");
    expect(s, ":0", "EXISTS", "a", "b", "c");
    free(value);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(exec_runs_what_was_queued),
        conversation(nothing_runs_before_exec),
        conversation(an_empty_transaction_is_an_empty_array),
        conversation(what_exec_begins_in_the_background_is_scheduled),
        conversation(discard_forgets_the_queue),
        conversation(multi_is_not_nested),
        conversation(what_cannot_be_queued_spoils_the_transaction),
        conversation(an_error_while_running_is_one_of_the_replies),
        conversation(shutdown_is_not_queued),
        conversation(many_keys_and_many_forms),
        conversation(commands_about_all_keys),
        conversation(select_counts_for_what_follows),
        conversation(several_databases_at_once),
        conversation(commands_about_the_connection_run_in_their_place),
        conversation(a_pipeline_goes_on_after_exec),
        conversation(neighbours_that_are_alike_run_in_their_order),
        conversation(one_of_many_that_fails_leaves_the_others),
        conversation(a_batch_may_end_between_multi_and_exec),
        conversation(reset_ends_a_transaction),
        conversation(a_client_in_a_transaction_may_leave),
        conversation(client_list_tells_of_transactions),
        conversation(a_write_of_a_watched_key_stops_exec),
        conversation(what_changes_nothing_does_not_stop_exec),
        conversation(a_key_that_came_and_went_was_changed),
        conversation(exchanged_databases_are_changes_where_there_was_a_key),
        conversation(a_key_is_watched_in_its_database),
        conversation(ones_own_writes_count_too),
        conversation(unwatch_and_discard_forget),
        conversation(previous_errors_come_before_watched_keys),
        conversation(a_failed_exec_is_a_null_of_its_protocol),
        conversation(a_key_that_expired_before_watch_is_absent),
        conversation(conditions_decide_about_exec),
        conversation(a_version_decides_about_exec),
        conversation(malformed_conditions_discard),
        conversation(a_long_queue_runs_as_a_whole),
        conversation(long_values_are_queued_whole),
        conversation(queues_have_a_limit_together),
        conversation(a_queue_counts_as_query_buffer),
    };

    return run_conversations(argc, argv, tests);
}
