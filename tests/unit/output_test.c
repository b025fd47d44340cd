/* output_test.c - bytes on their way to a client, with values by reference between them.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "output.h"

static void append(output *out, const char *text)
{
    size_t len = strlen(text);
    char *p = output_room(out, len);

    assert_non_null(p);
    memcpy(p, text, len);
    output_commit(out, len);
}

/* A value of len bytes, each the letter. */
static kv_bytes *value_of(char letter, size_t len)
{
    char *text = malloc(len);
    kv_bytes *bytes;

    assert_non_null(text);
    memset(text, letter, len);
    bytes = kv_bytes_new(kv_slice_of(text, len));
    assert_non_null(bytes);
    free(text);
    return bytes;
}

static void append_value(output *out, char letter, size_t len)
{
    kv_bytes *bytes = value_of(letter, len);

    output_reference(out, bytes, kv_bytes_slice(bytes));
    kv_bytes_unref(bytes); /* the output has its own */
}

/* Sends everything while reading the other end, and expects exactly the text. */
static void expect_sent(output *out, const char *text, size_t len)
{
    int ends[2];
    char *received = malloc(len + 1);
    size_t have = 0;
    output_status status;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    do {
        ssize_t n;
        size_t sent;

        status = output_send(out, ends[0], &sent);
        assert_int_not_equal(status, OUTPUT_BROKEN);
        while (have <= len && (n = read(ends[1], received + have, len + 1 - have)) > 0)
            have += (size_t)n;
    } while (status == OUTPUT_BLOCKED);
    assert_int_equal(have, len);
    assert_memory_equal(received, text, len);
    assert_true(output_is_empty(out));
    assert_int_equal(output_unsent(out), 0);
    free(received);
    close(ends[0]);
    close(ends[1]);
}

/* "$n a...a $n b...b" and so on, as the bytes that must arrive. */
static char *expected_stream(size_t values, size_t len, size_t *ret_len)
{
    char *text = malloc(values * (len + 2) + 4);
    size_t at = 0;

    assert_non_null(text);
    for (size_t i = 0; i < values; i++) {
        text[at++] = '<';
        memset(text + at, (char)('a' + i % 26), len);
        at += len;
        text[at++] = '>';
    }
    memcpy(text + at, "end", 4);
    *ret_len = at + 3;
    return text;
}

static void fill(output *out, size_t values, size_t len)
{
    for (size_t i = 0; i < values; i++) {
        append(out, "<");
        append_value(out, (char)('a' + i % 26), len);
        append(out, ">");
    }
    append(out, "end");
}

static void what_was_written_arrives(void **state)
{
    output out = { 0 };

    (void)state;
    append(&out, "+OK\r\n");
    append(&out, ":1\r\n");
    expect_sent(&out, "+OK\r\n:1\r\n", 9);
    output_done(&out);
}

static void references_arrive_at_their_places(void **state)
{
    output out = { 0 };
    size_t len;
    char *text = expected_stream(100, 5000, &len);

    (void)state;
    fill(&out, 100, 5000);
    assert_int_equal(output_unsent(&out), len);
    expect_sent(&out, text, len);
    free(text);
    output_done(&out);
}

static void a_reference_may_stand_first_and_last(void **state)
{
    output out = { 0 };

    (void)state;
    append_value(&out, 'x', 3);
    append_value(&out, 'y', 2);
    append(&out, "-");
    append_value(&out, 'z', 1);
    expect_sent(&out, "xxxyy-z", 7);
    output_done(&out);
}

