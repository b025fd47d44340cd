/* tls_test.c - kvserver behind TLS: every byte arrives, strangers are refused, certificates change without a restart.
 *
 * Skipped without the openssl program. SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "certificates.h"
#include "tls_client.h"

static char *directory; /* where the certificates lie */
static int port;
static char port_text[16];

static const char *path(const char *name)
{
    return certificate_path(directory, name);
}

/* kvserver with tls-port, and with these options. */
#define begin_tls(...) begin_with((const char *const[]){ __VA_ARGS__, NULL })

static server *begin_with(const char *const more[])
{
    const char *options[32] = { "--tls-cert-file",
                                path("server.crt"),
                                "--tls-key-file",
                                path("server.key"),
                                "--tls-ca-cert-file",
                                path("ca.crt"),
                                "--tls-port",
                                port_text,
                                NULL };
    size_t n = 8;

    port = free_port();
    snprintf(port_text, sizeof port_text, "%d", port);
    for (; *more; more++)
        options[n++] = *more;
    options[n] = NULL;
    return e2e_begin(false, options);
}

static tls_client *open_client(void)
{
    return tls_client_open(port, directory, "client");
}

/* ---- bytes ---- */

static void commands_go_through_tls(void **state)
{
    server *s = begin_tls("--threads", "2");
    tls_client *c = open_client();

    (void)state;
    tls_says(c, "+OK", "SET", "k", "v");
    tls_says(c, "$v", "GET", "k");
    tls_client_send(c, KV_STR("INCR n\r\nINCR n\r\nGET n\r\nHELLO 3\r\n"));
    tls_next_is(c, ":1");
    tls_next_is(c, ":2");
    tls_next_is(c, "$2");
    tls_next_is(c, "%");
    tls_client_close(c);
    end(s);
}

static void one_byte_after_the_other_makes_a_request(void **state)
{
    static const char request[] =
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n*2\r\n$3\r\nGET\r\n$1\r\nk\r\n";
    server *s = begin_tls(NULL);
    tls_client *c = open_client();

    (void)state;
    for (size_t i = 0; i < sizeof request - 1; i++)
        tls_client_send(c, kv_slice_of(request + i, 1));
    tls_next_is(c, "+OK");
    tls_next_is(c, "$value");
    tls_client_close(c);
    end(s);
}

/* More than one read of the server takes: the rest lies in OpenSSL, where the event loop does not see it. */
static void what_was_decrypted_already_is_not_forgotten(void **state)
{
    enum { requests = 30000 };
    server *s = begin_tls("--threads", "1");
    tls_client *c = open_client();
    char *burst = malloc(requests * 6);

    (void)state;
    assert_non_null(burst);
    for (int i = 0; i < requests; i++)
        memcpy(burst + i * 6, "PING\r\n", 6);
    for (int round = 0; round < 3; round++) {
        tls_client_send(c, kv_slice_of(burst, requests * 6 / 3));
        for (int i = 0; i < requests / 3; i++)
            tls_next_is(c, "+PONG");
    }
    free(burst);
    tls_client_close(c);
    end(s);
}

static void a_large_value_comes_back_whole(void **state)
{
    enum { size = 9 * 1000 * 1000 };
    server *s = begin_tls("--threads", "2");
    tls_client *c = open_client();
    char *value = malloc(size), *all;
    char head[64];
    size_t len;

    (void)state;
    assert_non_null(value);
    for (int i = 0; i < size; i++)
        value[i] = (char)(i * 7 + i / 251);
    tls_client_send(c, kv_slice_of(head, (size_t)snprintf(head, sizeof head,
                                                          "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$%d\r\n", size)));
    tls_client_send(c, kv_slice_of(value, size));
    tls_client_send(c, KV_STR("\r\n"));
    tls_next_is(c, "+OK");
    tls_client_send(c, KV_STR("PING\r\nGET k\r\nPING\r\nGET k\r\nQUIT\r\n"));
    all = tls_client_read_all(c, &len);
    snprintf(head, sizeof head, "+PONG\r\n$%d\r\n", size);
    assert_int_equal(len, 2 * (strlen(head) + size + 2) + 5);
    assert_memory_equal(all, head, strlen(head));
    assert_memory_equal(all + strlen(head), value, size);
    assert_memory_equal(all + 2 * strlen(head) + size + 2, value, size);
    assert_memory_equal(all + len - 5, "+OK\r\n", 5);
    free(all);
    free(value);
    tls_client_close(c);
    end(s);
}

