/* notify_test.c - tests of keyspace notifications: which events a command publishes, and in which order.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "session.h"

static const char cannot[] =
    "-ERR CONFIG SET failed (possibly related to argument 'notify-keyspace-events') - "
    "Invalid event class character. Use 'Ag$lshzxeKEtmdn'.";

/* A client that hears what the classes say. */
static session *listener(session *s, const char *classes)
{
    session *l = another_client(s);

    expect(s, "+OK", "CONFIG", "SET", "notify-keyspace-events", classes);
    expect(l, "*3 $psubscribe $__key* :1", "PSUBSCRIBE", "__key*");
    return l;
}

/* The next event is that of a key of database 0. */
static void heard(session *l, const char *key, const char *event)
{
    char text[128];

    snprintf(text, sizeof text, "*4 $pmessage $__key* $__keyspace@0__:%s $%s", key, event);
    expect_next(l, text);
}

/* Nothing else was heard. */
static void silent(session *s, session *l)
{
    expect(s, ":1", "PUBLISH", "__key", "end");
    expect_next(l, "*4 $pmessage $__key* $__key $end");
}

static int all_off(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CONFIG", "SET", "notify-keyspace-events", "");
    return session_end(state);
}

static void classes_are_written_in_redis_order(void **state)
{
    session *s = *state;
    static const char *const pairs[][2] = {
        { "KEA", "AKE" },     { "g$lshzxetd", "A" },  { "nmKE", "nKEm" }, { "Kx", "xK" },
        { "E", "E" },         { "KEAmn", "AKEm" },    { "zzz", "z" },     { "AKEx", "AKE" },
        { "KEm$n", "$nKEm" }, { "g$lshzxetdn", "A" }, { "d", "d" },
    };

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        char text[64];

        expect(s, "+OK", "CONFIG", "SET", "notify-keyspace-events", pairs[i][0]);
        snprintf(text, sizeof text, "*2 $notify-keyspace-events $%s", pairs[i][1]);
        expect(s, text, "CONFIG", "GET", "notify-keyspace-events");
    }
    expect(s, cannot, "CONFIG", "SET", "notify-keyspace-events", "KQ");
    expect(s, "*2 $notify-keyspace-events $d", "CONFIG", "GET", "notify-keyspace-events");
    expect(s, "+OK", "CONFIG", "SET", "notify-keyspace-events", "");
    expect(s, "*2 $notify-keyspace-events $\"\"", "CONFIG", "GET", "notify-keyspace-events");
}

static void both_kinds_of_channels_tell_the_same(void **state)
{
    session *s = *state, *l = listener(s, "KEA");

    expect(s, "+OK", "SET", "k", "v");
    expect_next(l, "*4 $pmessage $__key* $__keyspace@0__:k $set");
    expect_next(l, "*4 $pmessage $__key* $__keyevent@0__:set $k");
    expect(s, "+OK", "SELECT", "9");
    expect(s, "+OK", "SET", "k", "v");
    expect_next(l, "*4 $pmessage $__key* $__keyspace@9__:k $set");
    expect_next(l, "*4 $pmessage $__key* $__keyevent@9__:set $k");
    expect(s, "+OK", "CONFIG", "SET", "notify-keyspace-events", "Eg");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, ":1", "DEL", "k");
    expect_next(l, "*4 $pmessage $__key* $__keyevent@9__:del $k");
    expect(s, "+OK", "CONFIG", "SET", "notify-keyspace-events", "A"); /* neither K nor E: to nobody */
    expect(s, "+OK", "SET", "k", "v");
    silent(s, l);
}

static void setting_tells_set_and_expire(void **state)
{
    session *s = *state, *l = listener(s, "KAnm");

    expect(s, "+OK", "SET", "a", "1");
    heard(l, "a", "new");
    heard(l, "a", "set");
    expect(s, "+OK", "SET", "a", "1", "EX", "100");
    heard(l, "a", "set");
    heard(l, "a", "expire");
    expect(s, "+OK", "SET", "a", "1", "KEEPTTL");
    heard(l, "a", "set");
    expect(s, "_", "SET", "a", "1", "NX");
    expect(s, "_", "SET", "b", "1", "NX", "GET");
    heard(l, "b", "keymiss");
    heard(l, "b", "new");
    heard(l, "b", "set");
    expect(s, "_", "GETSET", "c", "1");
    heard(l, "c", "keymiss");
    heard(l, "c", "new");
    heard(l, "c", "set");
    expect(s, "$1", "GETSET", "c", "2");
    heard(l, "c", "set");
    expect(s, "+OK", "PSETEX", "c", "100000", "x");
    heard(l, "c", "set");
    heard(l, "c", "expire");
    expect(s, ":1", "SETNX", "d", "1");
    heard(l, "d", "new");
    heard(l, "d", "set");
    expect(s, "+OK", "MSET", "d", "1", "e", "2");
    heard(l, "d", "set");
    heard(l, "e", "new");
    heard(l, "e", "set");
    expect(s, ":0", "MSETNX", "d", "1", "f", "2");
    silent(s, l);
}

static void other_string_commands_tell_their_own(void **state)
{
    session *s = *state, *l = listener(s, "KAnm");

    expect(s, ":1", "APPEND", "a", "1");
    heard(l, "a", "new");
    heard(l, "a", "append");
    expect(s, ":2", "APPEND", "a", "2");
    heard(l, "a", "append");
    expect(s, ":2", "SETRANGE", "a", "1", "3");
    heard(l, "a", "setrange");
    expect(s, ":2", "SETRANGE", "a", "1", "");
    expect(s, ":14", "INCR", "a");
    heard(l, "a", "incrby");
    expect(s, ":10", "DECRBY", "a", "4");
    heard(l, "a", "incrby");
    expect(s, "$10.5", "INCRBYFLOAT", "a", "0.5");
    heard(l, "a", "incrbyfloat");
    expect(s, "$10.5", "GETEX", "a", "EX", "100");
    heard(l, "a", "expire");
    expect(s, "$10.5", "GETEX", "a", "PERSIST");
    heard(l, "a", "persist");
    expect(s, "$10.5", "GETEX", "a", "PERSIST");
    expect(s, "$10.5", "GETEX", "a", "EXAT", "1");
    heard(l, "a", "del");
    expect(s, "_", "GETDEL", "a");
    heard(l, "a", "keymiss");
    silent(s, l);
}

