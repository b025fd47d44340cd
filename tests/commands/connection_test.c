/* connection_test.c - tests of the commands about one connection.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "session.h"

static void ping_answers(void **state)
{
    session *s = *state;

    expect(s, "+PONG", "PING");
    expect(s, "+PONG", "ping");
    expect(s, "$hello", "PING", "hello");
    expect(s, "$", "PING", "");
    expect(s, "-ERR wrong number of arguments for 'ping' command", "PING", "a", "b");
}

static void echo_gives_back_any_bytes(void **state)
{
    session *s = *state;

    expect_bytes(s, "$a\\x00\\x0d\\x0ab", KV_STR("ECHO"), KV_STR("a\0\r\nb"));
    expect(s, "$", "ECHO", "");
    expect(s, "-ERR wrong number of arguments for 'echo' command", "ECHO");
}

static void an_unknown_command_is_named_with_its_arguments(void **state)
{
    session *s = *state;

    expect(s, "-ERR unknown command 'nope', with args beginning with: ", "nope");
    expect(s, "-ERR unknown command 'NOPE', with args beginning with: 'a' 'b' ", "NOPE", "a", "b");
    expect(s, "-ERR unknown command '', with args beginning with: ", "");
    expect_bytes(s, "-ERR unknown command 'x  y', with args beginning with: ", KV_STR("x\r\ny"));
    expect(s,
           "-ERR unknown command "
           "'012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345"
           "6789012"
           "3456789012345678901234567', with args beginning with: ",
           "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456"
           "7890123"
           "45678901234567890123456789");
    expect(s, "+PONG", "PING");
}

static void quit_says_ok_and_closes(void **state)
{
    session *s = *state;

    send_raw(s, "*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n");
    expect_next(s, "+OK");
    expect_closed(s);
}

static void reset_forgets_what_the_connection_had(void **state)
{
    session *s = *state;

    expect(s, "+OK", "SELECT", "5");
    expect(s, "+OK", "SET", "k", "five");
    expect(s, "+OK", "CLIENT", "SETNAME", "me");
    expect_like(s, "%*", "HELLO", "3");
    expect(s, "_", "GET", "absent");
    expect(s, "+RESET", "RESET");
    expect(s, "_", "CLIENT", "GETNAME");
    expect(s, "_", "GET", "k");
    expect_like(s, "*db=0 *", "CLIENT", "INFO");
    expect(s, "-ERR wrong number of arguments for 'reset' command", "RESET", "now");
}

/* ---- HELLO ------------------------------------------------------------------------------ */

static void hello_describes_the_server(void **state)
{
    session *s = *state;

    expect_like(s,
                "[*]14 $server $* $version $* $proto :2 $id :* $mode $standalone $role $master $modules [*]0",
                "HELLO");
    expect_like(s, "[*]14 $server $* $version $* $proto :2 *", "HELLO", "2");
    expect_like(s, "%7 $server $* $version $* $proto :3 $id :* $mode $standalone $role $master $modules [*]0",
                "HELLO", "3");
    expect_like(s, "%7 *$proto :3 *", "HELLO");
    expect_like(s, "[*]14 *$proto :2 *", "HELLO", "2");
}

static void hello_names_the_connection(void **state)
{
    session *s = *state;

    expect_like(s, "[*]14 *", "HELLO", "2", "SETNAME", "me");
    expect(s, "$me", "CLIENT", "GETNAME");
    expect_like(s, "%7 *", "HELLO", "3", "setname", "again");
    expect(s, "$again", "CLIENT", "GETNAME");
    expect(s, "-ERR Client names cannot contain spaces, newlines or special characters.", "HELLO", "2",
           "SETNAME", "a b");
    expect(s, "$again", "CLIENT", "GETNAME");
}

