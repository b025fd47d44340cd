/* connection_test.c - a connection of the blocking client to a server that stalls, drips, closes, resets and lies.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "scripted_server.h"
#include "show.h"

/* ---- connecting ---- */

static void expect_no_open(const scripted *s, kvc_status expected, const char *words)
{
    kvc_client *client;
    kvc_error error = { .status = KVC_OK };

    assert_int_equal(kvc_open(&s->options, &client, &error), expected);
    assert_null(client);
    assert_int_equal(error.status, expected);
    if (!strstr(error.message, words))
        fail_msg("\"%s\" does not say \"%s\"", error.message, words);
}

static void nobody_listens(void **state)
{
    scripted *s = *state;

    fake_close_door(s->server);
    expect_no_open(s, KVC_ECONNECT, "Connection refused");
    s->options.unix_path = "/nonexistent/kv.sock";
    expect_no_open(s, KVC_ECONNECT, "/nonexistent/kv.sock");
    s->options.unix_path =
        "/01234567890123456789012345678901234567890123456789012345678901234567890123456789012"
        "34567890123456789"
        "0123456789";
    expect_no_open(s, KVC_EARG, "at most 107");
}

/* A listener whose queue is full: what connects gets no answer at all, as from a host that is not there. */
static void a_silent_address_takes_no_longer_than_the_deadline(void **state)
{
    scripted *s = *state;
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), queued[8];
    int64_t before = kvc_now_ms();

    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    for (size_t i = 0; i < 8; i++) {
        queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(connect(queued[i], (struct sockaddr *)&address, sizeof address) == 0 ||
                    errno == EINPROGRESS);
    }
    s->options.port = ntohs(address.sin_port);
    s->options.connect_timeout_ms = 150;
    expect_no_open(s, KVC_ETIMEOUT, "150 ms");
    assert_true(kvc_now_ms() - before >= 150);
    for (size_t i = 0; i < 8; i++)
        close(queued[i]);
    close(listener);
}

static void a_server_that_accepts_and_says_nothing_is_given_up(void **state)
{
    scripted *s = *state;

    s->options.connect_timeout_ms = 100;
    greet(s, "");
    expect_no_open(s, KVC_ECLOSED, "closed");
    fake_stop(s->server);
    s->server = NULL;
    /* The kernel accepts for a listener that nobody serves. */
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;

    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 5), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    s->options.port = ntohs(address.sin_port);
    expect_no_open(s, KVC_ETIMEOUT, "did not answer the handshake within 100 ms");
    close(listener);
}

static void what_the_server_says_instead_of_a_handshake_is_told(void **state)
{
    scripted *s = *state;

    greet(s, "-ERR max number of clients reached\r\n");
    expect_no_open(s, KVC_EREPLY, "max number of clients");
    greet(s, "-NOAUTH Authentication required.\r\n");
    expect_no_open(s, KVC_EAUTH, "Authentication required");
    greet(s, "HTTP/1.1 400 Bad Request\r\n");
    expect_no_open(s, KVC_EPROTOCOL, "not RESP");
    greet(s, "$99999999999\r\n");
    expect_no_open(s, KVC_EPROTOCOL, "99999999999 bytes");
}

/* ---- in the middle of a reply ---- */

static void a_reply_may_come_byte_by_byte(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_reply *value;

    fake_set_piece(s->server, 1);
    assert_int_equal(kvc_get(client, scripted_key, &value, NULL), KVC_OK);
    assert_shows(value, "$hello");
    kvc_close(client);
}

static void the_server_may_close_at_every_byte(void **state)
{
    scripted *s = *state;
    static const char reply[] = "$5\r\nhello\r\n";
    kvc_client *client = open_client(s);

    for (int reset = 0; reset <= 1; reset++) {
        for (size_t len = 0; len < sizeof reply - 1; len++) {
            kvc_error error;
            kvc_reply *value;
            kvc_status status;

            say_then(s, reply, len, reset ? THEN_RESET : THEN_HANG_UP);
            status = kvc_get(client, scripted_key, &value, &error);
            assert_int_equal(status, KVC_ECLOSED);
            assert_true(error.sent);
            assert_null(value);
        }
        say(s, reply);
        expect_get(client, KVC_OK, false); /* and the next command finds a new connection */
    }
    assert_int_equal(atomic_load(&s->asked), 2 * (sizeof reply - 1) + 2); /* none of them twice */
    kvc_close(client);
}

