/* guard_test.c - min-replicas-to-write: a primary without replicas that are near refuses writes. redis-server is asked the same.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "replica.h"

#define NOREPLICAS "-NOREPLICAS Not enough good replicas to write."

/* Asks until the reply is that. */
static void wait_for_reply(conn *c, const char *const args[], const char *expected)
{
    for (bool done = false; !done;) {
        char *text = conn_ask_text(c, args);

        assert_non_null(text);
        done = strcmp(text, expected) == 0;
        free(text);
    }
}

static void assert_info(conn *c, const char *line, bool there)
{
    char *text = ask(c, "INFO", "replication");

    assert_non_null(text);
    assert_int_equal(strstr(text, line) != NULL, there);
    free(text);
}

static void writes_need_replicas(bool redis_leads)
{
    const char *const set[] = { "SET", "k", "v", NULL };
    server *primary = redis_leads ? begin_redis("--save", "", "--repl-diskless-sync-delay", "0")
                                  : begin_tcp("--threads", "2"),
           *follower = begin_tcp("--threads", "1");
    conn *p = connect_to(primary), *f = connect_to(follower);

    says(p, "+OK", "SET", "k", "0");
    assert_info(p, "min_slaves_good_slaves", false);
    says(p, "+OK", "CONFIG", "SET", "min-replicas-to-write", "1");
    assert_info(p, "min_slaves_good_slaves:0", true);
    says(p, NOREPLICAS, "SET", "k", "1");
    says(p, NOREPLICAS, "FLUSHALL");
    says(p, "$0", "GET", "k");
    says(p, "+OK", "MULTI");
    says(p, NOREPLICAS, "SET", "k", "2");
    says(p, "-EXECABORT Transaction discarded because of previous errors.", "EXEC");
    follow_port(f, server_port(primary));
    wait_for_reply(p, set, "+OK");
    assert_info(p, "min_slaves_good_slaves:1", true);
    says(p, "+OK", "MULTI");
    says(p, "+QUEUED", "SET", "k", "3");
    says(p, "+QUEUED", "CONFIG", "SET", "min-replicas-to-write", "2");
    says(p, "*2 +OK +OK", "EXEC");
    says(p, NOREPLICAS, "SET", "k", "4");
    says(p, "+OK", "CONFIG", "SET", "min-replicas-to-write", "1");
    says(p, "+OK", "MULTI");
    says(p, "+QUEUED", "SET", "k", "5");
    says(f, "+OK", "REPLICAOF", "NO", "ONE");
    conn_close(f);
    assert_true(server_stop(follower));
    f = connect_to(primary);
    wait_for_reply(f, set, NOREPLICAS);
    says(p, "-EXECABORT Transaction discarded because of: NOREPLICAS Not enough good replicas to write.",
         "EXEC");
    says(f, "+OK", "CONFIG", "SET", "min-replicas-max-lag", "0"); /* which switches it off, too */
    says(f, "+OK", "SET", "k", "6");
    conn_close(p);
    conn_close(f);
    assert_true(server_stop(primary));
}

static void writes_are_refused_without_replicas(void **state)
{
    (void)state;
    writes_need_replicas(false);
}

static void redis_refuses_them_alike(void **state)
{
    (void)state;
    writes_need_replicas(true);
}

static void a_start_without_replicas_refuses_writes_at_once(void **state)
{
    server *s = begin("--min-slaves-to-write", "1");
    conn *c = connect_to(s);

    (void)state;
    says(c, NOREPLICAS, "SET", "k", "v");
    says(c, "+PONG", "PING");
    conn_close(c);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(writes_are_refused_without_replicas),
        cmocka_unit_test(a_start_without_replicas_refuses_writes_at_once),
        cmocka_unit_test(redis_refuses_them_alike), /* last: without redis-server it skips what follows */
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
