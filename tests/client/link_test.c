/* link_test.c - the session without a socket: handshakes, what is still to be answered, what is left behind.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "link.h"
#include "show.h"

static kvc_options options;

static kvc_link *begin(void)
{
    kvc_link *link = kvc_link_new(&options, "test:1");
    kvc_error error;

    assert_non_null(link);
    assert_int_equal(kvc_link_begin(link, &error), KVC_OK);
    return link;
}

static int set_up(void **state)
{
    (void)state;
    kvc_options_init(&options);
    options.protocol = 2;
    return 0;
}

/* What the link sends is this, as the words of the requests: "HELLO 2|SELECT 3|". */
static void assert_sends(kvc_link *link, const char *words)
{
    char said[512] = "";
    kvc_slice out = kvc_link_output(link);
    const char *c = out.data, *end = out.data + out.len;

    while (c < end) {
        int argc, len, used;

        assert_int_equal(sscanf(c, "*%d\r\n%n", &argc, &used), 1);
        c += used;
        for (; argc > 0; argc--) {
            assert_int_equal(sscanf(c, "$%d\r\n%n", &len, &used), 1);
            c += used;
            strncat(said, c, (size_t)len);
            strcat(said, argc > 1 ? " " : "|");
            c += len + 2;
        }
    }
    assert_string_equal(said, words);
    kvc_link_sent(link, out.len);
}

#define SETINFO "CLIENT SETINFO LIB-NAME libkvclient|CLIENT SETINFO LIB-VER " KVC_VERSION "|"

/* Feeds bytes; the status of next behind all replies but the last that was found. */
static kvc_status hear(kvc_link *link, const char *bytes, kvc_error *error)
{
    kvc_link_kind kind;
    kvc_reply *reply;
    kvc_status status = kvc_link_feed(link, bytes, strlen(bytes), error);

    while (status == KVC_OK) {
        status = kvc_link_next(link, &kind, &reply, error);
        kvc_reply_free(reply);
    }
    return status;
}

static kvc_link *ready(void)
{
    kvc_link *link = begin();

    kvc_link_sent(link, kvc_link_output(link).len);
    assert_int_equal(hear(link, "*2\r\n$5\r\nproto\r\n:2\r\n+OK\r\n+OK\r\n", NULL), KVC_NIL);
    if (options.db)
        assert_int_equal(hear(link, "+OK\r\n", NULL), KVC_NIL);
    assert_true(kvc_link_ready(link));
    assert_false(kvc_link_dirty(link));
    return link;
}

#define append(link, ...) append_words(link, (const char *const[]){ __VA_ARGS__, NULL })
static void append_words(kvc_link *link, const char *const words[])
{
    kvc_slice argv[8];
    size_t argc = 0;

    for (; words[argc]; argc++)
        argv[argc] = kvc_str(words[argc]);
    assert_int_equal(kvc_link_append(link, argc, argv, NULL), KVC_OK);
    kvc_link_sent(link, kvc_link_output(link).len);
}

/* The next reply is of this kind, and shows as text. */
static void expect(kvc_link *link, const char *bytes, kvc_link_kind kind, const char *text)
{
    kvc_link_kind got;
    kvc_reply *reply;

    assert_int_equal(kvc_link_feed(link, bytes, strlen(bytes), NULL), KVC_OK);
    assert_int_equal(kvc_link_next(link, &got, &reply, NULL), KVC_OK);
    assert_int_equal(got, kind);
    assert_shows(reply, text);
}

/* ---- handshakes ---- */

