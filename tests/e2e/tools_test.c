/* tools_test.c - redis-cli and redis-benchmark, as Debian ships them, find in kvserver what they expect.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e.h"

static const char *tool(const char *name)
{
    const char *path = server_program(name);

    if (!path) {
        fprintf(stderr, "%s is not installed\n", name);
        exit(77);
    }
    return path;
}

/* What the tool prints, told to talk to s; it must leave with status 0. Yours. */
#define run_tool(s, name, ...) \
    run_told(s, (const char *const[]){ tool(name), "-s", server_socket(s), __VA_ARGS__, NULL })
static char *run_told(server *s, const char *const argv[])
{
    char *output = NULL, *directory = new_directory();
    int status = run_program(argv, directory, &output);

    (void)s;
    if (status != 0)
        fail_msg("%s left with status %d:\n%s", argv[0], status, output);
    remove_directory(directory);
    return output;
}

#define expect_output(s, text, ...)                            \
    do {                                                       \
        char *printed = run_tool(s, "redis-cli", __VA_ARGS__); \
                                                               \
        assert_string_equal(printed, text);                    \
        free(printed);                                         \
    } while (0)

static void redis_cli_sees_what_another_redis_cli_wrote(void **state)
{
    server *s = begin("--threads", "4");

    (void)state;
    for (int i = 0; i < 5; i++) {
        expect_output(s, "OK\n", "SET", "greeting", "hello", "EX", "1000");
        expect_output(s, "hello\n", "GET", "greeting");
        expect_output(s, "hello\n", "-3", "GET", "greeting");
        expect_output(s, "1\n", "DEL", "greeting");
        expect_output(s, "\n", "GET", "greeting");
        expect_output(s, "OK\n", "-n", "5", "SET", "five", "5");
        expect_output(s, "1\n", "-n", "5", "DBSIZE");
        expect_output(s, "OK\n", "-n", "5", "FLUSHDB");
    }
    end(s);
}

static void redis_cli_scans(void **state)
{
    server *s = begin(NULL);
    char *output;

    (void)state;
    expect_output(s, "OK\n", "MSET", "a:1", "1", "b:1", "2", "a:2", "3");
    output = run_tool(s, "redis-cli", "--scan", "--pattern", "a:*");
    assert_true(strcmp(output, "a:1\na:2\n") == 0 || strcmp(output, "a:2\na:1\n") == 0);
    free(output);
    output = run_tool(s, "redis-cli", "--bigkeys");
    assert_non_null(strstr(output, "3 strings"));
    free(output);
    output = run_tool(s, "redis-cli", "INFO", "server");
    assert_non_null(strstr(output, "redis_version:"));
    free(output);
    end(s);
}

static void redis_cli_inserts_in_bulk(void **state)
{
    server *s = begin("--threads", "2");
    char *output = NULL, *directory = new_directory();
    const char *const argv[] = {
        "/bin/sh",
        "-c",
        "i=0; while [ $i -lt 5000 ]; do printf 'SET bulk:%d %d\\r\\n' $i $i; i=$((i + 1)); done | "
        "\"$0\" -s \"$1\" --pipe",
        tool("redis-cli"),
        server_socket(s),
        NULL
    };

    (void)state;
    assert_int_equal(run_program(argv, directory, &output), 0);
    assert_non_null(strstr(output, "errors: 0, replies: 5000"));
    free(output);
    remove_directory(directory);
    expect_output(s, "5000\n", "DBSIZE");
    expect_output(s, "4999\n", "GET", "bulk:4999");
    end(s);
}

static void redis_benchmark_runs_to_its_end(void **state)
{
    server *s = begin("--threads", "2");
    static const char *const depths[] = { "1", "16", "100" };

    (void)state;
    for (size_t i = 0; i < sizeof depths / sizeof *depths; i++) {
        char *output = run_tool(s, "redis-benchmark", "-n", "20000", "-c", "20", "-P", depths[i], "-t",
                                "ping_inline,ping_mbulk,set,get,incr,mset", "-r", "1000", "-q");

        for (const char *const *name = (const char *const[]){ "PING_INLINE", "PING_MBULK", "SET", "GET",
                                                              "INCR", "MSET (10 keys)", NULL };
             *name; name++)
            if (!strstr(output, *name))
                fail_msg("no %s in:\n%s", *name, output);
        assert_non_null(strstr(output, "requests per second"));
        assert_null(strstr(output, "Error"));
        assert_null(strstr(output, "WARNING"));
        free(output);
    }
    end(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(redis_cli_sees_what_another_redis_cli_wrote),
        cmocka_unit_test(redis_cli_scans),
        cmocka_unit_test(redis_cli_inserts_in_bulk),
        cmocka_unit_test(redis_benchmark_runs_to_its_end),
    };

    kvserver_path();
    tool("redis-cli");
    tool("redis-benchmark");
    return cmocka_run_group_tests(tests, NULL, NULL);
}
