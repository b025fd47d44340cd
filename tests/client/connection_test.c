/* connection_test.c - the blocking client against a server that stalls, drips, closes, resets and lies.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "clock.h"
#include "fake_server.h"
#include "kvclient.h"
#include "show.h"

/* What the fake server does with a GET or INCR; everything else it answers with +OK. */
enum then { THEN_GO_ON, THEN_HANG_UP, THEN_RESET };
typedef struct script {
    const char *bytes;
    size_t len;
    enum then then;
    const char *hello; /* instead of a handshake, or NULL */
} script;

static script plan;
static pthread_mutex_t plan_lock = PTHREAD_MUTEX_INITIALIZER; /* the server has a thread of its own */
static atomic_int asked;                                      /* GETs and INCRs that came */
static fake_server *server;
static kvc_options options;

static void answer(fake_request *request, void *arg)
{
    script now;

    (void)arg;
    pthread_mutex_lock(&plan_lock);
    now = plan;
    pthread_mutex_unlock(&plan_lock);
    if (now.hello) {
        fake_say(request, "%s", now.hello);
        fake_hang_up(request);
        return;
    }
    if (fake_handshake(request))
        return;
    if (!fake_is(request, "GET") && !fake_is(request, "INCR")) {
        fake_say(request, "+OK\r\n");
        return;
    }
    atomic_fetch_add(&asked, 1);
    fake_say_bytes(request, now.bytes, now.len);
    if (now.then == THEN_HANG_UP)
        fake_hang_up(request);
    if (now.then == THEN_RESET)
        fake_reset(request);
}

/* From now on len of the bytes are the answer, and then this happens. */
static void say_then(const char *bytes, size_t len, enum then then)
{
    pthread_mutex_lock(&plan_lock);
    plan = (script){ .bytes = bytes, .len = len, .then = then };
    pthread_mutex_unlock(&plan_lock);
}

static void say(const char *bytes)
{
    say_then(bytes, strlen(bytes), THEN_GO_ON);
}

/* Instead of a handshake. */
static void greet(const char *hello)
{
    pthread_mutex_lock(&plan_lock);
    plan = (script){ .hello = hello };
    pthread_mutex_unlock(&plan_lock);
}

static int set_up(void **state)
{
    (void)state;
    atomic_store(&asked, 0);
    say("$5\r\nhello\r\n");
    server = fake_start(answer, NULL);
    kvc_options_init(&options);
    options.port = fake_port(server);
    options.protocol = 2;
    options.backoff_max_ms = 20;
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_stop(server);
    return 0;
}

static kvc_client *open_client(void)
{
    kvc_client *client;
    kvc_error error;

    if (kvc_open(&options, &client, &error) != KVC_OK)
        fail_msg("%s", error.message);
    return client;
}

static const kvc_slice key = { "k", 1 };

/* GET answers this, and error tells the same. */
static void expect_get(kvc_client *client, kvc_status expected, bool sent)
{
    kvc_error error = { .status = KVC_OK };
    kvc_reply *value;
    kvc_status status = kvc_get(client, key, &value, &error);

    if (status != expected)
        fail_msg("%s, not %s: %s", kvc_status_name(status), kvc_status_name(expected), error.message);
    if (status < 0) {
        assert_null(value);
        assert_int_equal(error.status, expected);
        assert_int_equal(error.sent, sent);
        assert_string_not_equal(error.message, "");
    }
    kvc_reply_free(value);
}

/* ---- connecting ---- */

static void expect_no_open(kvc_status expected, const char *words)
{
    kvc_client *client;
    kvc_error error = { .status = KVC_OK };

    assert_int_equal(kvc_open(&options, &client, &error), expected);
    assert_null(client);
    assert_int_equal(error.status, expected);
    if (!strstr(error.message, words))
        fail_msg("\"%s\" does not say \"%s\"", error.message, words);
}

