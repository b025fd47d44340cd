/* start_test.c - kvserver begins and ends.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "e2e.h"

/* Runs kvserver with options until it ends by itself: its exit status; *ret_output what it said. */
#define run_kvserver(ret_output, directory, ...) \
    run_program((const char *const[]){ kvserver_path(), __VA_ARGS__, NULL }, directory, ret_output)

static void assert_says(const char *output, const char *text)
{
    if (!strstr(output, text))
        fail_msg("no \"%s\" in:\n%s", text, output);
}

static void write_file(const char *directory, const char *name, const char *text, char path[256])
{
    FILE *out;

    snprintf(path, 256, "%s/%s", directory, name);
    out = fopen(path, "w");
    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

/* ---- starting --------------------------------------------------------------------------- */

static void it_says_ready_when_it_listens(void **state)
{
    server *s = begin_tcp(NULL);
    conn *c = conn_open_tcp("127.0.0.1", server_port(s));
    char *log = server_log(s);

    (void)state;
    assert_non_null(c);
    says(c, "+PONG", "PING");
    assert_says(log, "Ready to accept connections");
    free(log);
    conn_close(c);
    end(s);
}

static void a_port_in_use_is_exit_status_one_with_the_reason(void **state)
{
    server *s = begin_tcp(NULL);
    char port[16], *output = NULL, *directory = new_directory();

    (void)state;
    snprintf(port, sizeof port, "%d", server_port(s));
    assert_int_equal(run_kvserver(&output, directory, "--port", port), 1);
    assert_says(output, "ddress already in use");
    assert_says(output, port);
    assert_null(strstr(output, "Ready to accept connections"));
    free(output);
    remove_directory(directory);
    end(s);
}

static void nowhere_to_listen_is_exit_status_one(void **state)
{
    char *output = NULL, *directory = new_directory();

    (void)state;
    assert_int_equal(run_kvserver(&output, directory, "--port", "6379", "--bind", ""), 1);
    assert_says(output, "Configured to not listen anywhere");
    free(output);
    assert_int_equal(run_kvserver(&output, directory, "--port", "0"), 1);
    assert_says(output, "Configured to not listen anywhere");
    free(output);
    remove_directory(directory);
}

static void version_and_help_are_told(void **state)
{
    char *output = NULL, *directory = new_directory();

    (void)state;
    assert_int_equal(run_kvserver(&output, directory, "--version"), 0);
    assert_says(output, KV_VERSION);
    free(output);
    assert_int_equal(run_kvserver(&output, directory, "-v"), 0);
    assert_says(output, KV_VERSION);
    free(output);
    assert_int_equal(run_kvserver(&output, directory, "--help"), 0);
    assert_says(output, "kvserver");
    free(output);
    remove_directory(directory);
}

static void options_of_the_command_line_are_configuration(void **state)
{
    server *s = begin("--maxclients", "77", "--timeout", "5", "--requirepass", "a b\"c");
    conn *c = connect_to(s);

    (void)state;
    says(c, "-NOAUTH", "GET", "k");
    says(c, "+OK", "AUTH", "a b\"c");
    says(c, "*2 $maxclients $77", "CONFIG", "GET", "maxclients");
    says(c, "*2 $timeout $5", "CONFIG", "GET", "timeout");
    conn_close(c);
    end(s);
}

static void a_configuration_file_is_read_and_the_command_line_wins(void **state)
{
    char *directory = new_directory(), path[256], included[256], text[600];
    server *s;
    conn *c;

    (void)state;
    write_file(directory, "more.conf", "tcp-keepalive 17\nmaxmemory 1mb", included);
    snprintf(text, sizeof text,
             "# comment\n\nMAXCLIENTS 55\r\n  timeout   7  \nrequirepass \"p\\x41ss word\"\nmaxmemory 5mb\n"
             "maxmemory 2mb\ninclude %s\nloglevel verbose\n",
             included);
    write_file(directory, "kv.conf", text, path);
    s = begin(path, "--timeout", "9");
    c = connect_to(s);
    says(c, "+OK", "AUTH", "pAss word");
    says(c, "*2 $maxclients $55", "CONFIG", "GET", "maxclients");
    says(c, "*2 $timeout $9", "CONFIG", "GET", "timeout");
    says(c, "*2 $tcp-keepalive $17", "CONFIG", "GET", "tcp-keepalive");
    says(c, "*2 $maxmemory $1048576", "CONFIG", "GET", "maxmemory");
    says(c, "*2 $loglevel $verbose", "CONFIG", "GET", "loglevel");
    conn_close(c);
    end(s);
    remove_directory(directory);
}

static void config_rewrite_keeps_what_people_wrote(void **state)
{
    char *directory = new_directory(), path[256], text[4096];
    server *s;
    conn *c;
    FILE *in;
    size_t n;

    (void)state;
    write_file(directory, "kv.conf", "# why we wait\ntimeout 7\n\n# the end\n", path);
    s = begin(path, NULL);
    c = connect_to(s);
    says(c, "+OK", "CONFIG", "SET", "timeout", "8", "maxclients", "99");
    says(c, "+OK", "CONFIG", "REWRITE");
    in = fopen(path, "r");
    assert_non_null(in);
    n = fread(text, 1, sizeof text - 1, in);
    text[n] = 0;
    fclose(in);
    assert_says(text, "# why we wait\ntimeout 8\n\n# the end\n");
    assert_says(text, "maxclients 99\n");
    conn_close(c);
    end(s);
    s = begin(path, NULL); /* and it can be read again */
    c = connect_to(s);
    says(c, "*2 $maxclients $99", "CONFIG", "GET", "maxclients");
    conn_close(c);
    end(s);
    remove_directory(directory);
}

static void a_mistake_in_the_file_is_named_with_its_line(void **state)
{
    static const struct {
        const char *text, *line, *quoted;
    } mistakes[] = {
        { "# fine\nmaxclients 10\nnope 1\n", "line 3", "nope 1" },
        { "timeout soon\n", "line 1", "timeout soon" },
        { "\n\n\n\ntimeout\n", "line 5", "timeout" },
        { "maxclients 10\nport 70000\n", "line 2", "port 70000" },
        { "requirepass \"secret\n", "line 1", "" },
        { "loglevel loud\n", "line 1", "loglevel loud" },
        { "include /nowhere/at/all.conf\n", "line 1", "/nowhere/at/all.conf" },
    };
    char *directory = new_directory(), path[256], *output = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof mistakes / sizeof *mistakes; i++) {
        write_file(directory, "kv.conf", mistakes[i].text, path);
        assert_int_equal(run_kvserver(&output, directory, path, "--port", "0"), 1);
        assert_says(output, path);
        assert_says(output, mistakes[i].line);
        assert_says(output, mistakes[i].quoted);
        assert_null(strstr(output, "secret"));
        free(output);
    }
    remove_directory(directory);
}

