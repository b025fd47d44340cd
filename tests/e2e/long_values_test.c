/* long_values_test.c - values that take many reads to arrive: they are what was sent, however it was cut, and nobody waits for them
 * to be copied. (Timing is no matter for a test; that values are taken over is, and that the parts fit together.)
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e.h"

enum { long_len = 300 * 1000, growing_len = 9 * 1024 * 1024 };

/* ---- bytes that show where they come from ---- */

static char *pattern(size_t len, unsigned seed)
{
    char *bytes = malloc(len + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)('a' + (i * 7 + i / 251 + seed) % 26);
    bytes[len] = '\0';
    return bytes;
}

static void bytes_are(conn *c, const char *bytes, size_t len)
{
    reply *r = conn_read(c);

    assert_non_null(r);
    assert_int_equal(r->type, '$');
    assert_int_equal(r->len, len);
    assert_memory_equal(r->text, bytes, len);
    reply_free(r);
}

static void value_is(conn *c, const char *key, const char *bytes, size_t len)
{
    assert_true(conn_send_args(c, 2, (const kv_slice[]){ KV_STR("GET"), kv_str(key) }));
    bytes_are(c, bytes, len);
}

/* ---- arriving ---- */

typedef struct stream {
    char *bytes;
    size_t len;
} stream;

static void add(stream *t, size_t argc, const kv_slice argv[])
{
    size_t len;
    char *request = request_bytes(argc, argv, &len);

    t->bytes = realloc(t->bytes, t->len + len);
    assert_non_null(t->bytes);
    memcpy(t->bytes + t->len, request, len);
    t->len += len;
    free(request);
}

#define ADD(t, ...) \
    add(t, sizeof((const kv_slice[]){ __VA_ARGS__ }) / sizeof(kv_slice), (const kv_slice[]){ __VA_ARGS__ })

/* Sends in pieces of so many bytes, but for the first. */
static void send_pieces(conn *c, const stream *t, size_t first, size_t piece)
{
    for (size_t at = 0, n = first; at < t->len; at += n, n = piece) {
        if (n > t->len - at)
            n = t->len - at;
        assert_true(conn_send(c, kv_slice_of(t->bytes + at, n)));
    }
}

static void run_all(conn *c, size_t first, size_t piece)
{
    char *one = pattern(long_len, 1), *two = pattern(long_len, 2), *three = pattern(65536, 3);
    kv_slice a = kv_slice_of(one, long_len), b = kv_slice_of(two, long_len), d = kv_slice_of(three, 65536);
    stream t = { NULL, 0 };

    ADD(&t, KV_STR("FLUSHALL"));
    ADD(&t, KV_STR("SET"), KV_STR("k"), a);
    ADD(&t, KV_STR("GET"), KV_STR("k"));
    ADD(&t, KV_STR("SET"), KV_STR("k"), b, KV_STR("XX"), KV_STR("GET"));
    ADD(&t, KV_STR("SET"), KV_STR("k"), a, KV_STR("NX"));
    ADD(&t, KV_STR("SETNX"), KV_STR("n"), a);
    ADD(&t, KV_STR("GETSET"), KV_STR("n"), d);
    ADD(&t, KV_STR("MSET"), KV_STR("x"), a, KV_STR("short"), KV_STR("s"), KV_STR("y"), d, KV_STR("x"), b);
    ADD(&t, KV_STR("APPEND"), KV_STR("new"), a);
    ADD(&t, KV_STR("APPEND"), KV_STR("new"), d);
    ADD(&t, KV_STR("SETRANGE"), KV_STR("short"), KV_STR("0"), b);
    ADD(&t, KV_STR("SETRANGE"), KV_STR("short"), KV_STR("3"), d);
    ADD(&t, KV_STR("MULTI"));
    ADD(&t, KV_STR("SETEX"), KV_STR("m"), KV_STR("1000"), a);
    ADD(&t, KV_STR("SET"), KV_STR("m2"), d);
    ADD(&t, KV_STR("EXEC"));
    ADD(&t, KV_STR("ECHO"), b);
    send_pieces(c, &t, first, piece);
    next_is(c, "+OK");
    next_is(c, "+OK");
    bytes_are(c, one, long_len);
    bytes_are(c, one, long_len);
    next_is(c, "_");
    next_is(c, ":1");
    bytes_are(c, one, long_len);
    next_is(c, "+OK");
    next_is(c, ":300000");
    next_is(c, ":365536");
    next_is(c, ":300000");
    next_is(c, ":300000");
    next_is(c, "+OK");
    next_is(c, "+QUEUED");
    next_is(c, "+QUEUED");
    next_is(c, "*2 +OK +OK");
    bytes_are(c, two, long_len);

    value_is(c, "k", two, long_len);
    value_is(c, "n", three, 65536);
    value_is(c, "x", two, long_len);
    value_is(c, "y", three, 65536);
    value_is(c, "m", one, long_len);
    value_is(c, "m2", three, 65536);
    memcpy(two + 3, three, 65536);
    value_is(c, "short", two, long_len);
    one = realloc(one, long_len + 65536);
    assert_non_null(one);
    memcpy(one + long_len, three, 65536);
    value_is(c, "new", one, long_len + 65536);
    free(one);
    free(two);
    free(three);
    free(t.bytes);
}

