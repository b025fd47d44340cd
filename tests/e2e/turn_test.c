/* turn_test.c - many clients whose requests are ready in one turn of a worker, and one client whose requests are not.
 *
 * The worker sleeps (DEBUG SLEEP) while requests arrive, so that it finds them all at once when it wakes. Should it be awake earlier
 * than that, on a busy machine, the answers are the same.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "e2e.h"

enum { crowd = 100 };

static server *begin_one_worker(void)
{
    return begin("--threads", "1", "--enable-debug-command", "yes", "--save", "");
}

/* Keeps the worker from serving while the caller sends. */
static void let_sleep(conn *sleeper)
{
    const kv_slice words[] = { KV_STR("DEBUG"), KV_STR("SLEEP"), KV_STR("0.3") };

    assert_true(conn_send_args(sleeper, 3, words));
}

static void send_text(conn *c, const char *text)
{
    assert_true(conn_send(c, kv_str(text)));
}

static void each_client_of_a_turn_gets_its_own_reply(void **state)
{
    server *s = begin_one_worker();
    conn *sleeper = connect_to(s), *clients[crowd];
    char text[128];

    (void)state;
    for (int i = 0; i < crowd; i++) {
        snprintf(text, sizeof text, "key:%d", i);
        clients[i] = connect_to(s);
        says(clients[i], "+OK", "SET", text, text);
    }
    for (int round = 0; round < 3; round++) {
        let_sleep(sleeper);
        for (int i = 0; i < crowd; i++) {
            snprintf(text, sizeof text, "*2\r\n$3\r\nGET\r\n$%d\r\nkey:%d\r\n", i < 10 ? 5 : 6, i);
            send_text(clients[i], text);
        }
        next_is(sleeper, "+OK");
        for (int i = 0; i < crowd; i++) {
            snprintf(text, sizeof text, "$key:%d", i);
            next_is(clients[i], text);
        }
    }
    for (int i = 0; i < crowd; i++)
        conn_close(clients[i]);
    conn_close(sleeper);
    end(s);
}

static void writes_of_a_turn_are_all_done(void **state)
{
    server *s = begin_one_worker();
    conn *sleeper = connect_to(s), *clients[crowd];
    bool seen[crowd + 1] = { false };

    (void)state;
    for (int i = 0; i < crowd; i++)
        clients[i] = connect_to(s);
    says(sleeper, "+OK", "SET", "text", "no number");
    let_sleep(sleeper);
    for (int i = 0; i < crowd; i++)
        send_text(clients[i],
                  i % 4 ? "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n" : "*2\r\n$4\r\nINCR\r\n$4\r\ntext\r\n");
    next_is(sleeper, "+OK");
    for (int i = 0; i < crowd; i++) {
        reply *r = i % 4 ? conn_read(clients[i]) : NULL;

        if (r) {
            assert_int_equal(r->type, ':');
            assert_in_range(r->integer, 1, crowd * 3 / 4);
            assert_false(seen[r->integer]);
            seen[r->integer] = true;
        } else {
            next_is(clients[i], "-ERR value is not an integer or out of range");
        }
        reply_free(r);
    }
    for (int i = 0; i < crowd; i++)
        conn_close(clients[i]);
    conn_close(sleeper);
    end(s);
}

