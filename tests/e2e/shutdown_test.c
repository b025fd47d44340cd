/* shutdown_test.c - the end of a primary: replicas are given the time to take what was written.
 *
 * A replica that is stopped (SIGSTOP) has not, for as long as the test wants. redis-server is asked the same.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "replica.h"

typedef struct scene {
    server *primary, *replica;
    conn *p, *r;
} scene;

/* The replica has everything, is stopped, and then something is written. */
/* Returns when no thread of it runs any more. */
static void stop_wholly(pid_t pid)
{
    siginfo_t what;

    assert_int_equal(kill(pid, SIGSTOP), 0);
    assert_int_equal(waitid(P_PID, (id_t)pid, &what, WSTOPPED | WNOWAIT), 0);
}

static void begin_scene(scene *s, bool redis, const char *timeout_s)
{
    s->primary =
        redis ? begin_redis("--save", "", "--repl-diskless-sync-delay", "0", "--shutdown-timeout", timeout_s)
              : begin_tcp("--threads", "2", "--save", "", "--enable-protected-configs", "yes",
                          "--shutdown-timeout", timeout_s);
    s->replica = begin("--threads", "1");
    s->p = connect_to(s->primary);
    s->r = connect_to(s->replica);
    follow_port(s->r, server_port(s->primary));
    wait_for_offset(s->p, s->r);
    says(s->p, "+OK", "SET", "k", "early");
    says(s->p, ":1", "WAIT", "1", "0");
    stop_wholly(server_pid(s->replica));
    says(s->p, "+OK", "SET", "k", "late");
}

static void let_replica_go_on(scene *s)
{
    assert_int_equal(kill(server_pid(s->replica), SIGCONT), 0);
}

/* The primary has ended by itself. */
static void end_scene(scene *s)
{
    conn_close(s->p);
    conn_close(s->r);
    assert_true(server_stop(s->replica));
    server_forget(s->primary);
}

static conn *say_shutdown(scene *s, const char *how)
{
    conn *c = connect_to(s->primary);
    char line[64];

    assert_true(conn_send(c, kv_slice_of(line, (size_t)snprintf(line, sizeof line, "SHUTDOWN %s\r\n", how))));
    return c;
}

static void wait_until_it_waits(scene *s)
{
    wait_for_field(s->p, "shutdown_in_milliseconds", "");
}

static bool has_logged(const server *s, const char *text)
{
    char *log = server_log(s);
    bool found;

    assert_non_null(log);
    found = strstr(log, text) != NULL;
    free(log);
    return found;
}

/* ---- it waits ---- */

static void a_replica_that_is_behind_is_waited_for(bool redis, bool by_signal)
{
    scene s;
    conn *c = NULL, *writer;

    begin_scene(&s, redis, "300");
    if (by_signal)
        kill(server_pid(s.primary), SIGTERM);
    else
        c = say_shutdown(&s, "NOSAVE");
    wait_until_it_waits(&s);
    says(s.p, "$late", "GET", "k"); /* reads go on; writes wait, and are never done */
    writer = connect_to(s.primary);
    assert_true(conn_send(writer, KV_STR("SET k never\r\n")));
    let_replica_go_on(&s);
    assert_int_equal(server_wait(s.primary), 0);
    assert_true(has_logged(s.primary, "1 of 1 replicas are in sync when shutting down."));
    says(s.r, "$late", "GET", "k");
    assert_true(conn_ended(writer));
    assert_true(c == NULL || conn_ended(c));
    conn_close(writer);
    conn_close(c);
    end_scene(&s);
}

static void kvserver_waits_for_replicas(void **state)
{
    (void)state;
    a_replica_that_is_behind_is_waited_for(false, false);
    a_replica_that_is_behind_is_waited_for(false, true);
}

static void redis_waits_for_replicas(void **state)
{
    (void)state;
    a_replica_that_is_behind_is_waited_for(true, false);
    a_replica_that_is_behind_is_waited_for(true, true);
}

/* ---- it is given up ---- */

