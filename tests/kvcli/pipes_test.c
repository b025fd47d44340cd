/* pipes_test.c - kvcli as scripts use it: exit statuses, stdin, --pipe, scans, and servers that do not behave.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_server.h"
#include "program.h"
#include "resp.h"

static server *kvserver;
static const char *path; /* its socket */

static int begin(void **state)
{
    (void)state;
    kvserver = server_start(program_or_skip("kvserver"), (const char *const[]){ "--threads", "2", NULL });
    if (!kvserver)
        return -1;
    path = server_socket(kvserver);
    return 0;
}

static int end(void **state)
{
    (void)state;
    return server_stop(kvserver) ? 0 : -1;
}

static int flush(void **state)
{
    (void)state;
    kvcli_ends(0, "OK\n", "", "-s", path, "flushall");
    return 0;
}

/* ---- exit statuses ---- */

static void the_status_tells_what_went_wrong(void **state)
{
    char port[16];

    (void)state;
    snprintf(port, sizeof port, "%d", free_port());
    kvcli_ends(0, "PONG\n", "", "-s", path, "ping");
    kvcli_ends(0, "\n", "", "-s", path, "get", "nothing");
    kvcli_ends(1, NULL, "", "-s", path, "nosuch");
    kvcli_ends(0, NULL, "", "-s", path, "--exit-zero", "nosuch");
    kvcli_complains(2, "is no option", "", "-s", path, "--nonsense");
    kvcli_complains(2, "70000", "", "-p", "70000", "ping");
    kvcli_complains(2, "SYNC", "", "-s", path, "sync");
    kvcli_complains(3, "Connection refused", "", "-p", port, "ping");
    kvcli_complains(3, "/nonexistent/socket", "", "-s", "/nonexistent/socket", "ping");
    kvcli_ends(0, NULL, "", "-h");
    kvcli_ends(0, NULL, "", "--help");
    kvcli_ends(0, NULL, "", "--version");
    kvcli_complains(0, "unknown command", "", "-s", path, "--exit-zero", "-e", "nosuch");
    kvcli_ends(1, "", "", "-s", path, "-e", "nosuch");
}

static void a_password_is_needed_and_found(void **state)
{
    server *s =
        server_start(program_or_skip("kvserver"), (const char *const[]){ "--requirepass", "secret", NULL });
    const char *socket;
    char *directory = new_directory(), file[256];
    FILE *out;

    (void)state;
    assert_non_null(s);
    socket = server_socket(s);
    kvcli_ends(4, NULL, "", "-s", socket, "ping");
    kvcli_ends(4, NULL, "", "-s", socket, "-a", "wrong", "ping");
    kvcli_ends(0, "PONG\n", "", "-s", socket, "-a", "secret", "ping");
    setenv("REDISCLI_AUTH", "secret", 1);
    kvcli_ends(0, "PONG\n", "", "-s", socket, "ping");
    setenv("KVCLI_AUTH", "wrong", 1);
    kvcli_ends(4, NULL, "", "-s", socket, "ping");
    unsetenv("KVCLI_AUTH");
    unsetenv("REDISCLI_AUTH");
    snprintf(file, sizeof file, "%s/password", directory);
    out = fopen(file, "w");
    assert_non_null(out);
    fputs("secret\n", out);
    fclose(out);
    kvcli_ends(0, "PONG\n", "", "-s", socket, "--pass-file", file, "ping");
    remove_directory(directory);
    assert_true(server_stop(s));
}

static void ctrl_c_ends_with_130(void **state)
{
    const char *const argv[] = {
        program_or_skip("kvcli"), "-s", path, "-r", "-1", "-i", "0.01", "ping", NULL
    };
    outcome o = program_run_signalled(argv, "PONG", SIGINT);

    (void)state;
    assert_int_equal(o.status, 130);
    outcome_done(&o);
}

