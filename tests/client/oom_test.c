/* oom_test.c - every allocation of the client library fails once, and nothing else happens.
 *
 * A script of calls runs again and again against a fake server; in the n-th run the n-th allocation of this thread
 * fails (or that one and all that follow it within the same call), n = 1, 2, ... until a run needs fewer; in hiredis,
 * too, where its static library is installed.
 *
 * A call that meets the failure answers KVC_ENOMEM and succeeds when made again, or got by without that memory and answers
 * as always. Under AddressSanitizer this also shows what a failure leaks.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "fake_server.h"
#include "fault.h"
#include "kvclient.h"

/* ---- the server ---- */

static char long_value[100 * 1000];

static void answer(fake_request *request, void *arg)
{
    static const char list[] = "*6\r\n$1\r\na\r\n:2\r\n$-1\r\n*2\r\n+x\r\n-ERR y\r\n$0\r\n\r\n:-1\r\n";

    (void)arg;
    if (fake_handshake(request))
        return;
    if (fake_is(request, "GET")) {
        fake_say(request, "$%zu\r\n", sizeof long_value);
        fake_say_bytes(request, long_value, sizeof long_value);
        fake_say(request, "\r\n");
    } else if (fake_is(request, "MGET")) {
        fake_say_bytes(request, list, sizeof list - 1);
    } else if (fake_is(request, "EXEC")) {
        fake_say(request, "*3\r\n:1\r\n:2\r\n:3\r\n");
    } else if (fake_is(request, "SCAN")) {
        fake_say(request, "*2\r\n$1\r\n%s\r\n*2\r\n$1\r\na\r\n$1\r\nb\r\n",
                 *fake_arg(request, 1) == '0' ? "7" : "0");
    } else {
        fake_say(request, "+OK\r\n");
    }
}

/* ---- the script: each step answers KVC_OK, or KVC_ENOMEM without having changed anything ---- */

static char uri[160];
static kvc_client *client; /* of the run; NULL until step_open succeeded */

static kvc_status step_open(kvc_error *error)
{
    kvc_options options;
    char *memory;
    kvc_status status;

    kvc_options_init(&options);
    options.backoff_max_ms = 1;
    status = kvc_options_parse_uri(&options, uri, &memory, error);
    if (status == KVC_OK)
        status = kvc_open(&options, &client, error);
    free(memory);
    return status;
}

static kvc_status step_set(kvc_error *error)
{
    return kvc_set(client, kvc_str("k"), kvc_bytes(long_value, sizeof long_value),
                   &(kvc_set_options){ .ttl_ms = 5 }, error);
}

static kvc_status step_get(kvc_error *error)
{
    kvc_reply *value;
    kvc_status status = kvc_get(client, kvc_str("k"), &value, error);

    assert_int_equal(kvc_reply_text(value).len, status == KVC_OK ? sizeof long_value : 0);
    kvc_reply_free(value);
    return status;
}

static kvc_status step_list(kvc_error *error)
{
    const kvc_slice keys[6] = { kvc_str("1"), kvc_str("2"), kvc_str("3"),
                                kvc_str("4"), kvc_str("5"), kvc_str("6") };
    kvc_reply *list;
    kvc_status status = kvc_get_many(client, keys, 6, &list, error);

    assert_int_equal(kvc_reply_count(list), status == KVC_OK ? 6 : 0);
    kvc_reply_free(list);
    return status;
}

static kvc_status step_many_words(kvc_error *error)
{
    static const char *const words[] = { "DEL", "1", "2", "3", "4", "5", "6", "7", "8", "9",
                                         "10",  "1", "2", "3", "4", "5", "6", "7", "8", NULL };
    kvc_reply *reply;
    kvc_status status = kvc_command_strings(client, words, &reply, error);

    kvc_reply_free(reply);
    return status;
}

static kvc_status run_batch(kvc_pipeline_mode mode, size_t n, kvc_error *error)
{
    const kvc_slice argv[] = { kvc_str("SET"), kvc_str("k"), kvc_str("v") }, key = kvc_str("k");
    kvc_pipeline *pipeline;
    kvc_reply *replies = NULL;
    kvc_status status = kvc_pipeline_new(client, mode, &pipeline, error);

    if (status == KVC_OK && mode == KVC_TRANSACTION)
        status = kvc_pipeline_watch(pipeline, &key, 1, error);
    for (size_t i = 0; i < n && status == KVC_OK; i++)
        status = kvc_pipeline_add(pipeline, 3, argv, error);
    if (status == KVC_OK)
        status = kvc_pipeline_run(pipeline, &replies, error);
    assert_int_equal(kvc_reply_count(replies), status == KVC_OK ? n : 0);
    kvc_reply_free(replies);
    kvc_pipeline_free(pipeline);
    return status;
}

static kvc_status step_pipeline(kvc_error *error)
{
    return run_batch(KVC_PIPELINE, 40, error);
}

static kvc_status step_transaction(kvc_error *error)
{
    return run_batch(KVC_TRANSACTION, 3, error);
}

static kvc_status step_lease(kvc_error *error)
{
    const kvc_slice get[] = { kvc_str("GET"), kvc_str("k") };
    kvc_connection *connection;
    kvc_reply *reply;
    kvc_status status = kvc_lease(client, 0, &connection, error);

    for (int i = 0; i < 3 && status == KVC_OK; i++)
        status = kvc_connection_append(connection, 2, get, error);
    for (int i = 0; i < 3 && status == KVC_OK; i++) {
        status = kvc_connection_next(connection, 0, &reply, error);
        kvc_reply_free(reply);
    }
    kvc_release(connection);
    return status;
}

static int no_key(void *arg, kvc_slice key)
{
    (void)arg;
    (void)key;
    return 0;
}

static kvc_status step_scan(kvc_error *error)
{
    return kvc_scan(client, "*", 10, no_key, NULL, error);
}

static kvc_status (*const script[])(kvc_error *) = {
    step_open,     step_set,         step_get,   step_list, step_many_words,
    step_pipeline, step_transaction, step_lease, step_scan,
};

/* The n-th allocation of the script fails; true: it was reached. */
static bool run_with_fault(long n, bool stay_failed)
{
    bool reached = false;

    client = NULL;
    fault_arm(n, stay_failed);
    for (size_t i = 0; i < sizeof script / sizeof *script; i++) {
        kvc_error error = { .status = KVC_OK };
        kvc_status status = script[i](&error);

        if (fault_struck() && !reached)
            reached = fault_disarm();
        if (status == KVC_ENOMEM) {
            assert_true(reached);
            assert_int_equal(error.status, KVC_ENOMEM);
            error.status = KVC_OK;
            status = script[i](&error);
        }
        if (status != KVC_OK) {
            fault_disarm();
            fail_msg("allocation %ld, step %zu: %s: %s", n, i, kvc_status_name(status), error.message);
        }
    }
    fault_disarm();
    kvc_close(client);
    return reached;
}

static void every_allocation_may_fail(void **state)
{
    fake_server *server = fake_start(answer, NULL);
    long n = 1;

    (void)state;
    memset(long_value, 'x', sizeof long_value);
    snprintf(uri, sizeof uri, "redis://user:password@127.0.0.1:%d/2?client_name=test&protocol=2",
             fake_port(server));
    while (run_with_fault(n, false))
        n++;
    assert_in_range(n, 100, 100000); /* it did allocate, and it failed */
    for (n = 1; run_with_fault(n, true); n++)
        continue;
    fake_stop(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_allocation_may_fail) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
