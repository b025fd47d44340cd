/* session_test.c - the table of session commands is complete, and batches are parsed as the parser would.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "dispatch.h"
#include "session.h"

static void every_session_command_has_a_function(void **state)
{
    (void)state;
    for (int id = 0; id < KV_COMMAND_COUNT; id++) {
        const kv_command *row = &kv_command_table[id];

        if (row->flags & KV_CMD_SESSION) {
            if (!session_function(id))
                fail_msg("%s %s has no function", row->container ? row->container : "", row->name);
        } else
            assert_null(session_function(id));
    }
}

/* ---- batches ---- */

typedef struct parsing {
    batch *batch;
    resp_parser parser;
    kv_domain *domain;
    bool direct[KV_COMMAND_COUNT];
} parsing;

static int set_up(void **state)
{
    parsing *p = calloc(1, sizeof *p);

    p->batch = calloc(1, sizeof *p->batch);
    p->domain = kv_domain_new(NULL);
    for (int i = 0; i < KV_COMMAND_COUNT; i++)
        p->direct[i] = dispatch_is_direct(&kv_command_table[i]);
    batch_init(p->batch, p->direct, NULL);
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    parsing *p = *state;

    resp_parser_done(&p->parser);
    kv_domain_unref(p->domain);
    free(p->batch);
    free(p);
    return 0;
}

static const resp_limits limits = { .bulk_max = 1 << 20, .authenticated = true };

/* Parses text, of which the buffer and its slack are this call's. */
static batch_end parse(parsing *p, char *buffer, const char *text)
{
    strcpy(buffer, text);
    return batch_parse(p->batch, &p->parser, &limits, p->domain, buffer, strlen(text));
}

static void expect_request(const parsing *p, int i, int id, const char *key, bool direct)
{
    const request *r = &p->batch->requests[i];

    assert_in_range(i, 0, p->batch->count - 1);
    if (id < 0) {
        assert_null(r->row);
        return;
    }
    assert_non_null(r->row);
    assert_int_equal(r->row->id, id);
    assert_int_equal(r->direct, direct);
    assert_int_equal(r->hashed, key != NULL);
    if (key) {
        kv_slice expected = kv_str(key);

        assert_true(kv_slice_equal(r->argv[r->row->keys.first], expected));
        assert_true(r->hash == domain_hash(p->domain, expected));
    }
}

static void a_batch_holds_the_requests_in_order(void **state)
{
    parsing *p = *state;
    char buffer[512];

    assert_int_equal(parse(p, buffer,
                           "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$2\r\nbb\r\n*3\r\n$3\r\nSET\r\n$"
                           "1\r\na\r\n$1\r\n1\r\n"
                           "*1\r\n$3\r\nGET\r\n*2\r\n$3\r\nget\r\n$12\r\nabcdefghijkl\r\n*1\r\n$"
                           "4\r\nNOPE\r\n*2\r\n$3\r\nGET\r\n$1"),
                     BATCH_MORE);
    assert_int_equal(p->batch->count, 6);
    expect_request(p, 0, KV_COMMAND_get, "a", true);
    expect_request(p, 1, KV_COMMAND_get, "bb", true);
    expect_request(p, 2, KV_COMMAND_set, "a", true);
    expect_request(p, 3, KV_COMMAND_get, NULL, false);
    expect_request(p, 4, KV_COMMAND_get, "abcdefghijkl", true);
    expect_request(p, 5, -1, NULL, false);
    assert_int_equal(p->batch->requests[0].end, 20);
    assert_int_equal(p->batch->used, p->batch->requests[5].end);
}

static void what_begins_alike_need_not_go_on_alike(void **state)
{
    parsing *p = *state;
    char buffer[512];

    /* The same opening, then another number of arguments, a cut argument, an error. */
    assert_int_equal(parse(p, buffer, "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$01\r\na\r\n"),
                     BATCH_ERROR);
    assert_int_equal(p->batch->count, 1);
    assert_int_equal(parse(p, buffer, "*2\r\n$3\r\nGET\r\n$5\r\nabc"), BATCH_MORE);
    assert_int_equal(p->batch->count, 0);
    resp_parser_reset(&p->parser);
    assert_int_equal(
        parse(p, buffer, "*3\r\n$3\r\nGET\r\n$1\r\na\r\n$1\r\nb\r\n*2\r\n$3\r\nGET\r\n$1\r\nc\r\n"),
        BATCH_MORE);
    assert_int_equal(p->batch->count, 2);
    expect_request(p, 0, KV_COMMAND_get, "a", false);
    expect_request(p, 1, KV_COMMAND_get, "c", true);
}

