/* quick_changes_test.c - who follows whom changes again and again, while links are killed and servers end: nothing waits for
 * ever, and afterwards a replica has what its primary has. Under ThreadSanitizer, that is what this is for.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replica.h"

enum { rounds = 25 };

typedef struct changes {
    server *first, *second;
    _Atomic bool stop;
} changes;

/* Whatever the reply is. */
static void ask_anything(conn *c, const char *const args[])
{
    char *said = conn_ask_text(c, args);

    assert_non_null(said);
    free(said);
}

#define asks(c, ...) ask_anything(c, (const char *const[]){ __VA_ARGS__, NULL })

static void *write_to_both(void *arg)
{
    changes *all = arg;
    conn *a = connect_to(all->first), *b = connect_to(all->second);

    for (int i = 0; !atomic_load(&all->stop); i++) {
        char key[32];

        snprintf(key, sizeof key, "key:%d", i % 100);
        asks(a, "MSET", key, "1", "x", "2");
        asks(b, "SET", key, "own"); /* refused, while it is a replica */
        asks(b, "GET", key);
    }
    conn_close(a);
    conn_close(b);
    return NULL;
}

static void *kill_links(void *arg)
{
    changes *all = arg;
    conn *a = connect_to(all->first), *b = connect_to(all->second);

    while (!atomic_load(&all->stop)) {
        asks(a, "CLIENT", "KILL", "TYPE", "replica");
        asks(b, "INFO", "replication");
        asks(a, "INFO", "replication");
        asks(b, "ROLE");
        asks(a, "CLIENT", "LIST");
    }
    conn_close(a);
    conn_close(b);
    return NULL;
}

static void *wait_for_replicas(void *arg)
{
    changes *all = arg;
    conn *a = connect_to(all->first);

    while (!atomic_load(&all->stop)) {
        asks(a, "INCR", "n");
        asks(a, "WAIT", "1", "5");
        asks(a, "PUBLISH", "news", "some");
    }
    conn_close(a);
    return NULL;
}

/* REPLICAOF, which is refused, as by redis-server, while b loads what it has fetched. */
static void lets_follow(conn *b, const char *host, const char *port)
{
    for (int waited = 0;; waited++) {
        char *said = ask(b, "REPLICAOF", host, port);
        bool loads = said && strncmp(said, "-LOADING", 8) == 0;

        assert_non_null(said);
        if (!loads || waited > conn_patience_ms)
            assert_string_equal(said, "+OK");
        free(said);
        if (!loads)
            return;
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
}

static void change_quickly(conn *b, const char *port)
{
    for (int i = 0; i < rounds; i++) {
        lets_follow(b, "127.0.0.1", port);
        if (i % 3 == 0)
            asks(b, "INFO", "replication");
        if (i % 5 == 0)
            wait_for_field(b, "role", "slave");
        lets_follow(b, "NO", "ONE");
        if (i % 4 == 0)
            asks(b, "FLUSHALL");
    }
}

static void all_ends_well(const char *sharing)
{
    changes all = { .first = begin_tcp("--threads", "2", "--sharing", sharing),
                    .second = begin("--threads", "2", "--sharing", sharing) };
    conn *a = connect_to(all.first), *b = connect_to(all.second);
    void *(*const parts[])(void *) = { write_to_both, kill_links, wait_for_replicas };
    pthread_t threads[3];
    char port[16];

    snprintf(port, sizeof port, "%d", server_port(all.first));
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, parts[i], &all), 0);
    change_quickly(b, port);
    atomic_store(&all.stop, true);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    lets_follow(b, "127.0.0.1", port);
    wait_for_offset(a, b);
    assert_same_content(a, b, 1);
    conn_close(a);
    conn_close(b);
    end(all.second);
    end(all.first);
}

static void whom_it_follows_may_change_at_any_moment(void **state)
{
    (void)state;
    all_ends_well("sharded");
}

static void the_state_thread_does_not_mind(void **state)
{
    (void)state;
    all_ends_well("actor");
}

/* Either of them ends in the middle of whatever is going on. */
static void servers_end_at_any_moment(void **state)
{
    (void)state;
    for (int i = 0; i < 6; i++) {
        server *first = begin_tcp("--threads", "2", "--enable-debug-command", "yes"),
               *second = begin("--threads", "2");
        conn *a = connect_to(first), *b = connect_to(second);

        says(a, "+OK", "DEBUG", "POPULATE", "3000", "key", "1000");
        follow_port(b, server_port(first));
        for (int looks = 0; looks < i * 3; looks++)
            asks(a, "INFO", "replication");
        if (i == 5)
            wait_for_offset(a, b);
        says(a, "+OK", "SET", "last", "1");
        conn_close(a);
        conn_close(b);
        end(i % 2 ? first : second);
        end(i % 2 ? second : first);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whom_it_follows_may_change_at_any_moment),
        cmocka_unit_test(the_state_thread_does_not_mind),
        cmocka_unit_test(servers_end_at_any_moment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