static void hello_refuses_what_it_does_not_know(void **state)
{
    session *s = *state;

    expect(s, "-NOPROTO unsupported protocol version", "HELLO", "4");
    expect(s, "-NOPROTO unsupported protocol version", "HELLO", "1");
    expect(s, "-NOPROTO unsupported protocol version", "HELLO", "-3");
    expect(s, "-ERR Protocol version is not an integer or out of range", "HELLO", "three");
    expect(s, "-ERR Protocol version is not an integer or out of range", "HELLO", "99999999999999999999");
    expect(s, "-ERR Syntax error in HELLO option 'NOPE'", "HELLO", "3", "NOPE");
    expect(s, "-ERR Syntax error in HELLO option 'SETNAME'", "HELLO", "3", "SETNAME");
    expect(s, "-ERR Syntax error in HELLO option 'AUTH'", "HELLO", "3", "AUTH", "default");
    expect_like(s, "[*]14 *$proto :2 *", "HELLO");
}

static void hello_authenticates(void **state)
{
    session *s = *state, *other;

    expect(s, "+OK", "CONFIG", "SET", "requirepass", "secret");
    other = another_client(s);
    expect(other,
           "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO ...",
           "HELLO", "3");
    expect(other, "-WRONGPASS invalid username-password pair or user is disabled.", "HELLO", "3", "AUTH",
           "default", "wrong");
    expect(other, "-NOAUTH Authentication required.", "GET", "k");
    expect_like(other, "%7 *$proto :3 *", "HELLO", "3", "AUTH", "default", "secret", "SETNAME", "me");
    expect(other, "$me", "CLIENT", "GETNAME");
    expect(s, "+OK", "CONFIG", "SET", "requirepass", "");
}

/* ---- AUTH ------------------------------------------------------------------------------- */

static void auth_without_a_password_is_a_mistake(void **state)
{
    session *s = *state;

    expect(
        s,
        "-ERR AUTH <password> called without any password configured for the default user. Are you sure your "
        "configuration is correct?",
        "AUTH", "secret");
    expect(s, "+OK", "AUTH", "default", "anything");
    expect(s, "-WRONGPASS invalid username-password pair or user is disabled.", "AUTH", "nobody", "secret");
    expect(s, "-ERR wrong number of arguments for 'auth' command", "AUTH");
    expect(s, "-ERR syntax error", "AUTH", "a", "b", "c");
}

static void a_password_keeps_strangers_out(void **state)
{
    session *s = *state, *other;

    expect(s, "+OK", "SET", "k", "v");
    expect(s, "+OK", "CONFIG", "SET", "requirepass", "secret");
    expect(s, "$v", "GET", "k"); /* it was here before */
    other = another_client(s);
    expect(other, "-NOAUTH Authentication required.", "GET", "k");
    expect(other, "-NOAUTH Authentication required.", "PING");
    expect(other, "-NOAUTH Authentication required.", "CONFIG", "GET", "requirepass");
    expect(other, "-NOAUTH Authentication required.", "FLUSHALL");
    expect(other, "-WRONGPASS invalid username-password pair or user is disabled.", "AUTH", "wrong");
    expect(other, "-WRONGPASS invalid username-password pair or user is disabled.", "AUTH", "secre");
    expect(other, "-WRONGPASS invalid username-password pair or user is disabled.", "AUTH", "secrets");
    expect(other, "-WRONGPASS invalid username-password pair or user is disabled.", "AUTH", "");
    expect(other, "-WRONGPASS invalid username-password pair or user is disabled.", "AUTH", "me", "secret");
    expect(other, "-NOAUTH Authentication required.", "GET", "k");
    expect(other, "+OK", "AUTH", "secret");
    expect(other, "$v", "GET", "k");
    expect(other, "+RESET", "RESET");
    expect(other, "-NOAUTH Authentication required.", "GET", "k");
    expect(other, "+OK", "AUTH", "default", "secret");
    expect(other, "$v", "GET", "k");
    expect(s, "+OK", "CONFIG", "SET", "requirepass", "");
}

static void an_unauthenticated_client_may_quit(void **state)
{
    session *s = *state, *other;

    expect(s, "+OK", "CONFIG", "SET", "requirepass", "secret");
    other = another_client(s);
    expect(s, "+OK", "CONFIG", "SET", "requirepass", "");
    expect(other, "-ERR unknown command 'NOPE', with args beginning with: ", "NOPE");
    expect(other, "+OK", "QUIT");
    expect_closed(other);
}