/* All requests are there before a reply is read: more replies than sockets hold. */
static void who_reads_late_gets_everything(void **state)
{
    enum { requests = 300, size = 40000 };
    server *s = begin_tls("--threads", "2");
    tls_client *c = open_client();
    char *value = malloc(size + 1);
    size_t len;

    (void)state;
    assert_non_null(value);
    memset(value, 'x', size);
    value[size] = '\0';
    tls_says(c, "+OK", "SET", "k", value);
    for (int i = 0; i < requests; i++)
        tls_client_send(c, KV_STR("GET k\r\n"));
    tls_client_send(c, KV_STR("QUIT\r\n"));
    free(tls_client_read_all(c, &len));
    assert_int_equal(len, requests * (size + 10) + 5);
    free(value);
    tls_client_close(c);
    end(s);
}

static void who_has_said_the_last_word_still_gets_replies(void **state)
{
    server *s = begin_tls("--threads", "2");

    (void)state;
    for (int whole = 0; whole <= 1; whole++) { /* the end of TLS alone, and that of the socket with it */
        tls_client *c = open_client();
        size_t len;
        char *all;

        tls_client_send(c, KV_STR("SET k v\r\nGET k\r\n"));
        assert_int_equal(SSL_shutdown(tls_client_ssl(c)), 0);
        if (whole)
            shutdown(SSL_get_fd(tls_client_ssl(c)), SHUT_WR);
        all = tls_client_read_all(c, &len);
        assert_string_equal(all, "+OK\r\n$1\r\nv\r\n");
        assert_int_equal(SSL_get_shutdown(tls_client_ssl(c)) & SSL_RECEIVED_SHUTDOWN, SSL_RECEIVED_SHUTDOWN);
        free(all);
        tls_client_close(c);
    }
    end(s);
}

static void messages_and_blocked_clients_wake_up(void **state)
{
    server *s = begin_tls("--threads", "2");
    tls_client *listener = open_client(), *waiter = open_client();
    conn *c = connect_to(s);

    (void)state;
    tls_says(listener, "*3 $subscribe $news :1", "SUBSCRIBE", "news");
    tls_client_send(waiter, KV_STR("CLIENT PAUSE 1\r\nPING\r\n"));
    tls_next_is(waiter, "+OK");
    tls_next_is(waiter, "+PONG");
    for (int i = 0; i < 100; i++)
        says(c, ":1", "PUBLISH", "news", "paper");
    for (int i = 0; i < 100; i++)
        tls_next_is(listener, "*3 $message $news $paper");
    conn_close(c);
    tls_client_close(waiter);
    tls_client_close(listener);
    end(s);
}

static void a_killed_client_with_bytes_left_is_gone(void **state)
{
    server *s = begin_tls("--threads", "1");
    conn *c = connect_to(s);
    size_t len;

    (void)state;
    for (int i = 0; i < 20; i++) {
        tls_client *victim = open_client();
        char burst[60000];

        for (size_t at = 0; at + 6 <= sizeof burst; at += 6)
            memcpy(burst + at, "PING\r\n", 6);
        for (int n = 0; n < 5; n++)
            tls_client_send(victim, kv_slice_of(burst, sizeof burst));
        says(c, ":1", "CLIENT", "KILL", "TYPE", "normal");
        free(tls_client_read_all(victim, &len));
        tls_client_close(victim);
    }
    says(c, "+PONG", "PING");
    conn_close(c);
    end(s);
}

/* ---- who may connect ---- */

