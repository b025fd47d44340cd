/* history_file_test.c - what the history keeps, and for whom. SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "history_file.h"
#include "server.h"

static void keeps(const char *line)
{
    assert_true(history_file_may_keep(kvc_str(line)));
}

static void keeps_not(const char *line)
{
    assert_false(history_file_may_keep(kvc_str(line)));
}

static void secrets_are_not_kept(void **state)
{
    (void)state;
    keeps("get auth");
    keeps("set password 1");
    keeps("acl list");
    keeps("config get requirepass");
    keeps("hello 3");
    keeps("config set maxmemory 1gb");
    keeps_not("auth secret");
    keeps_not("  AUTH ann secret");
    keeps_not("2 auth secret");
    keeps_not("acl setuser ann >secret");
    keeps_not("ACL DELUSER ann");
    keeps_not("config set requirepass secret");
    keeps_not("config set maxmemory 1gb masterauth secret");
    keeps_not("CONFIG SET tls-key-file-pass x");
    keeps_not("hello 3 auth ann secret");
    keeps_not("migrate h 1 k 0 1 AUTH secret");
    keeps_not("migrate h 1 k 0 1 AUTH2 ann secret");
    keeps_not("sentinel set m auth-pass secret");
    keeps_not("auth \"unfinished secret");
    keeps_not(" get blank-first");
    keeps_not("");
}

static void the_file_is_the_users_alone_and_comes_back(void **state)
{
    char *directory = new_directory(), path[256];
    struct stat about;
    history_file h;

    (void)state;
    snprintf(path, sizeof path, "%s/history", directory);
    setenv("KVCLI_HISTFILE", path, 1);
    history_file_open(&h);
    assert_int_equal(h.lines.n, 0);
    assert_true(history_file_add(&h, kvc_str("get a")));
    assert_false(history_file_add(&h, kvc_str("get a"))); /* the same again */
    assert_false(history_file_add(&h, kvc_str("auth secret")));
    assert_true(history_file_add(&h, kvc_str("get b")));
    history_file_done(&h);
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    history_file_open(&h);
    assert_int_equal(h.lines.n, 2);
    assert_string_equal(h.lines.items[1].data, "get b");
    assert_int_equal(chmod(path, 0644), 0); /* somebody's mistake is mended */
    assert_true(history_file_add(&h, kvc_str("get c")));
    assert_int_equal(stat(path, &about), 0);
    assert_int_equal(about.st_mode & 07777, 0600);
    history_file_done(&h);
    remove_directory(directory);
}

static void a_long_file_keeps_its_end(void **state)
{
    char *directory = new_directory(), path[256];
    history_file h;
    FILE *out;

    (void)state;
    snprintf(path, sizeof path, "%s/history", directory);
    setenv("KVCLI_HISTFILE", path, 1);
    out = fopen(path, "w");
    assert_non_null(out);
    for (int i = 0; i < 5 * HISTORY_LINES_MAX; i++)
        fprintf(out, "get %d\n", i);
    assert_int_equal(fclose(out), 0);
    history_file_open(&h);
    assert_in_range(h.lines.n, HISTORY_LINES_MAX, 2 * HISTORY_LINES_MAX);
    assert_string_equal(h.lines.items[h.lines.n - 1].data, "get 4999");
    history_file_done(&h);
    history_file_open(&h); /* and was shortened */
    assert_in_range(h.lines.n, HISTORY_LINES_MAX, 2 * HISTORY_LINES_MAX);
    history_file_done(&h);
    remove_directory(directory);
}

static void no_history_is_kept_in_dev_null(void **state)
{
    history_file h;

    (void)state;
    setenv("KVCLI_HISTFILE", "/dev/null", 1);
    history_file_open(&h);
    assert_true(history_file_add(&h, kvc_str("get a"))); /* for the session */
    assert_int_equal(h.path.len, 0);
    history_file_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(secrets_are_not_kept),
        cmocka_unit_test(the_file_is_the_users_alone_and_comes_back),
        cmocka_unit_test(a_long_file_keeps_its_end),
        cmocka_unit_test(no_history_is_kept_in_dev_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
