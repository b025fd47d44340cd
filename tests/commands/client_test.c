/* client_test.c - tests of CLIENT and its subcommands.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

static long long id_of(session *s)
{
    return atoll(said(s, "CLIENT", "ID") + 1);
}

static void each_client_has_an_id_of_its_own(void **state)
{
    session *s = *state, *other = another_client(s);
    long long id = id_of(s);

    assert_true(id > 0);
    assert_int_equal(id_of(s), id);
    assert_true(id_of(other) != id);
}

static void a_client_may_have_a_name(void **state)
{
    session *s = *state;
    static const char wrong[] = "-ERR Client names cannot contain spaces, newlines or special characters.";

    expect(s, "_", "CLIENT", "GETNAME");
    expect(s, "+OK", "CLIENT", "SETNAME", "worker-1");
    expect(s, "$worker-1", "CLIENT", "GETNAME");
    expect(s, wrong, "CLIENT", "SETNAME", "a b");
    expect(s, wrong, "CLIENT", "SETNAME", "a\n");
    expect(s, "$worker-1", "CLIENT", "GETNAME");
    expect(s, "+OK", "CLIENT", "SETNAME", "");
    expect(s, "_", "CLIENT", "GETNAME");
    expect_like(s, "$id=* name= *", "CLIENT", "INFO");
}

static void setinfo_tells_the_library(void **state)
{
    session *s = *state;

    not_in_redis(s, "CLIENT SETINFO came with 7.2");
    expect(s, "+OK", "CLIENT", "SETINFO", "LIB-NAME", "kvlib");
    expect(s, "+OK", "CLIENT", "SETINFO", "lib-ver", "1.2.3");
    expect_like(s, "$*lib-name=kvlib lib-ver=1.2.3*", "CLIENT", "INFO");
    expect_like(s, "-ERR *", "CLIENT", "SETINFO", "LIB-NAME", "a b");
    expect_like(s, "-ERR *", "CLIENT", "SETINFO", "LIB-VER", "1\n2");
    expect_like(s, "-ERR *", "CLIENT", "SETINFO", "NOPE", "x");
    expect_like(s, "$*lib-name=kvlib lib-ver=1.2.3*", "CLIENT", "INFO");
}

static void info_is_one_line_of_the_list(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CLIENT", "SETNAME", "me");
    expect(s, "+OK", "SELECT", "3");
    expect_like(
        s,
        "$id=[1-9]* addr=* laddr=* fd=[0-9]* name=me age=[0-9]* idle=[0-9]* flags=* db=3 sub=0 psub=0 "
        "*multi=-1 *qbuf=[0-9]* *cmd=client|info user=default *resp=2*",
        "CLIENT", "INFO");
    expect_like(s, "%*", "HELLO", "3");
    expect_like(s, "=txt:id=* resp=3*", "CLIENT", "INFO");
}

static void the_running_request_counts_as_input(void **state)
{
    session *s = *state;
    const char *other;

    expect(s, "+PONG", "PING"); /* the server's buffers are there from now on */
    expect_like(s,
                "$* qbuf=26 qbuf-free=[1-9]* argv-mem=10 multi-mem=0 rbs=[1-9]* rbp=[1-9]* obl=0 oll=0 "
                "omem=0 tot-mem=[1-9]* events=r *",
                "CLIENT", "INFO");
    expect_like(s, "$* qbuf=26 * cmd=client|list *", "CLIENT", "LIST");
    send_raw(s, "PING\r\nCLIENT INFO\r\nPING\r\n");
    expect_next(s, "+PONG");
    expect_next(s, "$id=...");
    expect_next(s, "+PONG");
    expect(s, "+OK", "CLIENT", "SETNAME", "asking");
    expect(another_client(s), "+OK", "CLIENT", "SETNAME", "idle");
    other = strstr(said(s, "CLIENT", "LIST"), "name=idle");
    assert_non_null(other);
    assert_non_null(strstr(other, " qbuf=0 "));
    assert_non_null(strstr(other, " argv-mem=0 "));
    assert_non_null(strstr(other, " omem=0 "));
}

