/* speed.c - CPU time per request, throughput and latency, servers taking turns.
 *
 * All servers run from the beginning to the end, up to three instances of each: one filled with the main
 * number of keys, one with 1,000 (everything in cache), one with more than any cache holds. An idle
 * instance costs nothing. Then, round after round, each row is measured for every server before the next
 * row is: so what else the machine does meanwhile meets all servers alike, and a ratio is taken within a
 * round, never between figures that are minutes apart. The medians of the rounds are printed.
 *
 *     instance [server][MAIN | SMALL | LARGE]
 *     sample   [row][server][round]  = CPU us per request, requests/s, p50, p99
 *
 * CPU time is the server's own, user and system, of all its threads.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "server.h"

#define SMALL_KEYS 1000u
#define ROUNDS_MAX 99

enum dataset { MAIN, SMALL, LARGE, DATASETS };

typedef struct speed_row {
    char name[80];
    enum dataset dataset;
    unsigned depth, set_percent, transaction;
} speed_row;

enum { ROW_SMALL = 3, ROW_LARGE = 4, ROWS_MAX = 8 };

typedef struct sample {
    double cpu_us, rate, p50_us, p99_us;
} sample;

typedef struct speed {
    const lineup *lineup;
    const options *options;
    uint64_t keys[DATASETS];
    server servers[LINEUP_MAX][DATASETS];
    speed_row rows[ROWS_MAX];
    unsigned row_count;
    bool large; /* the rows SMALL and LARGE are there */
    sample samples[ROWS_MAX][LINEUP_MAX][ROUNDS_MAX];
} speed;

/* 5000000 as 5M, 1000 as 1,000. */
static void short_count(uint64_t n, char out[], size_t size)
{
    if (n >= 1000000 && n % 100000 == 0)
        snprintf(out, size, "%gM", (double)n / 1e6);
    else if (n >= 10000 && n % 1000 == 0)
        snprintf(out, size, "%gk", (double)n / 1e3);
    else if (n >= 1000)
        snprintf(out, size, "%llu,%03llu", (unsigned long long)n / 1000, (unsigned long long)n % 1000);
    else
        snprintf(out, size, "%llu", (unsigned long long)n);
}

static void add_row(speed *s, const char *what, enum dataset dataset, uint64_t depth, unsigned set_percent)
{
    speed_row *row = &s->rows[s->row_count++];
    char keys[32], pipeline[32] = "no pipeline";

    short_count(s->keys[dataset], keys, sizeof keys);
    if (depth > 1)
        snprintf(pipeline, sizeof pipeline, "pipeline %llu", (unsigned long long)depth);
    snprintf(row->name, sizeof row->name, "%s, %s, %s keys", what, pipeline, keys);
    row->dataset = dataset;
    row->depth = (unsigned)depth;
    row->set_percent = set_percent;
}

static void add_rows(speed *s)
{
    const options *o = s->options;

    add_row(s, "GET", MAIN, o->depth, 0);
    add_row(s, "SET", MAIN, o->depth, 100);
    add_row(s, "GET", MAIN, 1, 0);
    if (o->strategies) {
        add_row(s, "GET and SET half and half", MAIN, o->depth, 50);
        return;
    }
    s->large = o->large_keys != 0;
    if (s->large) {
        add_row(s, "GET", SMALL, o->depth, 0); /* ROW_SMALL */
        add_row(s, "GET", LARGE, o->depth, 0); /* ROW_LARGE */
    }
    add_row(s, "SET", MAIN, SERVER_TRANSACTION, 100);
    add_row(s, "SET in MULTI and EXEC", MAIN, SERVER_TRANSACTION, 100);
    s->rows[s->row_count - 1].transaction = SERVER_TRANSACTION;
}

/* The instance that a row is measured on: the floor stores nothing, so it needs only one. */
static server *instance(speed *s, unsigned who, enum dataset dataset)
{
    return &s->servers[who][s->lineup->contestants[who].is_floor ? MAIN : dataset];
}

static int start_all(speed *s, const char *dir, fault *f)
{
    for (unsigned c = 0; c < s->lineup->count; c++) {
        const contestant *one = &s->lineup->contestants[c];

        for (int d = 0; d < DATASETS; d++) {
            server *target = &s->servers[c][d];
            bool used = d == MAIN || (!one->is_floor && s->large);

            if (!used)
                continue;
            if (contestant_start(one, target, dir, NULL, f))
                return -1;
            if (one->is_floor)
                continue;
            fprintf(stderr, "kvbench: %s is given %llu keys ...\n", one->name,
                    (unsigned long long)s->keys[d]);
            if (server_fill(s->options, target, s->keys[d], s->options->value_size, f))
                return -1;
        }
    }
    return 0;
}

static void stop_all(speed *s)
{
    for (unsigned c = 0; c < s->lineup->count; c++)
        for (int d = 0; d < DATASETS; d++)
            contestant_stop(&s->servers[c][d], 10);
}