static void it_can_be_aborted(bool redis)
{
    scene s;
    conn *c, *other, *writer;

    begin_scene(&s, redis, "300");
    says(s.p, "-ERR No shutdown in progress.", "SHUTDOWN", "ABORT");
    c = say_shutdown(&s, "NOSAVE");
    wait_until_it_waits(&s);
    other = say_shutdown(&s, "");
    writer = connect_to(s.primary);
    assert_true(conn_send(writer, KV_STR("SET k later\r\n")));
    wait_for_field(s.p, "blocked_clients", "3");
    says(s.p, "+OK", "SHUTDOWN", "ABORT");
    next_is(c, "-ERR Errors trying to SHUTDOWN. Check logs.");
    next_is(other, "-ERR Errors trying to SHUTDOWN. Check logs.");
    next_is(writer, "+OK");
    says(s.p, "$later", "GET", "k");
    says(s.p, "-ERR No shutdown in progress.", "SHUTDOWN", "ABORT");
    let_replica_go_on(&s);
    wait_for_offset(s.p, s.r);
    says(s.r, "$later", "GET", "k");
    conn_close(c);
    conn_close(other);
    conn_close(writer);

    c = say_shutdown(&s, "NOSAVE"); /* and then it ends after all */
    assert_true(conn_ended(c));
    conn_close(c);
    assert_int_equal(server_wait(s.primary), 0);
    end_scene(&s);
}

static void the_end_of_kvserver_can_be_aborted(void **state)
{
    (void)state;
    it_can_be_aborted(false);
}

static void the_end_of_redis_can_be_aborted(void **state)
{
    (void)state;
    it_can_be_aborted(true);
}

static void when_nothing_can_be_saved_it_goes_on(void **state)
{
    scene s;
    conn *c, *writer;
    char path[300];

    (void)state;
    begin_scene(&s, false, "300");
    snprintf(path, sizeof path, "%s/taken", server_directory(s.primary));
    assert_int_equal(mkdir(path, 0700), 0); /* a file cannot be put there */
    says(s.p, "+OK", "CONFIG", "SET", "dir", server_directory(s.primary));
    says(s.p, "+OK", "CONFIG", "SET", "dbfilename", "taken");
    c = say_shutdown(&s, "SAVE");
    wait_until_it_waits(&s);
    writer = connect_to(s.primary);
    assert_true(conn_send(writer, KV_STR("SET k later\r\n")));
    let_replica_go_on(&s);
    next_is(c, "-ERR Errors trying to SHUTDOWN. Check logs.");
    next_is(writer, "+OK");
    conn_close(c);
    conn_close(writer);
    c = say_shutdown(&s, "NOSAVE");
    assert_true(conn_ended(c));
    conn_close(c);
    assert_int_equal(server_wait(s.primary), 0);
    end_scene(&s);
}

/* ---- it does not wait ---- */

static void ends_with_a_replica_behind(bool redis, const char *timeout_s, const char *how, bool tells)
{
    scene s;
    conn *c;

    begin_scene(&s, redis, timeout_s);
    c = say_shutdown(&s, how);
    assert_true(conn_ended(c));
    assert_int_equal(server_wait(s.primary), 0);
    assert_int_equal(has_logged(s.primary, "0 of 1 replicas are in sync when shutting down."), tells);
    conn_close(c);
    let_replica_go_on(&s);
    end_scene(&s);
}

static void now_is_now(void **state)
{
    (void)state;
    ends_with_a_replica_behind(false, "300", "NOW NOSAVE", false);
    ends_with_a_replica_behind(false, "0", "NOSAVE", false);
}

static void the_time_is_limited(void **state)
{
    (void)state;
    ends_with_a_replica_behind(false, "1", "NOSAVE", true);
    ends_with_a_replica_behind(true, "1", "NOSAVE", true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kvserver_waits_for_replicas),
        cmocka_unit_test(redis_waits_for_replicas),
        cmocka_unit_test(the_end_of_kvserver_can_be_aborted),
        cmocka_unit_test(the_end_of_redis_can_be_aborted),
        cmocka_unit_test(when_nothing_can_be_saved_it_goes_on),
        cmocka_unit_test(now_is_now),
        cmocka_unit_test(the_time_is_limited),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