static void keys_that_go_or_move_are_told(void **state)
{
    session *s = *state, *l = listener(s, "KAnm");

    expect(s, "+OK", "MSET", "a", "1", "b", "2", "c", "3");
    for (int i = 0; i < 3; i++) {
        heard(l, (const char *const[]){ "a", "b", "c" }[i], "new");
        heard(l, (const char *const[]){ "a", "b", "c" }[i], "set");
    }
    expect(s, ":1", "EXPIRE", "a", "100");
    heard(l, "a", "expire");
    expect(s, ":1", "EXPIREAT", "a", "99999999999");
    heard(l, "a", "expire");
    expect(s, ":1", "EXPIREAT", "a", "99999999999"); /* the same again is told again */
    heard(l, "a", "expire");
    expect(s, ":1", "PERSIST", "a");
    heard(l, "a", "persist");
    expect(s, ":0", "PERSIST", "a");
    expect(s, ":1", "EXPIRE", "a", "-1");
    heard(l, "a", "del");
    expect(s, ":1", "DEL", "a", "b", "nope");
    heard(l, "b", "del");
    expect(s, "+OK", "RENAME", "c", "d");
    heard(l, "d", "new");
    heard(l, "c", "rename_from");
    heard(l, "d", "rename_to");
    expect(s, ":1", "COPY", "d", "e");
    heard(l, "e", "new");
    heard(l, "e", "copy_to");
    expect(s, "+OK", "RENAME", "d", "e");
    heard(l, "e", "new");
    heard(l, "d", "rename_from");
    heard(l, "e", "rename_to");
    expect(s, ":1", "MOVE", "e", "1");
    expect_next(l, "*4 $pmessage $__key* $__keyspace@1__:e $new");
    heard(l, "e", "move_from");
    expect_next(l, "*4 $pmessage $__key* $__keyspace@1__:e $move_to");
    expect(s, "+OK", "FLUSHALL");
    silent(s, l);
}

static void misses_are_told_where_asked(void **state)
{
    session *s = *state, *l = listener(s, "Km");

    expect(s, "_", "GET", "a");
    heard(l, "a", "keymiss");
    expect(s, "*2 _ _", "MGET", "b", "c");
    heard(l, "b", "keymiss");
    heard(l, "c", "keymiss");
    expect(s, ":0", "EXISTS", "a", "b");
    heard(l, "a", "keymiss");
    heard(l, "b", "keymiss");
    expect(s, ":-2", "TTL", "a");
    heard(l, "a", "keymiss");
    expect(s, "+none", "TYPE", "a");
    heard(l, "a", "keymiss");
    expect(s, "_", "OBJECT", "ENCODING", "a");
    expect(s, ":0", "STRLEN", "a");
    heard(l, "a", "keymiss");
    send_raw(s, "*2\r\n$3\r\nGET\r\n$1\r\nx\r\n*2\r\n$3\r\nGET\r\n$1\r\ny\r\n*2\r\n$3\r\nGET\r\n$1\r\nz\r\n");
    for (int i = 0; i < 3; i++)
        expect_next(s, "_");
    heard(l, "x", "keymiss");
    heard(l, "y", "keymiss");
    heard(l, "z", "keymiss");
    silent(s, l);
}

static void what_expires_is_told_when_it_does(void **state)
{
    session *s = *state, *l = listener(s, "KEx");

    expect(s, "+OK", "SET", "k", "v", "PX", "30");
    heard(l, "k", "expired"); /* nobody asks for the key */
    expect_next(l, "*4 $pmessage $__key* $__keyevent@0__:expired $k");
    expect(s, "+OK", "SET", "k", "v", "PX", "1");
    heard(l, "k", "expired");
    expect_next(l, "*4 $pmessage $__key* $__keyevent@0__:expired $k");
}

static void what_is_evicted_is_told(void **state)
{
    session *s = *state, *l = listener(s, "Ke");

    expect(s, "+OK", "SET", "k", "v");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "1");
    heard(l, "k", "evicted");
    expect(s, "+OK", "CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction");
}

static void transactions_tell_in_order(void **state)
{
    session *s = *state, *l = listener(s, "KA");

    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(s, "+QUEUED", "INCR", "a");
    expect(s, "+QUEUED", "RENAME", "a", "b");
    expect(s, "+QUEUED", "DEL", "b");
    expect(s, "*4 +OK :2 +OK :1", "EXEC");
    heard(l, "a", "set");
    heard(l, "a", "incrby");
    heard(l, "a", "rename_from");
    heard(l, "b", "rename_to");
    heard(l, "b", "del");
    silent(s, l);
}

#define told(test) cmocka_unit_test_setup_teardown(test, session_begin, all_off)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        told(classes_are_written_in_redis_order), told(both_kinds_of_channels_tell_the_same),
        told(setting_tells_set_and_expire),       told(other_string_commands_tell_their_own),
        told(keys_that_go_or_move_are_told),      told(misses_are_told_where_asked),
        told(what_expires_is_told_when_it_does),  told(what_is_evicted_is_told),
        told(transactions_tell_in_order),
    };

    return run_conversations(argc, argv, tests);
}