static void lines_of_stdin_are_commands(void **state)
{
    (void)state;
    kvcli_ends(1, "OK\na\nERR unknown command 'nosuch', with args beginning with: \n\n1\n2\n",
               "set k a\nget k\nnosuch\n\n2 incr n", "-s", path);
    kvcli_ends(2, "PONG\n", "get \"unclosed\nping\n", "-s", path);
}

static void json_is_valid_for_every_reply(void **state)
{
    static const char *const commands[] = { "info",
                                            "nosuch",
                                            "get none",
                                            "command info get",
                                            "command docs get",
                                            "client list",
                                            "config get *",
                                            "ping \"\\xff\\x00\"",
                                            "lolwut",
                                            "scan 0" };

    (void)state;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        char script[256];
        outcome o;

        snprintf(script, sizeof script,
                 "printf '%%s\\n' '%s' | '%s' -s '%s' --json --exit-zero | python3 -m json.tool", commands[i],
                 program_or_skip("kvcli"), path);
        o = program_run("", (const char *const[]){ "/bin/sh", "-c", script, NULL });
        if (o.status == 127 || strstr(o.err, "python3: not found")) {
            outcome_done(&o);
            skip();
        }
        if (o.status != 0)
            fail_msg("%s: %s", commands[i], o.err);
        outcome_done(&o);
    }
}

/* ---- much at once ---- */

static void a_pipe_counts_replies_and_names_errors(void **state)
{
    (void)state;
    kvcli_ends(0,
               "All data transferred. Waiting for the last reply...\nLast reply received from "
               "server.\nerrors: 0, replies: 3\n",
               "SET a 1\r\n*3\r\n$3\r\nSET\r\n$1\r\nb\r\n$4\r\n\r\n\r\n\r\n\r\n\nGET a", "-s", path,
               "--pipe");
    kvcli_complains(1, "command 2: ERR unknown command", "SET a x\nnosuch\nINCR a\nPING\n", "-s", path,
                    "--pipe");
    kvcli_complains(1, "command 3: ERR value is not an integer", "SET a x\nnosuch\nINCR a\nPING\n", "-s",
                    path, "--pipe");
    kvcli_complains(1, "2 more errors", "nosuch\nnosuch\nnosuch\n", "-s", path, "--pipe", "--errors", "1");
    kvcli_complains(2, "byte 6, behind command 1", "PING\r\n*x\r\n", "-s", path, "--pipe");
    kvcli_complains(2, "in the middle of command 2", "PING\r\n*1\r\n$4\r\nPI", "-s", path, "--pipe");
    kvcli_ends(0, NULL, "", "-s", path, "--pipe");
}

static void a_long_pipe_arrives(void **state)
{
    enum { N = 50000 };
    char *input = malloc(N * 32), *at = input;

    (void)state;
    assert_non_null(input);
    for (int i = 0; i < N; i++)
        at += sprintf(at, "SET bulk:%d %d\r\n", i, i);
    kvcli_ends(0,
               "All data transferred. Waiting for the last reply...\nLast reply received from "
               "server.\nerrors: 0, replies: 50000\n",
               input, "-s", path, "--pipe");
    kvcli_ends(0, "50000\n", "", "-s", path, "dbsize");
    kvcli_ends(0, "49999\n", "", "-s", path, "get", "bulk:49999");
    free(input);
}

/* Every value comes back although neither side can hold them all on the way. */
static void a_pipe_reads_while_it_writes(void **state)
{
    enum { N = 2000 };
    char *big = calloc(1, 64 * 1024), *input = malloc(N * 16), *at = input;

    (void)state;
    assert_non_null(big);
    assert_non_null(input);
    memset(big, 'x', 64 * 1024 - 1);
    kvcli_ends(0, "OK\n", big, "-s", path, "-x", "set", "big");
    for (int i = 0; i < N; i++)
        at += sprintf(at, "GET big\r\n");
    kvcli_ends(0,
               "All data transferred. Waiting for the last reply...\nLast reply received from "
               "server.\nerrors: 0, replies: 2000\n",
               input, "-s", path, "--pipe");
    free(big);
    free(input);
}