static void cut_in_all_ways(server *s)
{
    static const size_t cuts[][2] = { { 60, 1 << 20 },    { 33, 1 << 16 },    { 70, 131072 },
                                      { 131072, 131072 }, { 300030, 300031 }, { 300090, 300092 },
                                      { 1, 65537 },       { 99, 4099 } };

    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        conn *c = connect_to(s);

        run_all(c, cuts[i][0], cuts[i][1]);
        conn_close(c);
    }
}

static void long_values_arrive_however_they_are_cut(void **state)
{
    server *s = begin("--threads", "2");

    (void)state;
    cut_in_all_ways(s);
    end(s);
}

static void they_do_on_their_way_to_a_state_thread(void **state)
{
    server *s = begin("--threads", "2", "--sharing", "actor");

    (void)state;
    cut_in_all_ways(s);
    end(s);
}

/* The request is whole and may not run: it is kept, and runs later. */
static void a_long_value_waits_while_clients_are_paused(void **state)
{
    server *s = begin("--threads", "1");
    conn *c = connect_to(s), *other = connect_to(s);
    char *bytes = pattern(long_len, 5);
    stream t = { NULL, 0 };

    (void)state;
    says(other, "+OK", "CLIENT", "PAUSE", "60000", "WRITE");
    ADD(&t, KV_STR("SET"), KV_STR("k"), kv_slice_of(bytes, long_len));
    ADD(&t, KV_STR("GET"), KV_STR("k"));
    send_pieces(c, &t, 50, 100000);
    for (bool waits = false; !waits;) {
        char *info = ask(other, "INFO", "clients");

        assert_non_null(info);
        waits = strstr(info, "blocked_clients:1") != NULL;
        free(info);
    }
    says(other, "_", "GET", "k");
    says(other, "+OK", "CLIENT", "UNPAUSE");
    next_is(c, "+OK");
    bytes_are(c, bytes, long_len);
    free(bytes);
    free(t.bytes);
    conn_close(c);
    conn_close(other);
    end(s);
}

/* What is read while the client has replies to take is kept as it comes, a half value too. */
static void a_long_value_may_follow_replies_that_nobody_takes(void **state)
{
    enum { reads = 60 };
    server *s = begin("--threads", "1");
    conn *c = connect_to(s);
    char *bytes = pattern(long_len, 6), *other = pattern(long_len, 7);
    stream t = { NULL, 0 };

    (void)state;
    ADD(&t, KV_STR("SET"), KV_STR("k"), kv_slice_of(bytes, long_len));
    for (int i = 0; i < reads; i++)
        ADD(&t, KV_STR("GET"), KV_STR("k"));
    ADD(&t, KV_STR("SET"), KV_STR("k"), kv_slice_of(other, long_len));
    send_pieces(c, &t, t.len - long_len - 2, 70000);
    next_is(c, "+OK");
    for (int i = 0; i < reads; i++)
        bytes_are(c, bytes, long_len);
    next_is(c, "+OK");
    value_is(c, "k", other, long_len);
    free(bytes);
    free(other);
    free(t.bytes);
    conn_close(c);
    end(s);
}

static void a_client_may_leave_in_the_middle(void **state)
{
    server *s = begin("--threads", "2", "--client-query-buffer-limit", "1mb");
    conn *c = connect_to(s), *greedy = connect_to(s);
    char *bytes = pattern(2 << 20, 8);
    stream t = { NULL, 0 };

    (void)state;
    ADD(&t, KV_STR("SET"), KV_STR("k"), kv_slice_of(bytes, 2 << 20));
    assert_true(conn_send(c, kv_slice_of(t.bytes, 200000)));
    conn_close(c);
    if (conn_send(greedy, kv_slice_of(t.bytes, t.len))) /* more than the limit: it is closed */
        assert_null(conn_read(greedy));
    conn_close(greedy);
    c = connect_to(s);
    says(c, "_", "GET", "k");
    conn_close(c);
    free(bytes);
    free(t.bytes);
    end(s);
}

