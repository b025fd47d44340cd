/* reader_test.c - replies under bounds, from bytes that arrive in any pieces, or from a server that means harm.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "reader.h"
#include "show.h"

static const kvc_limits usual = { .bytes = 1 << 20, .depth = 32, .elements = 1 << 16 };

static kvc_reader *begin(const kvc_limits *limits)
{
    kvc_reader *reader = kvc_reader_new(limits);

    assert_non_null(reader);
    return reader;
}

/* What the reader says of bytes in the end, fed in two pieces. */
static kvc_status read_split(const kvc_limits *limits, const char *bytes, size_t len, size_t at,
                             kvc_reply **ret_reply, kvc_error *error)
{
    kvc_reader *reader = begin(limits);
    kvc_status status = kvc_reader_feed(reader, bytes, at, error);

    if (status == KVC_OK)
        status = kvc_reader_next(reader, ret_reply, error);
    if (status == KVC_NIL) {
        status = kvc_reader_feed(reader, bytes + at, len - at, error);
        if (status == KVC_OK)
            status = kvc_reader_next(reader, ret_reply, error);
    }
    kvc_reader_free(reader);
    return status;
}

static void expect_every_split(const char *bytes, size_t len, const char *text)
{
    for (size_t at = 0; at < len; at++) {
        kvc_reply *reply = NULL;
        kvc_error error;

        assert_int_equal(read_split(&usual, bytes, len, at, &reply, &error), KVC_OK);
        assert_shows(reply, text);
    }
}

#define EVERY_SPLIT(bytes, text) expect_every_split(bytes, sizeof(bytes) - 1, text)

static void a_reply_is_the_same_however_it_is_cut(void **state)
{
    (void)state;
    EVERY_SPLIT("+OK\r\n", "+OK");
    EVERY_SPLIT("-ERR no such thing\r\n", "-ERR no such thing");
    EVERY_SPLIT(":-42\r\n", ":-42");
    EVERY_SPLIT("$5\r\na\r\nbc\r\n", "$a\r\nbc");
    EVERY_SPLIT("$0\r\n\r\n", "$");
    EVERY_SPLIT("$-1\r\n", "_");
    EVERY_SPLIT("*-1\r\n", "_");
    EVERY_SPLIT("*0\r\n", "*[]");
    EVERY_SPLIT("*3\r\n$1\r\na\r\n*2\r\n:1\r\n$-1\r\n+x\r\n", "*[$a *[:1 _] +x]");
#ifdef KVC_HIREDIS_RESP3
    EVERY_SPLIT("%1\r\n+k\r\n,1.5\r\n", "%[+k ,1.5]");
    EVERY_SPLIT("~2\r\n#t\r\n_\r\n", "~[#t _]");
    EVERY_SPLIT(">2\r\n+message\r\n=5\r\ntxt:x\r\n", ">[+message =x]");
#endif
}

static void replies_behind_each_other_come_one_by_one(void **state)
{
    static const char bytes[] = "+a\r\n$1\r\nb\r\n*1\r\n:3\r\n";
    kvc_reader *reader = begin(&usual);
    kvc_reply *reply;

    (void)state;
    assert_int_equal(kvc_reader_feed(reader, bytes, sizeof bytes - 1, NULL), KVC_OK);
    assert_int_equal(kvc_reader_next(reader, &reply, NULL), KVC_OK);
    assert_shows(reply, "+a");
    assert_int_equal(kvc_reader_next(reader, &reply, NULL), KVC_OK);
    assert_shows(reply, "$b");
    assert_int_equal(kvc_reader_next(reader, &reply, NULL), KVC_OK);
    assert_shows(reply, "*[:3]");
    assert_int_equal(kvc_reader_next(reader, &reply, NULL), KVC_NIL);
    kvc_reader_free(reader);
}