static void nobody_listens(void **state)
{
    (void)state;
    fake_close_door(server);
    expect_no_open(KVC_ECONNECT, "Connection refused");
    options.unix_path = "/nonexistent/kv.sock";
    expect_no_open(KVC_ECONNECT, "/nonexistent/kv.sock");
    options.unix_path = "/01234567890123456789012345678901234567890123456789012345678901234567890123456789012"
                        "34567890123456789"
                        "0123456789";
    expect_no_open(KVC_EARG, "at most 107");
}

/* A listener whose queue is full: what connects gets no answer at all, as from a host that is not there. */
static void a_silent_address_takes_no_longer_than_the_deadline(void **state)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), queued[8];
    int64_t before = kvc_now_ms();

    (void)state;
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    for (size_t i = 0; i < 8; i++) {
        queued[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(connect(queued[i], (struct sockaddr *)&address, sizeof address) == 0 ||
                    errno == EINPROGRESS);
    }
    options.port = ntohs(address.sin_port);
    options.connect_timeout_ms = 150;
    expect_no_open(KVC_ETIMEOUT, "150 ms");
    assert_true(kvc_now_ms() - before >= 150);
    for (size_t i = 0; i < 8; i++)
        close(queued[i]);
    close(listener);
}

static void a_server_that_accepts_and_says_nothing_is_given_up(void **state)
{
    (void)state;
    options.connect_timeout_ms = 100;
    greet("");
    expect_no_open(KVC_ECLOSED, "closed");
    fake_stop(server);
    server = NULL;
    /* The kernel accepts for a listener that nobody serves. */
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof address;

    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 5), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &len), 0);
    options.port = ntohs(address.sin_port);
    expect_no_open(KVC_ETIMEOUT, "did not answer the handshake within 100 ms");
    close(listener);
}

static void what_the_server_says_instead_of_a_handshake_is_told(void **state)
{
    (void)state;
    greet("-ERR max number of clients reached\r\n");
    expect_no_open(KVC_EREPLY, "max number of clients");
    greet("-NOAUTH Authentication required.\r\n");
    expect_no_open(KVC_EAUTH, "Authentication required");
    greet("HTTP/1.1 400 Bad Request\r\n");
    expect_no_open(KVC_EPROTOCOL, "not RESP");
    greet("$99999999999\r\n");
    expect_no_open(KVC_EPROTOCOL, "99999999999 bytes");
}

/* ---- in the middle of a reply ---- */

static void a_reply_may_come_byte_by_byte(void **state)
{
    kvc_client *client = open_client();
    kvc_reply *value;

    (void)state;
    fake_set_piece(server, 1);
    assert_int_equal(kvc_get(client, key, &value, NULL), KVC_OK);
    assert_shows(value, "$hello");
    kvc_close(client);
}

static void the_server_may_close_at_every_byte(void **state)
{
    static const char reply[] = "$5\r\nhello\r\n";
    kvc_client *client = open_client();

    (void)state;
    for (int reset = 0; reset <= 1; reset++) {
        for (size_t len = 0; len < sizeof reply - 1; len++) {
            kvc_error error;
            kvc_reply *value;
            kvc_status status;

            say_then(reply, len, reset ? THEN_RESET : THEN_HANG_UP);
            status = kvc_get(client, key, &value, &error);
            assert_int_equal(status, KVC_ECLOSED);
            assert_true(error.sent);
            assert_null(value);
        }
        say(reply);
        expect_get(client, KVC_OK, false); /* and the next command finds a new connection */
    }
    assert_int_equal(atomic_load(&asked), 2 * (sizeof reply - 1) + 2); /* none of them twice */
    kvc_close(client);
}

static void silence_ends_at_the_deadline(void **state)
{
    kvc_client *client;
    int64_t before;

    (void)state;
    options.command_timeout_ms = 60;
    client = open_client();
    for (size_t len = 0; len < 11; len += 3) {
        say_then("$5\r\nhello\r\n", len, THEN_GO_ON);
        before = kvc_now_ms();
        expect_get(client, KVC_ETIMEOUT, true);
        assert_true(kvc_now_ms() - before >= 60);
    }
    say("$5\r\nhello\r\n");
    expect_get(client, KVC_OK, false);
    kvc_close(client);
}

