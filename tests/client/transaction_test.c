/* transaction_test.c - transactions on a server that refuses, forgets and lies.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>

#include <cmocka.h>

#include "fake_server.h"
#include "kvclient.h"
#include "show.h"

/* What it answers to MULTI, to the commands inside, and to EXEC (NULL: nothing, and hangs up); how many of them came. */
static _Atomic(const char *) multi, queued, exec;
static atomic_int commands, execs;

static void answer(fake_request *request, void *arg)
{
    (void)arg;
    if (fake_handshake(request))
        return;
    if (fake_is(request, "MULTI")) {
        fake_say(request, "%s", atomic_load(&multi));
    } else if (fake_is(request, "EXEC")) {
        const char *answer_to_exec = atomic_load(&exec);

        atomic_fetch_add(&execs, 1);
        if (answer_to_exec)
            fake_say(request, "%s", answer_to_exec);
        else
            fake_hang_up(request);
    } else {
        atomic_fetch_add(&commands, 1);
        fake_say(request, "%s", atomic_load(&queued));
    }
}

static fake_server *server;
static kvc_client *client;
static kvc_error error;

static int set_up(void **state)
{
    kvc_options options;

    (void)state;
    atomic_store(&multi, "+OK\r\n");
    atomic_store(&queued, "+QUEUED\r\n");
    atomic_store(&exec, "*1\r\n:1\r\n");
    atomic_store(&commands, 0);
    atomic_store(&execs, 0);
    server = fake_start(answer, NULL);
    kvc_options_init(&options);
    options.port = fake_port(server);
    return kvc_open(&options, &client, &error) == KVC_OK ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    kvc_close(client);
    fake_stop(server);
    return 0;
}

/* One INCR in a transaction. */
static kvc_status run(kvc_reply **ret_replies)
{
    static const kvc_slice incr[] = { { "INCR", 4 }, { "k", 1 } };
    kvc_pipeline *pipeline;
    kvc_status status;

    assert_int_equal(kvc_pipeline_new(client, KVC_TRANSACTION, &pipeline, NULL), KVC_OK);
    assert_int_equal(kvc_pipeline_add(pipeline, 2, incr, NULL), KVC_OK);
    error.status = KVC_OK;
    status = kvc_pipeline_run(pipeline, ret_replies, &error);
    assert_int_equal(error.status, status < 0 ? status : KVC_OK);
    kvc_pipeline_free(pipeline);
    return status;
}

static void the_replies_are_those_of_exec(void **state)
{
    kvc_reply *replies;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(run(&replies), KVC_OK);
        assert_shows(replies, "*[:1]");
    }
    assert_int_equal(fake_arrivals(server), 1);
    atomic_store(&exec, "*-1\r\n");
    assert_int_equal(run(&replies), KVC_NIL);
    assert_null(replies);
}

/* Otherwise its commands would be run one by one. */
static void a_server_that_refuses_multi_is_sent_nothing_more(void **state)
{
    kvc_reply *replies;

    (void)state;
    atomic_store(&multi, "-NOPERM this user has no permissions to run the 'multi' command\r\n");
    assert_int_equal(run(&replies), KVC_EREPLY);
    assert_null(replies);
    assert_string_equal(error.code, "NOPERM");
    assert_int_equal(atomic_load(&commands), 0);
    assert_int_equal(atomic_load(&execs), 0);
}

static void the_reason_of_an_abort_is_told(void **state)
{
    kvc_reply *replies;

    (void)state;
    atomic_store(&queued, "-ERR wrong number of arguments for 'incr' command\r\n");
    atomic_store(&exec, "-EXECABORT Transaction discarded because of previous errors.\r\n");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(run(&replies), KVC_EREPLY);
        assert_null(replies);
        assert_string_equal(error.message, "ERR wrong number of arguments for 'incr' command");
    }
    assert_int_equal(fake_arrivals(server), 1); /* it discarded, so the connection is clean */
}

static void a_wrong_number_of_replies_is_a_protocol_error(void **state)
{
    static const char *const lies[] = { "*0\r\n", "*2\r\n:1\r\n:2\r\n", "+OK\r\n", "$1\r\nx\r\n" };
    kvc_reply *replies;

    (void)state;
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        atomic_store(&exec, lies[i]);
        assert_int_equal(run(&replies), KVC_EPROTOCOL);
        assert_null(replies);
        assert_true(error.sent);
    }
}

static void a_transaction_in_doubt_is_not_repeated(void **state)
{
    kvc_reply *replies;

    (void)state;
    atomic_store(&exec, NULL);
    for (int i = 1; i <= 3; i++) {
        assert_int_equal(run(&replies), KVC_ECLOSED);
        assert_true(error.sent);
        assert_int_equal(atomic_load(&execs), i);
    }
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(the_replies_are_those_of_exec),          test(a_server_that_refuses_multi_is_sent_nothing_more),
        test(the_reason_of_an_abort_is_told),         test(a_wrong_number_of_replies_is_a_protocol_error),
        test(a_transaction_in_doubt_is_not_repeated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
