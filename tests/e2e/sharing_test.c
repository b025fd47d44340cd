/* sharing_test.c - what one connection wrote, every other one sees; whole, and at once.
 *
 * The arguments go to kvserver, so that each way of sharing and each number of threads is held to the same.
 *
 *     sharing_test --sharing actor --threads 4
 *
 * SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "e2e.h"

static const char *const *options; /* of kvserver: from main */

static server *begin_with_options(void)
{
    return e2e_begin(false, options);
}

/* Assertions of cmocka belong to the main thread: others count what went wrong. */
typedef struct shared {
    server *server;
    _Atomic int failures;
    _Atomic bool done;
    int writers;
} shared;

typedef struct worker {
    pthread_t thread;
    shared *shared;
    int number;
    char complaint[200]; /* the first one */
} worker;

static void complain(worker *w, const char *text, long long a, long long b)
{
    if (atomic_fetch_add(&w->shared->failures, 1) == 0)
        snprintf(w->complaint, sizeof w->complaint, "worker %d: %s (%lld, %lld)", w->number, text, a, b);
}

static void run_workers(shared *sh, worker *workers, int count, void *(*body)(void *worker))
{
    for (int i = 0; i < count; i++) {
        workers[i] = (worker){ .shared = sh, .number = i };
        assert_int_equal(pthread_create(&workers[i].thread, NULL, body, &workers[i]), 0);
    }
}

static void join_workers(shared *sh, worker *workers, int count)
{
    for (int i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < count; i++)
        if (workers[i].complaint[0])
            print_error("%s\n", workers[i].complaint);
    assert_int_equal(sh->failures, 0);
}

/* The number a reply holds: of a bulk, an integer; 0 for null; -1 for anything else. */
static long long number_of(const reply *r)
{
    return !r ? -1 : r->type == '_' ? 0 : r->type == ':' ? r->integer : r->type == '$' ? atoll(r->text) : -1;
}

static long long ask_number(conn *c, const char *request)
{
    reply *r = conn_send(c, kv_str(request)) ? conn_read(c) : NULL;
    long long n = number_of(r);

    reply_free(r);
    return n;
}

/* ---- visibility ------------------------------------------------------------------------- */

static void a_write_is_seen_once_it_is_acknowledged(void **state)
{
    enum { n = 16, rounds = 4000 };
    server *s = begin_with_options();
    conn *clients[n];
    char number[16];

    (void)state;
    for (int i = 0; i < n / 2; i++)
        clients[i] = connect_to(s);
    for (int i = 0; i < rounds; i++) {
        if (i == rounds / 2) /* some connect before, some after */
            for (int k = n / 2; k < n; k++)
                clients[k] = connect_to(s);
        snprintf(number, sizeof number, "%d", i);
        says(clients[i % (i < rounds / 2 ? n / 2 : n)], "+OK", "SET", "k", number);
        assert_int_equal(ask_number(clients[(i * 7 + 3) % (i < rounds / 2 ? n / 2 : n)], "GET k\r\n"), i);
    }
    for (int i = 0; i < n; i++)
        conn_close(clients[i]);
    end(s);
}

/* ---- counters --------------------------------------------------------------------------- */

enum { counter_threads = 6, counter_rounds = 5000 };

static void *count_up(void *arg)
{
    worker *w = arg;
    conn *c = conn_open_unix(server_socket(w->shared->server));
    long long last = 0;

    for (int i = 0; c && i < counter_rounds; i++) {
        long long now = ask_number(c, "INCR counter\r\n");

        if (now <= last)
            complain(w, "a counter went back", last, now);
        last = now;
    }
    if (!c)
        complain(w, "no connection", 0, 0);
    conn_close(c);
    return NULL;
}

static void no_increment_is_lost(void **state)
{
    shared sh = { .server = begin_with_options() };
    worker workers[counter_threads];
    conn *c;

    (void)state;
    run_workers(&sh, workers, counter_threads, count_up);
    join_workers(&sh, workers, counter_threads);
    c = connect_to(sh.server);
    assert_int_equal(ask_number(c, "GET counter\r\n"), counter_threads * counter_rounds);
    conn_close(c);
    end(sh.server);
}

/* ---- MSET and its readers --------------------------------------------------------------- */

enum { pairs = 12, writes = 15000, writers = 2, readers = 3 };

/* Writer n owns every n-th pair and moves its two keys together, upward. */
static void *write_pairs(void *arg)
{
    worker *w = arg;
    conn *c = conn_open_unix(server_socket(w->shared->server));
    char request[128];

    for (int i = 1; c && i <= writes; i++) {
        int pair = (i * writers + w->number) % pairs;
        reply *r;

        pair -= pair % writers - w->number;
        snprintf(request, sizeof request, "MSET x:%d %d y:%d %d\r\n", pair, i, pair, i);
        r = conn_send(c, kv_str(request)) ? conn_read(c) : NULL;
        if (!r || r->type != '+')
            complain(w, "MSET failed", i, 0);
        reply_free(r);
    }
    if (!c)
        complain(w, "no connection", 0, 0);
    conn_close(c);
    return NULL;
}

