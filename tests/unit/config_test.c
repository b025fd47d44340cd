/* config_test.c - directives, files, the command line, and writing back. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"

/* ---- helpers ---- */

static int set_up(void **state)
{
    *state = config_new();
    return *state ? 0 : -1;
}

static int tear_down(void **state)
{
    config_free(*state);
    return 0;
}

static int load(config *c, const char *lines, config_error *error)
{
    char *copy = strdup(lines);
    int result = config_load_text(c, "test.conf", copy, strlen(lines), error);

    free(copy);
    return result;
}

static void expect_loaded(config *c, const char *lines)
{
    config_error error = { "" };

    if (load(c, lines, &error) != 0)
        fail_msg("%s: %s", lines, error.text);
}

/* lines are refused, with reason at the end of the message and the place in it. */
static void expect_refused(config *c, const char *lines, const char *place, const char *reason)
{
    config_error error = { "" };
    size_t len, reason_len = strlen(reason);

    assert_int_equal(load(c, lines, &error), -1);
    len = strlen(error.text);
    assert_true(len > reason_len);
    assert_string_equal(error.text + len - reason_len, reason);
    assert_non_null(strstr(error.text, place));
}

static void expect_text(config *c, const char *name, const char *expected)
{
    int id = config_find(kv_str(name));
    char *text;

    assert_true(id >= 0);
    text = config_text(c, (enum config_id)id);
    assert_non_null(text);
    assert_string_equal(text, expected);
    free(text);
}

static void set(config *c, const char *name, const char *value, const char *error_expected)
{
    int id = config_find(kv_str(name));
    kv_slice argument = kv_str(value);
    config_error error = { "" };

    assert_true(id >= 0);
    if (error_expected) {
        assert_int_equal(config_set(c, (enum config_id)id, 1, &argument, false, &error), -1);
        assert_string_equal(error.text, error_expected);
    } else
        assert_int_equal(config_set(c, (enum config_id)id, 1, &argument, false, &error), 0);
}

/* A new directory for files. */
static void make_directory(char path[64])
{
    strcpy(path, "/tmp/kv-config-test-XXXXXX");
    assert_non_null(mkdtemp(path));
}

static void write_file(const char *directory, const char *name, const char *text)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof path, "%s/%s", directory, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void remove_directory(const char *directory)
{
    char command[128];

    snprintf(command, sizeof command, "rm -r '%s'", directory);
    assert_int_equal(system(command), 0);
}

/* ---- defaults and values ---- */

static void defaults_are_those_of_the_documentation(void **state)
{
    config *c = *state;

    expect_text(c, "port", "6379");
    expect_text(c, "bind", "127.0.0.1 -::1");
    expect_text(c, "maxclients", "10000");
    expect_text(c, "proto-max-bulk-len", "536870912");
    expect_text(c, "save", "3600 1 300 100 60 10000");
    expect_text(c, "appendonly", "no");
    expect_text(c, "loglevel", "notice");
    assert_int_equal(config_client_limit(c, CONFIG_NORMAL).hard_bytes, 64 * 1024 * 1024);
    assert_int_equal(config_client_limit(c, CONFIG_NORMAL).soft_seconds, 10);
}

static void every_directive_accepts_what_it_shows(void **state)
{
    config *c = *state;

    for (int id = 0; id < CONFIG_COUNT; id++) {
        char *before = config_text(c, (enum config_id)id), *after;

        assert_non_null(before);
        if (config_restore(c, (enum config_id)id, kv_str(before)) != 0)
            fail_msg("%s does not accept '%s'", config_directives[id].name, before);
        after = config_text(c, (enum config_id)id);
        assert_string_equal(before, after);
        free(before);
        free(after);
    }
}

static void names_and_aliases_are_found_in_any_case(void **state)
{
    (void)state;
    assert_int_equal(config_find(KV_STR("MaxClients")), CONFIG_ID_maxclients);
    assert_int_equal(config_find(KV_STR("io-threads")), CONFIG_ID_threads);
    assert_int_equal(config_find(KV_STR("slave-read-only")), CONFIG_ID_replica_read_only);
    assert_int_equal(config_find(KV_STR("nope")), -1);
    assert_int_equal(config_find(KV_STR("")), -1);
}

