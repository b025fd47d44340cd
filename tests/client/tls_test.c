/* tls_test.c - TLS against a server, with certificates made here by the openssl program.
 *
 * The argument is the server: redis-server or kvserver. Skipped (exit status 77) without TLS in the build, without the
 * server, or without openssl.
 *
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <event2/event.h>

#include "certificates.h"
#include "kvclient.h"
#include "server.h"
#include "show.h"

enum { skipped = 77 };

static char *directory;
static server *running;
static char port_text[16];
static kvc_error error;

static const char *path(const char *name)
{
    return certificate_path(directory, name);
}

static void set_up(kvc_options *options)
{
    kvc_options_init(options);
    options->connect_timeout_ms = options->command_timeout_ms = 60000; /* a sanitizer on a busy machine */
    options->port = atoi(port_text);
    options->tls = true;
    options->tls_ca_file = path("ca.crt");
    options->tls_cert_file = path("client.crt");
    options->tls_key_file = path("client.key");
}

static kvc_client *open_client(const kvc_options *options)
{
    kvc_client *client;

    if (kvc_open(options, &client, &error) != KVC_OK)
        fail_msg("%s", error.message);
    return client;
}

static void expect_refused(const kvc_options *options, kvc_status expected, const char *words)
{
    kvc_client *client;

    assert_int_equal(kvc_open(options, &client, &error), expected);
    assert_null(client);
    if (!strstr(error.message, words))
        fail_msg("\"%s\" does not say \"%s\"", error.message, words);
}

static void commands_go_through_tls(void **state)
{
    enum { size = 3 * 1000 * 1000 };
    kvc_options options;
    kvc_client *client;
    char *value = malloc(size);
    kvc_reply *reply;

    (void)state;
    assert_non_null(value);
    memset(value, 'x', size);
    set_up(&options);
    for (int by_name = 0; by_name <= 1; by_name++) {
        options.host = by_name ? "localhost" : "127.0.0.1";
        client = open_client(&options);
        assert_int_equal(kvc_set(client, kvc_str("big"), kvc_bytes(value, size), NULL, &error), KVC_OK);
        assert_int_equal(kvc_get(client, kvc_str("big"), &reply, &error), KVC_OK);
        assert_int_equal(kvc_reply_text(reply).len, size);
        assert_memory_equal(kvc_reply_text(reply).data, value, size);
        kvc_reply_free(reply);
        kvc_close(client);
    }
    free(value);
}

static void a_long_pipeline_does_not_lock_up(void **state)
{
    enum { size = 32 * 1024, rounds = 200 };
    static char value[size];
    kvc_slice set[] = { kvc_str("SET"), kvc_str("k"), kvc_bytes(value, size) },
              get[] = { kvc_str("GET"), kvc_str("k") };
    kvc_options options;
    kvc_client *client;
    kvc_pipeline *pipeline;
    kvc_reply *replies;

    (void)state;
    set_up(&options);
    client = open_client(&options);
    assert_int_equal(kvc_pipeline_new(client, KVC_PIPELINE, &pipeline, &error), KVC_OK);
    for (int i = 0; i < rounds; i++) {
        assert_int_equal(kvc_pipeline_add(pipeline, 3, set, &error), KVC_OK);
        assert_int_equal(kvc_pipeline_add(pipeline, 2, get, &error), KVC_OK);
    }
    assert_int_equal(kvc_pipeline_run(pipeline, &replies, &error), KVC_OK);
    assert_int_equal(kvc_reply_count(replies), 2 * rounds);
    assert_int_equal(kvc_reply_text(kvc_reply_at(replies, 2 * rounds - 1)).len, size);
    kvc_reply_free(replies);
    kvc_pipeline_free(pipeline);
    kvc_close(client);
}

static void the_server_must_be_who_it_says(void **state)
{
    kvc_options options;

    (void)state;
    set_up(&options);
    options.tls_ca_file = path("other.crt"); /* not the one that vouches for the server */
    expect_refused(&options, KVC_ETLS, "certificate");
    options.tls_insecure = true;
    kvc_close(open_client(&options));
    set_up(&options);
    options.tls_sni = "example.org";
    expect_refused(&options, KVC_ETLS, "certificate");
    options.tls_sni = "localhost";
    kvc_close(open_client(&options));
}

static void the_client_must_show_its_certificate(void **state)
{
    kvc_options options;
    kvc_client *client;
    kvc_status status;

    (void)state;
    set_up(&options);
    options.tls_cert_file = options.tls_key_file = NULL;
    status = kvc_open(&options, &client, &error); /* with TLS 1.3 the refusal comes with the first read */
    assert_true(status == KVC_ETLS || status == KVC_ECLOSED);
    assert_null(client);
}

static void a_file_that_is_wrong_is_named(void **state)
{
    kvc_options options;

    (void)state;
    set_up(&options);
    options.tls_ca_file = "/nonexistent/ca.crt";
    expect_refused(&options, KVC_ETLS, "tls_ca_file /nonexistent/ca.crt");
    set_up(&options);
    options.tls_cert_file = path("server.key");
    expect_refused(&options, KVC_ETLS, "tls_cert_file");
    set_up(&options);
    options.tls_key_file = path("server.key");
    expect_refused(&options, KVC_ETLS, "tls_key_file");
    set_up(&options);
    options.tls_ciphers = "NONE-SUCH";
    expect_refused(&options, KVC_ETLS, "tls_ciphers NONE-SUCH");
}

