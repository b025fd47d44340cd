/* resp_long_test.c - long arguments, received into memory of their own. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "arguments.h"
#include "resp.h"

enum { MIN = 5 }; /* an argument of so many bytes is long */

static const resp_limits trusted = { .bulk_max = 512 * 1024 * 1024, .authenticated = true };

/* A connection: what has arrived and is not done with, in a buffer that is new each time. */
typedef struct wire {
    resp_parser parser;
    char *data;
    size_t len;
    bool ahead; /* all goes through the buffer, as what is read ahead does */
    int found;
    bool repeat; /* each request is put back once */
} wire;

static const char *const expected[][5] = { { "MSET", "a", "long value", "key-of-eight", "\r\n$3\r\n*2\r\n" },
                                           { "GET", "a", NULL },
                                           { "SET", "some-key", "12345", NULL } };
static const char stream[] = "*5\r\n$4\r\nMSET\r\n$1\r\na\r\n$10\r\nlong value\r\n$12\r\nkey-of-eight\r\n"
                             "$10\r\n\r\n$3\r\n*2\r\n\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n"
                             "*3\r\n$3\r\nSET\r\n$8\r\nsome-key\r\n$5\r\n12345\r\n";

static void expect_request(const wire *w)
{
    const char *const *words = expected[w->found];

    for (int i = 0; i < w->parser.argc; i++) {
        assert_int_equal(w->parser.argv[i].len, strlen(words[i]));
        assert_memory_equal(w->parser.argv[i].data, words[i], w->parser.argv[i].len);
    }
}

static void append(wire *w, const char *piece, size_t len)
{
    char *fresh = calloc(1, w->len + len + RESP_SLACK);

    assert_non_null(fresh);
    if (w->len)
        memcpy(fresh, w->data, w->len);
    if (len)
        memcpy(fresh + w->len, piece, len);
    free(w->data);
    w->data = fresh;
    w->len += len;
}

static void drop(wire *w, size_t from, size_t n)
{
    memmove(w->data + from, w->data + from + n, w->len - from - n);
    w->len -= n;
}

static void absorb(wire *w)
{
    size_t at = w->parser.position;
    ptrdiff_t n = resp_long_absorb(&w->parser, NULL, w->data + at, w->len - at);

    assert_true(n >= 0);
    drop(w, at, (size_t)n);
}

/* Takes what can be taken of the buffer. */
static void parse(wire *w)
{
    bool again = w->repeat;
    size_t used;

    for (;;) {
        if (resp_in_long(&w->parser, MIN))
            absorb(w);
        if (resp_parse(&w->parser, &trusted, w->data, w->len, &used) != RESP_REQUEST) {
            drop(w, 0, used);
            if (!resp_in_long(&w->parser, MIN) || w->len == w->parser.position)
                return;
            continue;
        }
        assert_in_range(w->found, 0, 2);
        expect_request(w);
        if (again && w->parser.owned.count) { /* it had to wait, and the buffer has moved meanwhile */
            resp_parser_repeat(&w->parser, w->data, used);
            append(w, "", 0);
            again = false;
            continue;
        }
        again = w->repeat;
        drop(w, 0, used);
        w->found++;
    }
}

static void receive(wire *w, const char *piece, size_t len)
{
    while (len && !w->ahead && resp_in_long(&w->parser, MIN)) {
        size_t room;
        char *to = resp_long_room(&w->parser, NULL, 3, &room);

        assert_non_null(to);
        assert_in_range(room, 1, 3);
        if (room > len)
            room = len;
        memcpy(to, piece, room);
        assert_true(resp_long_received(&w->parser, room));
        piece += room;
        len -= room;
    }
    append(w, piece, len);
    parse(w);
}

static void pass(bool ahead, bool repeat, size_t cut1, size_t cut2)
{
    wire w = { .ahead = ahead, .repeat = repeat };
    size_t len = sizeof stream - 1;

    receive(&w, stream, cut1);
    receive(&w, stream + cut1, cut2 - cut1);
    receive(&w, stream + cut2, len - cut2);
    assert_int_equal(w.found, 3);
    assert_int_equal(w.len, 0);
    resp_parser_done(&w.parser);
    free(w.data);
}

static void a_stream_with_long_arguments_may_be_cut_at_any_two_bytes(void **state)
{
    (void)state;
    for (size_t cut1 = 0; cut1 < sizeof stream; cut1++)
        for (size_t cut2 = cut1; cut2 < sizeof stream; cut2++) {
            pass(false, false, cut1, cut2);
            pass(true, false, cut1, cut2);
        }
}

static void a_request_that_had_to_wait_is_given_again(void **state)
{
    (void)state;
    for (size_t cut = 0; cut < sizeof stream; cut++) {
        pass(false, true, cut, cut);
        pass(true, true, cut, cut);
    }
}

