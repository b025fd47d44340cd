/* kvbench_test.c - kvbench measures what it starts, draws it, and says so when a server is no good.
 *
 * What it measures depends on the machine; what is tested is that the rows are there, and add up.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e.h"

static const char *kvbench; /* from main */

/* The exit status of kvbench with these words; *ret_output is yours. */
#define run_kvbench(ret_output, ...) run_words(ret_output, (const char *const[]){ __VA_ARGS__, NULL })
static int run_words(char **ret_output, const char *const words[])
{
    const char *argv[40] = { kvbench };
    char *directory = new_directory();
    int n = 1, status;

    for (int i = 0; words[i]; i++) {
        assert_true(n < 39);
        argv[n++] = words[i];
    }
    argv[n] = NULL;
    status = run_program(argv, directory, ret_output);
    remove_directory(directory);
    return status;
}

static void has(const char *output, const char *text)
{
    if (!strstr(output, text))
        fail_msg("no \"%s\" in:\n%s", text, output);
}

/* The number behind text. */
static double number_after(const char *output, const char *text)
{
    has(output, text);
    return strtod(strstr(output, text) + strlen(text), NULL);
}

static int occurrences(const char *text, const char *what)
{
    int n = 0;

    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

/* A page by itself: nothing is fetched, and what is opened is closed. */
static void expect_chart(const char *path, const char *title)
{
    char *page = read_file(path);

    assert_int_equal(strncmp(page, "<!DOCTYPE html>", 15), 0);
    has(page, title);
    has(page, "<rect ");
    has(page, "</html>");
    assert_null(strstr(page, "://"));
    assert_null(strstr(page, "<script"));
    assert_int_equal(occurrences(page, "<svg "), occurrences(page, "</svg>"));
    assert_int_equal(occurrences(page, "<text "), occurrences(page, "</text>"));
    free(page);
}

static void a_cache_is_measured_beside_the_truth(void **state)
{
    char *output;

    (void)state;
    assert_int_equal(run_kvbench(&output, "cache", "--kvserver", kvserver_path(), "--only", "kvserver",
                                 "--keys", "20000", "--requests", "60000", "--rounds", "1", "--json"),
                     0);
    has(output, "Hits in a Zipf trace");
    assert_true(number_after(output, "\"allkeys-lru\", \"kvserver\": ") > 40);
    assert_true(number_after(output, "\"allkeys-lfu\", \"kvserver\": ") > 40);
    assert_true(number_after(output, "\"keys that are there, nothing is evicted\", \"kvserver\": ") > 0);
    assert_true(number_after(output, "\"full / keys that are there\", \"kvserver\": ") > 0);
    assert_true(number_after(output, "\"full / the store grows\", \"kvserver\": ") > 0);
    free(output);
    assert_int_equal(run_kvbench(&output, "cache", "--kvserver", "/bin/false", "--only", "kvserver"), 2);
    free(output);
}

static void every_message_of_a_fan_out_is_counted(void **state)
{
    char *output;

    (void)state;
    assert_int_equal(run_kvbench(&output, "fanout", "--kvserver", kvserver_path(), "--only", "kvserver",
                                 "--connections", "20", "--requests", "500", "--rounds", "1", "--json"),
                     0);
    has(output, "1 publisher, 20 subscribers, pipeline 64");
    has(output, "1 publisher, 20 subscribers, no pipeline");
    free(output);
    assert_int_equal(run_kvbench(&output, "fanout", "--kvserver", "/bin/false", "--only", "kvserver"), 2);
    free(output);
    assert_int_equal(run_kvbench(&output, "fanout", "--value-size", "5000"), 1);
    free(output);
}

#ifdef KV_SANITIZED /* they are slow, and keep what was freed for a while */
static const char some[] = "never";
static const double most_mb = 1024;
#else
static const char some[] = "";
static const double most_mb = 64;
#endif

/* Clients that misbehave, a tenth of them and for a moment; by default settings none of it fills the memory. */
static void who_misbehaves_does_not_fill_the_memory(void **state)
{
    static const char *const phases[] = {
        "5,000 idle connections",
        "50 readers that never read, 100 KB a reply",
        "a million pipelined commands, no reply read",
        "10 transactions of 40,000 SETs that are queued",
        "1,000 requests that are never ended",
        "20 subscribers that never read",
        "more connections than maxclients",
        "50 clients that come and go",
        "maxmemory 64mb, allkeys-lru, full",
        "4 clients that ask for everything",
    };
    char *output;

    (void)state;
    assert_int_equal(run_kvbench(&output, "overload", "--kvserver", kvserver_path(), "--only", "kvserver",
                                 "--share", "0.1", "--seconds", "0.3", "--connections", "20", "--rows", some,
                                 "--json"),
                     0);
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        char row[128];
        double grown_mb;

        if (!strstr(phases[i], some))
            continue;

        snprintf(row, sizeof row, "\"%s\", \"kvserver\": ", phases[i]);
        grown_mb = number_after(output, row);
        assert_true(grown_mb >= 0);
        assert_true(grown_mb <= most_mb);
    }
    free(output);
    assert_int_equal(run_kvbench(&output, "overload", "--kvserver", "/bin/false", "--only", "kvserver"), 2);
    free(output);
    assert_int_equal(run_kvbench(&output, "overload", "--rows", "nothing", "--only", "kvserver"), 1);
    has(output, "no phase has \"nothing\"");
    free(output);
}