static void one_side_without_tls_gets_an_error(void **state)
{
    kvc_options options;
    kvc_client *client;
    kvc_status status;

    (void)state;
    set_up(&options);
    options.tls = false;
    options.tls_cert_file = options.tls_key_file = options.tls_ca_file = NULL;
    options.connect_timeout_ms = 60000;
    expect_refused(&options, KVC_ECLOSED, port_text);
    set_up(&options);
    options.port =
        server_port(running); /* the one without TLS: Redis waits for the end of a line, kvserver closes */
    options.connect_timeout_ms = 200;
    status = kvc_open(&options, &client, &error);
    assert_true(status == KVC_ETIMEOUT || status == KVC_ETLS || status == KVC_ECLOSED);
}

static void a_uri_says_tls(void **state)
{
    kvc_options options;
    kvc_client *client;
    char uri[64];
    char *memory;

    (void)state;
    set_up(&options);
    options.tls = false;
    snprintf(uri, sizeof uri, "rediss://localhost:%s", port_text);
    assert_int_equal(kvc_options_parse_uri(&options, uri, &memory, &error), KVC_OK);
    client = open_client(&options);
    assert_int_equal(kvc_ping(client, &error), KVC_OK);
    kvc_close(client);
    free(memory);
}

static void messages_come_through_tls(void **state)
{
    enum { size = 1000 * 1000 };
    static char text[size];
    kvc_options options;
    kvc_client *client;
    kvc_subscription *subscription;
    kvc_message message;

    (void)state;
    set_up(&options);
    client = open_client(&options);
    assert_int_equal(kvc_subscription_new(client, &subscription, &error), KVC_OK);
    assert_int_equal(kvc_subscribe(subscription, KVC_CHANNEL, kvc_str("c"), &error), KVC_OK);
    assert_int_equal(kvc_subscription_next(subscription, 20000, &message, &error), KVC_OK);
    assert_int_equal(message.event, KVC_EVENT_SUBSCRIBED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(kvc_publish(client, kvc_str("c"), kvc_bytes(text, size), NULL, &error), KVC_OK);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(kvc_subscription_next(subscription, 20000, &message, &error), KVC_OK);
        assert_int_equal(message.event, KVC_EVENT_MESSAGE);
        assert_int_equal(message.payload.len, size);
    }
    kvc_subscription_free(subscription);
    kvc_close(client);
}

static void on_big_reply(kvc_async *async, kvc_status status, kvc_reply *reply, const kvc_error *failure,
                         void *arg)
{
    (void)async;
    if (status != KVC_OK)
        fail_msg("%s", failure->message);
    *(size_t *)arg += kvc_reply_text(reply).len;
    kvc_reply_free(reply);
}

static void asynchronous_calls_go_through_tls(void **state)
{
    enum { size = 32 * 1024, rounds = 400 };
    static char value[size];
    const kvc_slice set[] = { kvc_str("SET"), kvc_str("k"), kvc_bytes(value, size) },
                    get[] = { kvc_str("GET"), kvc_str("k") };
    struct event_base *base = event_base_new();
    kvc_options options;
    kvc_async *async;
    size_t got = 0;

    (void)state;
    set_up(&options);
    assert_int_equal(kvc_async_open(base, &options, &async, &error), KVC_OK);
    for (int i = 0; i < rounds; i++) {
        assert_int_equal(kvc_async_command(async, 3, set, 0, NULL, NULL), KVC_OK);
        assert_int_equal(kvc_async_command(async, 2, get, 20000, on_big_reply, &got), KVC_OK);
    }
    kvc_async_close(async, true);
    event_base_dispatch(base);
    event_base_free(base);
    assert_int_equal(got, (size_t)size * rounds);
}

static server *start(const char *program)
{
    snprintf(port_text, sizeof port_text, "%d", free_port());
    return server_start_tcp(
        program, (const char *const[]){ "--tls-port", port_text, "--tls-cert-file", path("server.crt"),
                                        "--tls-key-file", path("server.key"), "--tls-ca-cert-file",
                                        path("ca.crt"), "--tls-auth-clients", "yes", NULL });
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_go_through_tls),
        cmocka_unit_test(a_long_pipeline_does_not_lock_up),
        cmocka_unit_test(the_server_must_be_who_it_says),
        cmocka_unit_test(the_client_must_show_its_certificate),
        cmocka_unit_test(a_file_that_is_wrong_is_named),
        cmocka_unit_test(one_side_without_tls_gets_an_error),
        cmocka_unit_test(a_uri_says_tls),
        cmocka_unit_test(messages_come_through_tls),
        cmocka_unit_test(asynchronous_calls_go_through_tls),
    };
    const char *program = argc > 1 ? server_program(argv[1]) : NULL;
    int result = 1;

    if (!kvc_build_info()->tls || !program || !server_program("openssl"))
        return skipped;
    directory = new_directory();
    if (certificates_make(directory))
        running = start(program);
    if (running) {
        result = cmocka_run_group_tests(tests, NULL, NULL);
        if (!server_stop(running))
            result = 1;
    }
    remove_directory(directory);
    return result;
}
