/* bare_sync_test.c - SYNC and PSYNC of who has not said REPLCONF capa eof: "$length", so many bytes, and then at once what changes.
 *
 * redis-server is asked the same, where it can be.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "rdb.h"
#include "replica.h"

enum { keys = 1000, value_bytes = 5000 }; /* many chunks */

static server *begin_ours(void)
{
    return begin("--threads", "2", "--save", "", "--rdbcompression", "no", "--enable-debug-command", "yes",
                 "--repl-ping-replica-period", "3600");
}

static server *begin_theirs(void)
{
    return begin_redis("--save", "", "--rdbcompression", "no", "--enable-debug-command", "yes",
                       "--repl-ping-replica-period", "3600", "--repl-diskless-sync-delay", "0");
}

static conn *connect_and_fill(server *s)
{
    conn *c = connect_to(s);
    char count[16], size[16];

    snprintf(count, sizeof count, "%d", keys);
    snprintf(size, sizeof size, "%d", value_bytes);
    says(c, "+OK", "DEBUG", "POPULATE", count, "key", size);
    return c;
}

static void must_send(conn *c, const char *line)
{
    assert_true(conn_send(c, kv_str(line)));
}

/* ---- reading ---- */

/* The next line that is not empty, without its end. */
static void read_line(conn *c, char line[128])
{
    size_t len = 0;

    for (;;) {
        char byte;

        assert_int_equal(recv(conn_fd(c), &byte, 1, 0), 1);
        if (byte == '\n' && len > 0)
            break;
        if (byte == '\n' || byte == '\r')
            continue;
        assert_true(len < 127);
        line[len++] = byte;
    }
    line[len] = '\0';
}

/* The line before a data set: how many bytes that has. */
static size_t read_length(conn *c)
{
    char line[128];

    read_line(c, line);
    assert_int_equal(line[0], '$');
    assert_int_equal(strspn(line + 1, "0123456789"), strlen(line + 1));
    return (size_t)atoll(line + 1);
}

/* Its keys; it ends with its last byte. */
static uint64_t count_keys(kv_slice bytes)
{
    rdb_reader *reader = rdb_reader_new(NULL, rdb_source_slice, &bytes);
    uint64_t count = 0;
    rdb_item item;
    int more;

    while ((more = rdb_read(reader, &item)) > 0)
        count += item.kind == RDB_STRING;
    assert_int_equal(more, 0);
    assert_int_equal(rdb_reader_rest(reader).len, 0);
    assert_int_equal(bytes.len, 0);
    rdb_reader_free(reader);
    return count;
}

static uint64_t read_bytes(conn *c, size_t len)
{
    size_t got = 0;
    char *bytes = malloc(len);
    uint64_t count;

    assert_non_null(bytes);
    while (got < len) {
        ssize_t n = recv(conn_fd(c), bytes + got, len - got, 0);

        assert_true(n > 0);
        got += (size_t)n;
    }
    count = count_keys(kv_slice_of(bytes, len));
    free(bytes);
    return count;
}

static uint64_t read_data_set(conn *c)
{
    return read_bytes(c, read_length(c));
}

/* ---- as redis-server does ---- */

static void is_sent_length_and_stream(server *s)
{
    conn *client = connect_and_fill(s), *one = connect_to(s), *other = connect_to(s);

    must_send(one, "SYNC\r\n");
    assert_int_equal(read_data_set(one), keys);
    says(client, "+OK", "SET", "first", "1");
    next_is(one, "*2 $SELECT $0");
    next_is(one, "*3 $SET $first $1");

    must_send(other, "SYNC\r\n");
    assert_int_equal(read_data_set(other), keys + 1);
    says(client, "+OK", "SET", "second", "2");
    for (int i = 0; i < 2; i++) {
        next_is(i ? other : one, "*2 $SELECT $0");
        next_is(i ? other : one, "*3 $SET $second $2");
    }
    conn_close(one);
    conn_close(other);
    conn_close(client);
}

/* s NULL: there is no redis-server. */
static void play(server *s, void (*scene)(server *s))
{
    if (!s)
        skip();
    scene(s);
    end(s);
}

static server *begin_theirs_if_there(void)
{
    return oracle_program() ? begin_theirs() : NULL;
}

static void sync_is_sent_the_length_then_the_stream(void **state)
{
    (void)state;
    play(begin_ours(), is_sent_length_and_stream);
}

static void redis_server_sends_the_same(void **state)
{
    (void)state;
    play(begin_theirs_if_there(), is_sent_length_and_stream);
}

/* PSYNC is closed when it says nothing for repl-timeout; SYNC, which has said nothing for longer, is not. */
static void only_psync_must_answer(server *s)
{
    conn *client = connect_and_fill(s), *sync = connect_to(s), *psync = connect_to(s);
    char line[128];
    long long rest;

    must_send(sync, "SYNC\r\n");
    assert_int_equal(read_data_set(sync), keys);
    must_send(psync, "PSYNC ? -1\r\n");
    read_line(psync, line);
    assert_memory_equal(line, "+FULLRESYNC ", 12);
    assert_int_equal(read_data_set(psync), keys);
    says(client, "+OK", "CONFIG", "SET", "repl-timeout", "1");
    assert_true(conn_drain(psync, &rest));
    says(client, "+OK", "SET", "late", "1");
    next_is(sync, "*2 $SELECT $0");
    next_is(sync, "*3 $SET $late $1");
    conn_close(psync);
    conn_close(sync);
    conn_close(client);
}

