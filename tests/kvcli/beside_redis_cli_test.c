/* beside_redis_cli_test.c - the same commands to Debian's redis-cli and to kvcli, and the same bytes from both; against redis-server
 * and against kvserver. What is meant to differ is in the manual, under COMPATIBILITY.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

enum { WORDS_MAX = 12 };

/* Commands that answer the same however often they are sent. Those of the second list are not in kvserver's table: its error
 * is compared. */
static const char *const commands[][WORDS_MAX] = {
    { "ping" },
    { "ping", "\x01 \xc3\xa9 \xff \"q\" \\ \r\n\t\a\b" },
    { "echo", "" },
    { "set", "greeting", "hello world" },
    { "get", "greeting" },
    { "get", "none" },
    { "set", "number", "41" },
    { "strlen", "greeting" },
    { "mget", "greeting", "none", "number" },
    { "exists", "greeting", "none" },
    { "getrange", "greeting", "0", "4" },
    { "nosuch" },
    { "get" },
    { "incr", "greeting" },
    { "set", "greeting", "x", "badoption" },
    { "type", "greeting" },
    { "object", "help" },
    { "object", "encoding", "number" },
    { "scan", "0", "match", "greet*", "count", "1000" },
    { "config", "get", "maxmemory" },
    { "client", "getname" },
    { "command", "info", "get", "nosuch", "set" },
    { "command", "count", "x" },
    { "select", "99" },
    { "lcs", "greeting", "number", "idx" },
    { "keys", "nothing*" },
    { "rpush" },
};

static const char *const redis_commands[][WORDS_MAX] = {
    { "lrange", "list", "0", "-1" },
    { "lrange", "list", "9", "10" },
    { "hgetall", "hash" },
    { "smembers", "set" },
    { "zrange", "zset", "0", "-1", "withscores" },
    { "xrange", "stream", "-", "+" },
    { "lpush", "greeting", "x" },
    { "eval", "return {1,{},{2,{3,'x'}},false,redis.error_reply('BAD x')}", "0" },
    { "cluster", "info" },
    { "latency", "doctor" },
    { "debug", "protocol", "null" },
    { "debug", "protocol", "verbatim" },
    { "debug", "protocol", "double" },
    { "debug", "protocol", "map" },
};

static const char *const ways[][4] = {
    { "--no-raw" }, { "--csv" },    { NULL },     { "--raw" },
    { "-r", "2" },  { "-d", "<>" }, { "-D", "" }, { "-n", "3" },
};

/* A sanitizer takes its time to start and to end a program. */
#ifdef KV_SANITIZED
enum { WAYS = 2 };
#else
enum { WAYS = sizeof ways / sizeof *ways };
#endif

static outcome run_one(const char *program, const char *socket, const char *const way[],
                       const char *const command[])
{
    const char *argv[WORDS_MAX + 16] = { program, "-s", socket };
    size_t n = 3;

    for (size_t i = 0; i < 4 && way[i]; i++)
        argv[n++] = way[i];
    for (size_t i = 0; i < WORDS_MAX && command[i]; i++)
        argv[n++] = command[i];
    return program_run("", argv);
}

static void compare(const char *socket, const char *const way[], const char *const command[])
{
    outcome theirs = run_one(program_or_skip("redis-cli"), socket, way, command);
    outcome ours = run_one(program_or_skip("kvcli"), socket, way, command);

    if (ours.out_len != theirs.out_len || memcmp(ours.out, theirs.out, ours.out_len) != 0)
        fail_msg("%s %s (%s): redis-cli says\n%s\nkvcli says\n%s\n%s", command[0],
                 command[1] ? command[1] : "", way[0] ? way[0] : "", theirs.out, ours.out, ours.err);
    outcome_done(&theirs);
    outcome_done(&ours);
}

static void compare_all(server *s, bool redis)
{
    for (size_t w = 0; w < WAYS; w++) {
        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
            compare(server_socket(s), ways[w], commands[i]);
        for (size_t i = 0; redis && i < sizeof redis_commands / sizeof *redis_commands; i++)
            compare(server_socket(s), ways[w], redis_commands[i]);
    }
}

static void fill(server *s)
{
    static const char input[] =
        "rpush list a \"b \\\"c\\\"\" \"x\\ny\\x01\\xff\" \"\" d e f g h i j\n"
        "hset hash f1 v1 f2 v2\nsadd set m\nzadd zset 1 a 2.5 b\nxadd stream 1-1 f v\n";

    kvcli_ends(0, "11\n2\n1\n2\n1-1\n", input, "-s", server_socket(s));
}

static void redis_server_is_shown_alike(void **state)
{
    server *s = server_start(program_or_skip("redis-server"),
                             (const char *const[]){ "--enable-debug-command", "yes", NULL });

    (void)state;
    assert_non_null(s);
    fill(s);
    compare_all(s, true);
    assert_true(server_stop(s));
}

static void kvserver_is_shown_alike(void **state)
{
    server *s = server_start(program_or_skip("kvserver"), (const char *const[]){ "--threads", "2", NULL });

    (void)state;
    assert_non_null(s);
    compare_all(s, false);
    assert_true(server_stop(s));
}

/* Lines on stdin, -x and -X, --scan, --eval. */
static void input_is_read_alike(void **state)
{
    static const struct {
        const char *input;
        const char *words[WORDS_MAX];
    } cases[] = {
        { "set a \"x\\x00y\"\nget a\n\n  \nmulti\nincr n\nget a\nexec\nselect 3\nget a\nnosuch\ndel n\n",
          { NULL } },
        { "set a 'it\\'s'\nget a\nset b \"\\r\\n\"\nget b\n", { "--no-raw" } },
        { "from stdin\n", { "-x", "set", "k" } },
        { "from stdin\n", { "-X", "tag", "set", "tag", "value" } },
        { "", { "get", "k" } },
        { "", { "--scan", "--pattern", "k" } },
        { "", { "--no-raw", "--scan", "--pattern", "k" } },
        { "", { "--eval", "/dev/null", "a", "b", ",", "c" } },
    };
    server *s = server_start(program_or_skip("redis-server"), (const char *const[]){ NULL });

    (void)state;
    assert_non_null(s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *argv[WORDS_MAX + 4] = { program_or_skip("redis-cli"), "-s", server_socket(s) };
        outcome theirs, ours;

        memcpy(argv + 3, cases[i].words, sizeof cases[i].words);
        theirs = program_run(cases[i].input, argv);
        argv[0] = program_or_skip("kvcli");
        ours = program_run(cases[i].input, argv);
        assert_string_equal(ours.out, theirs.out);
        outcome_done(&theirs);
        outcome_done(&ours);
    }
    assert_true(server_stop(s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_server_is_shown_alike),
        cmocka_unit_test(kvserver_is_shown_alike),
        cmocka_unit_test(input_is_read_alike),
    };
    int failed;

    program_or_skip("redis-cli");
    program_or_skip("redis-server");
    program_or_skip("kvserver");
    program_enter_home();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    program_leave_home();
    return failed;
}
