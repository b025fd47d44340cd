/* protocol_test.c - tests of the RESP parser, from outside: what a client may send, and what ends it.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "session.h"

/* ---- what is taken ---------------------------------------------------------------------- */

static void inline_commands_are_words_on_a_line(void **state)
{
    session *s = *state;

    send_raw(s, "PING\r\n");
    expect_next(s, "+PONG");
    send_raw(s, "SET k  v \r\nGET\tk\r\nget k\n");
    expect_next(s, "+OK");
    expect_next(s, "$v");
    expect_next(s, "$v");
    send_raw(s, "\r\n\r\n\nPING\r\n");
    expect_next(s, "+PONG");
}

static void inline_words_may_be_quoted(void **state)
{
    session *s = *state;

    send_raw(s, "ECHO \"a b\\x00\\n\\\"c\"\r\n");
    expect_next(s, "$a b\\x00\\x0a\"c");
    send_raw(s, "ECHO 'a \\'b\\' \\n'\r\n");
    expect_next(s, "$a 'b' \\x5cn");
    send_raw(s, "ECHO \"\"\r\n");
    expect_next(s, "$");
    send_raw(s, "\t ECHO\t\f\v a\vb\f\t\r\n"); /* what stands between words need not end one */
    expect_next(s, "$a\\x0bb\\x0c");
    send_raw(s, "PING\v\r\n");
    expect_next(s, "-ERR unknown command 'PING\\x0b', with args beginning with: ");
    send_raw(s, "ECHO \"unbalanced\r\n");
    expect_next(s, "-ERR Protocol error: unbalanced quotes in request");
    expect_closed(s);
}

static void empty_requests_are_nothing(void **state)
{
    session *s = *state;

    send_raw(s, "*0\r\n*-1\r\n*-10\r\n\r\n*1\r\n$4\r\nPING\r\n");
    expect_next(s, "+PONG");
}

static void a_pipeline_is_answered_in_order(void **state)
{
    session *s = *state;

    send_raw(s, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\nINCR "
                "a\r\n*2\r\n$4\r\nINCR\r\n$1\r\na\r\nNOPE\r\nGET a\r\n");
    expect_next(s, "+OK");
    expect_next(s, ":2");
    expect_next(s, ":3");
    expect_next(s, "-ERR unknown command 'NOPE', with args beginning with: ");
    expect_next(s, "$3");
}

static void a_pipeline_may_be_cut_anywhere(void **state)
{
    session *s = *state;
    kv_slice all =
        KV_STR("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$10\r\n01234\r\n789\r\nGET a\r\n*2\r\n$3\r\nDEL\r\n$1\r\na\r\n"
               "*1\r\n$4\r\nPING\r\nECHO \"x y\"\r\n*0\r\n*2\r\n$4\r\nECHO\r\n$0\r\n\r\n");

    needs_server(s);
    for (size_t at = 0; at <= all.len; at++) {
        assert_true(conn_send_split(session_conn(s), all, at));
        expect_next(s, "+OK");
        expect_next(s, "$01234\\x0d\\x0a789");
        expect_next(s, ":1");
        expect_next(s, "+PONG");
        expect_next(s, "$x y");
        expect_next(s, "$");
    }
}

static void a_pipeline_may_come_byte_by_byte(void **state)
{
    session *s = *state;
    kv_slice all = KV_STR("*3\r\n$3\r\nSET\r\n$1\r\na\r\n$5\r\n\r\n\r\n\n\r\nGET a\r\n*1\r\n$4\r\nPING\r\n");

    needs_server(s);
    for (size_t at = 0; at < all.len; at++)
        session_send(s, __FILE__, __LINE__, kv_slice_of(all.data + at, 1));
    expect_next(s, "+OK");
    expect_next(s, "$\\x0d\\x0a\\x0d\\x0a\\x0a");
    expect_next(s, "+PONG");
}