static void the_handshake_is_one_write(void **state)
{
    kvc_link *link;

    (void)state;
    options.user = "ada";
    options.password = "secret";
    options.client_name = "test";
    options.db = 3;
    link = begin();
    assert_sends(link, "HELLO 2 AUTH ada secret SETNAME test|" SETINFO "SELECT 3|");
    assert_false(kvc_link_ready(link));
    assert_int_equal(hear(link, "*2\r\n$5\r\nproto\r\n:2\r\n", NULL), KVC_NIL);
    assert_int_equal(hear(link, "-ERR unknown subcommand\r\n-ERR unknown subcommand\r\n", NULL), KVC_NIL);
    assert_false(kvc_link_ready(link));
    assert_int_equal(hear(link, "+OK\r\n", NULL), KVC_NIL);
    assert_true(kvc_link_ready(link));
    assert_false(kvc_link_dirty(link));
    assert_int_equal(kvc_reply_int(kvc_reply_find(kvc_link_hello(link), "proto")), 2);
    kvc_link_free(link);
}

static void a_server_without_hello_is_asked_in_the_old_words(void **state)
{
    static const char *const refusals[] = {
        "-ERR unknown command `HELLO`, with args beginning with: `2`, \r\n",
        "-NOPROTO unsupported protocol version\r\n",
        "-NOPERM this user has no permissions to run the 'hello' command\r\n"
    };

    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        kvc_link *link;

        options.user = NULL;
        options.password = "secret";
        options.client_name = "test";
        options.db = 3;
        link = begin();
        assert_sends(link, "HELLO 2 AUTH default secret SETNAME test|" SETINFO "SELECT 3|");
        assert_int_equal(hear(link, refusals[i], NULL), KVC_NIL);
        assert_int_equal(hear(link, "-NOAUTH x\r\n-NOAUTH x\r\n-NOAUTH x\r\n", NULL), KVC_NIL);
        assert_sends(link, "AUTH secret|CLIENT SETNAME test|" SETINFO "SELECT 3|");
        assert_int_equal(hear(link, "+OK\r\n+OK\r\n-ERR\r\n-ERR\r\n", NULL), KVC_NIL);
        assert_false(kvc_link_ready(link));
        assert_int_equal(hear(link, "+OK\r\n", NULL), KVC_NIL);
        assert_true(kvc_link_ready(link));
        assert_null(kvc_link_hello(link));
        assert_int_equal(kvc_link_protocol(link), 2);
        kvc_link_free(link);
    }
}

static void expect_handshake_failure(const char *bytes, kvc_status status, const char *code)
{
    kvc_link *link = begin();
    kvc_error error;
    kvc_slice ping = kvc_str("PING");

    kvc_link_sent(link, kvc_link_output(link).len);
    assert_int_equal(hear(link, bytes, &error), status);
    assert_int_equal(error.status, status);
    assert_string_equal(error.code, code);
    assert_false(kvc_link_ready(link));
    assert_int_equal(kvc_link_append(link, 1, &ping, &error), status);
    assert_int_equal(hear(link, "+OK\r\n", &error), status);
    assert_int_equal(kvc_link_begin(link, &error), KVC_OK); /* and another connection may do better */
    kvc_link_free(link);
}

static void a_refused_handshake_says_why(void **state)
{
    (void)state;
    expect_handshake_failure("-WRONGPASS invalid username-password pair or user is disabled.\r\n", KVC_EAUTH,
                             "WRONGPASS");
    expect_handshake_failure("-NOAUTH HELLO must be called with the client already authenticated\r\n",
                             KVC_EAUTH, "NOAUTH");
    expect_handshake_failure("-ERR max number of clients reached\r\n", KVC_EREPLY, "ERR");
    expect_handshake_failure("hello\r\n", KVC_EPROTOCOL, "");
    options.db = 99;
    expect_handshake_failure("*0\r\n+OK\r\n+OK\r\n-ERR DB index is out of range\r\n", KVC_EREPLY, "ERR");
    options.db = 0;
    options.password = "x";
    expect_handshake_failure("-ERR unknown command 'HELLO'\r\n+OK\r\n+OK\r\n-ERR invalid password\r\n",
                             KVC_EAUTH, "ERR");
}

