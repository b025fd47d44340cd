/* pool_test.c - the connections of a blocking client: those that are lost, replaced, lent and waited for.
 *
 * SPDX-License-Identifier: MIT */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "scripted_server.h"
#include "show.h"

/* ---- again, or not ---- */

/* The server closed all connections, and the client's machine has noticed. */
static void lose_connections(scripted *s, kvc_client *client)
{
    kvc_connection *connection;
    struct pollfd idle = { .events = POLLIN };

    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    idle.fd = kvc_connection_fd(connection);
    kvc_release(connection);
    fake_drop_all(s->server);
    assert_int_equal(poll(&idle, 1, 10000), 1);
}

static void a_connection_lost_while_idle_is_replaced_silently(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);

    for (unsigned i = 1; i <= 5; i++) {
        expect_get(client, KVC_OK, false);
        assert_int_equal(fake_arrivals(s->server), i);
        lose_connections(s, client);
    }
    kvc_close(client);
}

static void what_was_sent_is_not_sent_again(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_error error;
    kvc_reply *reply;

    say_then(s, "", 0, THEN_HANG_UP);
    expect_get(client, KVC_ECLOSED, true);
    assert_int_equal(atomic_load(&s->asked), 1);
    assert_int_equal(kvc_command_strings(client, (const char *const[]){ "INCR", "k", NULL }, &reply, &error),
                     KVC_ECLOSED);
    assert_true(error.sent);
    assert_int_equal(atomic_load(&s->asked), 2);
    kvc_close(client);
}

static void what_changes_nothing_may_be_repeated_when_asked_for(void **state)
{
    scripted *s = *state;
    static const kvc_slice incr[] = { { "INCR", 4 }, { "k", 1 } };
    kvc_client *client;
    kvc_reply *reply;

    s->options.retry = KVC_RETRY_READONLY;
    s->options.max_retries = 2;
    client = open_client(s);
    say_then(s, "", 0, THEN_HANG_UP);
    expect_get(client, KVC_ECLOSED, true);
    assert_int_equal(atomic_load(&s->asked), 3);
    assert_int_equal(kvc_command(client, 2, incr, &reply, NULL), KVC_ECLOSED);
    assert_int_equal(atomic_load(&s->asked), 4);
    kvc_close(client);
}

static void a_refused_connection_is_tried_again(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_error error;
    kvc_reply *value;

    fake_close_door(s->server);
    lose_connections(s, client);
    assert_int_equal(kvc_get(client, scripted_key, &value, &error), KVC_ECONNECT);
    assert_false(error.sent);
    fake_open_door(s->server);
    expect_get(client, KVC_OK, false);
    kvc_close(client);
}

static void *open_door_soon(void *arg)
{
    scripted *s = arg;

    poll(NULL, 0, 100);
    fake_open_door(s->server);
    return NULL;
}

static void a_server_that_comes_back_in_time_is_not_missed(void **state)
{
    scripted *s = *state;
    kvc_client *client;
    pthread_t thread;

    s->options.max_retries = 1000000;
    client = open_client(s);
    fake_close_door(s->server);
    lose_connections(s, client);
    assert_int_equal(pthread_create(&thread, NULL, open_door_soon, s), 0);
    expect_get(client, KVC_OK, false);
    pthread_join(thread, NULL);
    kvc_close(client);
}

/* ---- the pool ---- */

static void a_full_pool_says_so_in_time(void **state)
{
    scripted *s = *state;
    kvc_client *client;
    kvc_connection *first, *second, *third;
    kvc_error error;

    s->options.pool_max = 2;
    client = open_client(s);
    assert_int_equal(kvc_lease(client, 0, &first, NULL), KVC_OK);
    assert_int_equal(kvc_lease(client, 0, &second, NULL), KVC_OK);
    assert_int_equal(fake_arrivals(s->server), 2);
    assert_int_equal(kvc_lease(client, 30, &third, &error), KVC_EPOOL);
    assert_null(third);
    assert_non_null(strstr(error.message, "all 2 (pool_max)"));
    kvc_release(first);
    assert_int_equal(kvc_lease(client, 30, &third, &error), KVC_OK);
    assert_int_equal(fake_arrivals(s->server), 2);
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
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_connection *connection;

    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
        assert_int_equal(fake_arrivals(s->server), i + 1);
        assert_shows(command(connection, "MULTI"), "+OK");
        kvc_release(connection);
    }
    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    assert_shows(command(connection, "SET", "a", "b"), "+OK");
    kvc_release(connection);
    expect_get(client, KVC_OK, false);
    assert_int_equal(fake_arrivals(s->server), 5);
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
    scripted *s = *state;
    kvc_connection *connection;
    pthread_t threads[queue_length];
    int numbers[queue_length];

    s->options.pool_max = 1;
    shared = open_client(s);
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
    scripted *s = *state;
    char port[16];
    kvc_client *client;

    snprintf(port, sizeof port, ":%d", s->options.port);
    s->options.on_state = count_state;
    s->options.state_arg = port;
    atomic_store(&ups, 0);
    atomic_store(&downs, 0);
    client = open_client(s);
    expect_get(client, KVC_OK, false);
    assert_int_equal(atomic_load(&ups), 1);
    say_then(s, "", 0, THEN_HANG_UP);
    expect_get(client, KVC_ECLOSED, true);
    assert_int_equal(atomic_load(&downs), 1);
    kvc_close(client);
    assert_int_equal(atomic_load(&ups), atomic_load(&downs));
}

static void a_forked_child_may_only_close(void **state)
{
    scripted *s = *state;
    kvc_client *client = open_client(s);
    kvc_connection *connection;
    pid_t child;
    int status;

    assert_int_equal(kvc_lease(client, 0, &connection, NULL), KVC_OK);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        kvc_slice ping = kvc_str("PING");
        kvc_reply *reply;
        bool refused = kvc_get(client, scripted_key, &reply, NULL) == KVC_ESTATE &&
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
    assert_int_equal(fake_arrivals(s->server), 1);
    kvc_close(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scripted_test(a_connection_lost_while_idle_is_replaced_silently),
        scripted_test(what_was_sent_is_not_sent_again),
        scripted_test(what_changes_nothing_may_be_repeated_when_asked_for),
        scripted_test(a_refused_connection_is_tried_again),
        scripted_test(a_server_that_comes_back_in_time_is_not_missed),
        scripted_test(a_full_pool_says_so_in_time),
        scripted_test(a_dirty_connection_does_not_come_back),
        scripted_test(who_waits_is_served_in_order),
        scripted_test(the_owner_is_told_of_connections),
        scripted_test(a_forked_child_may_only_close),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