static void silence_ends_at_the_deadline(void **state)
{
    scripted *s = *state;
    kvc_client *client;
    int64_t before;

    s->options.command_timeout_ms = 60;
    client = open_client(s);
    for (size_t len = 0; len < 11; len += 3) {
        say_then(s, "$5\r\nhello\r\n", len, THEN_GO_ON);
        before = kvc_now_ms();
        expect_get(client, KVC_ETIMEOUT, true);
        assert_true(kvc_now_ms() - before >= 60);
    }
    say(s, "$5\r\nhello\r\n");
    expect_get(client, KVC_OK, false);
    kvc_close(client);
}

static atomic_bool dripping;

static void *drip(void *arg)
{
    scripted *s = arg;

    while (atomic_load(&dripping) && atomic_load(&s->asked) == 0)
        poll(NULL, 0, 1);
    while (atomic_load(&dripping)) {
        fake_push(s->server, 0, "x", 1);
        poll(NULL, 0, 5);
    }
    return NULL;
}

/* Each byte is progress; the deadline does not care. */
static void a_slow_drip_does_not_move_the_deadline(void **state)
{
    scripted *s = *state;
    kvc_client *client;
    pthread_t thread;
    int64_t before = kvc_now_ms();

    s->options.command_timeout_ms = 150;
    client = open_client(s);
    say(s, "$1000000\r\n");
    atomic_store(&dripping, true);
    assert_int_equal(pthread_create(&thread, NULL, drip, s), 0);
    expect_get(client, KVC_ETIMEOUT, true);
    assert_true(kvc_now_ms() - before >= 150);
    atomic_store(&dripping, false);
    pthread_join(thread, NULL);
    kvc_close(client);
}

static void lies_are_a_protocol_error(void **state)
{
    scripted *s = *state;
    static const char *const lies[] = {
        "hello\r\n", "$-5\r\n", "*99999999999999\r\n", "$9999999999999\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
    };
    kvc_client *client;

    s->options.max_reply_depth = 5;
    client = open_client(s);
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        say(s, lies[i]);
        expect_get(client, KVC_EPROTOCOL, true);
    }
    say(s, "+x\r\n");
    expect_get(client, KVC_ETYPE, true);
    say(s, ":1\r\n");
    expect_get(client, KVC_ETYPE, true);
    say(s, "$5\r\nhello\r\n");
    expect_get(client, KVC_OK, false);
    kvc_close(client);
}

static void a_reply_too_many_is_never_taken_for_the_next_one(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_reply *value;

    say(s, "$5\r\nhello\r\n$4\r\nevil\r\n");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kvc_get(client, scripted_key, &value, NULL), KVC_OK);
        assert_shows(value, "$hello");
    }
    kvc_close(client);
}

static void error_replies_have_their_word(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_error error;
    kvc_reply *value;

    say(s, "-WRONGTYPE Operation against a key\r\n");
    assert_int_equal(kvc_get(client, scripted_key, &value, &error), KVC_EREPLY);
    assert_null(value);
    assert_string_equal(error.code, "WRONGTYPE");
    assert_string_equal(error.message, "WRONGTYPE Operation against a key");
    assert_int_equal(fake_arrivals(s->server), 1); /* the connection is as good as before */
    kvc_close(client);
}

/* ---- one connection, in steps ---- */

static void append(kvc_connection *connection, const char *name)
{
    kvc_slice argv[] = { kvc_str(name), scripted_key };

    assert_int_equal(kvc_connection_append(connection, 2, argv, NULL), KVC_OK);
}

static void replies_are_taken_in_order(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_connection *connection;
    kvc_error error;
    kvc_reply *reply;
    kvc_slice argv[] = { kvc_str("GET"), scripted_key };

    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    append(connection, "GET");
    append(connection, "SET");
    assert_int_equal(kvc_connection_pending(connection), 2);
    assert_int_equal(kvc_connection_command(connection, 2, argv, &reply, &error), KVC_ESTATE);
    kvc_release(connection); /* closed, with what it had not sent */
    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    append(connection, "GET");
    append(connection, "SET");
    assert_int_equal(kvc_connection_flush(connection, NULL), KVC_OK);
    assert_int_equal(kvc_connection_next(connection, 0, &reply, NULL), KVC_OK);
    assert_shows(reply, "$hello");
    assert_int_equal(kvc_connection_pending(connection), 1);
    assert_int_equal(kvc_connection_next(connection, 0, &reply, NULL), KVC_OK);
    assert_shows(reply, "+OK");
    kvc_release(connection);
    assert_int_equal(atomic_load(&s->asked), 1);
    kvc_close(client);
}