static void resp3_is_asked_for_where_it_can_be_read(void **state)
{
    kvc_link *link = kvc_link_new(&options, "test:1");
    kvc_error error;

    (void)state;
    options.protocol = 3;
#ifdef KVC_HIREDIS_RESP3
    assert_int_equal(kvc_link_begin(link, &error), KVC_OK);
    assert_sends(link, "HELLO 3|" SETINFO);
    assert_int_equal(hear(link, "-NOPROTO unsupported protocol version\r\n", &error), KVC_ENOTSUP);
#else
    assert_int_equal(kvc_link_begin(link, &error), KVC_ENOTSUP);
    assert_non_null(strstr(error.message, "hiredis"));
#endif
    kvc_link_free(link);
}

/* ---- what is left behind ---- */

static void an_ordinary_command_leaves_nothing(void **state)
{
    kvc_link *link = ready();

    (void)state;
    append(link, "GET", "k");
    assert_int_equal(kvc_link_pending(link), 1);
    assert_true(kvc_link_dirty(link));
    expect(link, "$1\r\nv\r\n", KVC_LINK_REPLY, "$v");
    assert_int_equal(kvc_link_pending(link), 0);
    assert_false(kvc_link_dirty(link));
    kvc_link_free(link);
}

static void a_transaction_is_dirt_until_exec(void **state)
{
    kvc_link *link = ready();

    (void)state;
    append(link, "multi");
    expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
    assert_true(kvc_link_dirty(link));
    append(link, "GET", "k");
    expect(link, "+QUEUED\r\n", KVC_LINK_REPLY, "+QUEUED");
    append(link, "EXEC");
    expect(link, "*1\r\n$-1\r\n", KVC_LINK_REPLY, "*[_]");
    assert_false(kvc_link_dirty(link));

    append(link, "MULTI");
    expect(link, "-NOPERM no\r\n", KVC_LINK_REPLY, "-NOPERM no"); /* it opened nothing */
    assert_false(kvc_link_dirty(link));

    append(link, "WATCH", "k");
    expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
    assert_true(kvc_link_dirty(link));
    append(link, "UNWATCH");
    expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
    assert_false(kvc_link_dirty(link));

    append(link, "MULTI");
    append(link, "EXEC");
    expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
    expect(link, "-EXECABORT Transaction discarded because of previous errors.\r\n", KVC_LINK_REPLY,
           "-EXECABORT Transaction discarded because of previous errors.");
    assert_false(kvc_link_dirty(link));
    kvc_link_free(link);
}

static void another_database_is_dirt_until_it_is_left(void **state)
{
    kvc_link *link;

    (void)state;
    options.db = 2;
    link = ready();
    append(link, "SELECT", "5");
    expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
    assert_true(kvc_link_dirty(link));
    append(link, "SELECT", "99");
    expect(link, "-ERR DB index is out of range\r\n", KVC_LINK_REPLY, "-ERR DB index is out of range");
    assert_true(kvc_link_dirty(link));
    append(link, "SELECT", "2");
    expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
    assert_false(kvc_link_dirty(link));
    append(link, "MULTI");
    append(link, "SELECT", "2");
    append(link, "EXEC");
    expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
    expect(link, "+QUEUED\r\n", KVC_LINK_REPLY, "+QUEUED");
    expect(link, "*1\r\n+OK\r\n", KVC_LINK_REPLY, "*[+OK]");
    assert_true(kvc_link_dirty(link)); /* which one, the reply does not tell */
    kvc_link_free(link);
}