static void moving_keeps_what_is_not_sent(void **state)
{
    output from = { 0 }, to = { 0 };
    size_t len, sent;
    char *text = expected_stream(50, 20000, &len), *rest;
    int ends[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    fill(&from, 50, 20000);
    assert_int_equal(output_send(&from, ends[0], &sent), OUTPUT_BLOCKED);
    assert_in_range(sent, 1, len - 1);
    output_move(&to, &from); /* into nothing: the buffer itself */
    assert_true(output_is_empty(&from));
    append(&from, "more");
    append_value(&from, '!', 10000);
    output_move(&to, &from); /* behind something: copied */
    rest = malloc(len - sent + 4 + 10000);
    memcpy(rest, text + sent, len - sent);
    memcpy(rest + len - sent, "more", 4);
    memset(rest + len - sent + 4, '!', 10000);
    assert_int_equal(output_unsent(&to), len - sent + 10004);
    expect_sent(&to, rest, len - sent + 10004);
    free(rest);
    free(text);
    output_done(&from);
    output_done(&to);
    close(ends[0]);
    close(ends[1]);
}

static void rewinding_forgets_a_reply(void **state)
{
    output out = { 0 };
    output_mark_at mark;

    (void)state;
    append(&out, "kept");
    mark = output_mark(&out);
    append(&out, "dropped");
    append_value(&out, 'v', 9000);
    output_rewind(&out, mark);
    append(&out, ".");
    expect_sent(&out, "kept.", 5);
    output_done(&out);
}

/* However the buffer grows: the byte beyond the limit is refused. */
static void a_limit_is_one_to_the_byte(void **state)
{
    (void)state;
    for (size_t piece = 1; piece < 100000; piece *= 10) {
        output out = { .limit = 100000 };

        for (size_t i = 0; i < 100000; i += piece) {
            assert_non_null(output_room(&out, piece));
            output_commit(&out, piece);
        }
        assert_null(output_room(&out, 1));
        assert_true(out.failed);
        output_done(&out);
    }
}

static void a_limit_fails_and_drops_everything(void **state)
{
    output out = { .limit = 100000 };
    bool full = false;

    (void)state;
    append_value(&out, 'v', 9000);
    for (int i = 0; i < 1000 && !full; i++) {
        char *p = output_room(&out, 1000);

        full = p == NULL;
        if (p) {
            memset(p, 'x', 1000);
            output_commit(&out, 1000);
        }
    }
    assert_true(full);
    assert_true(out.failed);
    assert_int_equal(output_unsent(&out), 0);
    output_done(&out);
}

static void values_by_reference_count_but_for_the_one_under_way(void **state)
{
    output out = { .limit = 100000 };

    (void)state;
    append_value(&out, 'a', 300000); /* one of any length passes */
    assert_false(out.failed);
    assert_int_equal(output_unsent(&out), 300000);
    assert_int_equal(output_excess(&out), 0);
    append_value(&out, 'b', 60000);
    append(&out, "xx");
    assert_int_equal(output_excess(&out), 60002);
    append_value(&out, 'c', 39998);
    assert_false(out.failed);
    append_value(&out, 'd', 1);
    assert_true(out.failed);
    assert_int_equal(output_unsent(&out), 0);
    output_done(&out);
}

static void what_waits_is_counted_while_it_is_sent(void **state)
{
    output out = { 0 };
    output_mark_at mark;
    int ends[2];
    size_t len, sent, taken = 0;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    fill(&out, 10, 100000);
    len = output_unsent(&out);
    assert_int_equal(len, 10 * 100002 + 3);
    mark = output_mark(&out);
    append_value(&out, 'z', 5000);
    output_rewind(&out, mark);
    assert_int_equal(output_unsent(&out), len);
    while (output_send(&out, ends[0], &sent) == OUTPUT_BLOCKED) {
        char bytes[50000];

        taken += sent;
        assert_int_equal(output_unsent(&out), len - taken);
        assert_true(output_excess(&out) <= len - taken);
        assert_true(read(ends[1], bytes, sizeof bytes) > 0);
    }
    assert_int_equal(taken + sent, len);
    assert_int_equal(output_unsent(&out), 0);
    output_done(&out);
    close(ends[0]);
    close(ends[1]);
}

/* A sink as moody as TLS: it refuses every second time, insists on seeing the same bytes again, and takes half. */
typedef struct moody {
    char text[400000], offered[OUTPUT_CHUNK];
    size_t len, offered_len;
    bool refused;
} moody;

static ssize_t take_moodily(void *arg, const char *data, size_t len)
{
    moody *m = arg;

    assert_in_range(len, 1, OUTPUT_CHUNK);
    if (!m->refused) {
        memcpy(m->offered, data, len);
        m->offered_len = len;
        m->refused = true;
        errno = EAGAIN;
        return -1;
    }
    assert_true(len >= m->offered_len);
    assert_memory_equal(data, m->offered, m->offered_len);
    m->refused = false;
    len = (len + 1) / 2;
    memcpy(m->text + m->len, data, len);
    m->len += len;
    return (ssize_t)len;
}

static void a_sink_sees_the_same_bytes_again(void **state)
{
    output out = { 0 };
    moody *m = calloc(1, sizeof *m);
    char *expected = malloc(400000);
    size_t len = 0, sent;

    (void)state;
    assert_non_null(m);
    assert_non_null(expected);
    for (int i = 0; i < 200; i++) { /* small and large ones, while some of it is under way */
        size_t size = i % 9 ? (size_t)i % 7 * 40 + 1 : 9000;

        append(&out, "head");
        append_value(&out, (char)('a' + i % 26), size);
        memcpy(expected + len, "head", 4);
        memset(expected + len + 4, 'a' + i % 26, size);
        len += 4 + size;
        if (i % 3 == 0)
            assert_int_equal(output_send_through(&out, take_moodily, m, &sent), OUTPUT_BLOCKED);
    }
    while (output_send_through(&out, take_moodily, m, &sent) == OUTPUT_BLOCKED)
        ;
    assert_true(output_is_empty(&out));
    assert_int_equal(m->len, len);
    assert_memory_equal(m->text, expected, len);
    output_done(&out);
    free(expected);
    free(m);
}

static ssize_t take_all(void *arg, const char *data, size_t len)
{
    (void)data;
    *(int *)arg += 1;
    return (ssize_t)len;
}

static void a_sink_has_its_share_and_no_more(void **state)
{
    output out = { 0 };
    int chunks = 0;
    size_t sent;

    (void)state;
    append_value(&out, 'x', OUTPUT_CHUNK * OUTPUT_CHUNKS + 1);
    assert_int_equal(output_send_through(&out, take_all, &chunks, &sent), OUTPUT_BLOCKED);
    assert_int_equal(chunks, OUTPUT_CHUNKS);
    assert_int_equal(output_send_through(&out, take_all, &chunks, &sent), OUTPUT_EMPTY);
    assert_int_equal(sent, 1);
    output_done(&out);
}

static void a_broken_socket_is_told(void **state)
{
    output out = { 0 };
    int ends[2];
    size_t sent;

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    close(ends[1]);
    append(&out, "x");
    assert_int_equal(output_send(&out, ends[0], &sent), OUTPUT_BROKEN); /* and no SIGPIPE */
    output_done(&out);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_arrives),
        cmocka_unit_test(references_arrive_at_their_places),
        cmocka_unit_test(a_reference_may_stand_first_and_last),
        cmocka_unit_test(moving_keeps_what_is_not_sent),
        cmocka_unit_test(rewinding_forgets_a_reply),
        cmocka_unit_test(a_limit_is_one_to_the_byte),
        cmocka_unit_test(a_limit_fails_and_drops_everything),
        cmocka_unit_test(values_by_reference_count_but_for_the_one_under_way),
        cmocka_unit_test(what_waits_is_counted_while_it_is_sent),
        cmocka_unit_test(a_sink_sees_the_same_bytes_again),
        cmocka_unit_test(a_sink_has_its_share_and_no_more),
        cmocka_unit_test(a_broken_socket_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
