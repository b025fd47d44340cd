/* monitor_test.c - tests of MONITOR: what it shows of other clients' commands, in which order, and what it keeps to itself.
 *
 * SPDX-License-Identifier: MIT */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

/* The next line that a monitor is shown ends in text. */
static void shown(session *monitor, const char *text)
{
    reply *r = conn_read(session_conn(monitor));

    assert_non_null(r);
    if (r->type != '+' || fnmatch("[0-9]*.[0-9]* \\[[0-9]* *:*\\] \"*", r->text, 0) != 0 ||
        strlen(r->text) < strlen(text) || strcmp(r->text + strlen(r->text) - strlen(text), text) != 0)
        fail_msg("shown %c%s, not %s", r->type, r->text ? r->text : "", text);
    reply_free(r);
}

static void lines_have_redis_form(void **state)
{
    session *s = *state, *m = another_client(s);

    expect(m, "+OK", "MONITOR");
    expect(s, "+OK", "Set", "k", "v");
    expect(s, "$v", "get", "k");
    expect_bytes(s, ":0", KV_STR("EXISTS"), KV_STR("\"quo\\ted\"\r\n\t\a\b"), KV_STR("\0\x7f\xff~"));
    expect(s, "+OK", "SELECT", "3");
    expect(s, "+PONG", "PING");
    shown(m, "\"Set\" \"k\" \"v\"");
    shown(m, "\"get\" \"k\"");
    shown(m, "\"EXISTS\" \"\\\"quo\\\\ted\\\"\\r\\n\\t\\a\\b\" \"\\x00\\x7f\\xff~\"");
    shown(m, "\"SELECT\" \"3\"");
    shown(m, "\"PING\"");
    expect(s, "+OK", "SELECT", "0");
}

static void what_was_refused_is_not_shown_and_what_failed_is(void **state)
{
    session *s = *state, *m = another_client(s);

    expect(m, "+OK", "MONITOR");
    expect_like(s, "-ERR unknown command*", "NOPE");
    expect_like(s, "-ERR wrong number*", "GET");
    expect(s, "-ERR value is not an integer or out of range", "EXPIRE", "k", "soon");
    shown(m, "\"EXPIRE\" \"k\" \"soon\"");
}

static void passwords_and_administration_are_kept_back(void **state)
{
    session *s = *state, *m = another_client(s);

    expect(m, "+OK", "MONITOR");
    expect_like(s, "*", "AUTH", "ada", "secret");
    expect_like(s, "*", "HELLO", "2", "AUTH", "ada", "secret", "SETNAME", "x");
    expect(s, "+OK", "CONFIG", "SET", "timeout", "0");
    expect_like(s, "*", "SLOWLOG", "LEN");
    expect(s, "+PONG", "PING");
    shown(m, "\"AUTH\" \"(redacted)\" \"(redacted)\"");
    shown(m, "\"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\" \"SETNAME\" \"x\"");
    shown(m, "\"PING\"");
}

static void a_transaction_is_shown_when_it_runs(void **state)
{
    session *s = *state, *m = another_client(s);

    expect(m, "+OK", "MONITOR");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "k", "v");
    expect(s, "+QUEUED", "GET", "k");
    expect(s, "*2 +OK $v", "EXEC");
    expect(s, "+OK", "MULTI");
    expect(s, "+QUEUED", "SET", "k", "other");
    expect(s, "+OK", "DISCARD");
    shown(m, "\"MULTI\"");
    shown(m, "\"SET\" \"k\" \"v\"");
    shown(m, "\"GET\" \"k\"");
    shown(m, "\"EXEC\"");
    shown(m, "\"MULTI\"");
    shown(m, "\"DISCARD\"");
}

static void a_monitor_is_a_client_of_its_own_kind(void **state)
{
    session *s = *state, *m = another_client(s);

    expect(m, "+OK", "MONITOR");
    expect(m, "-ERR Replica can't interact with the keyspace", "GET", "k");
    expect_like(s, "*flags=O*", "CLIENT", "LIST");
    expect(m, "+RESET", "RESET");
    expect(s, "+PONG", "PING");
    expect(m, "_", "GET", "k");
    expect(m, "+OK", "MULTI");
    expect(m, "+QUEUED", "MONITOR");
    expect(m, "*1 -\"ERR MONITOR isn't allowed for DENY BLOCKING client\"", "EXEC");
}

static void only_what_matches_is_shown_to_who_wants_that(void **state)
{
    session *s = *state, *keys = another_client(s), *commands = another_client(s), *both = another_client(s);

    not_in_redis(s, "filters of MONITOR are ours");
    expect(s, "-ERR syntax error", "MONITOR", "MATCH");
    expect(s, "-ERR syntax error", "MONITOR", "COMMAND");
    expect(s, "-ERR syntax error", "MONITOR", "NOPE", "x");
    expect(keys, "+OK", "MONITOR", "MATCH", "user:*");
    expect(commands, "+OK", "MONITOR", "COMMAND", "PING", "client", "object|encoding");
    expect(both, "+OK", "MONITOR", "MATCH", "user:1", "COMMAND", "GET");
    expect(s, "_", "GET", "user:1");
    expect(s, "_", "GET", "user:2");
    expect(s, "+OK", "MSET", "a", "user:3", "user:4", "x");
    expect(s, "+OK", "SET", "a", "user:5");
    expect(s, ":1", "OBJECT", "REFCOUNT", "a");
    expect_like(s, "$*", "OBJECT", "ENCODING", "a");
    expect_like(s, ":*", "CLIENT", "ID");
    expect(s, "$user:9", "ECHO", "user:9");
    expect(s, "+PONG", "PING");
    expect(s, "_", "GET", "user:1");
    shown(keys, "\"GET\" \"user:1\"");
    shown(keys, "\"GET\" \"user:2\"");
    shown(keys, "\"MSET\" \"a\" \"user:3\" \"user:4\" \"x\"");
    shown(keys, "\"ECHO\" \"user:9\"");
    shown(keys, "\"GET\" \"user:1\"");
    shown(commands, "\"OBJECT\" \"ENCODING\" \"a\"");
    shown(commands, "\"CLIENT\" \"ID\"");
    shown(commands, "\"PING\"");
    shown(both, "\"GET\" \"user:1\"");
    shown(both, "\"GET\" \"user:1\"");
    expect(both, "+OK", "MONITOR", "COMMAND", "get");
    expect(s, "_", "GET", "user:7");
    shown(both, "\"GET\" \"user:7\"");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(lines_have_redis_form),
        conversation(what_was_refused_is_not_shown_and_what_failed_is),
        conversation(passwords_and_administration_are_kept_back),
        conversation(a_transaction_is_shown_when_it_runs),
        conversation(a_monitor_is_a_client_of_its_own_kind),
        conversation(only_what_matches_is_shown_to_who_wants_that),
    };

    return run_conversations(argc, argv, tests);
}
