/* primary_test.c - primaries that a replica has to survive: in pieces, cut off, silent, and hostile.
 *
 * A fake primary says what a test wants. Whatever it says, the replica keeps the data that it has, or has all of the new.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_server.h"
#include "rdb.h"
#include "replica.h"

#define ID   "0123456789abcdef0123456789abcdef01234567"
#define MARK "MARKMARKMARKMARKMARKMARKMARKMARKMARKMARK"

/* ---- what a primary says ---- */

typedef struct bytes {
    char data[4096];
    size_t len;
} bytes;

static void add(bytes *b, const void *data, size_t len)
{
    assert_true(b->len + len <= sizeof b->data);
    memcpy(b->data + b->len, data, len);
    b->len += len;
}

static void add_text(bytes *b, const char *text)
{
    add(b, text, strlen(text));
}

static int to_bytes(void *arg, const void *data, size_t len)
{
    add(arg, data, len);
    return 0;
}

/* A data set: a = 1 in database 0, b = 2 in database 3, gone = 3, which has expired. */
static void make_data_set(bytes *b)
{
    rdb_writer *w = rdb_writer_new(&(rdb_write_options){ .compress = true }, to_bytes, b);

    rdb_write_aux(w, KV_STR("redis-ver"), KV_STR("7.0.15"));
    rdb_write_db(w, 0, 2, 1);
    rdb_write_string(w, &(rdb_record){ .key = KV_STR("a"),
                                       .value = KV_STR("1"),
                                       .deadline_ms = KV_FOREVER,
                                       .idle_s = RDB_IDLE_NONE,
                                       .freq = RDB_FREQ_NONE });
    rdb_write_string(w, &(rdb_record){ .key = KV_STR("gone"),
                                       .value = KV_STR("3"),
                                       .deadline_ms = 1000,
                                       .idle_s = RDB_IDLE_NONE,
                                       .freq = RDB_FREQ_NONE });
    rdb_write_db(w, 3, 1, 0);
    rdb_write_string(w, &(rdb_record){ .key = KV_STR("b"),
                                       .value = KV_STR("2"),
                                       .deadline_ms = KV_FOREVER,
                                       .idle_s = RDB_IDLE_NONE,
                                       .freq = RDB_FREQ_NONE });
    assert_int_equal(rdb_write_end(w), 0);
    rdb_writer_free(w);
}

static void add_transfer(bytes *b, bool known)
{
    bytes set = { .len = 0 };
    char header[64];

    make_data_set(&set);
    if (known)
        snprintf(header, sizeof header, "$%zu\r\n", set.len);
    else
        snprintf(header, sizeof header, "$EOF:" MARK "\r\n");
    add_text(b, header);
    add(b, set.data, set.len);
    if (!known)
        add_text(b, MARK);
}

#define STREAM                                                                                           \
    "*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n*3\r\n$3\r\nSET\r\n$1\r\nc\r\n$5\r\nthree\r\n*1\r\n$4\r\nPING\r\n" \
    "*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n*2\r\n$4\r\nINCR\r\n$1\r\nb\r\n*1\r\n$"         \
    "4\r\nEXEC\r\n"                                                                                      \
    "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*2\r\n$4\r\nINCR\r\n$4\r\ngone\r\n*2\r\n$7\r\nPERSIST\r\n$"        \
    "4\r\ngone\r\n"

/* What the fake one says to PSYNC, and whether it then hangs up. */
typedef struct script {
    bytes said;
    bool hangs_up;
    _Atomic long long acked; /* the last REPLCONF ACK */
} script;

static void be_primary(fake_request *request, void *arg)
{
    script *s = arg;

    if (fake_is(request, "PING")) {
        fake_say(request, "+PONG\r\n");
    } else if (fake_is(request, "REPLCONF")) {
        if (strcmp(fake_arg(request, 1), "ACK") == 0)
            s->acked = atoll(fake_arg(request, 2));
        else
            fake_say(request, "+OK\r\n");
    } else if (fake_is(request, "PSYNC")) {
        fake_say_bytes(request, s->said.data, s->said.len);
        if (s->hangs_up)
            fake_hang_up(request);
    } else {
        fake_hang_up(request);
    }
}

/* ---- good ones, in pieces ---- */

static server *kvserver;
static conn *client;
static const char *how; /* repl-diskless-load */