static void clients_must_show_a_certificate_unless_told_otherwise(void **state)
{
    server *s = begin_tls(NULL);
    conn *c = connect_to(s);

    (void)state;
    assert_null(tls_client_try(port, directory, NULL));
    assert_null(tls_client_try(port, directory, "other"));
    says(c, "+OK", "CONFIG", "SET", "tls-auth-clients", "optional");
    tls_client_close(tls_client_open(port, directory, NULL));
    tls_client_close(open_client());
    assert_null(tls_client_try(port, directory, "other"));
    says(c, "+OK", "CONFIG", "SET", "tls-auth-clients", "no");
    tls_client_close(tls_client_open(port, directory, NULL));
    tls_client_close(tls_client_open(port, directory, "other"));
    conn_close(c);
    end(s);
}

static void what_is_no_tls_is_closed(void **state)
{
    /* A ClientHello that announces 128 KiB. */
    static const char greedy[] = "\x16\x03\x01\x02\x00\x01\x02\x00\x00\x03\x03";
    server *s = begin_tls(NULL);
    conn *c = conn_open_tcp("127.0.0.1", port);

    (void)state;
    assert_non_null(c);
    assert_true(conn_send(c, KV_STR("PING\r\n")));
    assert_true(conn_ended(c) || conn_drain(c, &(long long){ 0 }));
    conn_close(c);
    c = conn_open_tcp("127.0.0.1", port);
    assert_non_null(c);
    assert_true(conn_send(c, kv_slice_of(greedy, sizeof greedy - 1)));
    assert_true(conn_drain(c, &(long long){ 0 }));
    conn_close(c);
    tls_client_close(open_client());
    end(s);
}

static void a_handshake_has_a_deadline(void **state)
{
    server *s = begin_tls("--tls-handshake-timeout", "1");
    conn *silent = conn_open_tcp("127.0.0.1", port), *slow = conn_open_tcp("127.0.0.1", port);

    (void)state;
    assert_non_null(silent);
    assert_non_null(slow);
    assert_true(conn_send(slow, KV_STR("\x16\x03\x01")));
    assert_true(conn_ended(silent));
    assert_true(conn_ended(slow));
    conn_close(silent);
    conn_close(slow);
    end(s);
}

static void renegotiation_is_refused(void **state)
{
    server *s = begin_tls("--tls-protocols", "TLSv1.2");
    tls_client *c = open_client();

    (void)state;
    assert_string_equal(SSL_get_version(tls_client_ssl(c)), "TLSv1.2");
    if (SSL_renegotiate(tls_client_ssl(c)) == 1)
        assert_int_not_equal(SSL_do_handshake(tls_client_ssl(c)), 1);
    tls_client_close(c);
    tls_client_close(open_client());
    end(s);
}

static void keys_may_change_on_the_way(void **state)
{
    server *s = begin_tls("--tls-protocols", "TLSv1.3");
    tls_client *c = open_client();

    (void)state;
    assert_string_equal(SSL_get_version(tls_client_ssl(c)), "TLSv1.3");
    for (int i = 0; i < 20; i++) {
        assert_int_equal(SSL_key_update(tls_client_ssl(c), SSL_KEY_UPDATE_REQUESTED), 1);
        tls_says(c, "+PONG", "PING");
    }
    tls_client_close(c);
    end(s);
}

static void a_password_is_asked_for_through_tls_as_well(void **state)
{
    server *s = begin_tls("--requirepass", "secret");
    tls_client *c = open_client();

    (void)state;
    tls_says(c, "-NOAUTH", "GET", "k");
    tls_says(c, "+OK", "AUTH", "secret");
    tls_says(c, "_", "GET", "k");
    tls_client_close(c);
    end(s);
}

static void ciphers_and_protocols_are_those_asked_for(void **state)
{
    server *s =
        begin_tls("--tls-protocols", "TLSv1.2 TLSv1.3", "--tls-ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305",
                  "--tls-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256");
    conn *c = connect_to(s);
    tls_client *t = open_client();

    (void)state;
    assert_string_equal(SSL_get_cipher(tls_client_ssl(t)), "TLS_CHACHA20_POLY1305_SHA256");
    tls_client_close(t);
    says(c, "+OK", "CONFIG", "SET", "tls-protocols", "tlsv1.2");
    t = open_client();
    assert_string_equal(SSL_get_cipher(tls_client_ssl(t)), "ECDHE-ECDSA-CHACHA20-POLY1305");
    tls_client_close(t);
    says(c, "-ERR CONFIG SET failed (possibly related to argument 'tls-protocols') - Invalid tls-protocols",
         "CONFIG", "SET", "tls-protocols", "TLSv1.2 TLSv9");
    conn_close(c);
    end(s);
}