static void a_mistake_on_the_command_line_is_named(void **state)
{
    char *directory = new_directory(), *output = NULL;

    (void)state;
    assert_int_equal(run_kvserver(&output, directory, "--port", "0", "--nope", "1"), 1);
    assert_says(output, "nope");
    free(output);
    assert_int_equal(run_kvserver(&output, directory, "--timeout", "soon"), 1);
    assert_says(output, "timeout");
    free(output);
    assert_int_equal(run_kvserver(&output, directory, "/nowhere/kv.conf"), 1);
    assert_says(output, "/nowhere/kv.conf");
    free(output);
    assert_int_equal(run_kvserver(&output, directory, "--port", "0", "--sharing", "nope"), 1);
    assert_says(output, "sharing");
    free(output);
    remove_directory(directory);
}

static void check_config_does_not_start(void **state)
{
    char *directory = new_directory(), *output = NULL, path[256];

    (void)state;
    write_file(directory, "kv.conf", "port 0\ntimeout 7\n", path);
    assert_int_equal(run_kvserver(&output, directory, "--check-config", path), 0);
    assert_null(strstr(output, "Ready to accept connections"));
    free(output);
    write_file(directory, "kv.conf", "port 0\ntimeout x\n", path);
    assert_int_equal(run_kvserver(&output, directory, "--check-config", path), 1);
    assert_says(output, "kv.conf:2: ");
    free(output);
    remove_directory(directory);
}

static void the_unix_socket_has_the_permissions_asked_for(void **state)
{
    server *s = begin("--unixsocketperm", "750");
    struct stat is;
    char path[256];

    (void)state;
    snprintf(path, sizeof path, "%s", server_socket(s));
    assert_int_equal(stat(path, &is), 0);
    assert_true(S_ISSOCK(is.st_mode));
    assert_int_equal(is.st_mode & 0777, 0750);
    end(s);
    assert_int_not_equal(stat(path, &is), 0);
}