static int begin_server(void **state)
{
    (void)state;
    kvserver = begin("--threads", "2", "--repl-timeout", "20", "--repl-diskless-load", how);
    client = connect_to(kvserver);
    return 0;
}

static int end_server(void **state)
{
    (void)state;
    conn_close(client);
    end(kvserver);
    return 0;
}

static int as_before(void **state)
{
    (void)state;
    says(client, "+OK", "REPLICAOF", "NO", "ONE");
    says(client, "+OK", "FLUSHALL");
    says(client, "+OK", "SET", "old", "1");
    return 0;
}

/* Who had followed the same primary up to the data set is told what came behind it. */
static void passes_on_the_stream(void)
{
    static const char *const commands[] = {
        "*2 $SELECT $3", "*3 $SET $c $three", "*1 $PING",      "*1 $MULTI",      "*2 $INCR $b",
        "*2 $INCR $b",   "*1 $EXEC",          "*2 $SELECT $0", "*2 $INCR $gone", "*2 $PERSIST $gone",
    };
    conn *c = connect_to(kvserver);

    says(c, "+CONTINUE", "PSYNC", ID, "1001");
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        next_is(c, commands[i]);
    conn_close(c);
    assert_int_equal(info_number(client, "repl_backlog_histlen"), strlen(STREAM));
}

static void follow_in_pieces(bool known, size_t piece)
{
    script *s = calloc(1, sizeof *s);
    fake_server *fake;

    add_text(&s->said, "\n\n+FULLRESYNC " ID " 1000\r\n\n\n");
    add_transfer(&s->said, known);
    add_text(&s->said, STREAM);
    fake = fake_start(be_primary, s);
    fake_set_piece(fake, piece);
    as_before(NULL);
    follow_port(client, fake_port(fake));
    wait_for_field(client, "master_link_status", "up");
    for (long long end = 1000 + (long long)strlen(STREAM); info_number(client, "slave_repl_offset") != end;)
        says(client, "+PONG", "PING");
    says(client, "*3 _ $1 $4", "MGET", "old", "a", "gone");
    says(client, "+OK", "SELECT", "3");
    says(client, "*2 $4 $three", "MGET", "b", "c");
    says(client, "+OK", "SELECT", "0");
    wait_for_field(client, "master_replid", ID);
    passes_on_the_stream();
    fake_stop(fake);
    free(s);
}

static void it_comes_in_pieces_of_any_length(void **state)
{
    static const size_t pieces[] = { 0, 1, 2, 3, 5, 7, 11, 16, 31, 40, 41, 64, 100, 150, 256 };

    (void)state;
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        follow_in_pieces(true, pieces[i]);
        follow_in_pieces(false, pieces[i]);
    }
}

static void expired_keys_are_not_served_and_not_removed(void **state)
{
    script *s = calloc(1, sizeof *s);
    fake_server *fake;

    (void)state;
    add_text(&s->said, "+FULLRESYNC " ID " 0\r\n");
    add_transfer(&s->said, true);
    fake = fake_start(be_primary, s);
    follow_port(client, fake_port(fake));
    wait_for_field(client, "master_link_status", "up");
    says(client, "_", "GET", "gone");
    says(client, ":2", "DBSIZE");
    fake_push(fake, 0, KV_STR("*2\r\n$3\r\nDEL\r\n$4\r\ngone\r\n").data, 23);
    wait_for_field(client, "slave_repl_offset", "23");
    says(client, ":1", "DBSIZE");
    fake_stop(fake);
    free(s);
}

/* ---- bad ones ---- */

static void wait_for_some_error(void)
{
    for (bool failed = false; !failed;) {
        char *error = info_value(client, "master_link_error");

        failed = error && *error;
        free(error);
    }
}

/* Follows a primary that says so, until it has failed for that reason (""; any); what was there is still there. */
static void expect_failure(const bytes *said, bool hangs_up, const char *reason)
{
    script *s = calloc(1, sizeof *s);
    fake_server *fake;

    s->said = *said;
    s->hangs_up = hangs_up;
    fake = fake_start(be_primary, s);
    as_before(NULL);
    follow_port(client, fake_port(fake));
    if (*reason)
        wait_for_field(client, "master_link_error", reason);
    else
        wait_for_some_error();
    says(client, "$1", "GET", "old");
    says(client, ":1", "DBSIZE");
    says(client, "+OK", "REPLICAOF", "NO", "ONE");
    fake_stop(fake);
    free(s);
}

