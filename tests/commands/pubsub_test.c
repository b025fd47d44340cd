/* pubsub_test.c - tests of SUBSCRIBE, PUBLISH, PUBSUB and their kin.
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

static void a_message_reaches_the_subscribers_of_its_channel(void **state)
{
    session *s = *state, *a = another_client(s), *b = another_client(s);

    expect(a, "*3 $subscribe $news :1", "SUBSCRIBE", "news");
    expect(b, "*3 $subscribe $news :1", "SUBSCRIBE", "news", "sport");
    expect_next(b, "*3 $subscribe $sport :2");
    expect(s, ":2", "PUBLISH", "news", "hello");
    expect(s, ":1", "PUBLISH", "sport", "");
    expect(s, ":0", "PUBLISH", "weather", "rain");
    expect_next(a, "*3 $message $news $hello");
    expect_next(b, "*3 $message $news $hello");
    expect_next(b, "*3 $message $sport $\"\"");
}

static void a_pattern_hears_of_all_channels_it_matches(void **state)
{
    session *s = *state, *a = another_client(s);

    expect(a, "*3 $psubscribe $n?ws.* :1", "PSUBSCRIBE", "n?ws.*", "*.de");
    expect_next(a, "*3 $psubscribe $*.de :2");
    expect(s, ":1", "PUBLISH", "news.fr", "1");
    expect(s, ":0", "PUBLISH", "nws.fr", "2");
    expect(s, ":1", "PUBLISH", "x.de", "3");
    expect_next(a, "*4 $pmessage $n?ws.* $news.fr $1");
    expect_next(a, "*4 $pmessage $*.de $x.de $3");
    expect(a, "*3 $punsubscribe $*.de :1", "PUNSUBSCRIBE", "*.de");
    expect(s, ":1", "PUBLISH", "news.de", "4");
    expect_next(a, "*4 $pmessage $n?ws.* $news.de $4");
}

static void who_listens_twice_hears_it_twice(void **state)
{
    session *s = *state, *a = another_client(s);

    expect(a, "*3 $subscribe $news :1", "SUBSCRIBE", "news", "news");
    expect_next(a, "*3 $subscribe $news :1");
    expect(a, "*3 $psubscribe $new* :2", "PSUBSCRIBE", "new*");
    expect(s, ":2", "PUBLISH", "news", "x");
    expect_next(a, "*3 $message $news $x");
    expect_next(a, "*4 $pmessage $new* $news $x");
}

static void bytes_of_any_kind_are_carried(void **state)
{
    session *s = *state, *a = another_client(s);
    static char big[300000];

    needs_server(s);
    memset(big, 'b', sizeof big);
    expect_bytes(a, "*3 $subscribe $a\\x00b :1", KV_STR("SUBSCRIBE"), KV_STR("a\0b"));
    expect_bytes(s, ":1", KV_STR("PUBLISH"), KV_STR("a\0b"), KV_STR("\r\n\0"));
    expect_next(a, "*3 $message $a\\x00b $\\x0d\\x0a\\x00");
    expect_bytes(s, ":1", KV_STR("PUBLISH"), KV_STR("a\0b"), kv_slice_of(big, sizeof big));
    expect_next(a, "*3 $message $a\\x00b $bbbbbbbbbbb...");
    expect(a, "*2 $pong $\"\"", "PING"); /* it came whole */
}

static void unsubscribing_tells_what_is_left(void **state)
{
    session *s = *state, *a = another_client(s);

    expect(a, "*3 $subscribe $x :1", "SUBSCRIBE", "x", "y");
    expect_next(a, "*3 $subscribe $y :2");
    expect(a, "*3 $psubscribe $p* :3", "PSUBSCRIBE", "p*");
    expect(a, "*3 $unsubscribe $nope :3", "UNSUBSCRIBE", "nope");
    expect(a, "*3 $unsubscribe $x :2", "UNSUBSCRIBE", "x");
    expect(s, ":0", "PUBLISH", "x", "-");
    expect(a, "*3 $unsubscribe $y :1", "UNSUBSCRIBE");
    expect(a, "*3 $unsubscribe _ :1", "UNSUBSCRIBE");
    expect(a, "*3 $punsubscribe $p* :0", "PUNSUBSCRIBE", "p*");
    expect(a, "*3 $punsubscribe _ :0", "PUNSUBSCRIBE");
    expect(a, "_", "GET", "k"); /* an ordinary client again */
}

