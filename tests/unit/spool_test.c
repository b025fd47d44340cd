/* spool_test.c - a file without a name, on file systems that know such files and on those that do not.
 * SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spool.h"

/* A directory of its own is the working directory meanwhile: what is left there is what the test made. */
typedef struct place {
    char path[64];
    int before;
} place;

static int enter(void **state)
{
    place *p = calloc(1, sizeof *p);

    if (!p)
        return -1;
    strcpy(p->path, "/tmp/kv-spool-XXXXXX");
    p->before = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = p;
    return p->before < 0 || !mkdtemp(p->path) || chdir(p->path) != 0 ? -1 : 0;
}

static int leave(void **state)
{
    place *p = *state;
    int failed = fchdir(p->before) != 0 || rmdir(p->path) != 0;

    close(p->before);
    free(p);
    return failed ? -1 : 0;
}

static void expect_no_names(void)
{
    DIR *here = opendir(".");

    assert_non_null(here);
    for (const struct dirent *e; (e = readdir(here)) != NULL;)
        assert_int_equal(e->d_name[0], '.');
    closedir(here);
}

/* What is written comes back; the file is nobody else's, has no name, and no program that is started inherits it. */
static void expect_a_file(int fd)
{
    struct stat info;
    char back[16];

    assert_true(fd >= 0);
    expect_no_names();
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(info.st_nlink, 0);
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    assert_int_equal(spool_write(NULL, fd, "some", 4), 0);
    assert_int_equal(spool_write(NULL, fd, " bytes", 6), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(spool_read(fd, back, sizeof back), 10);
    assert_memory_equal(back, "some bytes", 10);
    assert_int_equal(spool_read(fd, back, sizeof back), 0);
    close(fd);
}

static void a_file_has_no_name(void **state)
{
    (void)state;
    expect_a_file(spool_open(NULL));
}

#ifdef KV_FAULTS

/* O_TMPFILE is refused, as NFS refuses it. */
static void where_there_are_no_nameless_files_it_loses_its_name_at_once(void **state)
{
    fault_plan *plan = fault_plan_new("open:1=EOPNOTSUPP");

    (void)state;
    expect_a_file(spool_open(plan));
    assert_int_equal(fault_plan_calls(plan), 1); /* that one was refused */
    fault_plan_free(plan);
}

static void another_error_is_told_and_leaves_nothing(void **state)
{
    fault_plan *plan = fault_plan_new("open:1=EACCES");

    (void)state;
    assert_int_equal(spool_open(plan), -EACCES);
    expect_no_names();
    fault_plan_free(plan);
}

#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_file_has_no_name, enter, leave),
#ifdef KV_FAULTS
        cmocka_unit_test_setup_teardown(where_there_are_no_nameless_files_it_loses_its_name_at_once, enter,
                                        leave),
        cmocka_unit_test_setup_teardown(another_error_is_told_and_leaves_nothing, enter, leave),
#endif
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
