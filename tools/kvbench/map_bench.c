/* map_bench.c - see map_bench.h.
 *
 * Every map size is measured in a child process of its own, so that memory freed by one does not hide what
 * the next one takes, and a crash is reported as what it is. The child sends its figures through a pipe.
 *
 * SPDX-License-Identifier: MIT */
#include "map_bench.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "growth.h"

#define FIGURES 32

/* What a child found: one column of a table. */
typedef struct figures {
    unsigned count;
    struct {
        char name[80];
        int decimals;
        double value;
    } rows[FIGURES];
    fault fault; /* empty: all is well */
} figures;

typedef int measure_fn(const options *o, uint64_t keys, kv_sharing sharing, figures *ret, fault *f);

/* Whether a row is wanted (--rows). */
static bool wanted(const options *o, const char *name)
{
    return !o->rows || strstr(name, o->rows) != NULL;
}

static void figure(const options *o, figures *to, const char *name, int decimals, double value)
{
    if (!wanted(o, name) || to->count == FIGURES)
        return;
    snprintf(to->rows[to->count].name, sizeof to->rows[0].name, "%s", name);
    to->rows[to->count].decimals = decimals;
    to->rows[to->count++].value = value;
}

/* ---- what a child measures -------------------------------------------------------------- */

typedef struct work_row {
    const char *name;
    work_kind kind;
    unsigned threads;
    bool registered;
    bool rate; /* print millions per second rather than nanoseconds */
} work_row;

static const work_row MAP_ROWS[] = {
    { "get, ns", WORK_GET, 1, true, false },
    { "get, plain thread, ns", WORK_GET, 1, false, false },
    { "get in batches of 16, ns", WORK_GET_BATCH, 1, true, false },
    { "get and set half and half, ns", WORK_MIX, 1, true, false },
    { "get, 2 threads, M/s", WORK_GET, 2, true, true },
    { "get and set half and half, 2 threads, M/s", WORK_MIX, 2, true, true },
    { "get, zipf, ns", WORK_ZIPF, 1, true, false },
    { "get, zipf, 2 threads, M/s", WORK_ZIPF, 2, true, true },
    { "get and set half and half, zipf, 2 threads, M/s", WORK_ZIPF_MIX, 2, true, true },
    { "one hot key, 1 thread, M/s", WORK_HOT, 1, true, true },
    { "one hot key, 2 threads, M/s", WORK_HOT, 2, true, true },
    { "one hot key, 1 thread, ns", WORK_HOT, 1, true, false },
    { "one hot key, 2 threads, ns of each", WORK_HOT, 2, true, false },
};

/* What the machine allows: beside these the rows above are to be read. Rates are by the clock on the wall: where two threads of
 * arithmetic make no more than one, the machine has no second core to give, and no map's threads will. */
static const work_row BASE_ROWS[] = {
    { "floor: two misses, one after the other, ns", WORK_BASE_MISS, 1, true, false },
    { "floor: two misses, 16 at a time, ns", WORK_BASE_16, 1, true, false },
    { "floor: two misses, 64 at a time, ns", WORK_BASE_64, 1, true, false },
    { "floor: make a key, copy one hot line, ns", WORK_BASE_HOT, 1, true, false },
    { "floor: one hot line, 1 thread, M/s", WORK_BASE_HOT, 1, true, true },
    { "floor: one hot line, 2 threads, M/s", WORK_BASE_HOT, 2, true, true },
    { "floor: arithmetic, 1 thread, M/s", WORK_BASE_SUMS, 1, true, true },
    { "floor: arithmetic, 2 threads, M/s", WORK_BASE_SUMS, 2, true, true },
};

static const work_row STORE_ROWS[] = {
    { "get, 1 thread, M/s", WORK_GET, 1, true, true },
    { "get, 2 threads, M/s", WORK_GET, 2, true, true },
    { "get, 2 plain threads, M/s", WORK_GET, 2, false, true },
    { "get in batches of 16, 1 thread, M/s", WORK_GET_BATCH, 1, true, true },
    { "get and set half and half, 1 thread, M/s", WORK_MIX, 1, true, true },
    { "get and set half and half, 2 threads, M/s", WORK_MIX, 2, true, true },
    { "get and set half and half, zipf, 2 threads, M/s", WORK_ZIPF_MIX, 2, true, true },
    { "one hot key, 1 thread, M/s", WORK_HOT, 1, true, true },
    { "one hot key, 2 threads, M/s", WORK_HOT, 2, true, true },
};