static void values_are_checked(void **state)
{
    config *c = *state;

    set(c, "timeout", "abc", "argument couldn't be parsed into an integer");
    set(c, "timeout", "1 ", "argument couldn't be parsed into an integer");
    set(c, "timeout", "", "argument couldn't be parsed into an integer");
    set(c, "timeout", "99999999999999999999", "argument couldn't be parsed into an integer");
    set(c, "timeout", "-1", "argument must be between 0 and 2147483647 inclusive");
    set(c, "port", "65536", "argument must be between 0 and 65535 inclusive");
    set(c, "protected-mode", "maybe", "argument must be 'yes' or 'no'");
    set(c, "maxmemory", "1x", "argument must be a memory value");
    set(c, "maxmemory", "99999999999gb", "argument must be a memory value");
    set(c, "proto-max-bulk-len", "1", "argument must be between 1048576 and 9223372036854775807 inclusive");
    set(c, "loglevel", "loud", "argument(s) must be one of the following: debug, verbose, notice, warning");
    set(c, "unixsocketperm", "999", "argument couldn't be parsed as an octal number");
    expect_text(c, "timeout", "0");
    expect_text(c, "loglevel", "notice");
}

static void memory_has_units(void **state)
{
    static const struct {
        const char *given, *bytes;
    } cases[] = {
        { "1", "1" },        { "7b", "7" },        { "1k", "1000" },       { "1KB", "1024" },
        { "2m", "2000000" }, { "2mb", "2097152" }, { "1g", "1000000000" }, { "1Gb", "1073741824" }
    };
    config *c = *state;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        set(c, "maxmemory", cases[i].given, NULL);
        expect_text(c, "maxmemory", cases[i].bytes);
    }
}

static void what_the_server_does_not_do_is_refused(void **state)
{
    config *c = *state;

    set(c, "cluster-enabled", "no", NULL);
    set(c, "cluster-enabled", "yes", "this server supports only 'no' here");
    expect_refused(c, "activedefrag yes\n", "line 1", "this server supports only 'no' here");
}

static void output_limits_are_set_all_or_none(void **state)
{
    config *c = *state;

    set(c, "client-output-buffer-limit", "normal 10mb 1mb 5 replica 0 0 0", NULL);
    assert_int_equal(config_client_limit(c, CONFIG_NORMAL).hard_bytes, 10 * 1024 * 1024);
    assert_int_equal(config_client_limit(c, CONFIG_REPLICA).hard_bytes, 0);
    set(c, "client-output-buffer-limit", "normal 1 1 1 nobody 1 1 1",
        "Invalid client class specified in buffer limit configuration.");
    set(c, "client-output-buffer-limit", "normal 1 1",
        "Wrong number of arguments in buffer limit configuration.");
    set(c, "client-output-buffer-limit", "normal 1 1 x",
        "Error in hard, soft or soft_seconds setting in buffer limit configuration.");
    expect_text(c, "client-output-buffer-limit",
                "normal 10485760 1048576 5 slave 0 0 0 pubsub 33554432 8388608 60");
}

static void only_passwords_may_hold_zero_bytes(void **state)
{
    static const kv_slice bytes = { "\0se\0cret\0", 9 };
    config *c = *state;
    config_error error;
    size_t len = 0;
    char *kept;

    assert_true(config_text_empty(c, CONFIG_ID_requirepass));
    assert_int_equal(config_set(c, CONFIG_ID_requirepass, 1, &bytes, false, &error), 0);
    assert_false(config_text_empty(c, CONFIG_ID_requirepass));
    kept = config_copy(c, CONFIG_ID_requirepass, &len);
    assert_true(kv_slice_equal(kv_slice_of(kept, len), bytes));
    free(kept);
    assert_int_equal(config_set(c, CONFIG_ID_unixsocket, 1, &bytes, false, &error), -1);
    assert_string_equal(error.text, "argument contains a NUL byte");
    assert_true(config_text_empty(c, CONFIG_ID_unixsocket));
}

/* ---- files ---- */

static void a_file_is_lines_of_words(void **state)
{
    config *c = *state;

    expect_loaded(c,
                  "# a comment\n\n  port 7000\r\n\tTIMEOUT 5\nrequirepass \"a b\\x41\"\nbind 127.0.0.1 ::1\n"
                  "dbfilename 'x.rdb'\nport 7001");
    expect_text(c, "port", "7001");
    expect_text(c, "timeout", "5");
    expect_text(c, "requirepass", "a bA");
    expect_text(c, "bind", "127.0.0.1 ::1");
    expect_text(c, "dbfilename", "x.rdb");
}

