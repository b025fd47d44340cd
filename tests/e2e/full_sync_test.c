/* full_sync_test.c - a replica that has data gets others: what its clients see meanwhile, and what it takes.
 *
 * SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replica.h"

static server *primary;
static conn *p;

static int begin_primary(void **state)
{
    (void)state;
    primary = begin_tcp("--threads", "2", "--enable-debug-command", "yes");
    p = connect_to(primary);
    return 0;
}

static int end_primary(void **state)
{
    (void)state;
    conn_close(p);
    end(primary);
    return 0;
}

/* ---- what clients see ---- */

typedef struct reader {
    server *replica;
    _Atomic bool stop;
    _Atomic int reads;
    int refused, wrong;
    pthread_t thread;
} reader;

/* "k" is always there: "old", then "new". */
static void *read_on(void *arg)
{
    reader *r = arg;
    conn *c = conn_open_unix(server_socket(r->replica));

    while (c && !atomic_load(&r->stop)) {
        char *said = ask(c, "GET", "k");

        if (said && strncmp(said, "-LOADING", 8) == 0)
            r->refused++;
        else if (!said || (strcmp(said, "$old") != 0 && strcmp(said, "$new") != 0))
            r->wrong++;
        free(said);
        atomic_fetch_add(&r->reads, 1);
    }
    conn_close(c);
    return NULL;
}

static bool has_file_of_before(const server *s)
{
    DIR *dir = opendir(server_directory(s));
    bool found = false;

    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir)) != NULL;)
        found |= strncmp(e->d_name, "temp-", 5) == 0;
    closedir(dir);
    return found;
}

static void fetches_anew(const char *how, const char *sharing, bool may_refuse)
{
    server *replica =
        begin("--threads", "2", "--repl-diskless-load", how, "--sharing", sharing, "--dir", ".");
    conn *c = connect_to(replica);
    reader readers[2];

    says(p, "+OK", "DEBUG", "POPULATE", "5000", "key", "200");
    says(p, "+OK", "SET", "k", "new");
    says(c, "+OK", "SET", "k", "old");
    says(c, "+OK", "SET", "of-before", "1");
    for (int i = 0; i < 2; i++) {
        readers[i] = (reader){ .replica = replica };
        assert_int_equal(pthread_create(&readers[i].thread, NULL, read_on, &readers[i]), 0);
    }
    for (int i = 0; i < 3; i++) {
        says(c, "+OK", "REPLICAOF", "NO", "ONE");
        says(c, "+OK", "SET", "of-before", "1");
        follow_port(c, server_port(primary));
        wait_for_field(c, "master_link_status", "up");
        wait_for_offset(p, c);
        says(c, "_", "GET", "of-before");
        says(c, ":5001", "DBSIZE");
    }
    for (int i = 0; i < 2; i++) {
        atomic_store(&readers[i].stop, true);
        pthread_join(readers[i].thread, NULL);
        assert_true(readers[i].reads > 0);
        assert_int_equal(readers[i].wrong, 0);
        assert_true(may_refuse || readers[i].refused == 0);
    }
    assert_false(has_file_of_before(replica));
    conn_close(c);
    end(replica);
}

static void nobody_finds_it_empty(void **state)
{
    (void)state;
    fetches_anew("disabled", "sharded", true);
    fetches_anew("on-empty-db", "actor", true);
}

static void the_old_are_served_until_the_new_are_there(void **state)
{
    (void)state;
    fetches_anew("swapdb", "sharded", false);
    fetches_anew("swapdb", "actor", false);
}

/* ---- what it takes ---- */

static long long peak_bytes(pid_t pid)
{
    char path[64], line[256];
    long long kb = -1;
    FILE *in;

    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    in = fopen(path, "r");
    assert_non_null(in);
    while (kb < 0 && fgets(line, sizeof line, in))
        sscanf(line, "VmHWM: %lld", &kb);
    fclose(in);
    return kb * 1024;
}

static long long peak_of(const char *how)
{
    server *replica =
        begin("--threads", "1", "--repl-diskless-load", how, "--enable-debug-command", "yes", "--dir", ".");
    conn *c = connect_to(replica);
    long long peak;

    says(c, "+OK", "DEBUG", "POPULATE", "1000", "other", "100000");
    follow_port(c, server_port(primary));
    wait_for_field(c, "master_link_status", "up");
    wait_for_offset(p, c);
    says(c, ":1000", "DBSIZE");
    peak = peak_bytes(server_pid(replica));
    conn_close(c);
    end(replica);
    return peak;
}

/* A hundred megabytes are exchanged for others. */
static void only_one_data_set_is_in_memory(void **state)
{
    (void)state;
#ifdef KV_SANITIZED
    skip(); /* what was freed is kept by it */
#endif
    says(p, "+OK", "DEBUG", "POPULATE", "1000", "key", "100000");
    assert_true(peak_of("disabled") + 50000000 < peak_of("swapdb"));
}

#define with_primary(test) cmocka_unit_test_setup_teardown(test, begin_primary, end_primary)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_primary(nobody_finds_it_empty),
        with_primary(the_old_are_served_until_the_new_are_there),
        with_primary(only_one_data_set_is_in_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
