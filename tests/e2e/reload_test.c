/* reload_test.c - DEBUG RELOAD and LOADAOF with a log of changes: what is in memory, and what the log tells, stay the same.
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replica.h"

#define DEBUGGED(dir, sharing)                                                                       \
    "--dir", dir, "--appendonly", "yes", "--appendfsync", "always", "--enable-debug-command", "yes", \
        "--threads", "2", "--sharing", sharing

static const char *const sharings[] = { "sharded", "mutex", "actor" };
enum { sharing_count = sizeof sharings / sizeof *sharings };

static char *digest_of(conn *c)
{
    char *text = ask(c, "DEBUG", "DIGEST");

    assert_non_null(text);
    return text;
}

static void assert_digest(conn *c, const char *wanted)
{
    char *text = digest_of(c);

    assert_string_equal(text, wanted);
    free(text);
}

static void write_some(conn *c)
{
    unsigned seed = 7;

    load_batch(c, &seed);
    says(c, "+OK", "DEBUG", "POPULATE", "2000", "k", "20");
    says(c, "+OK", "SELECT", "3");
    says(c, "+OK", "SET", "timed", "x", "EXAT", "4102444800");
    says(c, "+OK", "SELECT", "0");
}

/* Kills it and starts it again: it has what digest tells. */
static void comes_back(server *s, conn *c, const char *dir, const char *sharing)
{
    char *digest = digest_of(c);

    conn_close(c);
    assert_true(server_kill(s));
    s = begin(DEBUGGED(dir, sharing));
    c = connect_to(s);
    assert_digest(c, digest);
    free(digest);
    conn_close(c);
    end(s);
}

/* Another snapshot may be under way, or a rewrite of the log, of which there is one after a data set was fetched. */
static void reload(conn *c, const char *how)
{
    char *said = ask(c, "DEBUG", how);

    for (int waited = 0; waited < conn_patience_ms && said && strstr(said, "already in progress");
         waited += 5) {
        free(said);
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        said = ask(c, "DEBUG", how);
    }
    assert_non_null(said);
    assert_string_equal(said, "+OK");
    free(said);
}

/* ---- at rest ---- */

static void goes_round(const char *sharing)
{
    char *dir = new_directory(), *digest, *before;
    server *s = begin(DEBUGGED(dir, sharing));
    conn *c = connect_to(s);

    write_some(c);
    digest = digest_of(c);
    says(c, "+OK", "DEBUG", "RELOAD");
    assert_digest(c, digest);
    says(c, ":2", "APPEND", "appended", "ab");
    says(c, "+OK", "DEBUG", "LOADAOF");
    says(c, "$ab", "GET", "appended");
    says(c, ":3", "APPEND", "appended", "c");
    says(c, "+OK", "DEBUG", "LOADAOF");
    says(c, "+OK", "DEBUG", "RELOAD");
    says(c, ":4", "APPEND", "appended", "d");
    before = info_value(c, "aof_current_size");
    says(c, "+OK", "DEBUG", "RELOAD"); /* of which the log is not told */
    free(digest);
    digest = info_value(c, "aof_current_size");
    assert_true(atoll(digest) < atoll(before) + 2000);
    free(before);
    free(digest);
    comes_back(s, c, dir, sharing);
    remove_directory(dir);
}

static void what_is_loaded_again_is_what_was_there(void **state)
{
    (void)state;
    for (int i = 0; i < sharing_count; i++)
        goes_round(sharings[i]);
}

/* The file is not what the log tells. */
static void takes_another(const char *sharing, const char *flush, const char *kept)
{
    char *dir = new_directory();
    server *s = begin(DEBUGGED(dir, sharing));
    conn *c = connect_to(s);

    says(c, "-ERR Error trying to load the RDB dump", "DEBUG", "RELOAD", "NOSAVE"); /* there is none */
    says(c, "+OK", "MSET", "a", "of-file", "b", "of-file");
    says(c, "+OK", "SAVE");
    says(c, "+OK", "MSET", "a", "later", "c", "later");
    says(c, "+OK", "DEBUG", "RELOAD", "NOSAVE", flush);
    says(c, kept, "MGET", "a", "b", "c");
    says(c, ":8", "APPEND", "a", "!");
    comes_back(s, c, dir, sharing);
    remove_directory(dir);
}