static void lines_of_save_add_up_and_an_empty_one_clears(void **state)
{
    config *c = *state;

    expect_loaded(c, "save 900 1\nsave 300 10\n");
    expect_text(c, "save", "900 1 300 10");
    expect_loaded(c, "save \"\"\n");
    expect_text(c, "save", "");
    expect_refused(c, "save 1\n", "line 1", "Invalid save parameters");
}

static void an_error_names_file_line_and_reason(void **state)
{
    config *c = *state;

    expect_refused(c, "port 1\nfoo bar\n", "test.conf, at line 2\n>>> 'foo bar'",
                   "Bad directive or wrong number of arguments");
    expect_refused(c, "\n\nport abc", "at line 3", "argument couldn't be parsed into an integer");
    expect_refused(c, "port", "at line 1", "wrong number of arguments");
    expect_refused(c, "port 1 2", "at line 1", "wrong number of arguments");
    expect_refused(c, "bind \"a", "at line 1", "Unbalanced quotes in configuration line");
    expect_refused(c, "include /nonexistent/file", "/nonexistent/file", "No such file or directory");
}

static void an_error_does_not_show_a_password(void **state)
{
    config_error error = { "" };

    assert_int_equal(load(*state, "requirepass hunter2 more\n", &error), -1);
    assert_null(strstr(error.text, "hunter2"));
}

static void includes_may_have_wildcards(void **state)
{
    char directory[64], lines[128];
    config *c = *state;

    make_directory(directory);
    write_file(directory, "a.conf", "timeout 1\nport 7000\n");
    write_file(directory, "b.conf", "timeout 2\n");
    write_file(directory, "c.txt", "timeout 3\n");
    snprintf(lines, sizeof lines, "include %s/*.conf\n", directory);
    expect_loaded(c, lines);
    expect_text(c, "timeout", "2");
    expect_text(c, "port", "7000");
    remove_directory(directory);
}

static void includes_that_go_round_are_refused(void **state)
{
    char directory[64], lines[128];
    config_error error = { "" };

    make_directory(directory);
    snprintf(lines, sizeof lines, "include %s/self.conf\n", directory);
    write_file(directory, "self.conf", lines);
    assert_int_equal(load(*state, lines, &error), -1);
    assert_non_null(strstr(error.text, "nested too deeply"));
    remove_directory(directory);
}

static void count_warning(void *arg, const char *text)
{
    assert_non_null(strstr(text, "dynamic-hz"));
    ++*(int *)arg;
}

static void a_directive_without_meaning_is_warned_of_once(void **state)
{
    config *c = *state;
    int warnings = 0;

    expect_loaded(c, "dynamic-hz yes\ndynamic-hz no\nport 7000\n");
    config_each_warning(c, count_warning, &warnings);
    assert_int_equal(warnings, 1);
    expect_text(c, "dynamic-hz", "no");
}

/* ---- the command line ---- */

static int load_arguments(config *c, config_error *error, const char *const words[])
{
    char *argv[32] = { strdup("kvserver") };
    int argc = 1, result;

    for (; words[argc - 1]; argc++)
        argv[argc] = strdup(words[argc - 1]);
    result = config_load(c, argc, argv, error);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
    return result;
}

#define ARGUMENTS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void options_come_after_the_file(void **state)
{
    char directory[64], path[128];
    config_error error = { "" };
    config *c = *state;

    make_directory(directory);
    write_file(directory, "kv.conf", "port 7000\ntimeout 7\n");
    snprintf(path, sizeof path, "%s/kv.conf", directory);
    assert_int_equal(
        load_arguments(c, &error,
                       ARGUMENTS(path, "--port", "7001", "--bind", "127.0.0.1", "::1", "--save", "")),
        0);
    expect_text(c, "port", "7001");
    expect_text(c, "timeout", "7");
    expect_text(c, "bind", "127.0.0.1 ::1");
    expect_text(c, "save", "");
    assert_string_equal(config_file(c), path);
    remove_directory(directory);
}

static void wrong_options_are_refused(void **state)
{
    config_error error = { "" };

    assert_int_equal(load_arguments(*state, &error, ARGUMENTS("--foo", "bar")), -1);
    assert_non_null(strstr(error.text, "command line"));
    assert_non_null(strstr(error.text, "foo"));
    assert_int_equal(load_arguments(*state, &error, ARGUMENTS("--port")), -1);
    assert_int_equal(load_arguments(*state, &error, ARGUMENTS("-x")), -1);
    assert_int_equal(load_arguments(*state, &error, ARGUMENTS("/nonexistent.conf")), -1);
}