static void unsubscribing_from_all_ends_each(void **state)
{
    session *s = *state, *a = another_client(s);
    const char *name;

    expect_like(a, "*", "HELLO", "3");
    for (int i = 0; i < 50; i++) {
        name = decimal(a, i);
        expect_like(a, ">3 $subscribe *", "SUBSCRIBE", name);
    }
    expect(a, ">3 $psubscribe $q :51", "PSUBSCRIBE", "q");
    expect(s, "*4 $17 :1 $50 :0", "PUBSUB", "NUMSUB", "17", "50");
    expect_like(a, ">3 $unsubscribe $* :50", "UNSUBSCRIBE");
    for (int i = 49; i > 0; i--)
        expect_next(a, ">3 $unsubscribe...");
    expect(s, "*0", "PUBSUB", "CHANNELS");
    expect(s, ":1", "PUBSUB", "NUMPAT");
    expect(a, ">3 $punsubscribe $q :0", "PUNSUBSCRIBE");
}

static void shard_channels_are_a_world_of_their_own(void **state)
{
    session *s = *state, *a = another_client(s);

    expect(a, "*3 $ssubscribe $news :1", "SSUBSCRIBE", "news");
    expect(a, "*3 $psubscribe $* :1", "PSUBSCRIBE", "*");
    expect(s, ":1", "SPUBLISH", "news", "shard");
    expect(s, ":1", "PUBLISH", "news", "plain");
    expect_next(a, "*3 $smessage $news $shard");
    expect_next(a, "*4 $pmessage $* $news $plain");
    expect(s, "*1 $news", "PUBSUB", "SHARDCHANNELS");
    expect(s, "*0", "PUBSUB", "SHARDCHANNELS", "x*");
    expect(s, "*0", "PUBSUB", "CHANNELS");
    expect(s, "*4 $news :1 $other :0", "PUBSUB", "SHARDNUMSUB", "news", "other");
    expect(a, "*3 $sunsubscribe $news :0", "SUNSUBSCRIBE");
    expect(a, "*3 $sunsubscribe _ :0", "SUNSUBSCRIBE");
    expect(s, ":0", "SPUBLISH", "news", "shard");
}

static void pubsub_tells_who_listens(void **state)
{
    session *s = *state, *a = another_client(s), *b = another_client(s);

    expect(s, "*0", "PUBSUB", "CHANNELS");
    expect(s, "*0", "PUBSUB", "NUMSUB");
    expect(a, "*3 $subscribe $n1 :1", "SUBSCRIBE", "n1");
    expect(b, "*3 $subscribe $n1 :1", "SUBSCRIBE", "n1", "m1");
    expect_next(b, "*3 $subscribe $m1 :2");
    expect(a, "*3 $psubscribe $p* :2", "PSUBSCRIBE", "p*");
    expect(b, "*3 $psubscribe $p* :3", "PSUBSCRIBE", "p*");
    expect_sorted(s, "*2 $m1 $n1", "PUBSUB", "CHANNELS");
    expect(s, "*1 $n1", "PUBSUB", "CHANNELS", "n*");
    expect(s, "*6 $n1 :2 $m1 :1 $q :0", "PUBSUB", "NUMSUB", "n1", "m1", "q");
    expect(s, ":1", "PUBSUB", "NUMPAT");
    expect_like(s, "*pubsub_channels:2*pubsub_patterns:1*", "INFO", "stats");
    expect_like(s, "[*]*CHANNELS*", "PUBSUB", "HELP");
    expect(s, "-ERR unknown subcommand 'NOPE'. Try PUBSUB HELP.", "PUBSUB", "NOPE");
    expect(s, "-ERR unknown subcommand or wrong number of arguments for 'CHANNELS'. Try PUBSUB HELP.",
           "PUBSUB", "CHANNELS", "a", "b");
    expect(s, "-ERR wrong number of arguments for 'pubsub|numpat' command", "PUBSUB", "NUMPAT", "x");
    expect(s, "-ERR wrong number of arguments for 'pubsub' command", "PUBSUB");
}

