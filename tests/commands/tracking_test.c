/* tracking_test.c - tests of CLIENT TRACKING and its kin: who is told which keys have become stale.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

/* A client in RESP3 with tracking on. */
static session *tracker(session *s, const char *mode)
{
    session *t = another_client(s);

    expect_like(t, "*", "HELLO", "3");
    if (mode)
        expect(t, "+OK", "CLIENT", "TRACKING", "ON", mode);
    else
        expect(t, "+OK", "CLIENT", "TRACKING", "ON");
    return t;
}

static void what_was_read_is_told_when_it_changes(void **state)
{
    session *s = *state, *t = tracker(s, NULL);

    expect(t, "_", "GET", "a");
    expect(t, "*2 _ _", "MGET", "b", "c");
    expect(s, "+OK", "SET", "other", "1");
    expect(s, "+OK", "SET", "a", "1");
    expect_next(t, ">2 $invalidate *1 $a");
    expect(s, "+OK", "SET", "a", "2"); /* once is enough */
    expect(s, "+OK", "MSET", "b", "1", "c", "1");
    expect_next(t, ">2 $invalidate *1 $b");
    expect_next(t, ">2 $invalidate *1 $c");
    expect(t, "$2", "GET", "a");
    expect(s, ":1", "EXPIRE", "a", "100");
    expect_next(t, ">2 $invalidate *1 $a");
    expect(t, "$2", "GET", "a");
    expect(s, ":1", "DEL", "a");
    expect_next(t, ">2 $invalidate *1 $a");
    expect(t, "$1", "GET", "b");
    expect(s, "+OK", "RENAME", "b", "d");
    expect_next(t, ">2 $invalidate *1 $b");
    expect(t, "+OK", "CLIENT", "TRACKING", "OFF");
    expect(t, "$1", "GET", "c");
    expect(s, "+OK", "SET", "c", "2");
    expect(t, "+PONG", "PING");
}

static void a_stale_key_is_told_before_later_answers(void **state)
{
    session *s = *state, *t = tracker(s, NULL);

    for (int i = 0; i < 200; i++) {
        expect_like(t, i ? "$x" : "_", "GET", "k");
        expect(s, "+OK", "SET", "k", "x");
        expect(t, ">2 $invalidate *1 $k", "PING");
        expect_next(t, "+PONG");
    }
}

static void own_writes_are_told_after_their_reply_or_not_at_all(void **state)
{
    session *s = *state, *t = tracker(s, NULL), *n = tracker(s, "NOLOOP");

    expect(t, "_", "GET", "k");
    expect(t, "+OK", "SET", "k", "1");
    expect_next(t, ">2 $invalidate *1 $k");
    expect(n, "$1", "GET", "k");
    expect(n, "+OK", "SET", "k", "2");
    expect(n, "$2", "GET", "k");
    expect(s, "+OK", "SET", "k", "3");
    expect_next(n, ">2 $invalidate *1 $k");
}

static void reads_and_writes_of_a_transaction_count_in_their_order(void **state)
{
    session *s = *state, *t = tracker(s, NULL), *quiet = tracker(s, "NOLOOP");
    session *both[] = { t, quiet };

    for (int i = 0; i < 2; i++) { /* first written, then read: it is the new value that is in the cache */
        expect(both[i], "+OK", "MULTI");
        expect(both[i], "+QUEUED", "MSET", "a", "1", "b", "1");
        expect(both[i], "+QUEUED", "GET", "a");
        expect(both[i], "+QUEUED", "MGET", "a", "b");
        expect(both[i], "*3 +OK $1 *2 $1 $1", "EXEC");
        expect(both[i], "+PONG", "PING");
        expect(s, "+OK", "SET", "a", "2");
        expect_next(both[i], ">2 $invalidate *1 $a");
        expect(s, ":1", "DEL", "b");
        expect_next(both[i], ">2 $invalidate *1 $b");
    }
    for (int i = 0; i < 2; i++) { /* first read, then written */
        expect(both[i], "+OK", "MULTI");
        expect(both[i], "+QUEUED", "GET", "a");
        expect(both[i], "+QUEUED", "SET", "a", "3");
        expect_like(both[i], "*2 $* +OK", "EXEC");
        if (i == 0)
            expect_next(t, ">2 $invalidate *1 $a");
        expect(both[i], "+PONG", "PING");
        expect(s, "+OK", "SET", "a", "4");
        expect(both[i], "+PONG", "PING");
    }
    expect(t, "$4", "GET", "a");
    expect(t, "+OK", "MULTI"); /* what it had before is stale, what it reads in between is not */
    expect(t, "+QUEUED", "SET", "a", "5");
    expect(t, "+QUEUED", "GET", "a");
    expect(t, "*2 +OK $5", "EXEC");
    expect_next(t, ">2 $invalidate *1 $a");
    expect(s, "+OK", "SET", "a", "6");
    expect_next(t, ">2 $invalidate *1 $a");
}