static void csv_becomes_commands(void **state)
{
    (void)state;
    kvcli_ends(0, NULL, "id,name\r\n1,\"Ada, Countess\"\r\n2,\"say \"\"hi\"\"\"\r\n", "-s", path,
               "--import-csv", "SET user:${id} $2", "--header");
    kvcli_ends(0, "Ada, Countess\nsay \"hi\"\n", "", "-s", path, "mget", "user:1", "user:2");
    kvcli_complains(2, "record 2 has no field 2", "a,b\nc\n", "-s", path, "--import-csv", "SET $1 $2");
    kvcli_ends(0, "b\n", "", "-s", path, "get", "a"); /* what came before was sent */
    kvcli_complains(2, "--import-csv: ", "a\n", "-s", path, "--import-csv", "SET $x");
    kvcli_complains(2, "closing quote is missing", "a,\"b\n", "-s", path, "--import-csv", "SET $1 $2");
}

static void keys_are_scanned_and_unlinked(void **state)
{
    outcome o;

    (void)state;
    kvcli_ends(0, "OK\n", "", "-s", path, "mset", "a:1", "x", "a:2", "x", "b:1", "x");
    o = run_kvcli("", "-s", path, "--scan", "--pattern", "a:*");
    assert_int_equal(o.status, 0);
    assert_true(strcmp(o.out, "a:1\na:2\n") == 0 || strcmp(o.out, "a:2\na:1\n") == 0);
    outcome_done(&o);
    kvcli_complains(0, "2 keys would be unlinked", "", "-s", path, "--scan", "--pattern", "a:*", "--unlink",
                    "--dry-run");
    kvcli_ends(0, "3\n", "", "-s", path, "dbsize");
    kvcli_ends(0, "2 keys unlinked.\n", "", "-s", path, "--scan", "--pattern", "a:*", "--unlink", "--rate",
               "1000");
    kvcli_ends(0, "b:1\n", "", "-s", path, "--scan");
    kvcli_ends(0, "\"b:1\"\n", "", "-s", path, "--json", "--scan", "--type", "string");
}

static void contains(const char *const expected[], outcome o)
{
    assert_int_equal(o.status, 0);
    for (; *expected; expected++) {
        if (!strstr(o.out, *expected))
            fail_msg("no \"%s\" in:\n%s", *expected, o.out);
    }
    outcome_done(&o);
}

#define prints(outcome, ...) contains((const char *const[]){ __VA_ARGS__, NULL }, outcome)

static void big_keys_of_all_databases_are_found(void **state)
{
    (void)state;
    kvcli_ends(0, NULL, "set small x\nset large 0123456789\nselect 3\nset other 01234\n", "-s", path);
    prints(run_kvcli("", "-s", path, "--bigkeys"), "Sampled 3 keys", "[0] \"large\"", "[3] \"other\"");
    prints(run_kvcli("", "-s", path, "-n", "3", "--bigkeys"), "Sampled 1 keys", "\"other\"");
    prints(run_kvcli("", "-s", path, "--bigkeys", "--json"), "\"keys\":3", "\"most\":10",
           "\"key\":\"large\"");
}

static void the_server_is_looked_at(void **state)
{
    (void)state;
    kvcli_ends(0, "OK\n", "", "-s", path, "set", "k", "value", "ex", "1000");
    prints(run_kvcli("", "-s", path, "peek", "k"), "type:     string", "size:     5 bytes", "expires:  in ",
           "\"value\"");
    kvcli_complains(1, "no such key", "", "-s", path, "peek", "none");
    prints(run_kvcli("", "-s", path, "doctor"), "server", "latency", " wrong\n");
    prints(run_kvcli("", "-s", path, "top", "--count", "2", "-i", "0.05"), "operations/s");
    prints(run_kvcli("", "-s", path, "top", "--count", "1", "-i", "0.05", "--json"),
           "{\"operations_per_second\":");
    prints(run_kvcli("", "-s", path, "--stat", "--count", "2", "-i", "0.05"), "clients");
    kvcli_ends(0, "1\n1\n1\n", "", "-s", path, "-i", "0.01", "--count", "3", "watch", "dbsize");
    kvcli_ends(0, "OK\n", "", "-s", path, "WATCH", "k");
    kvcli_ends(0, "OK\n", "", "-s", path, "--", "watch", "k");
    prints(run_kvcli("", "-s", path, "--latency", "-i", "0.1", "--json"), "\"p99_ms\":", "\"samples\":");
    prints(run_kvcli("", "-s", path, "--latency-history", "--count", "2", "-i", "0.05", "--no-raw"), "p99");
}