static void numbers_are_read_from_text_that_is_one(void **state)
{
    static const char bytes[] = "*7\r\n$2\r\n42\r\n$3\r\n1.5\r\n$2\r\n4x\r\n$0\r\n\r\n$2\r\n "
                                "1\r\n$20\r\n99999999999999999999\r\n:7\r\n";
    kvc_reply *reply;

    (void)state;
    assert_int_equal(read_split(&usual, bytes, sizeof bytes - 1, 1, &reply, NULL), KVC_OK);
    assert_int_equal(kvc_reply_int(kvc_reply_at(reply, 0)), 42);
    assert_int_equal(kvc_reply_int(kvc_reply_at(reply, 1)), 0);
    assert_true(kvc_reply_double(kvc_reply_at(reply, 1)) == 1.5);
    for (size_t i = 2; i <= 5; i++)
        assert_int_equal(kvc_reply_int(kvc_reply_at(reply, i)), 0);
    assert_true(kvc_reply_double(kvc_reply_at(reply, 6)) == 7);
    assert_null(kvc_reply_at(reply, 7));
    assert_int_equal(kvc_reply_type(NULL), KVC_TYPE_NIL);
    assert_int_equal(kvc_reply_text(NULL).len, 0);
    kvc_reply_free(reply);
}

static void a_map_is_searched_by_its_keys_only(void **state)
{
    static const char bytes[] = "*4\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nb\r\n:2\r\n";
    kvc_reply *reply;

    (void)state;
    assert_int_equal(read_split(&usual, bytes, sizeof bytes - 1, 1, &reply, NULL), KVC_OK);
    assert_int_equal(kvc_reply_int(kvc_reply_find(reply, "b")), 2);
    assert_null(kvc_reply_find(reply, "c"));
    kvc_reply_free(reply);
}

/* ---- harm ---- */

/* Whatever way it is cut, it is refused, with words about what it was. */
static void expect_refused(const kvc_limits *limits, const char *bytes, size_t len, const char *words)
{
    for (size_t at = 0; at<len; at += len> 200 ? len / 7 : 1) {
        kvc_reply *reply = NULL;
        kvc_error error = { .status = KVC_OK };

        assert_int_equal(read_split(limits, bytes, len, at, &reply, &error), KVC_EPROTOCOL);
        assert_null(reply);
        assert_int_equal(error.status, KVC_EPROTOCOL);
        if (!strstr(error.message, words))
            fail_msg("\"%s\" does not say \"%s\"", error.message, words);
    }
}

#define REFUSED(limits, bytes, words) expect_refused(limits, bytes, sizeof(bytes) - 1, words)

static void what_is_not_resp_is_refused(void **state)
{
    (void)state;
    REFUSED(&usual, "HTTP/1.1 400 Bad Request\r\n", "not RESP");
    REFUSED(&usual, "\r\n", "not RESP");
    REFUSED(&usual, "$-2\r\n", "not RESP");
    REFUSED(&usual, "*-2\r\n", "not RESP");
    REFUSED(&usual, "$99999999999999999999999\r\n", "");
    REFUSED(&usual, "*99999999999999999999999\r\n", "not RESP");
    REFUSED(&usual, "$x\r\n", "not RESP");
    REFUSED(&usual, ":1x\r\n", "not RESP");
    REFUSED(&usual, "*1\r\n*1\r\n?\r\n", "not RESP");
}

static void a_length_is_refused_before_its_bytes_come(void **state)
{
    (void)state;
    REFUSED(&usual, "$1048577\r\n", "1048577 bytes, which exceeds max_reply_bytes");
    REFUSED(&usual, "*2\r\n:1\r\n$4294967296\r\n", "max_reply_bytes");
    REFUSED(&usual, "*65537\r\n", "max_reply_elements");
    REFUSED(&usual, "*40000\r\n*40000\r\n", "max_reply_elements");
    REFUSED(&usual, "*2147483647\r\n", "");
}

static void nesting_ends_at_its_limit(void **state)
{
    static const kvc_limits flat = { .bytes = 1 << 20, .depth = 3, .elements = 100 };
    kvc_reply *reply;

    (void)state;
    REFUSED(&flat, "*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n", "max_reply_depth");
    assert_int_equal(read_split(&flat, "*1\r\n*1\r\n*1\r\n:1\r\n", 16, 3, &reply, NULL), KVC_OK);
    assert_shows(reply, "*[*[*[:1]]]");
}