/* The least disturbed of several runs: the lowest CPU time, the highest rate. */
static int best_of(subject *s, const work *w, unsigned rounds, work_result *ret_result, fault *f)
{
    work_result best = { 0 }, one;

    for (unsigned i = 0; i < rounds; i++) {
        if (subject_run(s, w, &one, f))
            return -1;
        if (i == 0 || one.operations / one.seconds > best.operations / best.seconds) {
            best.operations = one.operations;
            best.seconds = one.seconds;
        }
        if (i == 0 || one.ns < best.ns)
            best.ns = one.ns;
    }
    *ret_result = best;
    return 0;
}

static bool any_wanted(const options *o, const work_row rows[], size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (wanted(o, rows[i].name))
            return true;
    return false;
}

static int measure_rows(const options *o, subject *s, uint64_t keys, const work_row rows[], size_t n,
                        figures *ret, fault *f)
{
    for (size_t i = 0; i < n; i++) {
        work w = { .kind = rows[i].kind,
                   .threads = rows[i].threads,
                   .registered = rows[i].registered,
                   .keys = keys,
                   .seconds = o->seconds,
                   .operations = o->requests,
                   .seed = o->seed };
        work_result result;

        if (!wanted(o, rows[i].name))
            continue;
        if (best_of(s, &w, (unsigned)o->rounds, &result, f))
            return fault_prefix(f, "%s: ", rows[i].name);
        if (rows[i].rate)
            figure(o, ret, rows[i].name, 2, result.operations / result.seconds / 1e6);
        else
            figure(o, ret, rows[i].name, 1, result.ns);
    }
    return 0;
}

static int measure_base(const options *o, subject *s, uint64_t keys, figures *ret, fault *f)
{
    const size_t rows = sizeof BASE_ROWS / sizeof *BASE_ROWS;
    int err;

    if (!any_wanted(o, BASE_ROWS, rows))
        return 0;
    s->base = baseline_new(keys, f);
    if (!s->base)
        return -1;
    err = measure_rows(o, s, keys, BASE_ROWS, rows, ret, f);
    baseline_free(s->base);
    s->base = NULL;
    return err;
}

static int measure_map(const options *o, uint64_t keys, kv_sharing sharing, figures *ret, fault *f)
{
    subject s;
    growth g;
    churn c;
    int err;

    if (subject_init(&s, false, sharing, (size_t)o->value_size, o->ttl, f))
        return -1;
    err = growth_fill(&s, keys, &g, f);
    if (!err)
        err = measure_rows(o, &s, keys, MAP_ROWS, sizeof MAP_ROWS / sizeof *MAP_ROWS, ret, f);
    if (!err && keys > 1000) {
        figure(o, ret, "insert only, M/s", 2, g.per_second / 1e6);
        figure(o, ret, "resident bytes per entry", 1, g.rss_bytes);
        figure(o, ret, "resident bytes per entry, at the peak", 1, g.peak_bytes);
        figure(o, ret, "bytes per entry, by the domain's account", 1, g.domain_bytes);
        if (wanted(o, "delete and insert, M/s") || wanted(o, "resident memory after / before")) {
            err = growth_churn(&s, keys, o->churn_seconds, o->seed, &c, f);
            figure(o, ret, "delete and insert, M/s", 2, c.per_second / 1e6);
            figure(o, ret, "resident memory after / before", 3, c.grown);
        }
    }
    if (!err)
        err = measure_base(o, &s, keys, ret, f);
    if (!err)
        subject_done(&s);
    return err;
}

/* In a child of its own: memory that a first fill has given back is not what a growing map meets. */
static const char *const WORST_ROWS[] = { "insert only, the worst one, us",
                                          "insert only, over 50 us but preempted" };

static int measure_worst(const options *o, uint64_t keys, kv_sharing sharing, figures *ret, fault *f)
{
    subject s;
    slowest slow;
    int err;

    if (subject_init(&s, false, sharing, (size_t)o->value_size, o->ttl, f))
        return -1;
    err = growth_watch(&s, keys, &slow, f);
    if (err)
        return err;
    figure(o, ret, WORST_ROWS[0], 0, slow.worst_us);
    figure(o, ret, WORST_ROWS[1], 0, slow.preempted);
    subject_done(&s);
    return 0;
}

static int measure_store(const options *o, uint64_t keys, kv_sharing sharing, figures *ret, fault *f)
{
    subject s;
    growth g;
    int err;

    if (subject_init(&s, true, sharing, (size_t)o->value_size, o->ttl, f))
        return -1;
    err = growth_fill(&s, keys, &g, f);
    if (!err)
        err = measure_rows(o, &s, keys, STORE_ROWS, sizeof STORE_ROWS / sizeof *STORE_ROWS, ret, f);
    if (!err)
        subject_done(&s);
    return err;
}

/* ---- children --------------------------------------------------------------------------- */