static void kinds_of_requests_may_take_turns(void **state)
{
    parsing *p = *state;
    char buffer[1024];

    /* More kinds than are remembered, two of them with the same first bytes, one of them with other arguments again. */
    for (int round = 0; round < 3; round++) {
        assert_int_equal(
            parse(
                p, buffer,
                "*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nx\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"
                "*2\r\n$3\r\nTTL\r\n$1\r\nc\r\n*2\r\n$4\r\nINCR\r\n$1\r\nd\r\n*2\r\n$3\r\nGET\r\n$2\r\nee\r\n"
                "*3\r\n$3\r\nSET\r\n$1\r\nf\r\n$1\r\nx\r\n*2\r\n$4\r\nDECR\r\n$1\r\ng\r\n*1\r\n$4\r\nEXEC\r\n"
                "*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$2\r\nx"),
            BATCH_MORE);
        assert_int_equal(p->batch->count, 9);
        expect_request(p, 0, KV_COMMAND_multi, NULL, true);
        expect_request(p, 1, KV_COMMAND_set, "a", true);
        expect_request(p, 2, KV_COMMAND_get, "b", true);
        expect_request(p, 3, KV_COMMAND_ttl, "c", true);
        expect_request(p, 4, KV_COMMAND_incr, "d", true);
        expect_request(p, 5, KV_COMMAND_get, "ee", true);
        expect_request(p, 6, KV_COMMAND_set, "f", true);
        expect_request(p, 7, KV_COMMAND_decr, "g", true);
        expect_request(p, 8, KV_COMMAND_exec, NULL, true);
        assert_int_equal(p->batch->used, p->batch->requests[8].end);
        resp_parser_reset(&p->parser);
    }
}

static void a_request_of_the_state_machine_ends_a_batch(void **state)
{
    parsing *p = *state;
    char buffer[512];

    assert_int_equal(parse(p, buffer, "*1\r\n$4\r\nPING\r\nGET inline\r\n*1\r\n$4\r\nPING\r\n"), BATCH_FULL);
    assert_int_equal(p->batch->count, 2);
    expect_request(p, 1, KV_COMMAND_get, "inline", true);
    assert_int_equal(p->batch->used, 14 + 12);
}

static void a_batch_is_bounded(void **state)
{
    parsing *p = *state;
    char buffer[4096] = "";

    for (int i = 0; i < 100; i++)
        strcat(buffer, "*1\r\n$4\r\nPING\r\n");
    assert_int_equal(batch_parse(p->batch, &p->parser, &limits, p->domain, buffer, 1400), BATCH_FULL);
    assert_int_equal(p->batch->count, BATCH_REQUESTS);
    assert_int_equal(p->batch->used, BATCH_REQUESTS * 14);
}

/* What gather.c asks: one request, all of it, and nothing behind it. */
static void one_request_alone_is_told_from_others(void **state)
{
    static const char *const others[] = {
        "",
        "PING\r\n",
        "*2\r\n$3\r\nGET\r\n$1\r\na\r",
        "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*",
        "*2\r\n$3\r\nGET\r\n$1\r\na\r\n*2\r\n$3\r\nGET\r\n$1\r\na\r\n",
        "*2\r\n$3\r\nGET\r\n$01\r\na\r\n",
        "*1\r\n$-1\r\n",
    };
    parsing *p = *state;
    char buffer[512];
    kv_slice argv[RESP_SMALL_ARGS];
    request *r = &p->batch->requests[0];

    p->batch->count = 1;                      /* for expect_request */
    for (int round = 0; round < 2; round++) { /* the second knows how the one before began */
        strcpy(buffer, "*2\r\n$3\r\nGET\r\n$3\r\nkey\r\n");
        assert_true(batch_parse_alone(p->batch, p->domain, r, argv, buffer, strlen(buffer)));
        expect_request(p, 0, KV_COMMAND_get, "key", true);
        assert_int_equal(r->end, strlen(buffer));
        assert_ptr_equal(r->argv, argv);
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            strcpy(buffer, others[i]);
            assert_false(batch_parse_alone(p->batch, p->domain, r, argv, buffer, strlen(buffer)));
        }
    }
    strcpy(buffer, "*1\r\n$3\r\nGET\r\n");
    assert_true(batch_parse_alone(p->batch, p->domain, r, argv, buffer, strlen(buffer)));
    expect_request(p, 0, KV_COMMAND_get, NULL, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_session_command_has_a_function),
        TEST(a_batch_holds_the_requests_in_order),
        TEST(what_begins_alike_need_not_go_on_alike),
        TEST(kinds_of_requests_may_take_turns),
        TEST(a_request_of_the_state_machine_ends_a_batch),
        TEST(a_batch_is_bounded),
        TEST(one_request_alone_is_told_from_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