static void a_list_by_id_takes_any_number(void **state)
{
    session *s = *state;

    expect(s, "$", "CLIENT", "LIST", "ID", "0");
    expect(s, "$", "CLIENT", "LIST", "ID", "-1", "999999999");
    expect(s, "-ERR Invalid client ID", "CLIENT", "LIST", "ID", "1", "1.5");
    expect_like(s, "$id=*", "CLIENT", "LIST", "ID", "-3", decimal(s, id_of(s)), "0", decimal(s, id_of(s)));
}

static void flags_are_letters(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CLIENT", "NO-EVICT", "on");
    expect_like(s, "$* flags=*e *", "CLIENT", "INFO");
    expect(s, "+OK", "CLIENT", "NO-EVICT", "off");
    not_in_redis(s, "CLIENT NO-TOUCH came with 7.2");
    expect(s, "+OK", "CLIENT", "NO-TOUCH", "on");
    expect(s, "+OK", "CLIENT", "NO-EVICT", "on");
    expect_like(s, "$* flags=*eT *", "CLIENT", "INFO");
}

static void list_shows_everybody(void **state)
{
    session *s = *state, *other = another_client(s);
    const char *list, *id;
    long long ids[2] = { id_of(s), id_of(other) };
    char pattern[64];

    expect(s, "+OK", "CLIENT", "SETNAME", "first");
    expect(other, "+OK", "CLIENT", "SETNAME", "second");
    list = said(s, "CLIENT", "LIST");
    assert_non_null(strstr(list, " name=first "));
    assert_non_null(strstr(list, " name=second "));
    id = decimal(s, ids[1]);
    sprintf(pattern, "$id=%lld *name=second *", ids[1]);
    expect_like(s, pattern, "CLIENT", "LIST", "ID", id);
    assert_null(strstr(said(s, "CLIENT", "LIST", "ID", id), "name=first"));
    list = said(s, "CLIENT", "LIST", "ID", id, decimal(s, ids[0]), "999999999");
    assert_non_null(strstr(list, "name=first"));
    assert_non_null(strstr(list, "name=second"));
    assert_non_null(strstr(said(s, "CLIENT", "LIST", "TYPE", "normal"), "name=first"));
    expect(s, "$", "CLIENT", "LIST", "TYPE", "pubsub");
    expect(s, "-ERR Unknown client type 'nope'", "CLIENT", "LIST", "TYPE", "nope");
    expect(s, "-ERR Invalid client ID", "CLIENT", "LIST", "ID", "x");
    expect(s, "-ERR syntax error", "CLIENT", "LIST", "ID");
    expect(s, "-ERR syntax error", "CLIENT", "LIST", "NOPE", "x");
}

static void kill_by_id_ends_a_connection(void **state)
{
    session *s = *state, *other = another_client(s);
    long long id = id_of(other);

    expect(s, ":1", "CLIENT", "KILL", "ID", decimal(s, id));
    expect_closed(other);
    expect(s, ":0", "CLIENT", "KILL", "ID", decimal(s, id));
    expect(s, "-ERR No such client", "CLIENT", "KILL", "1.2.3.4:5");
}