/* What is special about one client of a turn is nothing to the others. */
static void clients_of_all_kinds_share_a_turn(void **state)
{
    server *s = begin_one_worker();
    conn *sleeper = connect_to(s), *c[12];
    char *big = malloc(100001);

    (void)state;
    memset(big, 'b', 100000);
    big[100000] = 0;
    for (int i = 0; i < 12; i++)
        c[i] = connect_to(s);
    says(sleeper, "+OK", "SET", "k", "v");
    says(sleeper, "+OK", "SET", "big", big);
    says(c[1], "+OK", "SELECT", "3");
    says(c[1], "+OK", "SET", "k", "third");
    says(c[2], "+OK", "MULTI");
    says(c[3], "%", "HELLO", "3");
    says(c[4], "+OK", "CLIENT", "NO-TOUCH", "on");
    send_text(c[5], "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n");
    let_sleep(sleeper);
    send_text(c[0], "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    send_text(c[1], "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    send_text(c[2], "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    send_text(c[3], "*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n");
    send_text(c[4], "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    send_text(c[5], "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    send_text(c[6], "*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n");
    send_text(c[7], "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*2\r\n$3\r\nGET\r\n$4\r\nnone\r\n*1\r\n$4\r\nPING\r\n");
    send_text(c[8], "*2\r\n$3\r\nGET\r\n$1\r\nk\r");
    send_text(c[9], "*1\r\n$3\r\nGET\r\n");
    send_text(c[10], "GET k\r\n");
    send_text(c[11], "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    conn_close(c[11]); /* and goes, before it is answered */
    next_is(sleeper, "+OK");
    next_is(c[0], "$v");
    next_is(c[1], "$third");
    next_is(c[2], "+QUEUED");
    next_is(c[3], "_");
    next_is(c[4], "$v");
    next_is(c[6], "$bbbbbbbb");
    next_is(c[7], "$v");
    next_is(c[7], "_");
    next_is(c[7], "+PONG");
    next_is(c[9], "-ERR wrong number of arguments for 'get' command");
    next_is(c[10], "$v");
    send_text(c[5], "*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n");
    next_is(c[5], "+OK");
    send_text(c[8], "\n");
    next_is(c[8], "$v");
    for (int i = 0; i < 11; i++)
        conn_close(c[i]);
    conn_close(sleeper);
    free(big);
    end(s);
}

static void a_turn_that_began_before_a_pause_is_paused(void **state)
{
    server *s = begin_one_worker();
    conn *sleeper = connect_to(s), *pauser = connect_to(s), *clients[crowd];

    (void)state;
    for (int i = 0; i < crowd; i++)
        clients[i] = connect_to(s);
    says(sleeper, "+OK", "SET", "n", "0");
    says(pauser, "+OK", "CLIENT", "PAUSE", "100000", "WRITE");
    let_sleep(sleeper);
    for (int i = 0; i < crowd; i++)
        send_text(clients[i], i % 2 ? "*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n" : "*2\r\n$3\r\nGET\r\n$1\r\nn\r\n");
    next_is(sleeper, "+OK");
    for (int i = 0; i < crowd; i += 2)
        next_is(clients[i], "$0");
    says(pauser, "+OK", "CLIENT", "UNPAUSE");
    for (int i = 1; i < crowd; i += 2)
        next_is(clients[i], ":");
    says(pauser, "$50", "GET", "n");
    for (int i = 0; i < crowd; i++)
        conn_close(clients[i]);
    conn_close(pauser);
    conn_close(sleeper);
    end(s);
}

/* ---- one client -------------------------------------------------------------------------- */

static void what_a_blocked_client_asks_meanwhile_is_answered_after_it(void **state)
{
    server *s = begin_one_worker();
    conn *c = connect_to(s), *other = connect_to(s);
    struct timespec moment = { .tv_nsec = 20000000 };
    char id[32];
    reply *r;

    (void)state;
    send_text(c, "*2\r\n$6\r\nCLIENT\r\n$2\r\nID\r\n");
    r = conn_read(c);
    assert_non_null(r);
    snprintf(id, sizeof id, "%lld", (long long)r->integer);
    reply_free(r);
    send_text(c, "*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$1\r\n0\r\n");
    for (bool blocked = false; !blocked;) {
        char *text = ask(other, "INFO", "clients");

        assert_non_null(text);
        blocked = strstr(text, "blocked_clients:1") != NULL;
        free(text);
    }
    send_text(c, "*1\r\n$4\r\nPING\r\n");
    nanosleep(&moment, NULL); /* so that they are read one by one, mostly */
    send_text(c, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n");
    nanosleep(&moment, NULL);
    says(other, "_", "GET", "k"); /* nothing of it has run */
    says(other, ":1", "CLIENT", "UNBLOCK", id);
    next_is(c, ":0");
    next_is(c, "+PONG");
    next_is(c, "_");
    next_is(c, "+OK");
    says(other, "$v", "GET", "k");
    conn_close(c);
    conn_close(other);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_client_of_a_turn_gets_its_own_reply),
        cmocka_unit_test(writes_of_a_turn_are_all_done),
        cmocka_unit_test(clients_of_all_kinds_share_a_turn),
        cmocka_unit_test(a_turn_that_began_before_a_pause_is_paused),
        cmocka_unit_test(what_a_blocked_client_asks_meanwhile_is_answered_after_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