static void expect_text_fails(const char *text, const char *reason)
{
    bytes said = { .len = 0 };

    add_text(&said, text);
    expect_failure(&said, false, reason);
}

#define FULL "+FULLRESYNC " ID " 1\r\n"

static void nonsense_is_named_and_nothing_is_lost(void **state)
{
    (void)state;
    expect_text_fails("+HELLO\r\n", "PSYNC: it says '+HELLO'");
    expect_text_fails("-NOMASTERLINK Can't SYNC while not connected with my master\r\n",
                      "PSYNC: it says '-NOMASTERLINK");
    expect_text_fails("-LOADING Redis is loading\r\n", "PSYNC: it says '-LOADING");
    expect_text_fails("+FULLRESYNC short 1\r\n", "PSYNC: it says");
    expect_text_fails("+FULLRESYNC " ID " -5\r\n", "PSYNC: it says");
    expect_text_fails("+FULLRESYNC " ID " 99999999999999999999\r\n", "PSYNC: it says");
    expect_text_fails("+CONTINUE " ID "\r\n", "PSYNC: it says"); /* of what? */
    expect_text_fails(FULL "-ERR no\r\n", "instead of a data set: it says '-ERR no'");
    expect_text_fails(FULL "$-1\r\n", "instead of a data set");
    expect_text_fails(FULL "$0\r\n", "instead of a data set");
    expect_text_fails(FULL "$99999999999999999999999\r\n", "instead of a data set");
    expect_text_fails(FULL "$EOF:short\r\n", "instead of a data set");
    expect_text_fails(FULL "$9223372036854775807\r\nREDIS0010garbage", "its data set cannot be taken");
    expect_text_fails(FULL "$20\r\nthis is no data set!", "its data set cannot be taken: byte 9");
    expect_text_fails(FULL "$EOF:" MARK "\r\nnor is this one here", "its data set cannot be taken");
}

static void a_data_set_cut_anywhere_is_not_taken(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        bytes whole = { .len = 0 };

        add_text(&whole, FULL);
        add_transfer(&whole, known);
        for (size_t cut = strlen(FULL); cut < whole.len; cut += cut < whole.len - 12 ? 7 : 1) {
            bytes part = whole;

            part.len = cut;
            expect_failure(&part, true, "");
        }
    }
}

static void a_damaged_data_set_is_not_taken(void **state)
{
    bytes whole = { .len = 0 };
    size_t header;

    (void)state;
    add_text(&whole, FULL);
    add_transfer(&whole, true);
    header = (size_t)(strstr(whole.data, "REDIS") - whole.data);
    for (size_t at = header; at < whole.len; at += 3) {
        bytes damaged = whole;

        damaged.data[at] ^= 0x11;
        expect_failure(&damaged, true, "");
    }
}

static void what_is_no_command_ends_the_link(void **state)
{
    static const char *const streams[] = { "*1\r\n$-1\r\n", "*99999999999\r\n", "*2\r\n$3\r\nSET\r\n:1\r\n",
                                           "*1\r\n$99999999999999\r\n" };

    (void)state;
    says(client, "+OK", "CONFIG", "SET", "repl-diskless-load", "swapdb"); /* it is loaded again and again */
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++) {
        script *s = calloc(1, sizeof *s);
        fake_server *fake;

        add_text(&s->said, FULL);
        add_transfer(&s->said, true);
        add_text(&s->said, streams[i]);
        fake = fake_start(be_primary, s);
        as_before(NULL);
        follow_port(client, fake_port(fake));
        while (fake_arrivals(fake) < 2) /* it has taken the data, hung up, and come again */
            says(client, "+PONG", "PING");
        says(client, "$1", "GET", "a");
        says(client, "+OK", "REPLICAOF", "NO", "ONE");
        fake_stop(fake);
        free(s);
    }
    says(client, "+OK", "CONFIG", "SET", "repl-diskless-load", how);
}

static void silence_is_not_waited_for_without_end(void **state)
{
    (void)state;
    says(client, "+OK", "CONFIG", "SET", "repl-timeout", "1");
    expect_text_fails("", "PSYNC: timeout");
    expect_text_fails(FULL, "waiting for its data set: timeout");
    expect_text_fails(FULL "$1000\r\nREDIS0010", "the data set did not come to its end: timeout");
    says(client, "+OK", "CONFIG", "SET", "repl-timeout", "20");
}