/* ---- certificates that change ---- */

static void copy_file(const char *from, const char *to)
{
    char *output = NULL, *argv[] = { "/bin/cp", NULL, NULL, NULL };

    argv[1] = (char *)(uintptr_t)from;
    argv[2] = (char *)(uintptr_t)to;
    assert_int_equal(run_program((const char *const *)argv, directory, &output), 0);
    free(output);
}

/* Whether new connections get a certificate of the authority. */
static bool is_trusted(void)
{
    tls_client *c = tls_client_try(port, directory, "client");
    bool trusted = c != NULL;

    tls_client_close(c);
    return trusted;
}

static void a_wrong_file_is_named_and_changes_nothing(void **state)
{
    static const struct {
        const char *name, *value, *reason;
    } mistakes[] = {
        { "tls-cert-file", "/nowhere/server.crt", "No such file or directory" },
        { "tls-cert-file", "server.key", "no start line" },
        { "tls-cert-file", "client.crt", "key values mismatch" },
        { "tls-key-file", "client.key", "key values mismatch" },
        { "tls-key-file", "/nowhere/server.key", "No such file or directory" },
        { "tls-key-file", "locked.key", "" },
        { "tls-ca-cert-file", "/nowhere/ca.crt", "No such file or directory" },
        { "tls-ca-cert-file", "", "Either tls-ca-cert-file or tls-ca-cert-dir" },
        { "tls-cert-file", "", "No tls-cert-file configured!" },
        { "tls-ciphers", "NONE-SUCH", "no cipher match" },
        { "tls-dh-params-file", "server.crt", "unsupported" },
    };
    server *s = begin_tls(NULL);
    conn *c = connect_to(s);
    tls_client *old = open_client();

    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        const char *value = strchr(mistakes[i].value, '.') && mistakes[i].value[0] != '/'
                                ? path(mistakes[i].value)
                                : mistakes[i].value;
        char *before = ask(c, "CONFIG", "GET", mistakes[i].name),
             *said = ask(c, "CONFIG", "SET", "timeout", "77", mistakes[i].name, value), *after;

        assert_non_null(said);
        if (strncmp(said, "-ERR CONFIG SET failed (possibly related to argument 'tls-", 58) != 0 ||
            !strstr(said, "Unable to update TLS configuration") || !strstr(said, mistakes[i].reason) ||
            (!strstr(said, value) && !strstr(said, "key values mismatch"))) /* which names the key */
            fail_msg("%s %s: %s", mistakes[i].name, value, said);
        after = ask(c, "CONFIG", "GET", mistakes[i].name);
        assert_string_equal(before, after);
        free(before);
        free(said);
        free(after);
        says(c, "*2 $timeout $0", "CONFIG", "GET", "timeout");
        assert_true(is_trusted());
    }
    tls_says(old, "+PONG", "PING");
    tls_client_close(old);
    conn_close(c);
    end(s);
}

static void certificates_are_changed_while_connections_live(void **state)
{
    server *s = begin_tls(NULL);
    conn *c = connect_to(s);
    tls_client *old = open_client();

    (void)state;
    says(c, "+OK", "CONFIG", "SET", "tls-cert-file", path("other.crt"), "tls-key-file", path("other.key"));
    assert_false(is_trusted()); /* it is another authority's */
    tls_says(old, "+PONG", "PING");
    says(c, "+OK", "CONFIG", "SET", "tls-key-file", path("server.key"), "tls-cert-file", path("server.crt"));
    assert_true(is_trusted());
    says(c, "+OK", "CONFIG", "SET", "tls-key-file", path("locked.key"), "tls-key-file-pass", "open sesame");
    assert_true(is_trusted());
    tls_says(old, "+PONG", "PING");
    tls_client_close(old);
    conn_close(c);
    end(s);
}

