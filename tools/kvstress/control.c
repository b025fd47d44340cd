/* control.c - see control.h.
 *
 * The main thread starts the workers, looks at them every 20 ms, and tells them in which phase the run is:
 *
 *     work ............................ drain                    without a crash check
 *     work ....... crash kill verify crash kill verify ... drain
 *
 * In a crash round the workers only use objects with histories (object.c). The server is killed with -9 while they
 * write; what was under way is of unknown outcome. When it answers again, every object is read once, and its whole
 * history, from before the crash to after it, must be linearizable (durable linearizability: Izraelevitz, Mendes,
 * Scott 2016): what was acknowledged, or read by anyone, is still there.
 *
 * SPDX-License-Identifier: MIT */
#include "control.h"

#include <errno.h>
#include <math.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "parts.h"

#define LOOK_MS      20
#define WORK_PART    0.6 /* of the time, when crashes are to follow */
#define RANKS_MORE   64u /* pools are at least some objects large, however few keys */
#define VERIFY_MAX_S 60

typedef struct control {
    run *run;
    launch *server;
    worker *workers;
    unsigned initialised, started;
    FILE *record;
    uint64_t random;
    unsigned crashes;
    int64_t shown_ns;
    uint64_t shown_operations;
    bool progress_shown;
} control;

/* ---- setting up ------------------------------------------------------------------------- */

static int make_ranks(run *r)
{
    uint64_t n = r->options->keys + RANKS_MORE;
    double sum = 0;

    r->zipf = malloc(n * sizeof *r->zipf);
    for (uint64_t i = 0; r->zipf && i < n; i++)
        r->zipf[i] = sum += pow((double)(i + 1), -0.99);
    return r->zipf ? 0 : -1;
}

static int open_record(control *c, fault *f)
{
    const char *path = c->run->options->record;

    if (!path)
        return 0;
    c->record = fopen(path, "we");
    if (!c->record)
        return fault_set(f, "--record %s: %s", path, strerror(errno));
    fprintf(c->record, "# histories of kvstress, seed %llu, server %s; the format is told in format.h\n",
            (unsigned long long)c->run->seed, c->run->target.name);
    return 0;
}

static int prepare(control *c, fault *f)
{
    run *r = c->run;
    const options *o = r->options;
    struct timespec wall;

    r->start_ns = clock_ns();
    clock_gettime(CLOCK_REALTIME, &wall);
    r->wall_offset_ns = (int64_t)wall.tv_sec * NS_PER_S + wall.tv_nsec - clock_ns();
    snprintf(r->prefix, sizeof r->prefix, "kvs:%08x:",
             (unsigned)((uint64_t)wall.tv_nsec * UINT64_C(2654435761) ^ (uint64_t)wall.tv_sec ^
                        (uint64_t)getpid() << 16));
    pthread_mutex_init(&r->lock, NULL);
    atomic_store(&r->server_up, true);
    c->random = (r->seed + 77) * UINT64_C(0x9e3779b97f4a7c15) | 1;
    if (open_record(c, f))
        return -1;
    r->violations = calloc(o->violations, sizeof *r->violations);
    r->jury = jury_new(r, c->record);
    r->board = board_new(r);
    r->channels = channels_new(o);
    c->workers = calloc(o->threads, sizeof *c->workers);
    if (!r->violations || !r->jury || !r->board || !r->channels || !c->workers || make_ranks(r))
        return fault_set(f, "out of memory");
    for (unsigned i = 0; i < o->threads; i++) {
        unsigned lanes = (unsigned)(o->connections * (i + 1) / o->threads - o->connections * i / o->threads);

        c->initialised++;
        if (worker_init(&c->workers[i], r, i, lanes, f))
            return -1;
    }
    return 0;
}

void control_done(run *r)
{
    for (unsigned i = 0; i < r->violation_count; i++)
        evidence_done(&r->violations[i]);
    free(r->violations);
    free(r->zipf);
    board_free(r->board);
    channels_free(r->channels);
    jury_free(r->jury);
}

/* ---- looking on ------------------------------------------------------------------------- */

static void sum_up(control *c, outcome *ret)
{
    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < c->initialised; i++) {
        tally t;
        histogram h;
        const uint64_t *from = (const uint64_t *)&t;
        uint64_t *to = (uint64_t *)&ret->tally;

        worker_show(&c->workers[i], &t, &h);
        for (size_t field = 0; field < sizeof t / sizeof *from; field++)
            to[field] += from[field];
        histogram_add(&ret->latency, &h);
    }
    ret->seconds = (double)(clock_ns() - c->run->start_ns) / NS_PER_S;
    ret->crashes = c->crashes;
}

static void show_progress(control *c, const outcome *so_far)
{
    int64_t now = clock_ns();
    unsigned violations;
    double rate;

    if (!c->run->options->progress || now - c->shown_ns < NS_PER_S / 2)
        return;
    rate =
        (double)(so_far->tally.operations - c->shown_operations) / ((double)(now - c->shown_ns) / NS_PER_S);
    pthread_mutex_lock(&c->run->lock);
    violations = c->run->violation_count;
    pthread_mutex_unlock(&c->run->lock);
    fprintf(stderr, "\r%6.1f s  %12llu operations  %8.0f/s  p50 %.0f us  p99 %.0f us  violations %u \x1b[K",
            so_far->seconds, (unsigned long long)so_far->tally.operations, rate,
            histogram_percentile(&so_far->latency, 0.5) * 1e-3,
            histogram_percentile(&so_far->latency, 0.99) * 1e-3, violations);
    c->shown_ns = now;
    c->shown_operations = so_far->tally.operations;
    c->progress_shown = true;
}