static atomic_bool dripping;

static void *drip(void *arg)
{
    (void)arg;
    while (atomic_load(&dripping) && atomic_load(&asked) == 0)
        poll(NULL, 0, 1);
    while (atomic_load(&dripping)) {
        fake_push(server, 0, "x", 1);
        poll(NULL, 0, 5);
    }
    return NULL;
}

/* Each byte is progress; the deadline does not care. */
static void a_slow_drip_does_not_move_the_deadline(void **state)
{
    kvc_client *client;
    pthread_t thread;
    int64_t before = kvc_now_ms();

    (void)state;
    options.command_timeout_ms = 150;
    client = open_client();
    say("$1000000\r\n");
    atomic_store(&dripping, true);
    assert_int_equal(pthread_create(&thread, NULL, drip, NULL), 0);
    expect_get(client, KVC_ETIMEOUT, true);
    assert_true(kvc_now_ms() - before >= 150);
    atomic_store(&dripping, false);
    pthread_join(thread, NULL);
    kvc_close(client);
}

static void lies_are_a_protocol_error(void **state)
{
    static const char *const lies[] = {
        "hello\r\n", "$-5\r\n", "*99999999999999\r\n", "$9999999999999\r\n",
        "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n"
    };
    kvc_client *client;

    (void)state;
    options.max_reply_depth = 5;
    client = open_client();
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        say(lies[i]);
        expect_get(client, KVC_EPROTOCOL, true);
    }
    say("+x\r\n");
    expect_get(client, KVC_ETYPE, true);
    say(":1\r\n");
    expect_get(client, KVC_ETYPE, true);
    say("$5\r\nhello\r\n");
    expect_get(client, KVC_OK, false);
    kvc_close(client);
}

static void a_reply_too_many_is_never_taken_for_the_next_one(void **state)
{
    kvc_client *client = open_client();
    kvc_reply *value;

    (void)state;
    say("$5\r\nhello\r\n$4\r\nevil\r\n");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(kvc_get(client, key, &value, NULL), KVC_OK);
        assert_shows(value, "$hello");
    }
    kvc_close(client);
}

static void error_replies_have_their_word(void **state)
{
    kvc_client *client = open_client();
    kvc_error error;
    kvc_reply *value;

    (void)state;
    say("-WRONGTYPE Operation against a key\r\n");
    assert_int_equal(kvc_get(client, key, &value, &error), KVC_EREPLY);
    assert_null(value);
    assert_string_equal(error.code, "WRONGTYPE");
    assert_string_equal(error.message, "WRONGTYPE Operation against a key");
    assert_int_equal(fake_arrivals(server), 1); /* the connection is as good as before */
    kvc_close(client);
}

/* ---- again, or not ---- */

/* The server closed all connections, and the client's machine has noticed. */
static void lose_connections(kvc_client *client)
{
    kvc_connection *connection;
    struct pollfd idle = { .events = POLLIN };

    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    idle.fd = kvc_connection_fd(connection);
    kvc_release(connection);
    fake_drop_all(server);
    assert_int_equal(poll(&idle, 1, 10000), 1);
}

static void a_connection_lost_while_idle_is_replaced_silently(void **state)
{
    kvc_client *client = open_client();

    (void)state;
    for (unsigned i = 1; i <= 5; i++) {
        expect_get(client, KVC_OK, false);
        assert_int_equal(fake_arrivals(server), i);
        lose_connections(client);
    }
    kvc_close(client);
}

static void what_was_sent_is_not_sent_again(void **state)
{
    kvc_client *client = open_client();
    kvc_error error;
    kvc_reply *reply;

    (void)state;
    say_then("", 0, THEN_HANG_UP);
    expect_get(client, KVC_ECLOSED, true);
    assert_int_equal(atomic_load(&asked), 1);
    assert_int_equal(kvc_command_strings(client, (const char *const[]){ "INCR", "k", NULL }, &reply, &error),
                     KVC_ECLOSED);
    assert_true(error.sent);
    assert_int_equal(atomic_load(&asked), 2);
    kvc_close(client);
}

