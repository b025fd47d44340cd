/* blocking_test.c - tests of WAIT, WAITAOF, CLIENT UNBLOCK, PAUSE and UNPAUSE: connections that wait.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "session.h"

static const char *id_of(session *s)
{
    return said(s, "CLIENT", "ID") + 1;
}

/* Until so many clients are blocked, as INFO tells. */
static void await_blocked(session *s, int count)
{
    char wanted[64];

    sprintf(wanted, "blocked_clients:%d\\x0d", count);
    for (int i = 0; i < 100000; i++)
        if (strstr(said(s, "INFO", "clients"), wanted))
            return;
    fail_msg("never were %d clients blocked", count);
}

static void wait_without_replicas_ends_with_its_timeout(void **state)
{
    session *s = *state;

    expect(s, ":0", "WAIT", "0", "0");
    expect(s, ":0", "WAIT", "-1", "0");
    expect(s, ":0", "WAIT", "1", "1");
    expect(s, "-ERR value is not an integer or out of range", "WAIT", "x", "1");
    expect(s, "-ERR timeout is not an integer or out of range", "WAIT", "1", "x");
    expect(s, "-ERR timeout is negative", "WAIT", "1", "-1");
}

static void what_follows_a_wait_comes_after_it(void **state)
{
    session *s = *state;

    send_raw(s, "SET a 1\r\nWAIT 1 5\r\nINCR a\r\nWAIT 1 5\r\nGET a\r\n");
    expect_next(s, "+OK");
    expect_next(s, ":0");
    expect_next(s, ":2");
    expect_next(s, ":0");
    expect_next(s, "$2");
}

static void in_a_transaction_nothing_waits(void **state)
{
    session *s = *state;

    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "WAIT", "1", "0");
    expect(s, "+QUEUED", "PING");
    expect(s, "*2 :0 +PONG", "EXEC");
}

static void unblock_ends_the_waiting(void **state)
{
    session *s = *state, *other = another_client(s);
    const char *id = id_of(other);

    send_raw(other, "WAIT 1 0\r\nPING\r\n");
    await_blocked(s, 1);
    expect_like(s, "$* flags=*b* *cmd=wait *", "CLIENT", "LIST", "ID", id);
    expect(s, ":1", "CLIENT", "UNBLOCK", id);
    expect_next(other, ":0");
    expect_next(other, "+PONG");
    expect(s, ":0", "CLIENT", "UNBLOCK", id);
    send_raw(other, "WAIT 1 0\r\n");
    await_blocked(s, 1);
    expect(s, ":1", "CLIENT", "UNBLOCK", id, "error");
    expect_next(other, "-UNBLOCKED client unblocked via CLIENT UNBLOCK");
    send_raw(other, "WAIT 1 0\r\n");
    await_blocked(s, 1);
    expect(s, ":1", "CLIENT", "UNBLOCK", id, "TIMEOUT");
    expect_next(other, ":0");
    expect(other, "+PONG", "PING");
    expect(s, ":0", "CLIENT", "UNBLOCK", "999999");
    expect(s, "-ERR value is not an integer or out of range", "CLIENT", "UNBLOCK", "x");
    expect(s, "-ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR", "CLIENT", "UNBLOCK", "1", "NOW");
    expect(s, "-ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.",
           "CLIENT", "UNBLOCK", "1", "ERROR", "x");
}

static void a_blocked_client_may_leave_or_be_killed(void **state)
{
    session *s = *state, *other = another_client(s);
    const char *id = id_of(other);

    send_raw(other, "WAIT 1 0\r\nSET a 1\r\n");
    await_blocked(s, 1);
    expect(s, ":1", "CLIENT", "KILL", "ID", id);
    expect_closed(other);
    await_blocked(s, 0);
    expect(s, "_", "GET", "a"); /* what it had sent was not run */
    other = another_client(s);
    send_raw(other, "WAIT 1 0\r\n");
    await_blocked(s, 1);
    shutdown(conn_fd(session_conn(other)), SHUT_RDWR);
    await_blocked(s, 0);
}

static void a_pause_of_writes_lets_reads_through(void **state)
{
    session *s = *state, *other = another_client(s);

    expect(s, "+OK", "SET", "a", "1");
    expect(s, "+OK", "CLIENT", "PAUSE", "1000000", "WRITE");
    expect(other, "$1", "GET", "a");
    send_raw(other, "SET a 2\r\nGET a\r\nINCR a\r\n");
    await_blocked(s, 1);
    expect_like(s, "$* flags=*b* *", "CLIENT", "LIST");
    expect(s, "$1", "GET", "a");
    expect(s, ":0", "CLIENT", "UNBLOCK", id_of(s));
    expect(s, "+OK", "CLIENT", "UNPAUSE");
    expect_next(other, "+OK");
    expect_next(other, "$2");
    expect_next(other, ":3");
    expect(other, "+OK", "SET", "a", "4");
    await_blocked(s, 0);
}

static void who_is_paused_cannot_be_unblocked(void **state)
{
    session *s = *state, *other;
    const char *id;

    not_in_redis(s, "7.0 ends with a panic");
    other = another_client(s);
    id = id_of(other);
    expect(s, "+OK", "CLIENT", "PAUSE", "1000000", "WRITE");
    send_raw(other, "SET a 2\r\n");
    await_blocked(s, 1);
    expect(s, ":0", "CLIENT", "UNBLOCK", id);
    expect(s, ":0", "CLIENT", "UNBLOCK", id, "ERROR");
    expect(s, "+OK", "CLIENT", "UNPAUSE");
    expect_next(other, "+OK");
}

