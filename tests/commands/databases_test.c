/* databases_test.c - tests of core/commands/databases.c: sixteen keyspaces.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

static const char index_out_of_range[] = "-ERR DB index is out of range";
static const char not_an_integer[] = "-ERR value is not an integer or out of range";

static void each_database_has_its_own_keys(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "zero");
    expect(s, "+OK", "SELECT", "1");
    expect(s, "_", "GET", "k");
    expect(s, "+OK", "SET", "k", "one");
    expect(s, "+OK", "SELECT", "15");
    expect(s, ":0", "DBSIZE");
    expect(s, "+OK", "SELECT", "0");
    expect(s, "$zero", "GET", "k");
    expect(s, "+OK", "SELECT", "1");
    expect(s, "$one", "GET", "k");
}

static void select_refuses_what_is_no_database(void **state)
{
    session *s = *state;

    needs_server(s);
    expect(s, "+OK", "SELECT", "5");
    expect(s, "+OK", "SET", "k", "five");
    expect(s, index_out_of_range, "SELECT", "16");
    expect(s, index_out_of_range, "SELECT", "-1");
    expect(s, "-ERR value is out of range, value must between -2147483648 and 2147483647", "SELECT",
           "2147483648");
    expect(s, not_an_integer, "SELECT", "one");
    expect(s, not_an_integer, "SELECT", "");
    expect(s, not_an_integer, "SELECT", "01");
    expect(s, "-ERR wrong number of arguments for 'select' command", "SELECT");
    expect(s, "$five", "GET", "k");
}

static void two_clients_select_each_for_itself(void **state)
{
    session *s = *state, *other = another_client(s);

    expect(s, "+OK", "SELECT", "2");
    expect(s, "+OK", "SET", "k", "two");
    expect(other, "_", "GET", "k");
    expect(other, "+OK", "SELECT", "2");
    expect(other, "$two", "GET", "k");
}

static void move_takes_value_and_deadline_along(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v", "PXAT", "33177117420123");
    expect(s, ":1", "MOVE", "k", "9");
    expect(s, ":0", "EXISTS", "k");
    expect(s, ":0", "MOVE", "k", "9");
    expect(s, "+OK", "SELECT", "9");
    expect(s, "$v", "GET", "k");
    expect(s, ":33177117420123", "PEXPIRETIME", "k");
    expect(s, ":1", "MOVE", "k", "0");
    expect(s, ":0", "DBSIZE");
}

static void move_writes_over_nothing(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "zero");
    expect(s, "+OK", "SELECT", "1");
    expect(s, "+OK", "SET", "k", "one");
    expect(s, ":0", "MOVE", "k", "0");
    expect(s, "$one", "GET", "k");
    expect(s, "+OK", "SET", "gone", "here");
    expect(s, "+OK", "SELECT", "0");
    expect(s, "$zero", "GET", "k");
    expect(s, "+OK", "SET", "gone", "x", "PXAT", "1");
    expect(s, "+OK", "SELECT", "1");
    expect(s, ":1", "MOVE", "gone", "0");
    expect(s, "+OK", "SELECT", "0");
    expect(s, "$here", "GET", "gone");
    expect(s, ":-1", "TTL", "gone");
}

static void move_refuses_what_makes_no_sense(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, "-ERR source and destination objects are the same", "MOVE", "k", "0");
    expect(s, index_out_of_range, "MOVE", "k", "16");
    expect(s, index_out_of_range, "MOVE", "k", "-1");
    expect(s, not_an_integer, "MOVE", "k", "x");
    expect(s, "-ERR wrong number of arguments for 'move' command", "MOVE", "k");
    expect(s, "$v", "GET", "k");
}

static void swapdb_exchanges_everything(void **state)
{
    session *s = *state, *other = another_client(s);

    expect(s, "+OK", "MSET", "a", "0a", "b", "0b");
    expect(other, "+OK", "SELECT", "7");
    expect(other, "+OK", "SET", "a", "7a", "PXAT", "33177117420123");
    expect(s, "+OK", "SWAPDB", "0", "7");
    expect(s, "*2 $7a _", "MGET", "a", "b");
    expect(s, ":33177117420123", "PEXPIRETIME", "a");
    expect(other, "*2 $0a $0b", "MGET", "a", "b");
    expect(other, ":-1", "TTL", "a");
    expect(s, ":1", "DBSIZE");
    expect(other, ":2", "DBSIZE");
    expect(other, "+OK", "SET", "c", "7c");
    expect(s, "_", "GET", "c");
    expect(s, "+OK", "SWAPDB", "7", "0");
    expect(s, "*3 $0a $0b $7c", "MGET", "a", "b", "c");
    expect(s, "+OK", "SWAPDB", "0", "0");
    expect(s, ":3", "DBSIZE");
}

static void swapdb_refuses_what_is_no_database(void **state)
{
    session *s = *state;

    expect(s, "-ERR invalid first DB index", "SWAPDB", "x", "1");
    expect(s, "-ERR invalid second DB index", "SWAPDB", "0", "x");
    expect(s, index_out_of_range, "SWAPDB", "0", "16");
    expect(s, index_out_of_range, "SWAPDB", "-1", "1");
    expect(s, "-ERR wrong number of arguments for 'swapdb' command", "SWAPDB", "0");
}

static void flushdb_empties_one_database(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MSET", "a", "1", "b", "2");
    expect(s, "+OK", "SELECT", "1");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "FLUSHDB");
    expect(s, ":0", "DBSIZE");
    expect(s, "+OK", "SELECT", "0");
    expect(s, ":2", "DBSIZE");
    expect(s, "+OK", "FLUSHDB", "ASYNC");
    expect(s, ":0", "DBSIZE");
    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "FLUSHDB", "sync");
    expect(s, "_", "GET", "a");
    expect(s, "*0", "KEYS", "*");
}

static void flushall_empties_all(void **state)
{
    session *s = *state;
    static const char *const modes[] = { NULL, "SYNC", "async" };

    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        expect(s, "+OK", "SELECT", "15");
        expect(s, "+OK", "SET", "a", "1");
        expect(s, "+OK", "SELECT", "0");
        expect(s, "+OK", "SET", "b", "1");
        expect(s, "+OK", "FLUSHALL", modes[i]);
        expect(s, ":0", "DBSIZE");
        expect(s, "+OK", "SELECT", "15");
        expect(s, ":0", "DBSIZE");
        expect(s, "+OK", "SET", "a", "again");
        expect(s, "$again", "GET", "a");
    }
}

static void flushing_takes_no_other_words(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SET", "a", "1");
    expect(s, "-ERR syntax error", "FLUSHDB", "NOW");
    expect(s, "-ERR syntax error", "FLUSHALL", "SYNC", "ASYNC");
    expect(s, "-ERR syntax error", "FLUSHALL", "0");
    expect(s, ":1", "DBSIZE");
}

static void dbsize_counts(void **state)
{
    session *s = *state;

    expect(s, ":0", "DBSIZE");
    for (long long i = 1; i <= 500; i++) {
        expect(s, "+OK", "SET", decimal(s, i), "v");
        expect_between(s, i, i, "DBSIZE");
    }
    expect(s, ":1", "DEL", "77");
    expect(s, ":499", "DBSIZE");
    expect(s, "-ERR wrong number of arguments for 'dbsize' command", "DBSIZE", "0");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(each_database_has_its_own_keys),     conversation(select_refuses_what_is_no_database),
        conversation(two_clients_select_each_for_itself), conversation(move_takes_value_and_deadline_along),
        conversation(move_writes_over_nothing),           conversation(move_refuses_what_makes_no_sense),
        conversation(swapdb_exchanges_everything),        conversation(swapdb_refuses_what_is_no_database),
        conversation(flushdb_empties_one_database),       conversation(flushall_empties_all),
        conversation(flushing_takes_no_other_words),      conversation(dbsize_counts),
    };

    return run_conversations(argc, argv, tests);
}