static void what_changes_nothing_may_be_repeated_when_asked_for(void **state)
{
    static const kvc_slice incr[] = { { "INCR", 4 }, { "k", 1 } };
    kvc_client *client;
    kvc_reply *reply;

    (void)state;
    options.retry = KVC_RETRY_READONLY;
    options.max_retries = 2;
    client = open_client();
    say_then("", 0, THEN_HANG_UP);
    expect_get(client, KVC_ECLOSED, true);
    assert_int_equal(atomic_load(&asked), 3);
    assert_int_equal(kvc_command(client, 2, incr, &reply, NULL), KVC_ECLOSED);
    assert_int_equal(atomic_load(&asked), 4);
    kvc_close(client);
}

static void a_refused_connection_is_tried_again(void **state)
{
    kvc_client *client = open_client();
    kvc_error error;
    kvc_reply *value;

    (void)state;
    fake_close_door(server);
    lose_connections(client);
    assert_int_equal(kvc_get(client, key, &value, &error), KVC_ECONNECT);
    assert_false(error.sent);
    fake_open_door(server);
    expect_get(client, KVC_OK, false);
    kvc_close(client);
}

static void *open_door_soon(void *arg)
{
    (void)arg;
    poll(NULL, 0, 100);
    fake_open_door(server);
    return NULL;
}

static void a_server_that_comes_back_in_time_is_not_missed(void **state)
{
    kvc_client *client;
    pthread_t thread;

    (void)state;
    options.max_retries = 1000000;
    client = open_client();
    fake_close_door(server);
    lose_connections(client);
    assert_int_equal(pthread_create(&thread, NULL, open_door_soon, NULL), 0);
    expect_get(client, KVC_OK, false);
    pthread_join(thread, NULL);
    kvc_close(client);
}

/* ---- the pool ---- */

static void a_full_pool_says_so_in_time(void **state)
{
    kvc_client *client;
    kvc_connection *first, *second, *third;
    kvc_error error;

    (void)state;
    options.pool_max = 2;
    client = open_client();
    assert_int_equal(kvc_lease(client, 0, &first, NULL), KVC_OK);
    assert_int_equal(kvc_lease(client, 0, &second, NULL), KVC_OK);
    assert_int_equal(fake_arrivals(server), 2);
    assert_int_equal(kvc_lease(client, 30, &third, &error), KVC_EPOOL);
    assert_null(third);
    assert_non_null(strstr(error.message, "all 2 (pool_max)"));
    kvc_release(first);
    assert_int_equal(kvc_lease(client, 30, &third, &error), KVC_OK);
    assert_int_equal(fake_arrivals(server), 2);
    kvc_release(second);
    kvc_release(third);
    kvc_close(client);
}

#define command(connection, ...) run_words(connection, (const char *const[]){ __VA_ARGS__, NULL })
static kvc_reply *run_words(kvc_connection *connection, const char *const words[])
{
    kvc_slice argv[8];
    size_t argc = 0;
    kvc_reply *reply;
    kvc_error error;

    for (; words[argc]; argc++)
        argv[argc] = kvc_str(words[argc]);
    if (kvc_connection_command(connection, argc, argv, &reply, &error) != KVC_OK)
        fail_msg("%s: %s", words[0], error.message);
    return reply;
}

static void a_dirty_connection_does_not_come_back(void **state)
{
    kvc_client *client = open_client();
    kvc_connection *connection;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
        assert_int_equal(fake_arrivals(server), i + 1);
        assert_shows(command(connection, "MULTI"), "+OK");
        kvc_release(connection);
    }
    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    assert_shows(command(connection, "SET", "a", "b"), "+OK");
    kvc_release(connection);
    expect_get(client, KVC_OK, false);
    assert_int_equal(fake_arrivals(server), 5);
    kvc_close(client);
}