static void the_log_is_told_what_a_file_brings(void **state)
{
    (void)state;
    for (int i = 0; i < sharing_count; i++) {
        takes_another(sharings[i], "MERGE", "*3 $of-file $of-file _");
        takes_another(sharings[i], "NOFLUSH", "*3 $of-file $of-file $later");
    }
}

static void it_needs_a_log(void **state)
{
    server *s = begin("--enable-debug-command", "yes");
    conn *c = connect_to(s);

    (void)state;
    says(c, "-ERR DEBUG LOADAOF needs appendonly yes: there is no log", "DEBUG", "LOADAOF");
    conn_close(c);
    end(s);
    s = begin("--appendonly", "yes");
    c = connect_to(s);
    says(c, "-ERR DEBUG command not allowed.", "DEBUG", "LOADAOF");
    conn_close(c);
    end(s);
}

/* ---- while clients write ---- */

typedef struct counting {
    server *s;
    _Atomic bool stop;
    _Atomic int acknowledged;
    pthread_t thread;
} counting;

/* What is refused while the server loads is asked again. */
static void *count(void *arg)
{
    counting *counter = arg;
    conn *c = connect_to(counter->s);

    while (!atomic_load(&counter->stop)) {
        char *said = ask(c, "INCR", "counter");

        if (said && said[0] == ':')
            atomic_fetch_add(&counter->acknowledged, 1);
        free(said);
    }
    conn_close(c);
    return NULL;
}

static void loses_nothing(const char *sharing)
{
    char *dir = new_directory(), wanted[32];
    server *s = begin(DEBUGGED(dir, sharing));
    counting counter = { .s = s };
    conn *c = connect_to(s);

    says(c, "+OK", "DEBUG", "POPULATE", "5000", "k", "20");
    assert_int_equal(pthread_create(&counter.thread, NULL, count, &counter), 0);
    for (int i = 0; i < 6; i++) {
        int before = atomic_load(&counter.acknowledged);

        while (atomic_load(&counter.acknowledged) < before + 3)
            says(c, "+PONG", "PING");
        reload(c, i % 2 ? "RELOAD" : "LOADAOF");
    }
    atomic_store(&counter.stop, true);
    pthread_join(counter.thread, NULL);
    snprintf(wanted, sizeof wanted, "$%d", atomic_load(&counter.acknowledged));
    says(c, wanted, "GET", "counter");
    comes_back(s, c, dir, sharing);
    remove_directory(dir);
}

static void no_write_is_lost_meanwhile(void **state)
{
    (void)state;
    for (int i = 0; i < sharing_count; i++)
        loses_nothing(sharings[i]);
}

/* ---- among replicas ---- */

static void wait_for_value(conn *c, const char *key, const char *wanted)
{
    char *said = NULL;

    for (int waited = 0; waited < conn_patience_ms && !(said && strcmp(said, wanted) == 0); waited += 5) {
        free(said);
        nanosleep(&(struct timespec){ .tv_nsec = 5000000 }, NULL);
        said = ask(c, "GET", key);
    }
    assert_string_equal(said, wanted);
    free(said);
}

static void a_replica_reloads_while_it_follows(void **state)
{
    char *dir = new_directory();
    server *primary = begin_tcp("--threads", "2"), *s = begin_tcp(DEBUGGED(dir, "sharded")),
           *last = begin("--threads", "1");
    conn *p = connect_to(primary), *c = connect_to(s), *l = connect_to(last);
    load writes;

    (void)state;
    follow_port(c, server_port(primary));
    wait_for_field(c, "master_link_status", "up");
    load_begin(&writes, primary);
    for (int i = 0; i < 4; i++)
        reload(c, i % 2 ? "LOADAOF" : "RELOAD");
    load_end(&writes);
    wait_for_offset(p, c);
    assert_same_content(p, c, load_databases);
    follow_port(l, server_port(s));
    wait_for_field(l, "master_link_status", "up");
    reload(c, "RELOAD"); /* who follows fetches everything again */
    says(p, "+OK", "SET", "last", "1");
    wait_for_offset(p, c);
    wait_for_value(l, "last", "$1");
    assert_same_content(p, c, load_databases);
    conn_close(p);
    conn_close(l);
    end(primary);
    end(last);
    comes_back(s, c, dir, "sharded");
    remove_directory(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_loaded_again_is_what_was_there),
        cmocka_unit_test(the_log_is_told_what_a_file_brings),
        cmocka_unit_test(it_needs_a_log),
        cmocka_unit_test(no_write_is_lost_meanwhile),
        cmocka_unit_test(a_replica_reloads_while_it_follows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
