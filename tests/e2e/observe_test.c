/* observe_test.c - SLOWLOG and MONITOR where several workers, pipelines and the state thread are under way.
 *
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "e2e.h"

enum { patience_s = 60 };

static reply *ask3(conn *c, const char *a, const char *b, const char *d)
{
    const kv_slice argv[] = { kv_str(a), kv_str(b), kv_str(d) };
    reply *r = conn_ask(c, d ? 3 : 2, argv);

    assert_non_null(r);
    return r;
}

/* Whether the slow log holds an entry whose first argument is name, and in *ret_more whether its last one is a remark. */
static bool is_logged(conn *c, const char *name, bool *ret_more)
{
    reply *r = ask3(c, "SLOWLOG", "GET", "-1");
    bool found = false;

    for (size_t i = 0; i < r->count && !found; i++) {
        const reply *argv = &r->elements[i].elements[3];

        found = strcasecmp(argv->elements[0].text, name) == 0;
        *ret_more = strstr(argv->elements[argv->count - 1].text, "more in the pipeline") != NULL;
    }
    reply_free(r);
    return found;
}

/* DEBUG SLEEP is timed by itself, and takes nothing from the FAST commands round it. */
static void a_slow_command_is_found_in_a_pipeline_of_short_ones(void **state)
{
    static const char *const sharings[] = { "sharded", "mutex", "actor" };

    (void)state;
    for (int i = 0; i < 3; i++) {
        server *s = begin("--threads", "1", "--sharing", sharings[i], "--enable-debug-command", "yes",
                          "--slowlog-log-slower-than", "20000");
        conn *c = connect_to(s);
        bool more;

        assert_true(conn_send(c, KV_STR("GET a\r\nGET b\r\nDEBUG SLEEP 0.03\r\nGET c\r\n")));
        next_is(c, "_");
        next_is(c, "_");
        next_is(c, "+OK");
        next_is(c, "_");
        assert_true(is_logged(c, "debug", &more));
        assert_false(more);
        conn_close(c);
        end(s);
    }
}

/* One value of many megabytes among small ones: copying it takes longer than a microsecond, which every batch does; so each
 * call is timed, and each is told by name. */
static void with_a_low_threshold_every_command_is_told_by_name(void **state)
{
    server *s = begin("--threads", "1", "--slowlog-log-slower-than", "0", "--slowlog-max-len", "100");
    conn *c = connect_to(s);
    char pipeline[2048] = "";
    reply *r;

    (void)state;
    says(c, "+OK", "SLOWLOG", "RESET");
    for (int i = 0; i < 64; i++)
        sprintf(pipeline + strlen(pipeline), "*2\r\n$3\r\nGET\r\n$2\r\n%02d\r\n", i);
    assert_true(conn_send(c, kv_str(pipeline)));
    for (int i = 0; i < 64; i++)
        next_is(c, "_");
    r = ask3(c, "SLOWLOG", "GET", "64");
    assert_int_equal(r->count, 64);
    for (int i = 0; i < 64; i++) {
        const reply *argv = &r->elements[i].elements[3];

        assert_int_equal(argv->count, 2);
        assert_int_equal(atoi(argv->elements[1].text), 63 - i);
    }
    reply_free(r);
    conn_close(c);
    end(s);
}

/* The lines of each connection, on whichever worker it is, reach the monitor in its order, and none is missing. */
static void a_monitor_sees_every_command_in_each_clients_order(void **state)
{
    enum { clients = 8, requests = 300 };
    server *s = begin("--threads", "4");
    conn *monitor = connect_to(s), *c[clients];
    int seen[clients] = { 0 };

    (void)state;
    for (int i = 0; i < clients; i++)
        c[i] = connect_to(s);
    says(monitor, "+OK", "MONITOR", "COMMAND", "incrby");
    for (int from = 0; from < requests; from += 50)
        for (int i = 0; i < clients; i++) {
            char pipeline[4096] = "";

            for (int n = from; n < from + 50; n++)
                sprintf(pipeline + strlen(pipeline), "INCRBY k%d %d\r\n", i, n);
            assert_true(conn_send(c[i], kv_str(pipeline)));
        }
    for (int left = clients * requests; left > 0; left--) {
        reply *r = conn_read(monitor);
        int client, n;

        assert_non_null(r);
        assert_int_equal(r->type, '+');
        assert_int_equal(sscanf(strstr(r->text, "\"INCRBY\""), "\"INCRBY\" \"k%d\" \"%d\"", &client, &n), 2);
        assert_int_equal(n, seen[client]);
        seen[client]++;
        reply_free(r);
    }
    for (int i = 0; i < clients; i++)
        conn_close(c[i]);
    conn_close(monitor);
    end(s);
}

/* It is closed by client-output-buffer-limit, and nobody else is harmed. */
static void a_monitor_that_does_not_read_is_closed(void **state)
{
    server *s = begin("--threads", "2", "--client-output-buffer-limit", "normal 1mb 0 0");
    conn *monitor = connect_to(s), *c = connect_to(s), *other = connect_to(s);
    time_t until = time(NULL) + patience_s;
    char *value = malloc(100001), *list;
    bool gone = false;

    (void)state;
    memset(value, 'x', 100000);
    value[100000] = '\0';
    says(monitor, "+OK", "MONITOR");
    while (!gone && time(NULL) < until) {
        const kv_slice argv[] = { KV_STR("CLIENT"), KV_STR("LIST") };
        reply *r;

        says(c, "+OK", "SET", "k", value);
        r = conn_ask(other, 2, argv);
        assert_non_null(r);
        list = r->text;
        gone = strstr(list, "flags=O") == NULL;
        reply_free(r);
    }
    assert_true(gone);
    says(c, "+PONG", "PING");
    free(value);
    conn_close(monitor);
    conn_close(c);
    conn_close(other);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_command_is_found_in_a_pipeline_of_short_ones),
        cmocka_unit_test(with_a_low_threshold_every_command_is_told_by_name),
        cmocka_unit_test(a_monitor_sees_every_command_in_each_clients_order),
        cmocka_unit_test(a_monitor_that_does_not_read_is_closed),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