static void kill_spares_the_caller_unless_told(void **state)
{
    session *s = *state, *other = another_client(s);
    const char *me = decimal(s, id_of(s));

    expect(s, ":0", "CLIENT", "KILL", "ID", me);
    expect(s, "+PONG", "PING");
    expect(other, "+PONG", "PING");
    expect(s, ":1", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    expect_closed(other);
    expect(s, ":1", "CLIENT", "KILL", "ID", me, "SKIPME", "no");
    expect_closed(s);
}

static void kill_combines_filters(void **state)
{
    session *s = *state, *other = another_client(s);
    const char *id = decimal(s, id_of(other));

    expect(s, ":0", "CLIENT", "KILL", "ID", id, "TYPE", "pubsub");
    expect(s, ":0", "CLIENT", "KILL", "ID", id, "USER", "default", "ADDR", "1.2.3.4:5");
    expect(other, "+PONG", "PING");
    expect(s, ":1", "CLIENT", "KILL", "ID", id, "USER", "default", "TYPE", "normal");
    expect_closed(other);
}

static void kill_refuses_what_it_does_not_know(void **state)
{
    session *s = *state;

    expect(s, "-ERR No such client", "CLIENT", "KILL", "ID"); /* the old form: an address */
    expect(s, "-ERR syntax error", "CLIENT", "KILL", "ID", "1", "TYPE");
    expect(s, "-ERR syntax error", "CLIENT", "KILL", "NOPE", "x");
    expect(s, "-ERR syntax error", "CLIENT", "KILL", "SKIPME", "maybe");
    expect(s, "-ERR client-id should be greater than 0", "CLIENT", "KILL", "ID", "x");
    expect(s, "-ERR client-id should be greater than 0", "CLIENT", "KILL", "ID", "0");
    expect(s, "-ERR Unknown client type 'nope'", "CLIENT", "KILL", "TYPE", "nope");
    expect(s, "-ERR No such user 'nobody'", "CLIENT", "KILL", "USER", "nobody");
    expect(s, "-ERR wrong number of arguments for 'client|kill' command", "CLIENT", "KILL");
}

static void reply_off_silences_and_skip_skips_one(void **state)
{
    session *s = *state;

    send_raw(s, "CLIENT REPLY SKIP\r\nPING a\r\nPING b\r\n");
    expect_next(s, "$b");
    send_raw(s, "CLIENT REPLY OFF\r\nPING c\r\nNOPE\r\nCLIENT REPLY SKIP\r\nCLIENT REPLY ON\r\nPING d\r\n");
    expect_next(s, "+OK");
    expect_next(s, "$d");
    send_raw(s, "CLIENT REPLY OFF\r\nRESET\r\nCLIENT REPLY SKIP\r\nRESET\r\nPING e\r\n");
    expect_next(s, "+RESET");
    expect_next(s, "$e");
    expect(s, "-ERR syntax error", "CLIENT", "REPLY", "MAYBE");
}

static void no_evict_and_no_touch_are_switches(void **state)
{
    session *s = *state;

    expect(s, "+OK", "CLIENT", "NO-EVICT", "on");
    expect(s, "+OK", "CLIENT", "NO-EVICT", "OFF");
    expect(s, "-ERR syntax error", "CLIENT", "NO-EVICT", "maybe");
    not_in_redis(s, "CLIENT NO-TOUCH came with 7.2");
    expect(s, "+OK", "CLIENT", "NO-TOUCH", "ON");
    expect(s, "+OK", "CLIENT", "NO-TOUCH", "off");
    expect(s, "-ERR syntax error", "CLIENT", "NO-TOUCH", "maybe");
}

static void an_unknown_subcommand_is_only_an_error(void **state)
{
    session *s = *state;

    expect(s, "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.", "CLIENT",
           "MAINT_NOTIFICATIONS", "ON", "moving-endpoint-type", "external-ip");
    expect(s, "-ERR unknown subcommand ''. Try CLIENT HELP.", "CLIENT", "");
    expect(s, "-ERR wrong number of arguments for 'client' command", "CLIENT");
    expect(s, "-ERR wrong number of arguments for 'client|id' command", "CLIENT", "ID", "x");
    expect_like(s, "[*]* +*CLIENT <subcommand>*", "CLIENT", "HELP");
    expect(s, "+PONG", "PING");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(each_client_has_an_id_of_its_own),
        conversation(a_client_may_have_a_name),
        conversation(setinfo_tells_the_library),
        conversation(info_is_one_line_of_the_list),
        conversation(the_running_request_counts_as_input),
        conversation(a_list_by_id_takes_any_number),
        conversation(flags_are_letters),
        conversation(list_shows_everybody),
        conversation(kill_by_id_ends_a_connection),
        conversation(kill_spares_the_caller_unless_told),
        conversation(kill_combines_filters),
        conversation(kill_refuses_what_it_does_not_know),
        conversation(reply_off_silences_and_skip_skips_one),
        conversation(no_evict_and_no_touch_are_switches),
        conversation(an_unknown_subcommand_is_only_an_error),
    };

    return run_conversations(argc, argv, tests);
}