static void every_type_of_redis_is_peeked_at(void **state)
{
    const char *redis = server_program("redis-server");
    server *s = redis ? server_start(redis, (const char *const[]){ NULL }) : NULL;
    const char *socket = s ? server_socket(s) : "";

    (void)state;
    if (!redis)
        skip();
    assert_non_null(s);
    kvcli_ends(0, NULL, "rpush list a b\nhset hash f v\nsadd set m\nzadd zset 1.5 z\nxadd stream 1-1 f v\n",
               "-s", socket);
    prints(run_kvcli("", "-s", socket, "peek", "list"), "type:     list", "size:     2 items",
           "  \"a\"\n  \"b\"\n");
    prints(run_kvcli("", "-s", socket, "peek", "hash"), "1 fields", "\"f\" = \"v\"");
    prints(run_kvcli("", "-s", socket, "peek", "set"), "1 members", "\"m\"");
    prints(run_kvcli("", "-s", socket, "peek", "zset"), "\"z\" = \"1.5\"");
    prints(run_kvcli("", "-s", socket, "peek", "stream"), "1 entries", "\"1-1\"");
    prints(run_kvcli("", "-s", socket, "--memkeys"), "Sampled 5 keys", "stream");
    prints(run_kvcli("", "-s", socket, "--bigkeys"), "2 items", "hash");
    kvcli_complains(1, "LFU", "", "-s", socket, "--hotkeys");
    kvcli_ends(0, "OK\n", "", "-s", socket, "config", "set", "maxmemory-policy", "allkeys-lfu");
    prints(run_kvcli("", "-s", socket, "--hotkeys"), "Used most often", "frequency");
    prints(run_kvcli("", "-s", socket, "doctor"), "persistence", "server");
    assert_true(server_stop(s));
}

/* ---- messages ---- */

static void messages_are_printed_as_they_come(void **state)
{
    const char *const subscribe[] = { program_or_skip("kvcli"), "-s", path, "subscribe", "news", NULL };
    outcome o = program_run_signalled(subscribe, "subscribe\nnews\n1\n", SIGINT);

    (void)state;
    assert_int_equal(o.status, 130);
    outcome_done(&o);
}

/* ---- servers that do not behave ---- */

static void say_garbage(fake_request *request, void *arg)
{
    if (!fake_handshake(request))
        fake_say(request, "%s", (const char *)arg);
}

static void say_nothing(fake_request *request, void *arg)
{
    (void)request;
    (void)arg;
}

static void hang_up(fake_request *request, void *arg)
{
    (void)arg;
    if (!fake_handshake(request))
        fake_hang_up(request);
}

static void garbage_is_a_protocol_error(void **state)
{
    static const char *const garbage[] = { "HTTP/1.1 400 Bad Request\r\n\r\n", "*99999999999\r\n", ":12x\r\n",
                                           "$-2\r\n" };

    (void)state;
    for (size_t i = 0; i < sizeof garbage / sizeof *garbage; i++) {
        fake_server *s = fake_start(say_garbage, (void *)garbage[i]);
        char port[16];

        snprintf(port, sizeof port, "%d", fake_port(s));
        kvcli_ends(6, "", "", "-p", port, "get", "x");
        fake_stop(s);
    }
}