static void it_leaves_at_once_when_it_is_told_to(void **state)
{
    script *s = calloc(1, sizeof *s);
    fake_server *fake;

    (void)state;
    add_text(&s->said, FULL "$1000000\r\nREDIS0010");
    fake = fake_start(be_primary, s);
    follow_port(client, fake_port(fake));
    wait_for_field(client, "master_sync_in_progress", "1");
    says(client, "+OK", "REPLICAOF", "NO", "ONE");
    says(client, "+OK", "SET", "old", "2");
    while (fake_open_connections(fake) > 0)
        says(client, "+PONG", "PING");
    says(client, "$2", "GET", "old");
    fake_stop(fake);
    free(s);
}

static void the_offset_is_told(void **state)
{
    script *s = calloc(1, sizeof *s);
    fake_server *fake;

    (void)state;
    add_text(&s->said, "+FULLRESYNC " ID " 1000\r\n");
    add_transfer(&s->said, true);
    add_text(&s->said, STREAM "*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n");
    fake = fake_start(be_primary, s);
    follow_port(client, fake_port(fake));
    wait_for_field(client, "master_link_status", "up");
    wait_for_field(client, "slave_repl_offset", "1");
    while (s->acked != info_number(client, "slave_repl_offset"))
        says(client, "+PONG", "PING");
    assert_true(s->acked >= 1000 + (long long)strlen(STREAM));
    fake_stop(fake);
    free(s);
}

/* What was received of a transaction is nothing: who follows goes on before it. */
static void half_a_transaction_is_not_passed_on(void **state)
{
    script *s = calloc(1, sizeof *s);
    fake_server *fake;
    char whole[32];
    conn *c;

    (void)state;
    add_text(&s->said, "+FULLRESYNC " ID " 1000\r\n");
    add_transfer(&s->said, true);
    add_text(&s->said, STREAM "*1\r\n$5\r\nMULTI\r\n*2\r\n$4\r\nINCR\r\n$3\r\ncut\r\n");
    fake = fake_start(be_primary, s);
    follow_port(client, fake_port(fake));
    wait_for_field(client, "master_link_status", "up");
    snprintf(whole, sizeof whole, "%zu", 1000 + strlen(STREAM));
    wait_for_field(client, "slave_repl_offset", whole);
    while (info_number(client, "slave_read_repl_offset") <= atoll(whole))
        says(client, "+PONG", "PING");
    says(client, "+OK", "REPLICAOF", "NO", "ONE");
    fake_stop(fake);
    wait_for_field(client, "master_replid2", ID);
    assert_int_equal(info_number(client, "second_repl_offset"), 1001 + strlen(STREAM));
    says(client, "+OK", "SET", "own", "1");
    c = connect_to(kvserver);
    snprintf(whole, sizeof whole, "%zu", 1001 + strlen(STREAM));
    says(c, "+CONTINUE", "PSYNC", ID, whole);
    next_is(c, "*2 $SELECT $0");
    next_is(c, "*3 $SET $own $1");
    conn_close(c);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(it_comes_in_pieces_of_any_length, as_before),
        cmocka_unit_test_setup(expired_keys_are_not_served_and_not_removed, as_before),
        cmocka_unit_test_setup(nonsense_is_named_and_nothing_is_lost, as_before),
        cmocka_unit_test_setup(a_data_set_cut_anywhere_is_not_taken, as_before),
        cmocka_unit_test_setup(a_damaged_data_set_is_not_taken, as_before),
        cmocka_unit_test_setup(what_is_no_command_ends_the_link, as_before),
        cmocka_unit_test_setup(silence_is_not_waited_for_without_end, as_before),
        cmocka_unit_test_setup(it_leaves_at_once_when_it_is_told_to, as_before),
        cmocka_unit_test_setup(the_offset_is_told, as_before),
        cmocka_unit_test_setup(half_a_transaction_is_not_passed_on, as_before),
    };
    int failed;

    how = "disabled";
    failed = cmocka_run_group_tests_name("by a file", tests, begin_server, end_server);
    how = "swapdb";
    return failed + cmocka_run_group_tests_name("in place", tests, begin_server, end_server);
}