static void in_resp2_a_subscriber_may_ask_little(void **state)
{
    session *s = *state;
    static const char no_get[] = "-ERR Can't execute 'get': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / "
                                 "QUIT / RESET are allowed in "
                                 "this context";

    expect(s, "*3 $subscribe $c :1", "SUBSCRIBE", "c");
    expect(s, no_get, "GET", "k");
    expect(s, "-ERR Can't execute 'publish': only...", "PUBLISH", "c", "x");
    expect(s, "-ERR Can't execute 'hello': only...", "HELLO", "3");
    expect(s, "-ERR Can't execute 'client|id': only...", "CLIENT", "ID");
    expect(s, "-ERR unknown command 'nope', with args beginning with: ", "nope");
    expect(s, "-ERR wrong number of arguments for 'get' command", "GET");
    expect(s, "*2 $pong $\"\"", "PING");
    expect(s, "*2 $pong $hi", "PING", "hi");
    expect(s, "*3 $unsubscribe $c :0", "UNSUBSCRIBE", "c");
    expect(s, "+PONG", "PING");
    expect(s, "_", "GET", "k");
    expect(s, "*3 $ssubscribe $c :1", "SSUBSCRIBE", "c");
    expect(s, no_get, "GET", "k");
    expect(s, "+OK", "QUIT");
    expect_closed(s);
}

static void in_resp3_a_subscriber_may_ask_anything(void **state)
{
    session *s = *state, *a = another_client(s);

    expect_like(s, "*", "HELLO", "3");
    expect(s, ">3 $subscribe $c :1", "SUBSCRIBE", "c");
    expect(s, "+PONG", "PING");
    expect(s, "+OK", "SET", "k", "v");
    expect(s, "$v", "GET", "k");
    expect(a, ":1", "PUBLISH", "c", "x");
    expect_next(s, ">3 $message $c $x");
    expect(s, ">3 $psubscribe $c* :2", "PSUBSCRIBE", "c*");
    expect(s, ">3 $message $c $mine", "PUBLISH", "c", "mine"); /* before the reply */
    expect_next(s, ">4 $pmessage $c* $c $mine");
    expect_next(s, ":2");
    expect_like(s, "[*]14 *", "HELLO", "2"); /* and from now on it may not */
    expect_like(s, "-ERR Can't execute 'get'*", "GET", "k");
    expect(s, "+RESET", "RESET");
    expect(s, "$v", "GET", "k");
    expect(a, ":0", "PUBLISH", "c", "x");
}

static void messages_keep_the_order_of_their_publisher(void **state)
{
    session *s = *state, *a = another_client(s);

    needs_server(s);
    expect(a, "*3 $subscribe $1 :1", "SUBSCRIBE", "1", "2");
    expect_next(a, "*3 $subscribe $2 :2");
    send_raw(s, "PUBLISH 1 a\r\nPUBLISH 1 b\r\nPUBLISH 2 c\r\nPUBLISH 1 d\r\nPUBLISH 2 e\r\nPUBLISH 2 f\r\n");
    for (int i = 0; i < 6; i++)
        expect_next(s, ":1");
    expect_next(a, "*3 $message $1 $a");
    expect_next(a, "*3 $message $1 $b");
    expect_next(a, "*3 $message $2 $c");
    expect_next(a, "*3 $message $1 $d");
    expect_next(a, "*3 $message $2 $e");
    expect_next(a, "*3 $message $2 $f");
}

static void a_message_comes_before_the_answer_to_a_later_request(void **state)
{
    session *s = *state, *a = another_client(s), *b = another_client(s);

    expect_like(a, "*", "HELLO", "3");
    expect(a, ">3 $subscribe $c :1", "SUBSCRIBE", "c");
    expect(b, "*3 $subscribe $c :1", "SUBSCRIBE", "c");
    for (int i = 0; i < 200; i++) {
        expect(s, ":2", "PUBLISH", "c", "x");
        expect(a, ">3 $message $c $x", "PING");
        expect_next(a, "+PONG");
        expect(b, "*3 $message $c $x", "PING");
        expect_next(b, "*2 $pong $\"\"");
    }
    expect(s, ":2", "PUBLISH", "c", "last");
    expect(b, "*3 $message $c $last", "UNSUBSCRIBE", "c");
    expect_next(b, "*3 $unsubscribe $c :0");
    expect(a, ">3 $message $c $last", "UNSUBSCRIBE");
    expect_next(a, ">3 $unsubscribe $c :0");
}