/* Reads exactly size bytes, unless the other end closes before. */
static bool read_all(int fd, void *out, size_t size)
{
    for (size_t have = 0; have < size;) {
        ssize_t got = read(fd, (char *)out + have, size - have);

        if (got == 0 || (got < 0 && errno != EINTR))
            return false;
        if (got > 0)
            have += (size_t)got;
    }
    return true;
}

static _Noreturn void child_main(measure_fn *measure, const options *o, uint64_t keys, kv_sharing sharing,
                                 int fd)
{
    static figures found;
    const char *at = (const char *)&found;

    if (measure(o, keys, sharing, &found, &found.fault) == 0)
        found.fault.text[0] = '\0';
    for (size_t left = sizeof found; left > 0;) {
        ssize_t sent = write(fd, at, left);

        if (sent < 0 && errno != EINTR)
            _exit(1);
        if (sent > 0) {
            at += sent;
            left -= (size_t)sent;
        }
    }
    _exit(0);
}

/* Runs measure in a child and puts its figures into the table's column. */
static int measure_apart(measure_fn *measure, const options *o, uint64_t keys, kv_sharing sharing,
                         const char *name, table *t, fault *f)
{
    static figures found;
    unsigned column = table_column(t, name);
    int fds[2], status = 0;
    bool whole;
    pid_t child;

    fprintf(stderr, "kvbench: %s ...\n", name);
    if (pipe(fds))
        return fault_set(f, "pipe: %s", strerror(errno));
    child = fork();
    if (child == 0) {
        close(fds[0]);
        child_main(measure, o, keys, sharing, fds[1]);
    }
    close(fds[1]);
    whole = child > 0 && read_all(fds[0], &found, sizeof found);
    close(fds[0]);
    if (child < 0)
        return fault_set(f, "fork: %s", strerror(errno));
    waitpid(child, &status, 0);
    if (!whole)
        return fault_set(f, "%s: died of %s %d", name, WIFSIGNALED(status) ? "signal" : "exit status",
                         WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    if (found.fault.text[0])
        return fault_set(f, "%s: %.900s", name, found.fault.text);
    for (unsigned i = 0; i < found.count; i++)
        table_set(t, table_row(t, "%s", found.rows[i].name), column, found.rows[i].value, "%.*f",
                  found.rows[i].decimals, found.rows[i].value);
    return 0;
}

static void size_name(uint64_t keys, char out[], size_t size)
{
    if (keys >= 1000000 && keys % 100000 == 0)
        snprintf(out, size, "%gM keys", (double)keys / 1e6);
    else if (keys >= 1000)
        snprintf(out, size, "%llu,%03llu keys", (unsigned long long)keys / 1000,
                 (unsigned long long)keys % 1000);
    else
        snprintf(out, size, "%llu keys", (unsigned long long)keys);
}

int map_bench(options *o, report *r, fault *f)
{
    static const char *const STRATEGIES[] = { "sharded", "mutex", "actor" };
    static const kv_sharing SHARINGS[] = { KV_SHARING_SHARDED, KV_SHARING_MUTEX, KV_SHARING_ACTOR };
    char name[96], title[160];
    table *maps, *stores;

    if (!(o->seconds > 0))
        o->seconds = 0.3;
    if (!(o->churn_seconds > 0))
        o->churn_seconds = 5;
    if (!o->value_size)
        o->value_size = 32;
    snprintf(title, sizeof title, "The map, 16-byte keys, %llu-byte values%s",
             (unsigned long long)o->value_size, o->ttl ? ", a deadline on every key" : "");
    maps = report_add(r, title);
    snprintf(title, sizeof title, "kv_store_copy and kv_store_set, %s, by sharing", "1M keys");
    stores = report_add(r, title);
    if (!maps || !stores)
        return fault_set(f, "out of memory");
    for (unsigned i = 0; i < o->size_count; i++) {
        size_name(o->sizes[i], name, sizeof name);
        if (measure_apart(measure_map, o, o->sizes[i], KV_SHARING_SHARDED, name, maps, f))
            return -1;
        if (o->sizes[i] > 1000 && (wanted(o, WORST_ROWS[0]) || wanted(o, WORST_ROWS[1])) &&
            measure_apart(measure_worst, o, o->sizes[i], KV_SHARING_SHARDED, name, maps, f))
            return -1;
    }
    for (unsigned i = 0; i < 3 && any_wanted(o, STORE_ROWS, sizeof STORE_ROWS / sizeof *STORE_ROWS); i++)
        if (measure_apart(measure_store, o, 1000000, SHARINGS[i], STRATEGIES[i], stores, f))
            return -1;
    if (maps->row_count + stores->row_count == 0)
        return fault_usage(f, "--rows: no row has \"%s\" in its name", o->rows);
    return 0;
}
