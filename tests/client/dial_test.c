/* dial_test.c - names with several addresses, names that take for ever: getaddrinfo answers what the test wants (the linker
 * puts the function below in front of it).
 *
 * SPDX-License-Identifier: MIT */
#include <netdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "clock.h"
#include "fake_server.h"
#include "kvclient.h"

int __real_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **list);
int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **list);

static pthread_mutex_t slow_name = PTHREAD_MUTEX_INITIALIZER; /* held while the name server is slow */

int __wrap_getaddrinfo(const char *host, const char *port, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    int err;

    if (hints->ai_flags & AI_NUMERICHOST)
        return __real_getaddrinfo(host, port, hints, list);
    if (strcmp(host, "slow.test") == 0) {
        pthread_mutex_lock(&slow_name);
        pthread_mutex_unlock(&slow_name);
    }
    if (strcmp(host, "nothing.test") == 0)
        return EAI_NONAME;
    if (strcmp(host, "memory.test") == 0)
        return EAI_MEMORY;
    err = __real_getaddrinfo("127.0.0.2", port, hints, list); /* where nobody listens */
    return err || strcmp(host, "other.test") == 0
               ? err
               : __real_getaddrinfo("127.0.0.1", port, hints, &(*list)->ai_next);
}

static void answer(fake_request *request, void *arg)
{
    (void)arg;
    if (!fake_handshake(request))
        fake_say(request, "+OK\r\n");
}

static kvc_options options;
static fake_server *server;

static int set_up(void **state)
{
    (void)state;
    server = fake_start(answer, NULL);
    kvc_options_init(&options);
    options.port = fake_port(server);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    fake_stop(server);
    return 0;
}

static void every_address_is_tried(void **state)
{
    kvc_client *client;
    kvc_error error;

    (void)state;
    options.host = "two.test";
    if (kvc_open(&options, &client, &error) != KVC_OK)
        fail_msg("%s", error.message);
    assert_int_equal(fake_arrivals(server), 1);
    kvc_close(client);
}

static void the_address_that_failed_is_told(void **state)
{
    kvc_client *client;
    kvc_error error;

    (void)state;
    options.host = "other.test";
    assert_int_equal(kvc_open(&options, &client, &error), KVC_ECONNECT);
    assert_non_null(strstr(error.message, "other.test:"));
    assert_non_null(strstr(error.message, "(127.0.0.2)"));
    assert_int_not_equal(error.sys_errno, 0);
}

static void a_name_that_does_not_exist_is_told(void **state)
{
    kvc_client *client;
    kvc_error error;

    (void)state;
    options.host = "nothing.test";
    assert_int_equal(kvc_open(&options, &client, &error), KVC_ERESOLVE);
    assert_non_null(strstr(error.message, "nothing.test"));
    options.host = "memory.test";
    assert_int_equal(kvc_open(&options, &client, &error), KVC_ENOMEM);
}

/* The thread that resolves outlives the call, and finds everything it needs. */
static void a_slow_name_server_does_not_move_the_deadline(void **state)
{
    int64_t before = kvc_now_ms();
    kvc_client *client;
    kvc_error error;

    (void)state;
    options.host = "slow.test";
    options.connect_timeout_ms = 50;
    pthread_mutex_lock(&slow_name);
    assert_int_equal(kvc_open(&options, &client, &error), KVC_ETIMEOUT);
    assert_true(kvc_now_ms() - before >= 50);
    assert_non_null(strstr(error.message, "resolving"));
    pthread_mutex_unlock(&slow_name);
    options.connect_timeout_ms = 5000;
    assert_int_equal(kvc_open(&options, &client, &error), KVC_OK);
    kvc_close(client);
}

#define test(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        test(every_address_is_tried),
        test(the_address_that_failed_is_told),
        test(a_name_that_does_not_exist_is_told),
        test(a_slow_name_server_does_not_move_the_deadline),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