static void silenced_clients_still_get_messages(void **state)
{
    session *s = *state, *a = another_client(s);

    needs_server(s);
    expect_like(a, "*", "HELLO", "3");
    send_raw(a, "CLIENT REPLY OFF\r\nPING\r\n");
    expect(a, ">3 $subscribe $c :1", "SUBSCRIBE", "c");
    expect(s, ":1", "PUBLISH", "c", "x");
    expect_next(a, ">3 $message $c $x");
    send_raw(a, "CLIENT REPLY ON\r\nCLIENT REPLY SKIP\r\nPING\r\nUNSUBSCRIBE c\r\n");
    expect_next(a, "+OK");
    expect_next(a, ">3 $unsubscribe $c :0");
}

static void wrong_numbers_of_arguments_are_errors(void **state)
{
    session *s = *state;

    expect(s, "-ERR wrong number of arguments for 'subscribe' command", "SUBSCRIBE");
    expect(s, "-ERR wrong number of arguments for 'psubscribe' command", "PSUBSCRIBE");
    expect(s, "-ERR wrong number of arguments for 'ssubscribe' command", "SSUBSCRIBE");
    expect(s, "-ERR wrong number of arguments for 'publish' command", "PUBLISH", "c");
    expect(s, "-ERR wrong number of arguments for 'spublish' command", "SPUBLISH", "c", "m", "x");
    expect(s, "-ERR The command has no key arguments", "COMMAND", "GETKEYS", "SPUBLISH", "c", "m");
}

static void clients_are_listed_with_what_they_listen_to(void **state)
{
    session *s = *state, *a = another_client(s);

    expect(s, "+OK", "CLIENT", "SETNAME", "me");
    expect(a, "*3 $subscribe $a :1", "SUBSCRIBE", "a", "b");
    expect_next(a, "*3 $subscribe $b :2");
    expect(a, "*3 $psubscribe $p :3", "PSUBSCRIBE", "p");
    expect(a, "*3 $ssubscribe $s :1", "SSUBSCRIBE", "s");
    expect_like(s, "$id=*flags=P* sub=2 psub=1 ssub=1 *", "CLIENT", "LIST", "TYPE", "pubsub");
    expect_like(s, "$id=*name=me*sub=0 psub=0 ssub=0*", "CLIENT", "LIST", "TYPE", "normal");
    expect(s, ":1", "CLIENT", "KILL", "TYPE", "pubsub");
    expect_closed(a);
    expect(s, "$", "CLIENT", "LIST", "TYPE", "pubsub");
    expect(s, "*0", "PUBSUB", "CHANNELS");
    expect(s, ":0", "PUBSUB", "NUMPAT");
    expect(s, ":0", "PUBLISH", "a", "x");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(a_message_reaches_the_subscribers_of_its_channel),
        conversation(a_pattern_hears_of_all_channels_it_matches),
        conversation(who_listens_twice_hears_it_twice),
        conversation(bytes_of_any_kind_are_carried),
        conversation(unsubscribing_tells_what_is_left),
        conversation(unsubscribing_from_all_ends_each),
        conversation(shard_channels_are_a_world_of_their_own),
        conversation(pubsub_tells_who_listens),
        conversation(in_resp2_a_subscriber_may_ask_little),
        conversation(in_resp3_a_subscriber_may_ask_anything),
        conversation(messages_keep_the_order_of_their_publisher),
        conversation(a_message_comes_before_the_answer_to_a_later_request),
        conversation(silenced_clients_still_get_messages),
        conversation(wrong_numbers_of_arguments_are_errors),
        conversation(clients_are_listed_with_what_they_listen_to),
    };

    return run_conversations(argc, argv, tests);
}