/* x, then y: never may y be older. One after the other, in a pipeline, and as one MGET. */
static void *read_pairs(void *arg)
{
    worker *w = arg;
    conn *c = conn_open_unix(server_socket(w->shared->server));
    char request[128];

    for (int i = w->number; c && !atomic_load(&w->shared->done); i++) {
        int pair = i % pairs;
        long long x, y;

        snprintf(request, sizeof request, "GET x:%d\r\n", pair);
        x = ask_number(c, request);
        snprintf(request, sizeof request, "GET y:%d\r\n", pair);
        y = ask_number(c, request);
        if (x < 0 || y < x)
            complain(w, "two GETs saw half of an MSET", x, y);
        snprintf(request, sizeof request, "GET x:%d\r\nGET y:%d\r\n", pair, pair);
        x = ask_number(c, request);
        y = ask_number(c, "");
        if (x < 0 || y < x)
            complain(w, "a pipeline saw half of an MSET", x, y);
        snprintf(request, sizeof request, "MGET x:%d y:%d\r\n", pair, pair);
        {
            reply *r = conn_send(c, kv_str(request)) ? conn_read(c) : NULL;

            if (!r || r->count != 2 || number_of(&r->elements[0]) != number_of(&r->elements[1]))
                complain(w, "MGET saw half of an MSET", pair, 0);
            reply_free(r);
        }
    }
    if (!c)
        complain(w, "no connection", 0, 0);
    conn_close(c);
    return NULL;
}

static void no_reader_sees_half_of_an_mset(void **state)
{
    shared sh = { .server = begin_with_options() };
    worker write[writers], read[readers];

    (void)state;
    run_workers(&sh, read, readers, read_pairs);
    run_workers(&sh, write, writers, write_pairs);
    join_workers(&sh, write, writers);
    atomic_store(&sh.done, true);
    join_workers(&sh, read, readers);
    end(sh.server);
}

/* ---- RENAME and its readers ------------------------------------------------------------- */

static void *rename_to_and_fro(void *arg)
{
    worker *w = arg;
    conn *c = conn_open_unix(server_socket(w->shared->server));

    for (int i = 0; c && i < writes; i++) {
        reply *r = conn_send(c, kv_str(i % 2 ? "RENAME there here\r\n" : "RENAME here there\r\n"))
                       ? conn_read(c)
                       : NULL;

        if (!r || r->type != '+')
            complain(w, "RENAME failed", i, 0);
        reply_free(r);
    }
    if (!c)
        complain(w, "no connection", 0, 0);
    conn_close(c);
    return NULL;
}

static void *look_here_and_there(void *arg)
{
    worker *w = arg;
    conn *c = conn_open_unix(server_socket(w->shared->server));

    while (c && !atomic_load(&w->shared->done)) {
        long long n = ask_number(c, "EXISTS here there\r\n");
        reply *r;

        if (n != 1)
            complain(w, "a renamed key was seen in another number of places than one", n, 1);
        r = conn_send(c, kv_str("MGET here there\r\n")) ? conn_read(c) : NULL;
        if (!r || r->count != 2 || (r->elements[0].type == '_') == (r->elements[1].type == '_'))
            complain(w, "MGET saw half of a RENAME", 0, 0);
        reply_free(r);
    }
    conn_close(c);
    return NULL;
}

static void no_reader_sees_half_of_a_rename(void **state)
{
    shared sh = { .server = begin_with_options() };
    worker write[1], read[readers];
    conn *c = connect_to(sh.server);

    (void)state;
    says(c, "+OK", "SET", "here", "value");
    conn_close(c);
    run_workers(&sh, read, readers, look_here_and_there);
    run_workers(&sh, write, 1, rename_to_and_fro);
    join_workers(&sh, write, 1);
    atomic_store(&sh.done, true);
    join_workers(&sh, read, readers);
    end(sh.server);
}

/* ---- compare and set -------------------------------------------------------------------- */

enum { cas_threads = 4, cas_rounds = 1500 };

/* Adds one, cas_rounds times, by GETV and SET IFVER alone. */
static void *count_by_version(void *arg)
{
    worker *w = arg;
    conn *c = conn_open_unix(server_socket(w->shared->server));
    char request[128];

    for (int won = 0; c && won < cas_rounds;) {
        reply *r = conn_send(c, kv_str("GETV cas\r\n")) ? conn_read(c) : NULL;

        if (!r || r->count != 3) {
            complain(w, "GETV failed", won, 0);
            reply_free(r);
            break;
        }
        snprintf(request, sizeof request, "SET cas %lld IFVER %lld\r\n", number_of(&r->elements[0]) + 1,
                 r->elements[1].integer);
        reply_free(r);
        r = conn_send(c, kv_str(request)) ? conn_read(c) : NULL;
        if (!r || (r->type != '+' && r->type != '_'))
            complain(w, "SET IFVER failed", won, 0);
        won += r && r->type == '+';
        reply_free(r);
    }
    if (!c)
        complain(w, "no connection", 0, 0);
    conn_close(c);
    return NULL;
}

static void compare_and_set_lets_one_of_many_win(void **state)
{
    shared sh = { .server = begin_with_options() };
    worker workers[cas_threads];
    conn *c = connect_to(sh.server);

    (void)state;
    says(c, "+OK", "SET", "cas", "0");
    run_workers(&sh, workers, cas_threads, count_by_version);
    join_workers(&sh, workers, cas_threads);
    assert_int_equal(ask_number(c, "GET cas\r\n"), cas_threads * cas_rounds);
    conn_close(c);
    end(sh.server);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_is_seen_once_it_is_acknowledged),
        cmocka_unit_test(no_increment_is_lost),
        cmocka_unit_test(no_reader_sees_half_of_an_mset),
        cmocka_unit_test(no_reader_sees_half_of_a_rename),
        cmocka_unit_test(compare_and_set_lets_one_of_many_win),
    };

    (void)argc;
    options = (const char *const *)argv + 1;
    kvserver_path();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