static int measure(speed *s, unsigned row, unsigned who, sample *ret_sample, fault *f)
{
    const speed_row *r = &s->rows[row];
    server *target = instance(s, who, r->dataset);
    load_plan plan = server_plan(s->options, target, s->options->value_size);
    load_result result;
    double before, after;

    plan.keys = s->keys[r->dataset];
    plan.depth = r->depth;
    plan.set_percent = r->set_percent;
    plan.transaction = r->transaction;
    plan.seconds = s->options->seconds;
    plan.requests = s->options->requests;
    before = process_cpu(&target->process);
    if (load_run(&plan, &result, f))
        return contestant_blame(target, f);
    after = process_cpu(&target->process);
    if (before < 0 || after < 0) {
        fault_set(f, "its CPU time cannot be read");
        return contestant_blame(target, f);
    }
    if (result.misses) {
        fault_set(f, "it lost %llu of %llu keys that were asked for", (unsigned long long)result.misses,
                  (unsigned long long)result.requests);
        return contestant_blame(target, f);
    }
    ret_sample->cpu_us = (after - before) * 1e6 / (double)result.requests;
    ret_sample->rate = (double)result.requests / result.seconds;
    ret_sample->p50_us = result.p50_us;
    ret_sample->p99_us = result.p99_us;
    return 0;
}

static bool applies(const speed *s, unsigned row, unsigned who)
{
    return !s->rows[row].transaction || server_has_transactions(&s->lineup->contestants[who]);
}

static int measure_all(speed *s, fault *f)
{
    for (unsigned round = 0; round < s->options->rounds; round++) {
        fprintf(stderr, "kvbench: round %u of %llu ...\n", round + 1, (unsigned long long)s->options->rounds);
        for (unsigned row = 0; row < s->row_count; row++)
            for (unsigned c = 0; c < s->lineup->count; c++)
                if (applies(s, row, c) && measure(s, row, c, &s->samples[row][c][round], f))
                    return -1;
    }
    return 0;
}

/* ---- what it says ----------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The median over the rounds of one field (its offset in sample), divided by that of another cell in the
 * same round when over is given. */
static double median(const speed *s, size_t field, const sample of[], const sample over[])
{
    double values[ROUNDS_MAX];
    size_t n = (size_t)s->options->rounds;

    for (size_t i = 0; i < n; i++) {
        memcpy(&values[i], (const char *)&of[i] + field, sizeof values[i]);
        if (over) {
            double divisor;

            memcpy(&divisor, (const char *)&over[i] + field, sizeof divisor);
            values[i] /= divisor;
        }
    }
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}
#define FIELD(name) offsetof(sample, name)

static int report_cpu(const speed *s, report *r, fault *f)
{
    table *t = report_add(r, "Server CPU time per request, microseconds (x redis-server)");
    int redis = lineup_find(s->lineup, "redis-server");

    if (!t)
        return fault_set(f, "out of memory");
    for (unsigned c = 0; c < s->lineup->count; c++) {
        unsigned column = table_column(t, s->lineup->contestants[c].name);

        for (unsigned i = 0; i < s->row_count; i++) {
            unsigned row = table_row(t, "%s", s->rows[i].name);
            double us = median(s, FIELD(cpu_us), s->samples[i][c], NULL);

            if (!applies(s, i, c) || (s->lineup->contestants[c].is_floor && i >= ROW_SMALL))
                continue;
            if (redis < 0 || (unsigned)redis == c)
                table_set(t, row, column, us, "%.3f", us);
            else
                table_set(t, row, column, us, "%.3f (%.2f)", us,
                          median(s, FIELD(cpu_us), s->samples[i][c], s->samples[i][redis]));
        }
        if (s->large && !s->lineup->contestants[c].is_floor) {
            double growth = median(s, FIELD(cpu_us), s->samples[ROW_LARGE][c], s->samples[ROW_SMALL][c]);

            table_set(t, table_row(t, "the last row / the one above"), column, growth, "%.2f", growth);
        }
    }
    return 0;
}

static int report_rate(const speed *s, report *r, fault *f)
{
    table *t = report_add(r, "Thousand requests per second (p50, p99 of a batch in microseconds)");

    if (!t)
        return fault_set(f, "out of memory");
    for (unsigned c = 0; c < s->lineup->count; c++) {
        unsigned column = table_column(t, s->lineup->contestants[c].name);

        for (unsigned i = 0; i < s->row_count; i++) {
            double rate = median(s, FIELD(rate), s->samples[i][c], NULL);

            if (!applies(s, i, c) || (s->lineup->contestants[c].is_floor && i >= ROW_SMALL))
                continue;
            table_set(t, table_row(t, "%s", s->rows[i].name), column, rate, "%.0f (%.0f, %.0f)", rate / 1e3,
                      median(s, FIELD(p50_us), s->samples[i][c], NULL),
                      median(s, FIELD(p99_us), s->samples[i][c], NULL));
        }
    }
    return 0;
}

int speed_run(const lineup *l, const options *o, const char *dir, report *r, fault *f)
{
    speed *s = calloc(1, sizeof *s);
    int err;

    if (!s)
        return fault_set(f, "out of memory");
    s->lineup = l;
    s->options = o;
    s->keys[MAIN] = o->keys;
    s->keys[SMALL] = SMALL_KEYS;
    s->keys[LARGE] = o->large_keys;
    add_rows(s);
    err = start_all(s, dir, f);
    if (!err)
        err = measure_all(s, f);
    stop_all(s);
    if (!err)
        err = report_cpu(s, r, f);
    if (!err)
        err = report_rate(s, r, f);
    free(s);
    return err;
}