static void contention_tells_what_the_server_tells(void **state)
{
    static const char *const distributions[] = { "uniform", "zipf", "hot" };
    char *output;

    (void)state;
    for (size_t i = 0; i < sizeof distributions / sizeof *distributions; i++) {
        assert_int_equal(run_kvbench(&output, "contention", "--kvserver", kvserver_path(), "--threads", "4",
                                     "--keys", "100", "--requests", "60000", "--distribution",
                                     distributions[i], "--json"),
                         0);
        has(output, "\"title\": \"Locks\"");
        has(output, "\"title\": \"Shards waited for longest\"");
        has(output, "\"title\": \"Keys waited for most often\"");
        assert_true(number_after(output, "\"requests per second\", \"kvserver\": ") > 0);
        assert_true(number_after(output, "\"times\", \"waited for\": ") >= 0);
        free(output);
    }
}

static void the_one_lock_is_shard_0(void **state)
{
    char *output;

    (void)state;
    for (int tries = 0; tries < 20; tries++) { /* until somebody had to wait */
        assert_int_equal(run_kvbench(&output, "contention", "--kvserver", kvserver_path(), "--sharing",
                                     "mutex", "--threads", "4", "--requests", "300000", "--json", "--top",
                                     "1"),
                         0);
        if (number_after(output, "\"times\", \"waited for\": ") > 0)
            break;
        free(output);
        output = NULL;
    }
    assert_non_null(output);
    has(output, "{\"name\": \"db 0, shard 0\"");
    free(output);
}

static void a_chart_is_a_page_by_itself(void **state)
{
    char *output, *directory = new_directory(), path[256];

    (void)state;
    snprintf(path, sizeof path, "%s/chart.html", directory);
    assert_int_equal(run_kvbench(&output, "contention", "--kvserver", kvserver_path(), "--requests", "20000",
                                 "--chart", path),
                     0);
    has(output, "| Locks");
    expect_chart(path, "<h2>Locks</h2>");
    free(output);
    assert_int_equal(run_kvbench(&output, "map", "--keys", "1000", "--rounds", "1", "--seconds", "0.02",
                                 "--churn-seconds", "0.02", "--rows", "two misses", "--chart", path),
                     0);
    expect_chart(path, "<h2>");
    free(output);
    assert_int_equal(run_kvbench(&output, "contention", "--kvserver", kvserver_path(), "--requests", "1000",
                                 "--chart", "/nonexistent/chart.html"),
                     2);
    has(output, "--chart: cannot write /nonexistent/chart.html");
    free(output);
    remove_directory(directory);
}