static void a_flush_makes_all_stale(void **state)
{
    session *s = *state, *t = tracker(s, NULL);

    expect(t, "_", "GET", "k");
    expect(s, "+OK", "FLUSHALL");
    expect_next(t, ">2 $invalidate _");
    expect(s, "+OK", "SET", "k", "1");
    expect(s, "+OK", "FLUSHDB");
    expect_next(t, ">2 $invalidate _");
    expect(t, "+PONG", "PING");
}

static void flushes_of_a_transaction_count_in_their_order(void **state)
{
    session *s = *state, *t = tracker(s, NULL);

    expect(s, "+OK", "SET", "k", "1");
    expect(t, "$1", "GET", "k");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "FLUSHDB");
    expect(s, "+QUEUED", "FLUSHDB");
    expect(s, "+QUEUED", "SET", "k", "2"); /* nobody has it any more */
    expect(s, "+QUEUED", "FLUSHALL");
    expect(s, "+QUEUED", "FLUSHALL");
    expect(s, "*5 +OK +OK +OK +OK +OK", "EXEC");
    for (int i = 0; i < 4; i++)
        expect_next(t, ">2 $invalidate _");
    expect(t, "+OK", "MULTI"); /* what is read behind it is in the cache */
    expect(t, "+QUEUED", "FLUSHALL");
    expect(t, "+QUEUED", "GET", "k");
    expect(t, "*2 +OK _", "EXEC");
    expect_next(t, ">2 $invalidate _");
    expect(s, "+OK", "SET", "k", "3");
    expect_next(t, ">2 $invalidate *1 $k");
    expect(t, "+PONG", "PING");
}

static void what_expires_is_told(void **state)
{
    session *s = *state, *t = tracker(s, NULL);

    expect(s, "+OK", "SET", "k", "v", "PX", "100");
    expect(t, "$v", "GET", "k");
    expect_next(t, ">2 $invalidate *1 $k");
}

static void optin_and_optout_choose_by_command(void **state)
{
    session *s = *state, *in = tracker(s, "OPTIN"), *out = tracker(s, "OPTOUT");

    expect(in, "_", "GET", "a");
    expect(in, "+OK", "CLIENT", "CACHING", "YES");
    expect(in, "_", "GET", "b");
    expect(in, "_", "GET", "c");
    expect(out, "+OK", "CLIENT", "CACHING", "NO");
    expect(out, "_", "GET", "a");
    expect(out, "_", "GET", "b");
    expect(s, "+OK", "MSET", "a", "1", "b", "1", "c", "1");
    expect_next(in, ">2 $invalidate *1 $b");
    expect_next(out, ">2 $invalidate *1 $b");
    expect(in, "+OK", "CLIENT", "CACHING", "YES");
    expect(in, "+OK", "MULTI");
    expect(in, "+QUEUED", "GET", "a");
    expect(in, "+QUEUED", "GET", "c");
    expect(in, "*2 $1 $1", "EXEC");
    expect(in, "$1", "GET", "b");
    expect(s, "+OK", "MSET", "a", "2", "b", "2", "c", "2");
    expect_next(in, ">2 $invalidate *1 $a");
    expect_next(in, ">2 $invalidate *1 $c");
    expect(in, "+PONG", "PING");
    expect(out, "+PONG", "PING");
}