/* Waits until the log holds text. */
static void wait_for_log(server *s, const char *text)
{
    for (int waited = 0; waited < conn_patience_ms; waited += 5) {
        char *log = server_log(s);
        bool found = strstr(log, text) != NULL;

        free(log);
        if (found)
            return;
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
    }
    fail_msg("the log does not say \"%s\"", text);
}

static void sighup_reads_the_files_again(void **state)
{
    server *s;
    tls_client *old;

    (void)state;
    copy_file(path("server.crt"), path("now.crt"));
    copy_file(path("server.key"), path("now.key"));
    s = begin_tls("--tls-cert-file", path("now.crt"), "--tls-key-file", path("now.key"));
    old = open_client();
    copy_file(path("other.crt"), path("now.crt"));
    kill(server_pid(s), SIGHUP);
    wait_for_log(s, "key values mismatch"); /* half of a change is none */
    assert_true(is_trusted());
    copy_file(path("other.key"), path("now.key"));
    kill(server_pid(s), SIGHUP);
    wait_for_log(s, "TLS certificates were read again");
    assert_false(is_trusted());
    tls_says(old, "+PONG", "PING");
    tls_client_close(old);
    end(s);
}

static void a_start_with_wrong_certificates_says_which(void **state)
{
    char *output = NULL, *elsewhere = new_directory();

    (void)state;
    assert_int_equal(run_program((const char *const[]){ kvserver_path(), "--port", "0", "--tls-port", "1",
                                                        "--tls-cert-file", "/nowhere/x.crt", "--tls-key-file",
                                                        path("server.key"), NULL },
                                 elsewhere, &output),
                     1);
    assert_non_null(strstr(output, "tls-cert-file '/nowhere/x.crt': No such file or directory"));
    free(output);
    remove_directory(elsewhere);
}

static void the_port_is_opened_and_closed_by_config_set(void **state)
{
    server *s = begin(NULL);
    conn *c = connect_to(s);
    char *info;

    (void)state;
    port = free_port();
    snprintf(port_text, sizeof port_text, "%d", port);
    says(c,
         "-ERR CONFIG SET failed (possibly related to argument 'tls-port') - Unable to update TLS "
         "configuration",
         "CONFIG", "SET", "tls-port", port_text);
    says(c, "+OK", "CONFIG", "SET", "tls-port", port_text, "tls-cert-file", path("server.crt"),
         "tls-key-file", path("server.key"), "tls-auth-clients", "no");
    assert_true(is_trusted());
    info = ask(c, "INFO", "server");
    assert_non_null(strstr(info, "tcp_port:"));
    assert_non_null(strstr(strstr(info, "tcp_port:"), port_text));
    free(info);
    says(c, "+OK", "CONFIG", "SET", "tls-port", "0", "port", port_text); /* the same socket, now without */
    conn_close(c);
    c = conn_open_tcp("127.0.0.1", port);
    assert_non_null(c);
    says(c, "+PONG", "PING");
    says(c, "-ERR CONFIG SET failed (possibly related to argument 'tls-port')", "CONFIG", "SET", "tls-port",
         port_text);
    says(c, "+OK", "CONFIG", "SET", "port", "0", "tls-port", port_text);
    assert_true(is_trusted());
    conn_close(c);
    end(s);
}

/* ---- sessions, memory ---- */

static void sessions_are_resumed_if_that_is_wanted(void **state)
{
    (void)state;
    for (int wanted = 0; wanted <= 1; wanted++) {
        server *s = begin_tls("--tls-protocols", "TLSv1.2", "--tls-session-caching", wanted ? "yes" : "no");
        tls_client *c = open_client();
        SSL_SESSION *session = SSL_get1_session(tls_client_ssl(c));
        SSL *again = SSL_new(SSL_get_SSL_CTX(tls_client_ssl(c)));
        conn *raw = conn_open_tcp("127.0.0.1", port);

        assert_non_null(raw);
        SSL_set_session(again, session);
        SSL_set_fd(again, conn_fd(raw));
        while (SSL_connect(again) != 1) /* the socket does not wait */
            assert_true(SSL_want_read(again) || SSL_want_write(again));
        assert_int_equal(SSL_session_reused(again), wanted);
        SSL_free(again);
        SSL_SESSION_free(session);
        conn_close(raw);
        tls_client_close(c);
        end(s);
    }
}