static void memory_grows_with_what_has_arrived(void **state)
{
    static const char head[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$536870912\r\n";
    static char some[100000];
    char data[sizeof head + RESP_SLACK];
    resp_parser parser = { 0 };
    size_t used, room;

    (void)state;
    memcpy(data, head, sizeof head);
    assert_int_equal(resp_parse(&parser, &trusted, data, sizeof head - 1, &used), RESP_MORE);
    assert_true(resp_in_long(&parser, KV_OWNED_MIN));
    assert_int_equal(resp_own_bytes(&parser), 0);
    for (size_t arrived = 0; arrived < 10 * sizeof some; arrived += sizeof some) {
        assert_int_equal(resp_long_absorb(&parser, NULL, some, sizeof some), sizeof some);
        assert_int_equal(resp_own_arrived(&parser), arrived + sizeof some);
        assert_true(resp_own_bytes(&parser) <= 2 * (arrived + sizeof some) + KV_OWNED_MIN);
    }
    assert_non_null(resp_long_room(&parser, NULL, 1 << 20, &room));
    resp_parser_reset(&parser);
    assert_int_equal(resp_own_bytes(&parser), 0);
    resp_parser_done(&parser);
}

/* The value of "SET k <100000 bytes>", which came in two pieces. */
static void take_value(resp_parser *parser, char *data, account *from)
{
    static char some[100000 + 2];
    size_t used;

    memset(some, 'v', 100000);
    memcpy(data, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100000\r\n", 29);
    assert_int_equal(resp_parse(parser, &trusted, data, 29, &used), RESP_MORE);
    assert_int_equal(resp_long_absorb(parser, from, some, 1), 1);
    assert_int_equal(resp_long_absorb(parser, from, some + 1, 100001), 100001);
    assert_int_equal(resp_parse(parser, &trusted, data, 29, &used), RESP_REQUEST);
    assert_int_equal(used, 29);
}

static void who_keeps_the_arguments_keeps_a_reference(void **state)
{
    resp_parser parser = { 0 };
    char data[64], room[64], *end;
    kv_slice copy[3];
    kv_bytes *places[1], *owner;
    kv_owned kept = { .bytes = places };
    arguments_sizes sizes = { 0 };

    (void)state;
    take_value(&parser, data, NULL);
    owner = kv_owner_of(&parser.owned, parser.argv[2]);
    assert_non_null(owner);
    assert_null(kv_owner_of(&parser.owned, kv_slice_of(parser.argv[2].data, 99999)));
    assert_null(kv_owner_of(&parser.owned, parser.argv[0]));
    assert_null(kv_owner_of(NULL, parser.argv[2]));
    arguments_measure(&parser.owned, 3, parser.argv, &sizes);
    assert_int_equal(sizes.bytes, 4);
    assert_int_equal(sizes.owners, 1);
    assert_true(sizes.owned_bytes >= 100000);
    end = arguments_keep(&parser.owned, 3, parser.argv, copy, room, &kept);
    assert_ptr_equal(end, room + 4);
    assert_int_equal(kept.count, 1);
    resp_parser_done(&parser);
    assert_memory_equal(copy[0].data, "SET", 3);
    assert_ptr_equal(copy[2].data, kv_bytes_data(owner));
    assert_int_equal(copy[2].data[99999], 'v'); /* AddressSanitizer knows if it is gone */
    arguments_drop(&kept);
    assert_int_equal(kept.count, 0);
}

/* An allocator that gives so many blocks and no more. */
static void *scarce_alloc(void *arg, size_t size_bytes, size_t alignment)
{
    int *left = arg;

    (void)alignment;
    return (*left)-- > 0 ? malloc(size_bytes) : NULL;
}

static void scarce_free(void *arg, void *memory, size_t size_bytes)
{
    (void)arg;
    (void)size_bytes;
    free(memory);
}

static void a_long_argument_without_memory_is_refused(void **state)
{
    static char some[100000];
    static const char head[] = "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$400000\r\n";
    char data[sizeof head + RESP_SLACK];

    (void)state;
    memcpy(data, head, sizeof head);
    for (int blocks = 0; blocks < 3; blocks++) {
        int left = 1 + blocks;
        kv_allocator allocator = { scarce_alloc, scarce_free, &left };
        account *from = account_new(&allocator, 1);
        resp_parser parser = { 0 };
        size_t used;
        int absorbed = 0;

        assert_non_null(from);
        assert_int_equal(resp_parse(&parser, &trusted, data, sizeof head - 1, &used), RESP_MORE);
        while (resp_long_absorb(&parser, from, some, sizeof some) > 0)
            absorbed++;
        assert_int_equal(absorbed, blocks);
        assert_int_equal(resp_own_arrived(&parser), (size_t)blocks * sizeof some);
        resp_parser_done(&parser);
        account_remove(from, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_with_long_arguments_may_be_cut_at_any_two_bytes),
        cmocka_unit_test(a_request_that_had_to_wait_is_given_again),
        cmocka_unit_test(memory_grows_with_what_has_arrived),
        cmocka_unit_test(who_keeps_the_arguments_keeps_a_reference),
        cmocka_unit_test(a_long_argument_without_memory_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