static void who_says_sync_need_not_answer(void **state)
{
    (void)state;
    play(begin_ours(), only_psync_must_answer);
}

static void redis_server_waits_for_no_answer_either(void **state)
{
    (void)state;
    play(begin_theirs_if_there(), only_psync_must_answer);
}

/* ---- ours alone ---- */

static void who_wants_no_stream_is_closed_behind_it(void **state)
{
    server *s = begin_ours();
    conn *client = connect_and_fill(s), *c = connect_to(s);

    (void)state;
    says(c, "+OK", "REPLCONF", "rdb-only", "1");
    must_send(c, "SYNC\r\n");
    assert_int_equal(read_data_set(c), keys);
    assert_true(conn_ended(c));
    conn_close(c);
    conn_close(client);
    end(s);
}

/* More than the sockets hold, of which it reads no more than the length. */
static conn *connect_as_sleeper(server *s)
{
    conn *c = connect_to(s);

    must_send(c, "SYNC\r\n");
    assert_true(read_length(c) > 20000000);
    return c;
}

static void the_snapshot_is_free_when_the_file_is_whole(void **state)
{
    server *s = begin_ours();
    conn *client = connect_to(s), *sleeper, *next;

    (void)state;
    says(client, "+OK", "DEBUG", "POPULATE", "1000", "key", "20000");
    sleeper = connect_as_sleeper(s);
    says(client, "+OK", "SAVE");
    says(client, ":1", "CLIENT", "KILL", "TYPE", "replica");
    conn_close(sleeper);

    conn_close(connect_as_sleeper(s)); /* goes in the middle; the next has its turn */
    next = connect_to(s);
    must_send(next, "SYNC\r\n");
    assert_int_equal(read_data_set(next), 1000);
    conn_close(next);
    conn_close(client);
    end(s);
}

#ifdef KV_FAULTS
static server *begin_with_faults(const char *plan)
{
    server *s;

    setenv("KV_FAULTS", plan, 1);
    s = begin_ours();
    unsetenv("KV_FAULTS");
    return s;
}
#endif

/* Who does not read, or reads something else, keeps nobody from his own. */
static void who_reads_slowly_keeps_nobody_waiting(void **state)
{
    server *s = begin_ours();
    conn *client = connect_and_fill(s), *slow[3], *quick = connect_to(s);
    size_t lengths[sizeof slow / sizeof *slow];

    (void)state;
    for (int i = 0; i < 3; i++) {
        slow[i] = connect_to(s);
        must_send(slow[i], "SYNC\r\n");
        lengths[i] = read_length(slow[i]);
    }
    must_send(quick, "SYNC\r\n");
    assert_int_equal(read_data_set(quick), keys);
    says(client, "+OK", "SET", "first", "1");
    next_is(quick, "*2 $SELECT $0");
    next_is(quick, "*3 $SET $first $1");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(read_bytes(slow[i], lengths[i]), keys);
        next_is(slow[i], "*2 $SELECT $0");
        next_is(slow[i], "*3 $SET $first $1");
        conn_close(slow[i]);
    }
    conn_close(quick);
    conn_close(client);
    end(s);
}

/* The end of the server does not wait for them. */
static void many_may_be_sent_theirs_at_once(void **state)
{
    server *s = begin_ours();
    conn *client = connect_and_fill(s), *each[12];
    enum { count = sizeof each / sizeof *each };

    (void)state;
    for (int i = 0; i < count; i++) {
        each[i] = connect_to(s);
        must_send(each[i], "SYNC\r\n");
    }
    for (int i = 0; i < count; i++)
        read_length(each[i]);
    for (int i = 0; i < count; i += 2)
        conn_close(each[i]);
    says(client, "+OK", "CONFIG", "SET", "shutdown-timeout", "0");
    conn_close(client);
    end(s);
    for (int i = 1; i < count; i += 2)
        conn_close(each[i]);
}

static void a_full_disk_ends_it_with_a_reason(void **state)
{
    (void)state;
#ifdef KV_FAULTS
    server *s = begin_with_faults("write:2=ENOSPC");
    conn *client = connect_and_fill(s), *c = connect_to(s);
    char line[128], *log;

    must_send(c, "SYNC\r\n");
    read_line(c, line);
    assert_string_equal(line,
                        "-ERR The data set cannot be sent: a file for it, in 'dir': No space left on device");
    assert_true(conn_ended(c));
    conn_close(c);
    log = server_log(s);
    assert_says(log, "not all of it: a file for it, in 'dir': No space left on device");
    free(log);

    c = connect_to(s);
    must_send(c, "SYNC\r\n"); /* there is space again */
    assert_int_equal(read_data_set(c), keys);
    conn_close(c);
    conn_close(client);
    end(s);
#else
    skip();
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sync_is_sent_the_length_then_the_stream),
        cmocka_unit_test(redis_server_sends_the_same),
        cmocka_unit_test(who_says_sync_need_not_answer),
        cmocka_unit_test(redis_server_waits_for_no_answer_either),
        cmocka_unit_test(who_wants_no_stream_is_closed_behind_it),
        cmocka_unit_test(the_snapshot_is_free_when_the_file_is_whole),
        cmocka_unit_test(who_reads_slowly_keeps_nobody_waiting),
        cmocka_unit_test(many_may_be_sent_theirs_at_once),
        cmocka_unit_test(a_full_disk_ends_it_with_a_reason),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