static void an_option_may_stand_in_one_argument_or_begin_with_dashes(void **state)
{
    config_error error = { "" };
    config *c = *state;

    assert_int_equal(
        load_arguments(c, &error,
                       ARGUMENTS("--maxmemory 700mb", "--dbfilename 'a b'", "--proc-title-template", "--save",
                                 "--save", "--loglevel", "verbose")),
        0);
    expect_text(c, "maxmemory", "734003200");
    expect_text(c, "dbfilename", "a b");
    expect_text(c, "proc-title-template", "--save");
    expect_text(c, "save", "");
    expect_text(c, "loglevel", "verbose");
    assert_int_equal(load_arguments(c, &error, ARGUMENTS("--port", "1", "2")), -1);
    assert_non_null(strstr(error.text, ">>> 'port \"1\" \"2\"'\nwrong number of arguments"));
    assert_int_equal(load_arguments(c, &error, ARGUMENTS("--port", "--loglevel", "verbose")), -1);
    assert_int_equal(load_arguments(c, &error, ARGUMENTS("--dbfilename 'a")), -1);
    assert_non_null(strstr(error.text, "quotes"));
    assert_int_equal(load_arguments(c, &error, ARGUMENTS("--requirepass", "secret", "secret")), -1);
    assert_null(strstr(error.text, "secret"));
}

/* ---- writing back ---- */

static char *read_back(const char *path)
{
    static char text[4096];
    FILE *file = fopen(path, "r");
    size_t n;

    assert_non_null(file);
    n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[n] = '\0';
    return text;
}

static void rewriting_keeps_comments_and_order(void **state)
{
    char directory[64], path[128];
    config_error error = { "" };
    config *c = *state;
    struct stat info;

    make_directory(directory);
    snprintf(path, sizeof path, "%s/kv.conf", directory);
    write_file(directory, "kv.conf",
               "# mine\nport 7000\n\nmaxmemory 100mb # not a comment for redis either\n");
    assert_int_equal(load_arguments(c, &error, ARGUMENTS(path)), -1); /* a comment ends no line */
    write_file(directory, "kv.conf",
               "# mine\nport 7000\n\nmaxmemory 100mb\ntimeout 1\ntimeout 2\nsave 900 1\nsave 60 5\n");
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(load_arguments(c, &error, ARGUMENTS(path)), 0);
    set(c, "timeout", "3", NULL);
    set(c, "requirepass", "a \"b\"\n", NULL);
    assert_int_equal(config_rewrite(c, KV_STR(""), &error), 0);
    assert_string_equal(read_back(path),
                        "# mine\nport 7000\n\nmaxmemory 100mb\ntimeout 3\nsave 900 1\nsave 60 5\n"
                        "# Generated by CONFIG REWRITE\nrequirepass \"a \\\"b\\\"\\x0a\"\n");
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    /* What was written is read back as the same, and written again as the same. */
    set(c, "timeout", "9", NULL);
    assert_int_equal(load_arguments(c, &error, ARGUMENTS(path)), 0);
    expect_text(c, "timeout", "3");
    expect_text(c, "requirepass", "a \"b\"\n");
    assert_int_equal(config_rewrite(c, KV_STR(""), &error), 0);
    assert_non_null(strstr(read_back(path), "\ntimeout 3\n"));
    remove_directory(directory);
}

static void rewriting_needs_a_file(void **state)
{
    config_error error = { "" };

    assert_int_equal(config_rewrite(*state, KV_STR(""), &error), -1);
    assert_string_equal(error.text, "The server is running without a config file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(defaults_are_those_of_the_documentation),
        TEST(every_directive_accepts_what_it_shows),
        TEST(names_and_aliases_are_found_in_any_case),
        TEST(values_are_checked),
        TEST(memory_has_units),
        TEST(what_the_server_does_not_do_is_refused),
        TEST(output_limits_are_set_all_or_none),
        TEST(only_passwords_may_hold_zero_bytes),
        TEST(a_file_is_lines_of_words),
        TEST(lines_of_save_add_up_and_an_empty_one_clears),
        TEST(an_error_names_file_line_and_reason),
        TEST(an_error_does_not_show_a_password),
        TEST(includes_may_have_wildcards),
        TEST(includes_that_go_round_are_refused),
        TEST(a_directive_without_meaning_is_warned_of_once),
        TEST(options_come_after_the_file),
        TEST(wrong_options_are_refused),
        TEST(an_option_may_stand_in_one_argument_or_begin_with_dashes),
        TEST(rewriting_keeps_comments_and_order),
        TEST(rewriting_needs_a_file),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