/* ---- growing in parts ---- */

static void grow_by_parts(server *s)
{
    conn *c = connect_to(s);
    char *bytes = pattern(growing_len + 100, 9), *zeros = calloc(1, growing_len + 100);

    assert_non_null(zeros);
    says(c, "+OK", "SET", "k", "");
    says(c, "+OK", "SET", "k2", "head");
    assert_true(conn_send_args(
        c, 3, (const kv_slice[]){ KV_STR("SET"), KV_STR("k"), kv_slice_of(bytes, growing_len) }));
    next_is(c, "+OK");
    says(c, ":9437186", "APPEND", "k", "xy"); /* in parts: there is no room behind it */
    says(c, ":9437187", "APPEND", "k", "z");  /* in place */
    memcpy(bytes + growing_len, "xyz", 3);
    value_is(c, "k", bytes, growing_len + 3);
    says(c, ":9437187", "SETRANGE", "k", "5", "hello");
    memcpy(bytes + 5, "hello", 5);
    says(c, ":9437197", "SETRANGE", "k", "9437190", "further");
    memset(bytes + growing_len + 3, 0, 3);
    memcpy(bytes + growing_len + 6, "further", 7);
    value_is(c, "k", bytes, growing_len + 13);
    says(c, ":9437191", "SETRANGE", "absent", "9437184", "further");
    memcpy(zeros + growing_len, "further", 7);
    value_is(c, "absent", zeros, growing_len + 7);
    /* A long one behind a short one. */
    assert_true(conn_send_args(
        c, 3, (const kv_slice[]){ KV_STR("APPEND"), KV_STR("k2"), kv_slice_of(bytes, growing_len) }));
    next_is(c, ":9437188");
    memmove(bytes + 4, bytes, growing_len);
    memcpy(bytes, "head", 4);
    value_is(c, "k2", bytes, growing_len + 4);
    says(c, ":9437188", "SETRANGE", "k2", "9999999", "");
    says(c, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)", "SETRANGE", "k2", "536870911",
         "xx");
    free(bytes);
    free(zeros);
    conn_close(c);
}

static void a_huge_value_grows_in_parts(void **state)
{
    server *s = begin("--threads", "1");

    (void)state;
    grow_by_parts(s);
    end(s);
    s = begin("--threads", "1", "--sharing", "actor");
    grow_by_parts(s);
    end(s);
}

enum { rounds = 10 };

static void *append_bytes(void *arg)
{
    conn *c = connect_to(arg);

    for (int i = 0; i < rounds; i++)
        says(c, ":", "APPEND", "k", "a");
    conn_close(c);
    return NULL;
}

/* Two that change the same value, each building another one out of it: nothing of either is lost. */
static void nothing_is_lost_when_two_grow_the_same_value(void **state)
{
    server *s = begin("--threads", "2");
    conn *c = connect_to(s);
    pthread_t other;
    char text[32];

    (void)state;
    snprintf(text, sizeof text, "%d", growing_len);
    says(c, ":", "SETRANGE", "k", text, "");
    says(c, ":", "SETRANGE", "k", text, "b");
    assert_int_equal(pthread_create(&other, NULL, append_bytes, s), 0);
    for (int i = 0; i < rounds; i++) {
        char at[16], byte[2] = { (char)('0' + i % 10), '\0' };

        snprintf(at, sizeof at, "%d", i);
        says(c, ":", "SETRANGE", "k", at, byte);
    }
    assert_int_equal(pthread_join(other, NULL), 0);
    snprintf(text, sizeof text, ":%d", growing_len + 1 + rounds);
    says(c, text, "STRLEN", "k");
    says(c, "$0123456789", "GETRANGE", "k", "0", "9");
    says(c, "$baaaaaaaaaa", "GETRANGE", "k", "-11", "-1");
    conn_close(c);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_values_arrive_however_they_are_cut),
        cmocka_unit_test(they_do_on_their_way_to_a_state_thread),
        cmocka_unit_test(a_long_value_waits_while_clients_are_paused),
        cmocka_unit_test(a_long_value_may_follow_replies_that_nobody_takes),
        cmocka_unit_test(a_client_may_leave_in_the_middle),
        cmocka_unit_test(a_huge_value_grows_in_parts),
        cmocka_unit_test(nothing_is_lost_when_two_grow_the_same_value),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