static void paused_requests_run_in_their_order(void **state)
{
    session *s = *state, *others[8];

    expect(s, "+OK", "CLIENT", "PAUSE", "1000000", "WRITE");
    for (int i = 0; i < 8; i++) {
        others[i] = another_client(s);
        send_raw(others[i], "APPEND a x\r\nSTRLEN a\r\nDEL b\r\nPING\r\n");
        await_blocked(s, i + 1);
    }
    expect(s, "+OK", "CLIENT", "UNPAUSE");
    for (int i = 0; i < 8; i++) {
        reply *r = conn_read(session_conn(others[i]));

        assert_non_null(r);
        assert_int_equal(r->type, ':');
        reply_free(r);
        r = conn_read(session_conn(others[i]));
        assert_non_null(r);
        assert_int_equal(r->type, ':');
        reply_free(r);
        expect_next(others[i], ":0");
        expect_next(others[i], "+PONG");
    }
    expect(s, ":8", "STRLEN", "a");
}

static void a_transaction_that_writes_is_paused_one_that_reads_is_not(void **state)
{
    session *s = *state, *other = another_client(s), *third = another_client(s);

    expect(other, "+OK", "MULTI");
    expect(other, "+QUEUED", "SET", "a", "1");
    expect(third, "+OK", "MULTI");
    expect(third, "+QUEUED", "GET", "a");
    expect(s, "+OK", "CLIENT", "PAUSE", "1000000", "WRITE");
    expect(third, "*1 _", "EXEC");
    send_raw(other, "EXEC\r\n");
    await_blocked(s, 1);
    send_raw(third, "PUBLISH c x\r\n");
    await_blocked(s, 2);
    expect(s, "+OK", "CLIENT", "UNPAUSE");
    expect_next(other, "*1 +OK");
    expect_next(third, ":0");
}

static void a_pause_of_all_ends_by_itself(void **state)
{
    session *s = *state, *other = another_client(s);

    expect(s, "+OK", "CLIENT", "PAUSE", "30", "ALL");
    expect_like(other, "-ERR unknown command *", "NOSUCH"); /* errors are told at once */
    expect(other, "_", "GET", "a");
    expect(s, "+PONG", "PING");
    expect(s, "+OK", "CLIENT", "PAUSE", "20");
    expect(s, "+OK", "CLIENT", "UNPAUSE");
}

static void a_second_pause_does_not_weaken_the_first(void **state)
{
    session *s = *state, *other = another_client(s);

    expect(s, "+OK", "CLIENT", "PAUSE", "1000000", "WRITE");
    expect(s, "+OK", "CLIENT", "PAUSE", "1", "WRITE");
    send_raw(other, "SET a 1\r\n");
    await_blocked(s, 1);
    expect(s, "_", "GET", "a");
    expect(s, "+OK", "CLIENT", "UNPAUSE");
    expect_next(other, "+OK");
}

static void pause_refuses_what_it_does_not_know(void **state)
{
    session *s = *state;

    expect(s, "-ERR wrong number of arguments for 'client|pause' command", "CLIENT", "PAUSE");
    expect(s, "-ERR timeout is not an integer or out of range", "CLIENT", "PAUSE", "x");
    expect(s, "-ERR timeout is negative", "CLIENT", "PAUSE", "-1");
    expect(s, "-ERR CLIENT PAUSE mode must be WRITE or ALL", "CLIENT", "PAUSE", "1", "SOME");
    expect(s, "-ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.", "CLIENT",
           "PAUSE", "1", "WRITE", "x");
    expect(s, "+OK", "SET", "a", "1");
}

static void a_paused_client_may_be_killed(void **state)
{
    session *s = *state, *other = another_client(s);
    const char *id = id_of(other);

    expect(s, "+OK", "CLIENT", "PAUSE", "1000000", "WRITE");
    send_raw(other, "SET a 2\r\n");
    await_blocked(s, 1);
    expect(s, ":1", "CLIENT", "KILL", "ID", id);
    expect_closed(other);
    await_blocked(s, 0);
    expect(s, "+OK", "CLIENT", "UNPAUSE");
    expect(s, "_", "GET", "a");
}

static void waitaof_waits_for_nobody(void **state)
{
    session *s = *state;

    not_in_redis(s, "WAITAOF came with 7.2");
    expect(s, "*2 :0 :0", "WAITAOF", "0", "0", "0");
    expect(s, "*2 :0 :0", "WAITAOF", "0", "1", "1");
    expect(s, "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.", "WAITAOF", "1",
           "0", "0");
    expect(s, "-ERR value is out of range, value must between 0 and 1", "WAITAOF", "2", "0", "0");
    expect(s, "-ERR value is out of range, must be positive", "WAITAOF", "0", "-1", "0");
    expect(s, "-ERR timeout is negative", "WAITAOF", "0", "0", "-1");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(wait_without_replicas_ends_with_its_timeout),
        conversation(what_follows_a_wait_comes_after_it),
        conversation(in_a_transaction_nothing_waits),
        conversation(unblock_ends_the_waiting),
        conversation(a_blocked_client_may_leave_or_be_killed),
        conversation(a_pause_of_writes_lets_reads_through),
        conversation(who_is_paused_cannot_be_unblocked),
        conversation(paused_requests_run_in_their_order),
        conversation(a_transaction_that_writes_is_paused_one_that_reads_is_not),
        conversation(a_pause_of_all_ends_by_itself),
        conversation(a_second_pause_does_not_weaken_the_first),
        conversation(pause_refuses_what_it_does_not_know),
        conversation(a_paused_client_may_be_killed),
        conversation(waitaof_waits_for_nobody),
    };

    return run_conversations(argc, argv, tests);
}