/* Several wait; they are served in the order of coming. */
enum { queue_length = 6 };
static kvc_client *shared;
static atomic_int in_line, served;
static int order[queue_length];

static void *wait_in_line(void *arg)
{
    int me = *(int *)arg;
    kvc_connection *connection;

    atomic_fetch_add(&in_line, 1);
    if (kvc_lease(shared, 0, &connection, NULL) == KVC_OK) {
        order[atomic_fetch_add(&served, 1)] = me;
        kvc_release(connection);
    }
    return NULL;
}

static void who_waits_is_served_in_order(void **state)
{
    kvc_connection *connection;
    pthread_t threads[queue_length];
    int numbers[queue_length];

    (void)state;
    options.pool_max = 1;
    shared = open_client();
    atomic_store(&in_line, 0);
    atomic_store(&served, 0);
    assert_int_equal(kvc_lease(shared, 0, &connection, NULL), KVC_OK);
    for (int i = 0; i < queue_length; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, wait_in_line, &numbers[i]), 0);
        while (atomic_load(&in_line) <= i)
            poll(NULL, 0, 1);
        poll(NULL, 0, 20); /* from the counter to the line; too short a time would only show as a failure */
    }
    kvc_release(connection);
    for (int i = 0; i < queue_length; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&served), queue_length);
    for (int i = 0; i < queue_length; i++)
        assert_int_equal(order[i], i);
    kvc_close(shared);
}

static atomic_int ups, downs;

static void count_state(void *arg, const char *address, bool up)
{
    assert_non_null(strstr(address, arg));
    atomic_fetch_add(up ? &ups : &downs, 1);
}

static void the_owner_is_told_of_connections(void **state)
{
    char port[16];
    kvc_client *client;

    (void)state;
    snprintf(port, sizeof port, ":%d", options.port);
    options.on_state = count_state;
    options.state_arg = port;
    atomic_store(&ups, 0);
    atomic_store(&downs, 0);
    client = open_client();
    expect_get(client, KVC_OK, false);
    assert_int_equal(atomic_load(&ups), 1);
    say_then("", 0, THEN_HANG_UP);
    expect_get(client, KVC_ECLOSED, true);
    assert_int_equal(atomic_load(&downs), 1);
    kvc_close(client);
    assert_int_equal(atomic_load(&ups), atomic_load(&downs));
}

static void a_forked_child_may_only_close(void **state)
{
    kvc_client *client = open_client();
    kvc_connection *connection;
    pid_t child;
    int status;

    (void)state;
    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kvc_slice ping = kvc_str("PING");
        kvc_reply *reply;
        bool refused = kvc_get(client, key, &reply, NULL) == KVC_ESTATE &&
                       kvc_connection_command(connection, 1, &ping, &reply, NULL) == KVC_ESTATE;

        kvc_release(connection);
        kvc_close(client);
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_shows(command(connection, "SET", "a", "b"), "+OK");
    kvc_release(connection);
    expect_get(client, KVC_OK, false);
    assert_int_equal(fake_arrivals(server), 1);
    kvc_close(client);
}

/* ---- one connection, in steps ---- */

static void append(kvc_connection *connection, const char *name)
{
    kvc_slice argv[] = { kvc_str(name), key };

    assert_int_equal(kvc_connection_append(connection, 2, argv, NULL), KVC_OK);
}

static void replies_are_taken_in_order(void **state)
{
    kvc_client *client = open_client();
    kvc_connection *connection;
    kvc_error error;
    kvc_reply *reply;
    kvc_slice argv[] = { kvc_str("GET"), key };

    (void)state;
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
    assert_int_equal(atomic_load(&asked), 1);
    kvc_close(client);
}

