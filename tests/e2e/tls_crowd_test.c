/* tls_crowd_test.c - ten thousand clients behind TLS at once: each is served, none costs much, and when they are gone, they are gone.
 *
 * One in a hundred shakes hands in full, the others take up its session, which costs a third. What OpenSSL keeps of a
 * connection takes memory here as there; so of most clients the test keeps nothing but the socket once the server has answered
 * them.
 *
 * Sanitizers make a handshake many times dearer: with them, and where no more files may be open, there are fewer.
 * Skipped without the openssl program. SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "certificates.h"
#include "tls_client.h"

#ifdef KV_SANITIZED
enum { wanted = 300 };
#else
enum { wanted = 10000 };
#endif
enum { spare = 200, sampled = 100, idle_bytes = 32 * 1024 };

static char *directory;

/* How many clients there can be: each takes a file of the server's and one of ours. */
static int raise_limit(void)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_max < wanted + spare ? (int)limit.rlim_max - spare : wanted;
}

static server *begin_tls(int port, int count)
{
    char tls_port[16], clients[16];

    snprintf(tls_port, sizeof tls_port, "%d", port);
    snprintf(clients, sizeof clients, "%d", count + 2);
    return begin("--tls-port", tls_port, "--tls-cert-file", certificate_path(directory, "server.crt"),
                 "--tls-key-file", certificate_path(directory, "server.key"), "--tls-ca-cert-file",
                 certificate_path(directory, "ca.crt"), "--tls-auth-clients", "no", "--maxclients", clients,
                 "--threads", "2");
}

static void wait_for_clients(conn *c, int count)
{
    char field[64], *info = NULL;

    snprintf(field, sizeof field, "connected_clients:%d\\x0d", count);
    for (int i = 0; i < 6000; i++) {
        bool there;

        info = ask(c, "INFO", "clients");
        there = strstr(info, field) != NULL;
        if (there) {
            free(info);
            return;
        }
        if (i == 5999)
            fail_msg("not %s: %s", field, info);
        free(info);
        usleep(10000);
    }
}

static void each_of_ten_thousand_is_served(void **state)
{
    int port = free_port(), count = raise_limit(), kept = 0;
    server *s = begin_tls(port, count);
    conn *c = connect_to(s);
    tls_client **all = calloc((size_t)count, sizeof *all), *late;
    long long before;
    char text[16];

    (void)state;
    assert_non_null(all);
    for (int i = 0; i < 20; i++) /* what is made once */
        tls_client_close(tls_client_open(port, directory, NULL));
    wait_for_clients(c, 1);
    before = resident_bytes(server_pid(s));
    for (int i = 0; i < count; i++) {
        all[i] = i % sampled ? tls_client_open_like(all[i - i % sampled], port)
                             : tls_client_open(port, directory, NULL);
        if (i % sampled)
            tls_client_forget(all[i]);
    }
    assert_grown_less(s, before, (long long)count * idle_bytes);
    wait_for_clients(c, count + 1);
    for (int i = 0; i < count; i += sampled, kept++) {
        snprintf(text, sizeof text, "$%d", i);
        tls_says(all[i], "+OK", "SET", text + 1, text + 1);
        tls_says(all[i], text, "GET", text + 1);
    }
    snprintf(text, sizeof text, ":%d", kept);
    says(c, text, "DBSIZE");
    assert_non_null(late = tls_client_try(port, directory, NULL)); /* the last one that maxclients allows */
    assert_null(tls_client_try(port, directory, NULL));
    tls_client_close(late);
    for (int i = 0; i < count; i++)
        tls_client_close(all[i]);
    wait_for_clients(c, 1);
    free(all);
    conn_close(c);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_of_ten_thousand_is_served),
    };
    int failed;

    signal(SIGPIPE, SIG_IGN); /* who is refused may have written */
    directory = new_directory();
    if (!certificates_make(directory)) {
        remove_directory(directory);
        return 77;
    }
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_directory(directory);
    return failed;
}