/* Looks on until the time has come, all is done, or it is over otherwise: false in the last two cases. */
static bool look_on(control *c, int64_t until_ns)
{
    run *r = c->run;
    fault f;

    while (clock_ns() < until_ns) {
        outcome so_far;

        poll(NULL, 0, LOOK_MS);
        sum_up(c, &so_far);
        show_progress(c, &so_far);
        if (c->server && atomic_load(&r->server_up) && !launch_alive(c->server, &f))
            run_fail(r, &f);
        if (run_over(r) || *r->interrupted ||
            (r->options->operations && so_far.tally.operations >= r->options->operations))
            return false;
    }
    return true;
}

/* ---- crashes ---------------------------------------------------------------------------- */

static bool wait_for_verification(control *c)
{
    int64_t until = clock_ns() + VERIFY_MAX_S * NS_PER_S;
    fault f;

    while (atomic_load(&c->run->verified) < c->run->options->threads) {
        if (!look_on(c, clock_ns() + 2 * NS_PER_MS))
            return false;
        if (clock_ns() > until) {
            fault_set(&f, "%s: it does not answer all reads after it was started again", c->run->target.name);
            run_fail(c->run, &f);
            return false;
        }
    }
    return true;
}

/* A life of the server, its end, and what it remembers in the next. */
static bool crash_round(control *c)
{
    run *r = c->run;
    double life = 0.2 + 0.8 * (double)(random_next(&c->random) >> 11) * 0x1p-53;
    fault f;

    atomic_store(&r->phase, PHASE_CRASH);
    if (!look_on(c, clock_ns() + (int64_t)(life * r->options->crash_s * NS_PER_S)))
        return false;
    atomic_store(&r->server_up, false);
    atomic_store(&r->crashed_ns, clock_ns());
    if (launch_kill(c->server, &f)) {
        run_fail(r, &f);
        return false;
    }
    c->crashes++;
    poll(NULL, 0, LOOK_MS); /* every worker has read what the server still sent */
    if (launch_start(c->server, &r->target, &f)) {
        fault_prefix(&f, "after kill -9: ");
        run_fail(r, &f);
        return false;
    }
    atomic_store(&r->verified, 0);
    atomic_store(&r->phase, PHASE_VERIFY);
    atomic_store(&r->server_up, true);
    return wait_for_verification(c);
}

/* ---- the run ---------------------------------------------------------------------------- */

static bool only_crashes(const options *o)
{
    for (unsigned i = 0; i < CHECK_CRASH; i++)
        if (o->checks[i])
            return false;
    return true;
}

static void work(control *c)
{
    run *r = c->run;
    const options *o = r->options;
    int64_t all = (int64_t)(o->duration_s * NS_PER_S), end = r->start_ns + all;
    bool going = true;

    if (!o->checks[CHECK_CRASH]) {
        look_on(c, end);
        return;
    }
    if (!only_crashes(o))
        going = look_on(c, r->start_ns + (int64_t)((double)all * WORK_PART));
    do
        going = going && crash_round(c);
    while (going && clock_ns() < end);
}

static int start_workers(control *c, fault *f)
{
    run *r = c->run;

    atomic_store(&r->phase, only_crashes(r->options) ? PHASE_CRASH : PHASE_WORK);
    for (; c->started < r->options->threads; c->started++)
        if (pthread_create(&c->workers[c->started].thread, NULL, worker_main, &c->workers[c->started])) {
            fault_set(f, "cannot start a thread");
            run_fail(r, f);
            return -1;
        }
    return 0;
}

/* Whoever ends a run in which nothing was found must have a server that still answers. */
static void look_for_server(control *c)
{
    run *r = c->run;
    fault f;

    if (run_over(r))
        return;
    if (c->server && !launch_alive(c->server, &f))
        run_fail(r, &f);
    else if (target_ping(&r->target, (double)r->options->timeout_s, &f)) {
        fault_prefix(&f, "in the end: ");
        run_fail(r, &f);
    }
}

int control_run(run *r, launch *server, outcome *ret, fault *f)
{
    control c = { .run = r, .server = server };
    int err = prepare(&c, f);

    c.shown_ns = clock_ns();
    if (!err)
        err = start_workers(&c, f);
    if (!err)
        work(&c);
    atomic_store(&r->phase, PHASE_DRAIN);
    for (unsigned i = 0; i < c.started; i++)
        pthread_join(c.workers[i].thread, NULL);
    if (!err) {
        look_for_server(&c);
        sum_up(&c, ret);
        jury_end(r->jury, &ret->jury);
    }
    if (c.progress_shown)
        fputc('\n', stderr);
    for (unsigned i = 0; i < c.initialised; i++)
        worker_done(&c.workers[i]);
    free(c.workers);
    if (c.record && fclose(c.record) && !err)
        err = fault_set(f, "--record %s: %s", r->options->record, strerror(errno));
    return err;
}