static void a_timeout_of_next_breaks_nothing(void **state)
{
    kvc_client *client = open_client();
    kvc_connection *connection;
    kvc_reply *reply;

    (void)state;
    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    say("$5\r\nhe");
    append(connection, "GET");
    assert_int_equal(kvc_connection_next(connection, 20, &reply, NULL), KVC_ETIMEOUT);
    assert_null(reply);
    assert_int_equal(kvc_connection_next(connection, 20, &reply, NULL), KVC_ETIMEOUT);
    fake_push(server, 0, "llo\r\n", 5);
    assert_int_equal(kvc_connection_next(connection, 0, &reply, NULL), KVC_OK);
    assert_shows(reply, "$hello");
    kvc_release(connection);
    kvc_close(client);
}

static void a_broken_connection_stays_broken(void **state)
{
    kvc_client *client = open_client();
    kvc_connection *connection;
    kvc_slice argv[] = { kvc_str("GET"), key };
    kvc_error error;
    kvc_reply *reply;

    (void)state;
    options.command_timeout_ms = 50;
    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    say_then("", 0, THEN_HANG_UP);
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
    kvc_client *client = open_client();
    kvc_connection *connection;
    pthread_t thread;
    kvc_reply *reply;

    (void)state;
    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    say("");
    append(connection, "GET");
    assert_int_equal(pthread_create(&thread, NULL, wake_up, connection), 0);
    assert_int_equal(kvc_connection_next(connection, UINT32_MAX, &reply, NULL), KVC_ESTATE);
    pthread_join(thread, NULL);
    fake_push(server, 0, "$-1\r\n", 5);
    assert_int_equal(kvc_connection_next(connection, 0, &reply, NULL), KVC_OK);
    assert_shows(reply, "_");
    /* A wake that found nobody waiting is not for the next user. */
    kvc_connection_wake(connection);
    kvc_release(connection);
    say("$5\r\nhello\r\n");
    expect_get(client, KVC_OK, false);
    assert_int_equal(fake_arrivals(server), 1);
    kvc_close(client);
}

static void commands_that_change_the_connection_need_a_lease(void **state)
{
    static const char *const commands[][4] = { { "MULTI" },
                                               { "WATCH", "k" },
                                               { "SUBSCRIBE", "c" },
                                               { "select", "1" },
                                               { "CLIENT", "REPLY", "OFF" },
                                               { "MONITOR" },
                                               { "HELLO", "3" },
                                               { "quit" } };
    kvc_client *client = open_client();
    kvc_error error;
    kvc_reply *reply;

    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        assert_int_equal(kvc_command_strings(client, commands[i], &reply, &error), KVC_ESTATE);
        assert_non_null(strstr(error.message, "kvc_lease"));
    }
    assert_int_equal(kvc_command(client, 0, NULL, &reply, &error), KVC_EARG);
    kvc_close(client);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(nobody_listens),
        test(a_silent_address_takes_no_longer_than_the_deadline),
        test(a_server_that_accepts_and_says_nothing_is_given_up),
        test(what_the_server_says_instead_of_a_handshake_is_told),
        test(a_reply_may_come_byte_by_byte),
        test(the_server_may_close_at_every_byte),
        test(silence_ends_at_the_deadline),
        test(a_slow_drip_does_not_move_the_deadline),
        test(lies_are_a_protocol_error),
        test(a_reply_too_many_is_never_taken_for_the_next_one),
        test(error_replies_have_their_word),
        test(a_connection_lost_while_idle_is_replaced_silently),
        test(what_was_sent_is_not_sent_again),
        test(what_changes_nothing_may_be_repeated_when_asked_for),
        test(a_refused_connection_is_tried_again),
        test(a_server_that_comes_back_in_time_is_not_missed),
        test(a_full_pool_says_so_in_time),
        test(a_dirty_connection_does_not_come_back),
        test(who_waits_is_served_in_order),
        test(the_owner_is_told_of_connections),
        test(a_forked_child_may_only_close),
        test(replies_are_taken_in_order),
        test(a_timeout_of_next_breaks_nothing),
        test(a_broken_connection_stays_broken),
        test(who_waits_can_be_woken),
        test(commands_that_change_the_connection_need_a_lease),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
