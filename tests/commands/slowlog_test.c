/* slowlog_test.c - tests of SLOWLOG: what it keeps of commands, and how long.
 *
 * With slowlog-log-slower-than 0 every command is slow, so no test depends on time.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

static void begin(session *s)
{
    expect(s, "+OK", "CONFIG", "SET", "slowlog-log-slower-than", "0");
    expect(s, "+OK", "SLOWLOG", "RESET");
}

static void end(session *s)
{
    expect(s, "+OK", "CONFIG", "SET", "slowlog-log-slower-than", "10000");
    expect(s, "+OK", "CONFIG", "SET", "slowlog-max-len", "128");
    expect(s, "+OK", "SLOWLOG", "RESET");
}

static void it_keeps_the_newest_commands_with_their_clients(void **state)
{
    session *s = *state;

    begin(s);
    expect(s, "+OK", "CLIENT", "SETNAME", "lucy");
    expect(s, "+OK", "SET", "k", "v");
    expect_like(s,
                "*2 *6 :* :1* :* *3 $SET $k $v $*:* $lucy *6 :* :1* :* *3 $CLIENT $SETNAME $lucy $*:* $lucy",
                "SLOWLOG", "GET", "2");
    expect_like(s, "*1 *6 :* :* :* *3 $SLOWLOG $GET $2 $* $lucy", "SLOWLOG", "GET", "1");
    expect_between(s, 4, 6, "SLOWLOG", "LEN");
    end(s);
    expect_between(s, 0, 0, "SLOWLOG", "LEN");
}

static void it_is_bounded(void **state)
{
    session *s = *state;

    begin(s);
    expect(s, "+OK", "CONFIG", "SET", "slowlog-max-len", "3");
    for (int i = 0; i < 10; i++)
        expect(s, "+PONG", "PING");
    expect(s, ":3", "SLOWLOG", "LEN");
    expect_like(s, "*3 *", "SLOWLOG", "GET", "-1");
    expect(s, "+OK", "CONFIG", "SET", "slowlog-max-len", "0");
    expect(s, "+PONG", "PING");
    expect(s, ":0", "SLOWLOG", "LEN");
    end(s);
}

static void a_negative_threshold_keeps_nothing(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CONFIG", "SET", "slowlog-log-slower-than", "-1");
    expect(s, "+OK", "SLOWLOG", "RESET");
    expect(s, "+PONG", "PING");
    expect(s, ":0", "SLOWLOG", "LEN");
    expect(s, "*0", "SLOWLOG", "GET");
    end(s);
}

static void long_arguments_are_cut(void **state)
{
    session *s = *state;
    const char *argv[50] = { "MSET" };
    char text[400];

    memset(text, 'a', 200);
    text[200] = '\0';
    begin(s);
    expect(s, "+OK", "SET", "k", text);
    memset(text, 'a', 128);
    strcpy(text + 128, "... (72 more bytes)");
    {
        char pattern[600];

        snprintf(pattern, sizeof pattern, "*1 *6 :* :* :* *3 $SET $k $\"%s\" $* $*", text);
        expect_like(s, pattern, "SLOWLOG", "GET", "1");
    }
    for (int i = 1; i < 41; i++)
        argv[i] = "a";
    session_expect(s, __FILE__, __LINE__, "+OK", argv);
    expect_like(s, "*1 *6 :* :* :* *32 $MSET * $\"... (10 more arguments)\" $* $*", "SLOWLOG", "GET", "1");
    argv[33] = NULL;
    session_expect(s, __FILE__, __LINE__, "+OK", argv);
    expect_like(s, "*1 *6 :* :* :* *32 $MSET * $\"... (2 more arguments)\" $* $*", "SLOWLOG", "GET", "1");
    argv[31] = NULL;
    session_expect(s, __FILE__, __LINE__, "+OK", argv);
    expect_like(s, "*1 *6 :* :* :* *31 $MSET * $a $* $*", "SLOWLOG", "GET", "1");
    end(s);
}

static void passwords_are_left_out(void **state)
{
    session *s = *state;

    begin(s);
    expect_like(s, "-WRONGPASS*", "AUTH", "ada", "secret");
    expect_like(s, "*1 *6 :* :* :* *3 $AUTH $(redacted) $(redacted) $* $*", "SLOWLOG", "GET", "1");
    expect_like(s, "-WRONGPASS*", "HELLO", "2", "AUTH", "ada", "secret");
    expect_like(s, "*1 *6 :* :* :* *5 $HELLO $2 $AUTH $(redacted) $(redacted) $* $*", "SLOWLOG", "GET", "1");
    expect(s, "+OK", "CONFIG", "SET", "masterauth", "secret", "timeout", "0");
    expect_like(s, "*1 *6 :* :* :* *6 $CONFIG $SET $masterauth $(redacted) $timeout $0 $* $*", "SLOWLOG",
                "GET", "1");
    expect(s, "+OK", "CONFIG", "SET", "masterauth", "");
    end(s);
}

static void commands_of_a_transaction_are_kept_and_exec_is_not(void **state)
{
    session *s = *state;

    begin(s);
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "k", "v");
    expect(s, "+QUEUED", "KEYS", "*");
    expect(s, "*2 +OK *1 $k", "EXEC");
    expect_like(s, "*3 * $KEYS $* $SET $k $v* $MULTI*", "SLOWLOG", "GET", "3");
    end(s);
}

static void what_is_asked_wrongly_is_refused(void **state)
{
    session *s = *state;

    expect(s, "-ERR count should be greater than or equal to -1", "SLOWLOG", "GET", "-2");
    expect(s, "-ERR count should be greater than or equal to -1", "SLOWLOG", "GET", "many");
    expect(s, "-ERR unknown subcommand or wrong number of arguments for 'GET'. Try SLOWLOG HELP.", "SLOWLOG",
           "GET", "1", "2");
    expect(s, "-ERR unknown subcommand 'NOPE'. Try SLOWLOG HELP.", "SLOWLOG", "NOPE");
    expect(s, "-ERR wrong number of arguments for 'slowlog' command", "SLOWLOG");
    expect(s, "-ERR wrong number of arguments for 'slowlog|len' command", "SLOWLOG", "LEN", "x");
    expect_like(s, "*[0-9]* +\"SLOWLOG <subcommand> *", "SLOWLOG", "HELP");
}

/* Four in one write: they are one batch of kvserver. */
static void each_command_of_a_pipeline_is_known(void **state)
{
    session *s = *state;

    begin(s);
    send_raw(s, "GET a\r\nGET b\r\nGET c\r\nSET d 1\r\n");
    expect_next(s, "_");
    expect_next(s, "_");
    expect_next(s, "_");
    expect_next(s, "+OK");
    expect_like(s, "*4 * $SET $d $1* $GET $c* $GET $b* $GET $a*", "SLOWLOG", "GET", "4");
    end(s);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(it_keeps_the_newest_commands_with_their_clients),
        conversation(it_is_bounded),
        conversation(a_negative_threshold_keeps_nothing),
        conversation(long_arguments_are_cut),
        conversation(passwords_are_left_out),
        conversation(commands_of_a_transaction_are_kept_and_exec_is_not),
        conversation(what_is_asked_wrongly_is_refused),
        conversation(each_command_of_a_pipeline_is_known),
    };

    return run_conversations(argc, argv, tests);
}