static void servers_are_compared(void **state)
{
    char *output, *directory = new_directory(), path[256];

    (void)state;
    snprintf(path, sizeof path, "%s/chart.html", directory);
    assert_int_equal(run_kvbench(&output, "server", "--kvserver", kvserver_path(), "--only", "kvserver,floor",
                                 "--rounds", "1", "--seconds", "0.1", "--keys", "1000", "--large-keys", "0",
                                 "--no-memory", "--no-idle", "--no-strace", "--chart", path),
                     0);
    has(output, "GET, pipeline 64");
    has(output, "p99");
    expect_chart(path, "kvserver");
    free(output);
    remove_directory(directory);
}

static void a_server_that_is_no_good_is_named(void **state)
{
    char *output, line[600];

    (void)state;
    assert_int_equal(run_kvbench(&output, "contention", "--kvserver", "/bin/false"), 2);
    has(output, "kvserver: it ended with exit status 1");
    free(output);
    snprintf(line, sizeof line, "locked=%s --port {port} --requirepass secret", kvserver_path());
    assert_int_equal(run_kvbench(&output, "server", "--only", "locked", "--server", line, "--seconds", "0.1"),
                     2);
    has(output, "locked: it answers \"-NOAUTH");
    free(output);
    if (server_program("redis-server")) { /* a good server, but none of ours */
        assert_int_equal(run_kvbench(&output, "contention", "--kvserver", server_program("redis-server")), 2);
        has(output, "kvserver: ");
        free(output);
    }
}

static void tls_is_measured_beside_none(void **state)
{
    char *output;
    int status;

    (void)state;
    status = run_kvbench(&output, "tls", "--kvserver", kvserver_path(), "--only", "kvserver", "--rounds", "1",
                         "--requests", "400", "--keys", "50", "--connections", "3", "--depth", "4",
                         "--handshakes", "3", "--json");
    if (strstr(output, "built without TLS")) {
        assert_int_equal(status, 2);
        free(output);
        return;
    }
    if (status != 0)
        fail_msg("%d: %s", status, output);
    has(output, "\"GET, pipeline 4\"");
    has(output, "\"SET, no pipeline, TLS\"");
    has(output, "\"handshake with a session of before, PING\"");
    free(output);
}

static void a_bad_option_is_named(void **state)
{
    char *output;

    (void)state;
    assert_int_equal(run_kvbench(&output, "contention", "--distribution", "normal"), 1);
    has(output, "\"normal\" is neither uniform nor zipf nor hot");
    free(output);
    assert_int_equal(run_kvbench(&output, "contention", "--top", "0"), 1);
    has(output, "--top: \"0\"");
    free(output);
    assert_int_equal(run_kvbench(&output, "contention", "--strategies"), 1);
    has(output, "knows no option \"--strategies\"");
    free(output);
    assert_int_equal(run_kvbench(&output, "map", "--keys", "10", "--rows", "nothing"), 1);
    has(output, "no row has \"nothing\"");
    free(output);
    assert_int_equal(run_kvbench(&output, "nope"), 1);
    has(output, "\"nope\"");
    free(output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cache_is_measured_beside_the_truth),
        cmocka_unit_test(every_message_of_a_fan_out_is_counted),
        cmocka_unit_test(who_misbehaves_does_not_fill_the_memory),
        cmocka_unit_test(contention_tells_what_the_server_tells),
        cmocka_unit_test(the_one_lock_is_shard_0),
        cmocka_unit_test(a_chart_is_a_page_by_itself),
        cmocka_unit_test(servers_are_compared),
        cmocka_unit_test(a_server_that_is_no_good_is_named),
        cmocka_unit_test(tls_is_measured_beside_none),
        cmocka_unit_test(a_bad_option_is_named),
    };

    kvserver_path();
    kvbench = server_program("kvbench");
    if (!kvbench) {
        fprintf(stderr, "kvbench was not built\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