static void a_pid_file_lives_as_long_as_the_server(void **state)
{
    char *directory = new_directory(), path[256];
    struct stat is;
    long pid = 0;
    server *s;
    FILE *in;

    (void)state;
    snprintf(path, sizeof path, "%s/kv.pid", directory);
    s = begin("--pidfile", path);
    in = fopen(path, "r");
    assert_non_null(in);
    assert_int_equal(fscanf(in, "%ld", &pid), 1);
    fclose(in);
    assert_int_equal(pid, server_pid(s));
    end(s);
    assert_int_not_equal(stat(path, &is), 0);
    remove_directory(directory);
}

static void it_can_be_started_many_times(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        server *s = begin("--threads", i % 2 ? "1" : "3");
        conn *c = connect_to(s);

        says(c, "+OK", "SET", "k", "v");
        conn_close(c);
        end(s);
    }
}

/* ---- ending ----------------------------------------------------------------------------- */

/* Whole replies until the connection ends; their number. */
static int replies_until_end(conn *c)
{
    int n = 0;
    reply *r;

    while ((r = conn_read(c))) {
        reply_free(r);
        n++;
    }
    if (!strstr(conn_trouble(c), "closed by the server") &&
        !strstr(conn_trouble(c), "recv: Connection reset"))
        fail_msg("%s", conn_trouble(c));
    return n;
}

static void sigterm_tears_no_reply(void **state)
{
    server *s = begin("--threads", "2");
    conn *clients[4];
    char *requests = NULL;
    size_t size;
    FILE *out = open_memstream(&requests, &size);

    (void)state;
    assert_non_null(out);
    for (int i = 0; i < 2000; i++)
        fprintf(out, "SET key:%d value\r\nGET key:%d\r\n", i, i);
    fclose(out);
    for (int i = 0; i < 4; i++) {
        clients[i] = connect_to(s);
        says(clients[i], "+PONG", "PING");
        assert_true(conn_send(clients[i], kv_slice_of(requests, size)));
    }
    kill(server_pid(s), SIGTERM);
    for (int i = 0; i < 4; i++) {
        assert_in_range(replies_until_end(clients[i]), 0, 4000);
        conn_close(clients[i]);
    }
    free(requests);
    assert_int_equal(server_wait(s), 0);
    end(s);
}

static void sigint_ends_it_as_well(void **state)
{
    server *s = begin(NULL);

    (void)state;
    kill(server_pid(s), SIGINT);
    assert_int_equal(server_wait(s), 0);
    end(s);
}

static void shutdown_ends_it(void **state)
{
    server *s = begin("--threads", "2");
    conn *c = connect_to(s), *other = connect_to(s);

    (void)state;
    says(other, "+PONG", "PING");
    says(c, "-ERR syntax error", "SHUTDOWN", "MAYBE");
    assert_true(conn_send(c, KV_STR("SHUTDOWN NOSAVE\r\n")));
    assert_true(conn_ended(c));
    assert_true(conn_ended(other));
    assert_int_equal(server_wait(s), 0);
    conn_close(c);
    conn_close(other);
    end(s);
}

static void an_idle_server_does_nothing(void **state)
{
    server *s = begin("--threads", "4");
    conn *c = connect_to(s);
    struct timespec window = { .tv_nsec = 500000000 };
    long long before;

    (void)state;
    says(c, "+OK", "SET", "k", "v", "EX", "1000");
    before = cpu_ms(server_pid(s));
    nanosleep(&window, NULL); /* what is measured is this time */
    assert_true(cpu_ms(server_pid(s)) - before <= 100);
    conn_close(c);
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_says_ready_when_it_listens),
        cmocka_unit_test(a_port_in_use_is_exit_status_one_with_the_reason),
        cmocka_unit_test(nowhere_to_listen_is_exit_status_one),
        cmocka_unit_test(version_and_help_are_told),
        cmocka_unit_test(options_of_the_command_line_are_configuration),
        cmocka_unit_test(a_configuration_file_is_read_and_the_command_line_wins),
        cmocka_unit_test(config_rewrite_keeps_what_people_wrote),
        cmocka_unit_test(a_mistake_in_the_file_is_named_with_its_line),
        cmocka_unit_test(a_mistake_on_the_command_line_is_named),
        cmocka_unit_test(check_config_does_not_start),
        cmocka_unit_test(the_unix_socket_has_the_permissions_asked_for),
        cmocka_unit_test(a_pid_file_lives_as_long_as_the_server),
        cmocka_unit_test(it_can_be_started_many_times),
        cmocka_unit_test(sigterm_tears_no_reply),
        cmocka_unit_test(sigint_ends_it_as_well),
        cmocka_unit_test(shutdown_ends_it),
        cmocka_unit_test(an_idle_server_does_nothing),
    };

    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