static void what_cannot_be_followed_is_dirt(void **state)
{
    static const char *const commands[][4] = {
        { "AUTH", "x" },       { "HELLO", "2" },         { "RESET" }, { "QUIT" },
        { "readonly" },        { "CLIENT", "TRACKING" }, { "PSYNC" }, { "CLIENT", "setname", "x" },
        { "script", "DEBUG" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        kvc_link *link = ready();

        append_words(link, commands[i]);
        expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
        assert_true(kvc_link_dirty(link));
        kvc_link_free(link);
    }
}

static void asking_concerns_one_command(void **state)
{
    kvc_link *link = ready();

    (void)state;
    append(link, "ASKING");
    expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
    assert_true(kvc_link_dirty(link));
    append(link, "GET", "k");
    expect(link, "$-1\r\n", KVC_LINK_REPLY, "_");
    assert_false(kvc_link_dirty(link));
    kvc_link_free(link);
}

/* ---- how many replies ---- */

static void client_reply_decides_what_is_answered(void **state)
{
    kvc_link *link = ready();

    (void)state;
    append(link, "CLIENT", "REPLY", "OFF");
    append(link, "SET", "a", "1");
    append(link, "SET", "b", "2");
    assert_int_equal(kvc_link_pending(link), 0);
    assert_true(kvc_link_dirty(link));
    append(link, "CLIENT", "REPLY", "ON");
    append(link, "GET", "a");
    assert_int_equal(kvc_link_pending(link), 2);
    expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
    expect(link, "$1\r\n1\r\n", KVC_LINK_REPLY, "$1");
    append(link, "CLIENT", "REPLY", "SKIP");
    append(link, "GET", "a");
    append(link, "GET", "b");
    assert_int_equal(kvc_link_pending(link), 1);
    expect(link, "$1\r\n2\r\n", KVC_LINK_REPLY, "$2");
    assert_int_equal(kvc_link_pending(link), 0);
    kvc_link_free(link);
}

static void a_subscription_is_confirmed_for_each_channel(void **state)
{
    kvc_link *link = ready();

    (void)state;
    append(link, "LRANGE", "l", "0", "-1");
    append(link, "SUBSCRIBE", "a", "b");
    assert_int_equal(kvc_link_pending(link), 3);
    /* A list may look like a message before anything was subscribed. */
    expect(link, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n", KVC_LINK_REPLY, "*[$message $a $x]");
    expect(link, "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", KVC_LINK_CONFIRMATION, "*[$subscribe $a :1]");
    expect(link, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n", KVC_LINK_MESSAGE, "*[$message $a $x]");
    assert_int_equal(kvc_link_pending(link), 1);
    expect(link, "*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n", KVC_LINK_CONFIRMATION, "*[$subscribe $b :2]");
    assert_int_equal(kvc_link_pending(link), 0);
    assert_true(kvc_link_dirty(link));
    append(link, "PING");
    expect(link, "*4\r\n$8\r\npmessage\r\n$1\r\n*\r\n$1\r\na\r\n$1\r\nx\r\n", KVC_LINK_MESSAGE,
           "*[$pmessage $* $a $x]");
    expect(link, "*2\r\n$4\r\npong\r\n$0\r\n\r\n", KVC_LINK_REPLY, "*[$pong $]");
    /* Without names: one for each, which the link cannot foresee. */
    append(link, "UNSUBSCRIBE");
    expect(link, "*3\r\n$11\r\nunsubscribe\r\n$1\r\na\r\n:1\r\n", KVC_LINK_CONFIRMATION,
           "*[$unsubscribe $a :1]");
    expect(link, "*3\r\n$11\r\nunsubscribe\r\n$1\r\nb\r\n:0\r\n", KVC_LINK_CONFIRMATION,
           "*[$unsubscribe $b :0]");
    assert_int_equal(kvc_link_pending(link), 0);
    assert_false(kvc_link_dirty(link));
    kvc_link_free(link);
}

static void a_refused_subscription_is_one_reply(void **state)
{
    kvc_link *link = ready();

    (void)state;
    append(link, "SUBSCRIBE", "a", "b", "c");
    append(link, "PING");
    expect(link, "-NOPERM no\r\n", KVC_LINK_REPLY, "-NOPERM no");
    assert_int_equal(kvc_link_pending(link), 1);
    expect(link, "+PONG\r\n", KVC_LINK_REPLY, "+PONG");
    assert_false(kvc_link_dirty(link));
    kvc_link_free(link);
}

static void monitor_is_a_stream_of_lines(void **state)
{
    kvc_link *link = ready();

    (void)state;
    append(link, "MONITOR");
    expect(link, "+OK\r\n", KVC_LINK_REPLY, "+OK");
    expect(link, "+1700000000.1 [0 127.0.0.1:1] \"GET\" \"k\"\r\n", KVC_LINK_MESSAGE,
           "+1700000000.1 [0 127.0.0.1:1] \"GET\" \"k\"");
    assert_true(kvc_link_dirty(link));
    kvc_link_free(link);
}

#ifdef KVC_HIREDIS_RESP3
static void pushes_are_not_replies(void **state)
{
    kvc_link *link = ready();

    (void)state;
    append(link, "GET", "k");
    expect(link, ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", KVC_LINK_MESSAGE, ">[$invalidate *[$k]]");
    assert_int_equal(kvc_link_pending(link), 1);
    append(link, "SUBSCRIBE", "a");
    expect(link, "$1\r\nv\r\n", KVC_LINK_REPLY, "$v");
    expect(link, ">3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n", KVC_LINK_CONFIRMATION, ">[$subscribe $a :1]");
    assert_int_equal(kvc_link_pending(link), 0);
    kvc_link_free(link);
}
#endif

static void positions_tell_what_was_sent(void **state)
{
    kvc_link *link = ready();
    kvc_slice ping = kvc_str("PING"), empty = kvc_str("");
    uint64_t position = kvc_link_queued(link);

    (void)state;
    assert_int_equal(kvc_link_sent_total(link), position);
    assert_int_equal(kvc_link_append(link, 1, &ping, NULL), KVC_OK);
    assert_int_equal(kvc_link_sent_total(link), position);
    kvc_link_sent(link, 1);
    assert_true(kvc_link_sent_total(link) > position);
    assert_int_equal(kvc_link_queued(link), position + strlen("*1\r\n$4\r\nPING\r\n"));
    /* What is no command queues nothing. */
    position = kvc_link_queued(link);
    assert_int_equal(kvc_link_append(link, 0, &ping, NULL), KVC_EARG);
    assert_int_equal(kvc_link_append(link, 1, &empty, NULL), KVC_EARG);
    assert_int_equal(kvc_link_queued(link), position);
    kvc_link_free(link);
}

static void a_million_commands_are_one_run(void **state)
{
    kvc_link *link = ready();
    kvc_slice ping = kvc_str("PING");

    (void)state;
    for (int i = 0; i < 100000; i++) {
        assert_int_equal(kvc_link_append(link, 1, &ping, NULL), KVC_OK);
        kvc_link_sent(link, kvc_link_output(link).len);
    }
    assert_int_equal(kvc_link_pending(link), 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(hear(link, "+PONG\r\n", NULL), KVC_NIL);
    assert_int_equal(kvc_link_pending(link), 0);
    kvc_link_free(link);
}

#define test(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(the_handshake_is_one_write),
        test(a_server_without_hello_is_asked_in_the_old_words),
        test(a_refused_handshake_says_why),
        test(resp3_is_asked_for_where_it_can_be_read),
        test(an_ordinary_command_leaves_nothing),
        test(a_transaction_is_dirt_until_exec),
        test(another_database_is_dirt_until_it_is_left),
        test(what_cannot_be_followed_is_dirt),
        test(asking_concerns_one_command),
        test(client_reply_decides_what_is_answered),
        test(a_subscription_is_confirmed_for_each_channel),
        test(a_refused_subscription_is_one_reply),
        test(monitor_is_a_stream_of_lines),
#ifdef KVC_HIREDIS_RESP3
        test(pushes_are_not_replies),
#endif
        test(positions_tell_what_was_sent),
        test(a_million_commands_are_one_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