static void a_deep_pipeline_is_answered_whole(void **state)
{
    session *s = *state;
    enum { n = 20000 };
    char *requests = NULL;
    size_t size;
    FILE *out = open_memstream(&requests, &size);

    needs_server(s);
    assert_non_null(out);
    for (int i = 0; i < n; i++)
        fprintf(out, "*2\r\n$4\r\nINCR\r\n$7\r\ncounter\r\n");
    fclose(out);
    session_send(s, __FILE__, __LINE__, kv_slice_of(requests, size));
    free(requests);
    for (int i = 1; i <= n; i++) {
        reply *r = conn_read(session_conn(s));

        assert_non_null(r);
        assert_int_equal(r->type, ':');
        assert_int_equal(r->integer, i);
        reply_free(r);
    }
}

static void a_large_value_may_arrive_in_pieces(void **state)
{
    session *s = *state;
    enum { size = 3 * 1024 * 1024 };
    char *value = malloc(size);

    needs_server(s);
    assert_non_null(value);
    for (size_t i = 0; i < size; i++)
        value[i] = (char)(i * 31);
    send_raw(s, "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$3145728\r\n");
    for (size_t at = 0; at < size; at += 100000)
        session_send(s, __FILE__, __LINE__, kv_slice_of(value + at, at + 100000 < size ? 100000 : size - at));
    send_raw(s, "\r\n");
    expect_next(s, "+OK");
    send_raw(s, "GET big\r\n");
    {
        reply *r = conn_read(session_conn(s));

        assert_non_null(r);
        assert_int_equal(r->len, size);
        assert_memory_equal(r->text, value, size);
        reply_free(r);
    }
    free(value);
}

static void many_arguments_are_taken(void **state)
{
    session *s = *state;
    enum { n = 50000 };
    kv_slice *argv = malloc((n + 1) * sizeof *argv);

    needs_server(s);
    assert_non_null(argv);
    argv[0] = KV_STR("EXISTS");
    for (size_t i = 1; i <= n; i++)
        argv[i] = KV_STR("k");
    expect(s, "+OK", "SET", "k", "v");
    session_expect_bytes(s, __FILE__, __LINE__, ":50000", n + 1, argv);
    free(argv);
}

/* ---- what is refused -------------------------------------------------------------------- */

/* What ends a connection, and the last words. */
static void refused(session *s, const char *bytes, size_t len, const char *words)
{
    session *victim = another_client(s);

    session_send(victim, __FILE__, __LINE__, kv_slice_of(bytes, len));
    expect_next(victim, words);
    expect_closed(victim);
}
#define expect_refused(s, literal, words) refused(s, literal, sizeof(literal) - 1, words)

static void a_stream_out_of_step_is_closed(void **state)
{
    session *s = *state;
    static const char multibulk[] = "-ERR Protocol error: invalid multibulk length";
    static const char bulk[] = "-ERR Protocol error: invalid bulk length";

    needs_server(s);
    expect_refused(s, "*x\r\n", multibulk);
    expect_refused(s, "*\r\n", multibulk);
    expect_refused(s, "*1x\r\n", multibulk);
    expect_refused(s, "* 1\r\n", multibulk);
    expect_refused(s, "*+1\r\n", multibulk);
    expect_refused(s, "*2147483648\r\n", multibulk);
    expect_refused(s, "*9223372036854775807\r\n", multibulk);
    expect_refused(s, "*99999999999999999999\r\n", multibulk);
    expect_refused(s, "*1\r\n:4\r\nPING\r\n", "-ERR Protocol error: expected '$', got ':'");
    expect_refused(s, "*1\r\nPING\r\n", "-ERR Protocol error: expected '$', got 'P'");
    expect_refused(s, "*1\r\n$x\r\n", bulk);
    expect_refused(s, "*1\r\n$-1\r\n", bulk);
    expect_refused(s, "*1\r\n$\r\n", bulk);
    expect_refused(s, "*1\r\n$4 \r\nPING\r\n", bulk);
    expect_refused(s, "*1\r\n$536870913\r\n", bulk);
    expect_refused(s, "*1\r\n$9223372036854775807\r\n", bulk);
    expect_refused(s, "*1\r\n$99999999999999999999\r\n", bulk);
    expect(s, "+PONG", "PING");
}

