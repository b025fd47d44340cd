/* settings_test.c - the command line, the environment, the configuration file. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server.h"
#include "settings.h"

/* Reads these words; fails the test when that ends kvcli. settings_done it. */
#define reads(s, ...) read_words(s, (const char *const[]){ "kvcli", __VA_ARGS__, NULL }, true)
/* Ends kvcli, with status 2. */
#define refuses(...)                                                                      \
    do {                                                                                  \
        settings refused;                                                                 \
                                                                                          \
        read_words(&refused, (const char *const[]){ "kvcli", __VA_ARGS__, NULL }, false); \
        settings_done(&refused);                                                          \
    } while (0)

static void read_words(settings *s, const char *const given[], bool fine)
{
    exit_status status = EXIT_FINE;
    char *argv[64];
    int argc = 0;

    for (; given[argc]; argc++) {
        argv[argc] = strdup(given[argc]);
        assert_non_null(argv[argc]);
    }
    argv[argc] = NULL;
    settings_init(s);
    assert_int_equal(settings_read(s, argc, argv, &status), fine);
    if (!fine)
        assert_int_equal(status, EXIT_USAGE);
    for (int i = 0; i < argc; i++)
        free(argv[i]);
}

static int no_environment(void **state)
{
    (void)state;
    unsetenv("KVCLI_AUTH");
    unsetenv("REDISCLI_AUTH");
    setenv("KVCLI_CONFIG", "/nonexistent/kvcli", 1);
    return 0;
}

static void options_end_at_the_command(void **state)
{
    settings s;

    (void)state;
    reads(&s, "-h", "example", "-p", "7000", "-n", "3", "incrby", "x", "-5");
    assert_string_equal(s.server.host, "example");
    assert_int_equal(s.server.port, 7000);
    assert_int_equal(s.server.db, 3);
    assert_int_equal(s.command.n, 3);
    assert_string_equal(s.command.items[2].data, "-5");
    assert_int_equal(s.mode, MODE_COMMANDS);
    settings_done(&s);
    reads(&s, "-p6380", "-s/tmp/a.sock", "-r", "-1", "-i", "0.25", "ping");
    assert_int_equal(s.server.port, 6380);
    assert_string_equal(s.server.unix_path, "/tmp/a.sock");
    assert_int_equal(s.repeat, -1);
    assert_true(s.interval == 0.25);
    settings_done(&s);
}

static void a_uri_says_it_all(void **state)
{
    settings s;

    (void)state;
    reads(&s, "-u", "redis://ann:se%20cret@example:7001/4", "--no-auth-warning", "ping");
    assert_string_equal(s.server.host, "example");
    assert_int_equal(s.server.port, 7001);
    assert_int_equal(s.server.db, 4);
    assert_string_equal(s.server.user, "ann");
    assert_string_equal(s.server.password, "se cret");
    assert_true(s.password_on_command_line);
    settings_done(&s);
}

static void kvclis_own_words_are_lower_case_and_first(void **state)
{
    settings s;

    (void)state;
    reads(&s, "watch", "get", "key");
    assert_int_equal(s.mode, MODE_WATCH);
    assert_string_equal(s.command.items[0].data, "get");
    settings_done(&s);
    reads(&s, "WATCH", "key");
    assert_int_equal(s.mode, MODE_COMMANDS);
    assert_int_equal(s.command.n, 2);
    settings_done(&s);
    reads(&s, "--", "watch", "key");
    assert_int_equal(s.mode, MODE_COMMANDS);
    assert_string_equal(s.command.items[0].data, "watch");
    settings_done(&s);
    reads(&s, "top", "--count", "3", "-i", "2");
    assert_int_equal(s.mode, MODE_TOP);
    assert_int_equal(s.count, 3);
    settings_done(&s);
    reads(&s, "set", "top", "1");
    assert_int_equal(s.mode, MODE_COMMANDS);
    settings_done(&s);
}

static void what_is_wrong_is_refused(void **state)
{
    (void)state;
    refuses("-p", "0", "ping");
    refuses("-p", "70000", "ping");
    refuses("-p", "12x", "ping");
    refuses("-n", "-1", "ping");
    refuses("-r", "many", "ping");
    refuses("-i", "nan", "ping");
    refuses("-t", "-1", "ping");
    refuses("-u", "http://x", "ping");
    refuses("--color", "pink", "ping");
    refuses("--show-pushes", "perhaps");
    refuses("--nonsense");
    refuses("-p");
    refuses("--scan", "--bigkeys");
    refuses("--scan", "get", "x");
    refuses("--unlink");
    refuses("--dry-run", "--scan");
    refuses("--header");
    refuses("-x");
    refuses("peek");
    refuses("peek", "a", "b");
    refuses("watch");
    refuses("--user", "ann", "ping");
    refuses("--pass-file", "/nonexistent/password", "ping");
    refuses("--quoted-input", "set", "\"a");
    refuses("--profile", "none", "ping");
}