static void what_comes_before_auth_is_short(void **state)
{
    session *s = *state, *other;

    expect(s, "+OK", "CONFIG", "SET", "requirepass", "secret");
    other = another_client(s);
    send_raw(other, "*11\r\n");
    expect_next(other, "-ERR Protocol error: unauthenticated multibulk length");
    expect_closed(other);
    other = another_client(s);
    send_raw(other, "*2\r\n$16385\r\n");
    expect_next(other, "-ERR Protocol error: unauthenticated bulk length");
    expect_closed(other);
    expect(s, "+OK", "CONFIG", "SET", "requirepass", "");
}

/* ---- TIME, LOLWUT ----------------------------------------------------------------------- */

static void time_tells_seconds_and_microseconds(void **state)
{
    session *s = *state;
    long long seconds, micros;

    assert_int_equal(sscanf(said(s, "TIME"), "*2 $%lld $%lld", &seconds, &micros), 2);
    assert_in_range(seconds, session_now_ms(s) / 1000 - 10, session_now_ms(s) / 1000 + 1);
    assert_in_range(micros, 0, 999999);
}

static void lolwut_is_an_answer(void **state)
{
    session *s = *state;

    expect_like(s, "$*", "LOLWUT");
}

static void there_is_no_cluster(void **state)
{
    static const char *const questions[] = { "BUMPEPOCH", "FAILOVER", "FLUSHSLOTS", "HELP",
                                             "INFO",      "LINKS",    "MYID",       "NODES",
                                             "RESET",     "SHARDS",   "SLOTS",      "SAVECONFIG" };
    static const char *const about_one[] = { "ADDSLOTS",        "COUNT-FAILURE-REPORTS",
                                             "COUNTKEYSINSLOT", "DELSLOTS",
                                             "FORGET",          "KEYSLOT",
                                             "REPLICAS",        "REPLICATE",
                                             "RESET",           "SET-CONFIG-EPOCH",
                                             "SLAVES" };
    static const char *const about_two[] = { "ADDSLOTSRANGE", "DELSLOTSRANGE", "GETKEYSINSLOT", "MEET",
                                             "SETSLOT" };
    const char *no = "-ERR This instance has cluster support disabled";
    session *s = *state;

    for (size_t i = 0; i < sizeof questions / sizeof *questions; i++)
        expect(s, no, "CLUSTER", questions[i]);
    for (size_t i = 0; i < sizeof about_one / sizeof *about_one; i++)
        expect(s, no, "CLUSTER", about_one[i], "1");
    for (size_t i = 0; i < sizeof about_two / sizeof *about_two; i++)
        expect(s, no, "CLUSTER", about_two[i], "1", "2");
    expect(s, no, "READONLY");
    expect(s, no, "READWRITE");
    expect(s, no, "ASKING");
    expect(s, "-ERR wrong number of arguments for 'cluster|meet' command", "CLUSTER", "MEET");
    expect(s, "-ERR wrong number of arguments for 'cluster|addslots' command", "CLUSTER", "ADDSLOTS");
    expect(s, "-ERR unknown subcommand 'NOPE'. Try CLUSTER HELP.", "CLUSTER", "NOPE");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(there_is_no_cluster),
        conversation(ping_answers),
        conversation(echo_gives_back_any_bytes),
        conversation(an_unknown_command_is_named_with_its_arguments),
        conversation(quit_says_ok_and_closes),
        conversation(reset_forgets_what_the_connection_had),
        conversation(hello_describes_the_server),
        conversation(hello_names_the_connection),
        conversation(hello_refuses_what_it_does_not_know),
        conversation(hello_authenticates),
        conversation(auth_without_a_password_is_a_mistake),
        conversation(a_password_keeps_strangers_out),
        conversation(an_unauthenticated_client_may_quit),
        conversation(what_comes_before_auth_is_short),
        conversation(time_tells_seconds_and_microseconds),
        conversation(lolwut_is_an_answer),
    };

    return run_conversations(argc, argv, tests);
}