static void a_silent_server_is_a_timeout(void **state)
{
    fake_server *deaf = fake_start(say_nothing, NULL), *mute = fake_start(say_garbage, "");
    char port[16];

    (void)state;
    snprintf(port, sizeof port, "%d", fake_port(deaf)); /* not even the handshake */
    kvcli_ends(5, "", "", "-p", port, "-t", "0.2", "-n", "1", "ping");
    snprintf(port, sizeof port, "%d", fake_port(mute));
    kvcli_ends(5, "", "", "-p", port, "-t", "0.2", "get", "x");
    kvcli_complains(5, "no replies", "*2\r\n$3\r\nGET\r\n$1\r\nx\r\n", "-p", port, "--pipe", "--pipe-timeout",
                    "0.2");
    fake_stop(deaf);
    fake_stop(mute);
}

static void a_server_that_hangs_up_is_an_error(void **state)
{
    fake_server *s = fake_start(hang_up, NULL);
    char port[16];

    (void)state;
    snprintf(port, sizeof port, "%d", fake_port(s));
    kvcli_ends(6, "", "", "-p", port, "get", "x");
    kvcli_ends(6, "", "get x\nget y\n", "-p", port);
    kvcli_complains(6, "after", "*2\r\n$3\r\nGET\r\n$1\r\nx\r\n", "-p", port, "--pipe");
    kvcli_ends(0, "", "", "-p", port, "shutdown"); /* there it is the answer */
    fake_stop(s);
}

static void move(fake_request *request, void *arg)
{
    if (fake_handshake(request))
        return;
    if (fake_is(request, "GET"))
        fake_say(request, "-%s 42 127.0.0.1:%d\r\n",
                 strcmp(fake_arg(request, 1), "asked") == 0 ? "ASK" : "MOVED", *(int *)arg);
    else
        fake_say(request, "-ERR not here\r\n");
}

static void answer_moved(fake_request *request, void *arg)
{
    (void)arg;
    if (!fake_handshake(request))
        fake_say(request, "$5\r\nfound\r\n");
}

static void a_cluster_is_followed_on_demand(void **state)
{
    fake_server *there = fake_start(answer_moved, NULL);
    int port_there = fake_port(there);
    fake_server *here = fake_start(move, &port_there);
    char port[16], moved[64];

    (void)state;
    snprintf(port, sizeof port, "%d", fake_port(here));
    snprintf(moved, sizeof moved, "MOVED 42 127.0.0.1:%d\n\n", port_there);
    kvcli_ends(1, moved, "", "-p", port, "get", "k");
    kvcli_ends(0, "found\n", "", "-p", port, "-c", "get", "k");
    kvcli_ends(0, "found\n", "", "-p", port, "-c", "get", "asked");
    fake_stop(here);
    fake_stop(there);
}

#define kept(test) cmocka_unit_test_setup(test, flush)

int main(void)
{
    const struct CMUnitTest tests[] = {
        kept(the_status_tells_what_went_wrong),
        kept(a_password_is_needed_and_found),
        kept(ctrl_c_ends_with_130),
        kept(lines_of_stdin_are_commands),
        kept(json_is_valid_for_every_reply),
        kept(a_pipe_counts_replies_and_names_errors),
        kept(a_long_pipe_arrives),
        kept(a_pipe_reads_while_it_writes),
        kept(csv_becomes_commands),
        kept(keys_are_scanned_and_unlinked),
        kept(big_keys_of_all_databases_are_found),
        kept(the_server_is_looked_at),
        kept(every_type_of_redis_is_peeked_at),
        kept(messages_are_printed_as_they_come),
        kept(garbage_is_a_protocol_error),
        kept(a_silent_server_is_a_timeout),
        kept(a_server_that_hangs_up_is_an_error),
        kept(a_cluster_is_followed_on_demand),
    };
    int failed;

    program_or_skip("kvserver");
    program_or_skip("kvcli");
    program_enter_home();
    failed = cmocka_run_group_tests(tests, begin, end);
    program_leave_home();
    return failed;
}