static void resp3_is_refused_where_the_build_cannot(void **state)
{
    settings s;

    (void)state;
    if (kvc_build_info()->resp3) {
        reads(&s, "-3", "ping");
        assert_int_equal(s.server.protocol, 3);
        settings_done(&s);
    } else {
        refuses("-3", "ping");
    }
    reads(&s, "--json", "ping"); /* as the build can */
    assert_int_equal(s.server.protocol, 0);
    settings_done(&s);
    reads(&s, "--json", "-2", "ping");
    assert_int_equal(s.server.protocol, 2);
    settings_done(&s);
}

static void quoted_input_is_unquoted(void **state)
{
    settings s;

    (void)state;
    reads(&s, "--quoted-input", "set", "\"a\\x00b\"", "c");
    assert_int_equal(s.command.items[1].len, 3);
    assert_memory_equal(s.command.items[1].data, "a\0b", 3);
    settings_done(&s);
}

static void write_file(const char *path, const char *content)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    fputs(content, out);
    assert_int_equal(fclose(out), 0);
}

static void the_password_comes_from_the_first_that_has_one(void **state)
{
    char *directory = new_directory(), path[256];
    settings s;

    (void)state;
    snprintf(path, sizeof path, "%s/password", directory);
    write_file(path, "from file\r\nsecond line\n");
    setenv("REDISCLI_AUTH", "from redis", 1);
    reads(&s, "ping");
    assert_string_equal(s.server.password, "from redis");
    settings_done(&s);
    setenv("KVCLI_AUTH", "from kvcli", 1);
    reads(&s, "ping");
    assert_string_equal(s.server.password, "from kvcli");
    settings_done(&s);
    reads(&s, "--pass-file", path, "ping");
    assert_string_equal(s.server.password, "from file");
    settings_done(&s);
    reads(&s, "--pass-file", path, "-a", "given", "ping");
    assert_string_equal(s.server.password, "given");
    settings_done(&s);
    remove_directory(directory);
}

static void the_command_line_does_not_show_the_password_any_more(void **state)
{
    char name[] = "kvcli", option[] = "-a", password[] = "secret", command[] = "ping";
    char *argv[] = { name, option, password, command, NULL };
    exit_status status;
    settings s;

    (void)state;
    settings_init(&s);
    assert_true(settings_read(&s, 4, argv, &status));
    assert_string_equal(s.server.password, "secret");
    assert_string_equal(password, "xxxxxx");
    settings_done(&s);
}

static void a_profile_comes_before_the_command_line(void **state)
{
    char *directory = new_directory(), path[256];
    settings s;

    (void)state;
    snprintf(path, sizeof path, "%s/config", directory);
    write_file(
        path,
        "# comment\n[default]\nno-hints\n\n[staging]\n host = example \nport=7000\ncsv\n[other]\nport = 1\n");
    setenv("KVCLI_CONFIG", path, 1);
    reads(&s, "ping");
    assert_false(s.hints);
    assert_string_equal(s.server.host, "127.0.0.1");
    settings_done(&s);
    reads(&s, "--profile", "staging", "-p", "7001", "ping");
    assert_string_equal(s.server.host, "example");
    assert_int_equal(s.server.port, 7001);
    assert_int_equal(s.format.kind, FORMAT_CSV);
    settings_done(&s);
    refuses("--profile", "nowhere", "ping");
    write_file(path, "[default]\nnonsense = 1\n");
    refuses("ping");
    write_file(path, "[default]\nport\n");
    refuses("ping");
    write_file(path, "[default\n");
    refuses("ping");
    remove_directory(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(options_end_at_the_command, no_environment),
        cmocka_unit_test_setup(a_uri_says_it_all, no_environment),
        cmocka_unit_test_setup(kvclis_own_words_are_lower_case_and_first, no_environment),
        cmocka_unit_test_setup(what_is_wrong_is_refused, no_environment),
        cmocka_unit_test_setup(resp3_is_refused_where_the_build_cannot, no_environment),
        cmocka_unit_test_setup(quoted_input_is_unquoted, no_environment),
        cmocka_unit_test_setup(the_password_comes_from_the_first_that_has_one, no_environment),
        cmocka_unit_test_setup(the_command_line_does_not_show_the_password_any_more, no_environment),
        cmocka_unit_test_setup(a_profile_comes_before_the_command_line, no_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