static void what_came_before_the_mistake_is_answered(void **state)
{
    session *s = *state;

    send_raw(s, "*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\n1\r\nGET a\r\n*1\r\n!4\r\nPING\r\nPING\r\n");
    expect_next(s, "+OK");
    expect_next(s, "$1");
    expect_next(s, "-ERR Protocol error: expected '$', got '!'");
    expect_closed(s);
}

static void a_line_without_end_is_refused(void **state)
{
    session *s = *state;
    char *line = malloc(70000);

    needs_server(s);
    assert_non_null(line);
    memset(line, 'a', 70000);
    refused(s, line, 70000, "-ERR Protocol error: too big inline request");
    line[0] = '*';
    memset(line + 1, '1', 69999);
    refused(s, line, 70000, "-ERR Protocol error: too big mbulk count string");
    memcpy(line, "*1\r\n$", 5);
    refused(s, line, 70000, "-ERR Protocol error: too big bulk count string");
    free(line);
}

static void an_announced_size_is_not_believed(void **state)
{
    session *s = *state;

    needs_server(s);
    for (int i = 0; i < 50; i++) { /* 25 GB, were it allocated */
        session *other = another_client(s);

        session_send(other, __FILE__, __LINE__, KV_STR("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\nabc"));
        other = another_client(s);
        session_send(other, __FILE__, __LINE__, KV_STR("*1000000\r\n$3\r\nDEL\r\n"));
        other = another_client(s);
        session_send(other, __FILE__, __LINE__, KV_STR("*2147483647\r\n$3\r\nDEL\r\n$1\r\nk\r\n"));
    }
    expect(s, "+PONG", "PING");
}

static void http_is_not_spoken_here(void **state)
{
    session *s = *state;
    session *other;

    needs_server(s);
    other = another_client(s);
    session_send(other, __FILE__, __LINE__,
                 KV_STR("POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nSET k evil\r\n"));
    expect_closed(other);
    other = another_client(s);
    session_send(other, __FILE__, __LINE__, KV_STR("Host: localhost\r\nSET k evil\r\n"));
    expect_closed(other);
    other = another_client(s);
    session_send(other, __FILE__, __LINE__,
                 KV_STR("*1\r\n$4\r\nPOST\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nevil\r\n"));
    expect_closed(other);
    expect(s, "_", "GET", "k");
}

/* ---- RESP3 ------------------------------------------------------------------------------ */

static void resp3_has_its_own_null_and_map(void **state)
{
    session *s = *state;

    needs_server(s);
    expect_like(s, "%7 *", "HELLO", "3");
    send_raw(s, "GET absent\r\nMGET absent\r\nLCS absent nothing IDX\r\nCOMMAND INFO nope\r\n");
    expect_next(s, "_");
    expect_next(s, "*1 _");
    expect_next(s, "%2 $matches *0 $len :0");
    expect_next(s, "*1 _");
    expect_like(s,
                "[*]1 [*]10 $get :2 ~2 +readonly +fast :1 :1 :1 ~3 +@read +@string +@fast ~0 ~1 %3 $flags ~2 "
                "+RO +access *",
                "COMMAND", "INFO", "get");
    expect(s, "+RESET", "RESET");
    expect(s, "*4 $matches *0 $len :0", "LCS", "absent", "nothing", "IDX");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        conversation(inline_commands_are_words_on_a_line),
        conversation(inline_words_may_be_quoted),
        conversation(empty_requests_are_nothing),
        conversation(a_pipeline_is_answered_in_order),
        conversation(a_pipeline_may_be_cut_anywhere),
        conversation(a_pipeline_may_come_byte_by_byte),
        conversation(a_deep_pipeline_is_answered_whole),
        conversation(a_large_value_may_arrive_in_pieces),
        conversation(many_arguments_are_taken),
        conversation(a_stream_out_of_step_is_closed),
        conversation(what_came_before_the_mistake_is_answered),
        conversation(a_line_without_end_is_refused),
        conversation(an_announced_size_is_not_believed),
        conversation(http_is_not_spoken_here),
        conversation(resp3_has_its_own_null_and_map),
    };

    return run_conversations(argc, argv, tests);
}