/* Feeds text again and again; how many bytes were taken until it was refused. */
static size_t feed_for_ever(const kvc_limits *limits, const char *text, kvc_error *error)
{
    char block[4096];
    size_t fed = 0, len = strlen(text);
    kvc_reader *reader = begin(limits);
    kvc_status status = KVC_NIL;
    kvc_reply *reply;

    for (size_t i = 0; i < sizeof block; i++)
        block[i] = text[i % len];
    while (status == KVC_NIL && fed < 64u << 20) {
        status = kvc_reader_feed(reader, block, sizeof block / len * len, error);
        if (status == KVC_OK)
            status = kvc_reader_next(reader, &reply, error);
        fed += sizeof block / len * len;
    }
    /* It stays refused. */
    assert_int_equal(status, KVC_EPROTOCOL);
    assert_int_equal(kvc_reader_next(reader, &reply, NULL), KVC_EPROTOCOL);
    assert_int_equal(kvc_reader_feed(reader, "+OK\r\n", 5, NULL), KVC_EPROTOCOL);
    kvc_reader_free(reader);
    return fed;
}

static void what_never_ends_is_refused(void **state)
{
    kvc_error error;

    (void)state;
    assert_in_range(feed_for_ever(&usual, "*1\r\n", &error), 1, 8192);
    assert_in_range(feed_for_ever(&usual, "+", &error), 1, 2 << 20);
    assert_non_null(strstr(error.message, "a line without end"));
    assert_in_range(feed_for_ever(&usual, "$1", &error), 1, 8192);
    assert_in_range(feed_for_ever(&usual, "*9", &error), 1, 8192);
    assert_in_range(feed_for_ever(&usual, ":1", &error), 1, 8192);
}

/* One array that goes on and on: what it makes us allocate counts, not only what its elements say. */
static void a_reply_of_many_small_elements_is_bounded(void **state)
{
    static const kvc_limits limits = { .bytes = 100000, .depth = 32, .elements = 1 << 30 };
    kvc_reader *reader = begin(&limits);
    kvc_error error;
    kvc_reply *reply;
    kvc_status status = kvc_reader_feed(reader, "*1000000\r\n", 10, &error);
    int taken = 0;

    (void)state;
    while (status == KVC_OK || status == KVC_NIL) {
        status = kvc_reader_feed(reader, ":1\r\n", 4, &error);
        if (status == KVC_OK)
            status = kvc_reader_next(reader, &reply, &error);
        taken++;
    }
    assert_int_equal(status, KVC_EPROTOCOL);
    assert_non_null(strstr(error.message, "max_reply_bytes"));
    assert_in_range(taken, 500, 10000);
    kvc_reader_free(reader);
}

/* The limit is of one reply; and a long one leaves nothing behind that would count. */
static void long_replies_may_follow_each_other(void **state)
{
    enum { size = 700 * 1000 };
    char *bytes = malloc(size + 32);
    kvc_reader *reader = begin(&usual);
    kvc_reply *reply;
    size_t len;

    (void)state;
    assert_non_null(bytes);
    len = (size_t)sprintf(bytes, "$%d\r\n", size);
    memset(bytes + len, 'x', size);
    memcpy(bytes + len + size, "\r\n", 2);
    len += size + 2;
    for (int i = 0; i < 5; i++) {
        for (size_t at = 0; at < len; at += 10000) {
            assert_int_equal(kvc_reader_feed(reader, bytes + at, len - at < 10000 ? len - at : 10000, NULL),
                             KVC_OK);
            assert_int_equal(kvc_reader_next(reader, &reply, NULL), at + 10000 >= len ? KVC_OK : KVC_NIL);
        }
        assert_int_equal(kvc_reply_text(reply).len, size);
        kvc_reply_free(reply);
    }
    kvc_reader_free(reader);
    free(bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_is_the_same_however_it_is_cut),
        cmocka_unit_test(replies_behind_each_other_come_one_by_one),
        cmocka_unit_test(numbers_are_read_from_text_that_is_one),
        cmocka_unit_test(a_map_is_searched_by_its_keys_only),
        cmocka_unit_test(what_is_not_resp_is_refused),
        cmocka_unit_test(a_length_is_refused_before_its_bytes_come),
        cmocka_unit_test(nesting_ends_at_its_limit),
        cmocka_unit_test(what_never_ends_is_refused),
        cmocka_unit_test(a_reply_of_many_small_elements_is_bounded),
        cmocka_unit_test(long_replies_may_follow_each_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