static void a_timeout_of_next_breaks_nothing(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_connection *connection;
    kvc_reply *reply;

    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    say(s, "$5\r\nhe");
    append(connection, "GET");
    assert_int_equal(kvc_connection_next(connection, 20, &reply, NULL), KVC_ETIMEOUT);
    assert_null(reply);
    assert_int_equal(kvc_connection_next(connection, 20, &reply, NULL), KVC_ETIMEOUT);
    fake_push(s->server, 0, "llo\r\n", 5);
    assert_int_equal(kvc_connection_next(connection, 0, &reply, NULL), KVC_OK);
    assert_shows(reply, "$hello");
    kvc_release(connection);
    kvc_close(client);
}

static void a_broken_connection_stays_broken(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_connection *connection;
    kvc_slice argv[] = { kvc_str("GET"), scripted_key };
    kvc_error error;
    kvc_reply *reply;

    s->options.command_timeout_ms = 50;
    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    say_then(s, "", 0, THEN_HANG_UP);
    assert_int_equal(kvc_connection_command(connection, 2, argv, &reply, &error), KVC_ECLOSED);
    assert_true(error.sent);
    assert_int_equal(kvc_connection_command(connection, 2, argv, &reply, &error), KVC_ECLOSED);
    assert_false(error.sent);
    assert_int_equal(kvc_connection_append(connection, 2, argv, NULL), KVC_ECLOSED);
    assert_int_equal(kvc_connection_flush(connection, NULL), KVC_ECLOSED);
    assert_int_equal(kvc_connection_next(connection, 0, &reply, NULL), KVC_ECLOSED);
    assert_int_equal(kvc_connection_fd(connection), -1);
    kvc_release(connection);
    kvc_close(client);
}

static void *wake_up(void *arg)
{
    poll(NULL, 0, 30);
    kvc_connection_wake(arg);
    return NULL;
}

static void who_waits_can_be_woken(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_connection *connection;
    pthread_t thread;
    kvc_reply *reply;

    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    say(s, "");
    append(connection, "GET");
    assert_int_equal(pthread_create(&thread, NULL, wake_up, connection), 0);
    assert_int_equal(kvc_connection_next(connection, UINT32_MAX, &reply, NULL), KVC_ESTATE);
    pthread_join(thread, NULL);
    fake_push(s->server, 0, "$-1\r\n", 5);
    assert_int_equal(kvc_connection_next(connection, 0, &reply, NULL), KVC_OK);
    assert_shows(reply, "_");
    /* A wake that found nobody waiting is not for the next user. */
    kvc_connection_wake(connection);
    kvc_release(connection);
    say(s, "$5\r\nhello\r\n");
    expect_get(client, KVC_OK, false);
    assert_int_equal(fake_arrivals(s->server), 1);
    kvc_close(client);
}

static void commands_that_change_the_connection_need_a_lease(void **state)
{
    scripted *s = *state;
    static const char *const commands[][4] = { { "MULTI" },
                                               { "WATCH", "k" },
                                               { "SUBSCRIBE", "c" },
                                               { "select", "1" },
                                               { "CLIENT", "REPLY", "OFF" },
                                               { "MONITOR" },
                                               { "HELLO", "3" },
                                               { "quit" } };
    kvc_client *client = open_client(s);
    kvc_error error;
    kvc_reply *reply;

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        assert_int_equal(kvc_command_strings(client, commands[i], &reply, &error), KVC_ESTATE);
        assert_non_null(strstr(error.message, "kvc_lease"));
    }
    assert_int_equal(kvc_command(client, 0, NULL, &reply, &error), KVC_EARG);
    kvc_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scripted_test(nobody_listens),
        scripted_test(a_silent_address_takes_no_longer_than_the_deadline),
        scripted_test(a_server_that_accepts_and_says_nothing_is_given_up),
        scripted_test(what_the_server_says_instead_of_a_handshake_is_told),
        scripted_test(a_reply_may_come_byte_by_byte),
        scripted_test(the_server_may_close_at_every_byte),
        scripted_test(silence_ends_at_the_deadline),
        scripted_test(a_slow_drip_does_not_move_the_deadline),
        scripted_test(lies_are_a_protocol_error),
        scripted_test(a_reply_too_many_is_never_taken_for_the_next_one),
        scripted_test(error_replies_have_their_word),
        scripted_test(replies_are_taken_in_order),
        scripted_test(a_timeout_of_next_breaks_nothing),
        scripted_test(a_broken_connection_stays_broken),
        scripted_test(who_waits_can_be_woken),
        scripted_test(commands_that_change_the_connection_need_a_lease),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