static void an_idle_connection_is_small(void **state)
{
    enum { clients = 400 };
    static tls_client *all[clients];
    server *s = begin_tls("--threads", "2", "--tls-auth-clients", "no");
    conn *c = connect_to(s);
    long long before;

    (void)state;
    for (int i = 0; i < 20; i++) /* what is made once */
        tls_client_close(tls_client_open(port, directory, NULL));
    before = resident_bytes(server_pid(s));
    for (int i = 0; i < clients; i++)
        all[i] = tls_client_open(port, directory, NULL);
    assert_grown_less(s, before, (long long)clients * 32 * 1024); /* OpenSSL 3.0: 20, 3.5 with ML-KEM: 29 */
    says(c, "+PONG", "PING");
    for (int i = 0; i < clients; i++)
        tls_client_close(all[i]);
    conn_close(c);
    end(s);
}

/* ---- programs ---- */

static void expect_program(const char *name, const char *first, const char *second)
{
    const char *program = server_program(name);
    char *output = NULL;
    int status;

    if (!program) {
        print_message("without %s\n", name);
        return;
    }
    status = run_program((const char *const[]){ program, "-h", "127.0.0.1", "-p", port_text, "--tls",
                                                "--cacert", path("ca.crt"), "--cert", path("client.crt"),
                                                "--key", path("client.key"), first, second, NULL },
                         directory, &output);
    if (status != 0 || !strstr(output, second))
        fail_msg("%s: status %d, %s", name, status, output);
    free(output);
}

static void kvcli_and_redis_cli_come_through_tls(void **state)
{
    server *s = begin_tls("--threads", "2");

    (void)state;
    expect_program("kvcli", "ECHO", "hello");
    expect_program("redis-cli", "ECHO", "hello");
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_go_through_tls),
        cmocka_unit_test(one_byte_after_the_other_makes_a_request),
        cmocka_unit_test(what_was_decrypted_already_is_not_forgotten),
        cmocka_unit_test(a_large_value_comes_back_whole),
        cmocka_unit_test(who_reads_late_gets_everything),
        cmocka_unit_test(who_has_said_the_last_word_still_gets_replies),
        cmocka_unit_test(messages_and_blocked_clients_wake_up),
        cmocka_unit_test(a_killed_client_with_bytes_left_is_gone),
        cmocka_unit_test(clients_must_show_a_certificate_unless_told_otherwise),
        cmocka_unit_test(what_is_no_tls_is_closed),
        cmocka_unit_test(a_handshake_has_a_deadline),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(keys_may_change_on_the_way),
        cmocka_unit_test(a_password_is_asked_for_through_tls_as_well),
        cmocka_unit_test(ciphers_and_protocols_are_those_asked_for),
        cmocka_unit_test(a_wrong_file_is_named_and_changes_nothing),
        cmocka_unit_test(certificates_are_changed_while_connections_live),
        cmocka_unit_test(sighup_reads_the_files_again),
        cmocka_unit_test(a_start_with_wrong_certificates_says_which),
        cmocka_unit_test(the_port_is_opened_and_closed_by_config_set),
        cmocka_unit_test(sessions_are_resumed_if_that_is_wanted),
        cmocka_unit_test(an_idle_connection_is_small),
        cmocka_unit_test(kvcli_and_redis_cli_come_through_tls),
    };
    int result;

    kvserver_path();
    signal(SIGPIPE, SIG_IGN);
    directory = new_directory();
    if (!server_program("openssl") || !certificates_make(directory)) {
        remove_directory(directory);
        return 77;
    }
    result = cmocka_run_group_tests(tests, NULL, NULL);
    remove_directory(directory);
    return result;
}