static void prefixes_are_told_of_all_their_keys(void **state)
{
    session *s = *state, *all = tracker(s, "BCAST"), *some = another_client(s);

    expect_like(some, "*", "HELLO", "3");
    expect(some, "+OK", "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "user:", "PREFIX", "job:", "NOLOOP");
    expect(s, "+OK", "MSET", "user:2", "1", "user:1", "1", "x", "1");
    expect_next(all, ">2 $invalidate *3 $user:1 $user:2 $x");
    expect_next(some, ">2 $invalidate *2 $user:1 $user:2");
    expect(some, "+OK", "SET", "job:1", "1");
    expect_next(all, ">2 $invalidate *1 $job:1");
    expect(some,
           "-ERR Prefix 'us' overlaps with an existing prefix 'user:'. Prefixes for a single client must not "
           "overlap.",
           "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "us");
    expect(some,
           "-ERR Prefix 'a' overlaps with another provided prefix 'ab'. Prefixes for a single client must "
           "not overlap.",
           "CLIENT", "TRACKING", "ON", "BCAST", "PREFIX", "a", "PREFIX", "ab");
    expect(some, "%3 $flags ~3 $on $bcast $noloop $redirect :0 $prefixes *2 $job: $user:", "CLIENT",
           "TRACKINGINFO");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "b", "1");
    expect(s, "+QUEUED", "SET", "a", "1");
    expect(s, "+QUEUED", "SET", "b", "1");
    expect(s, "*3 +OK +OK +OK", "EXEC");
    expect_next(all, ">2 $invalidate *2 $a $b");
    expect_like(s, "*tracking_total_prefixes:3*", "INFO", "stats");
}

static void another_client_may_be_told_instead(void **state)
{
    session *s = *state, *listener = another_client(s), *t = another_client(s), *t3 = another_client(s);
    const char *id = said(listener, "CLIENT", "ID") + 1;

    expect(t, "+OK", "CLIENT", "TRACKING", "ON", "REDIRECT", id);
    expect(t, said(listener, "CLIENT", "ID"), "CLIENT", "GETREDIR");
    expect(listener, "*3 $subscribe $__redis__:invalidate :1", "SUBSCRIBE", "__redis__:invalidate");
    expect(t, "_", "GET", "k");
    expect(s, "+OK", "SET", "k", "1");
    expect_next(listener, "*3 $message $__redis__:invalidate *1 $k");
    expect(t, "$1", "GET", "k");
    expect(s, "+OK", "FLUSHALL");
    expect_next(listener, "*3 $message $__redis__:invalidate _");
    expect_like(t3, "*", "HELLO", "3");
    expect(t3, "+OK", "CLIENT", "TRACKING", "ON", "REDIRECT", id);
    expect(t3, "_", "GET", "k");
    expect(s, ":1", "CLIENT", "KILL", "ID", id);
    expect_closed(listener);
    expect(s, "+OK", "SET", "k", "1");
    expect_like(t3, ">2 $tracking-redir-broken :[1-9]*", "PING");
    expect_next(t3, "+PONG");
    expect_like(t3, "%3 $flags ~2 $on $broken_redirect $redirect :[1-9]* $prefixes [*]0", "CLIENT",
                "TRACKINGINFO");
    expect_like(t3, "=txt:id=* flags=tR* redir=[1-9]*", "CLIENT", "INFO");
}

static void misuse_is_refused(void **state)
{
    session *s = *state;
    static const char caching[] =
        "-ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN "
        "or OPTOUT mode enabled";

    expect(s, "-ERR syntax error", "CLIENT", "TRACKING", "MAYBE");
    expect(s, "-ERR syntax error", "CLIENT", "TRACKING", "ON", "NOPE");
    expect(s, "-ERR syntax error", "CLIENT", "TRACKING", "ON", "PREFIX");
    expect(s, "-ERR PREFIX option requires BCAST mode to be enabled", "CLIENT", "TRACKING", "ON", "PREFIX",
           "a");
    expect(s, "-ERR OPTIN and OPTOUT are not compatible with BCAST", "CLIENT", "TRACKING", "ON", "BCAST",
           "OPTIN");
    expect(s, "-ERR You can't specify both OPTIN mode and OPTOUT mode", "CLIENT", "TRACKING", "ON", "OPTIN",
           "OPTOUT");
    expect(s, "-ERR value is not an integer or out of range", "CLIENT", "TRACKING", "ON", "REDIRECT", "x");
    expect(s, "-ERR The client ID you want redirect to does not exist", "CLIENT", "TRACKING", "ON",
           "REDIRECT", "999999999");
    expect(s, caching, "CLIENT", "CACHING", "YES");
    expect(s, ":-1", "CLIENT", "GETREDIR");
    expect(s, "*6 $flags *1 $off $redirect :-1 $prefixes *0", "CLIENT", "TRACKINGINFO");
    expect(s, "+OK", "CLIENT", "TRACKING", "ON", "OPTIN");
    expect(s,
           "-ERR You can't switch BCAST mode on/off before disabling tracking for this client, and then "
           "re-enabling "
           "it with a different mode.",
           "CLIENT", "TRACKING", "ON", "BCAST");
    expect(s,
           "-ERR You can't switch OPTIN/OPTOUT mode before disabling tracking for this client, and then "
           "re-enabling "
           "it with a different mode.",
           "CLIENT", "TRACKING", "ON", "OPTOUT");
    expect(s, "-ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.", "CLIENT",
           "CACHING", "NO");
    expect(s, "-ERR syntax error", "CLIENT", "CACHING", "MAYBE");
    expect(s, "+RESET", "RESET");
    expect(s, ":-1", "CLIENT", "GETREDIR");
}

static const char *next_text(session *s)
{
    static char type[2];
    reply *r = conn_read(session_conn(s));

    assert_non_null(r);
    type[0] = r->type;
    reply_free(r);
    return type;
}

/* Keys that do not fit are told as stale at once: a hundred are read, ten are kept. */
static void the_table_is_bounded(void **state)
{
    session *s = *state, *t = tracker(s, NULL);
    const char *next = "";

    needs_server(s);
    expect(s, "+OK", "CONFIG", "SET", "tracking-table-max-keys", "10");
    for (int i = 0; i < 100; i++) {
        kv_slice argv[] = { KV_STR("GET"), kv_str(decimal(t, i)) };

        assert_true(conn_send_args(session_conn(t), 2, argv));
    }
    for (int nulls = 0, stale = 0; nulls < 100 || stale < 90;
         nulls += next[0] == '_', stale += next[0] == '>')
        next = next_text(t);
    while (atoll(strstr(said(s, "INFO", "stats"), "tracking_total_keys:") + 20) > 10)
        ;
    expect(s, "+OK", "CONFIG", "SET", "tracking-table-max-keys", "1000000");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(what_was_read_is_told_when_it_changes),
        conversation(a_stale_key_is_told_before_later_answers),
        conversation(own_writes_are_told_after_their_reply_or_not_at_all),
        conversation(reads_and_writes_of_a_transaction_count_in_their_order),
        conversation(a_flush_makes_all_stale),
        conversation(flushes_of_a_transaction_count_in_their_order),
        conversation(what_expires_is_told),
        conversation(optin_and_optout_choose_by_command),
        conversation(prefixes_are_told_of_all_their_keys),
        conversation(another_client_may_be_told_instead),
        conversation(misuse_is_refused),
        conversation(the_table_is_bounded),
    };

    return run_conversations(argc, argv, tests);
}
