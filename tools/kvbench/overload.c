/* overload.c - see overload.h.
 *
 * Phase by phase, each server is started afresh with its default settings, filled with some keys, and asked by well-behaved
 * clients, each of which waits for its answer. Then others come and misbehave (hostile.h). Two figures are told: by how much
 * the server's resident memory has grown at the most, and what the well-behaved waited for an answer meanwhile, 99 times in 100.
 * The first says whether a stranger can exhaust the machine; the second, whether he can starve everybody else.
 *
 *     thread:  load_run ----------------------------------------> p99
 *     here:          connect, push, look at the memory, push, ...   growth
 *
 * The clients run on the same machine as the servers, and take time from them: so figures are to be compared with those
 * of the other server in the same run only.
 *
 * SPDX-License-Identifier: MIT */
#include "overload.h"

#include <pthread.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "hostile.h"
#include "server.h"

#define GROUPS      2
#define MEGABYTE    1048576.0
#define WARM_UP_S   0.3
#define KEYS        100000
#define FLOOD_KEYS  10000
#define FLOOD_VALUE 1000 /* bytes */
#define PATIENCE_S  10.0

typedef struct phase {
    const char *name;
    const char *before;          /* a request that is sent first; NULL: none */
    size_t before_filler;        /* bytes of a value that follow it */
    double allowed_mb;           /* that the phase stores on purpose: they are no growth */
    bool flood;                  /* clients store new keys of 1,000 bytes, besides */
    hostile_plan groups[GROUPS]; /* who misbehaves, and how */
} phase;

#define HALF "*1000\r\n$4\r\nMSET\r\n$3\r\nkey\r\n$10000000\r\n"

static const phase phases[] = {
    { .name = "5,000 idle connections",
      .groups = { { .connections = 5000, .opening = "PING\r\n", .reads = true } } },
    { .name = "50 readers that never read, 100 KB a reply",
      .before = "*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$100000\r\n",
      .before_filler = 100000,
      .groups = { { .connections = 50, .body = "GET big\r\n", .repeat = 60 } } },
    { .name = "a million pipelined commands, no reply read",
      .before = "SET small xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n",
      .groups = { { .connections = 4, .body = "GET small\r\n", .repeat = 250000 } } },
    { .name = "10 transactions of 40,000 SETs that are queued",
      .groups = { { .connections = 10,
                    .opening = "MULTI\r\n",
                    .body = "*3\r\n$3\r\nSET\r\n$6\r\nqueued\r\n$1000\r\n",
                    .body_filler = 1000,
                    .repeat = 40000,
                    .reads = true } } },
    { .name = "1,000 requests that are never ended",
      .groups = { { .connections = 1000, .opening = HALF, .opening_filler = 16000 } } },
    { .name = "20 subscribers that never read",
      .groups = { { .connections = 20, .opening = "SUBSCRIBE news\r\n" },
                  { .connections = 2,
                    .body = "*3\r\n$7\r\nPUBLISH\r\n$4\r\nnews\r\n$10000\r\n",
                    .body_filler = 10000,
                    .repeat = 1000000,
                    .reads = true } } },
    { .name = "more connections than maxclients",
      .groups = { { .connections = 10500, .opening = "PING\r\n", .reads = true } } },
    { .name = "50 clients that come and go",
      .groups = { { .connections = 50, .opening = "PING\r\n", .reads = true, .returns = true } } },
    { .name = "maxmemory 64mb, allkeys-lru, full",
      .before = "CONFIG SET maxmemory 64mb maxmemory-policy allkeys-lru\r\n",
      .allowed_mb = 64,
      .flood = true },
    { .name = "4 clients that ask for everything",
      .groups = { { .connections = 4,
                    .body = "KEYS *\r\nSCAN 0 COUNT 1000000\r\nKEYS none*\r\nCLIENT LIST\r\nCOMMAND DOCS\r\n",
                    .repeat = 1000000,
                    .reads = true } } },
};
enum { PHASES = sizeof phases / sizeof *phases };

typedef struct finding {
    double growth_mb, p99_ms;
    bool starved; /* who behaves well had no answer for PATIENCE_S */
} finding;

/* ---- the well-behaved ---- */

typedef struct background {
    pthread_t thread;
    load_plan plan;
    load_result result;
    int err;
    fault fault;
} background;

static void *run_background(void *arg)
{
    background *b = arg;

    b->err = load_run(&b->plan, &b->result, &b->fault);
    return NULL;
}

static int background_start(background *b, fault *f)
{
    if (pthread_create(&b->thread, NULL, run_background, b))
        return fault_set(f, "no thread for the load");
    return 0;
}

/* Waits for the end. A server that has not died, but does not answer either, is no error: that is what is asked. */
static int background_end(background *b, server *s, bool *ret_starved, fault *f)
{
    pthread_join(b->thread, NULL);
    *ret_starved = b->err && process_alive(&s->process) && strstr(b->fault.text, "no reply for");
    if (!b->err || *ret_starved)
        return 0;
    *f = b->fault;
    fault_prefix(f, "the clients that behave well: ");
    return contestant_blame(s, f);
}

/* All who use the keys agree on what is stored there. */
static uint64_t value_size(const phase *p)
{
    return p->flood ? FLOOD_VALUE : 16;
}

static load_plan polite_plan(const phase *p, const options *o, const server *s, double seconds)
{
    load_plan plan = server_plan(o, s, value_size(p));

    plan.depth = 1;
    plan.threads = 1;
    plan.set_percent = 10;
    plan.patience = PATIENCE_S;
    plan.keys = p->flood ? FLOOD_KEYS : KEYS;
    plan.seconds = seconds;
    return plan;
}

/* Those who fill a store that is full: they are as polite, but in a hurry. */
static load_plan flood_plan(const options *o, const server *s, double seconds)
{
    load_plan plan = server_plan(o, s, FLOOD_VALUE);

    plan.connections = 4;
    plan.depth = 64;
    plan.threads = 1;
    plan.set_percent = 100;
    plan.in_order = true;
    plan.keys = 100000000;
    plan.seconds = seconds;
    return plan;
}

/* ---- a phase ---- */

static int ask_before(const phase *p, const server *s, fault *f)
{
    char filler[100002], reply[64];
    int fd = load_connect(s->port), err = 0;
    ssize_t n;

    if (fd < 0)
        return fault_set(f, "cannot connect");
    memset(filler, 'x', sizeof filler);
    memcpy(filler + p->before_filler, "\r\n", 2);
    if (send(fd, p->before, strlen(p->before), MSG_NOSIGNAL) < 0 ||
        (p->before_filler && send(fd, filler, p->before_filler + 2, MSG_NOSIGNAL) < 0))
        err = fault_set(f, "it takes no request");
    n = err ? 0 : recv(fd, reply, sizeof reply, 0);
    close(fd);
    return err || (n > 0 && reply[0] == '+') ? err : fault_set(f, "it refuses what the phase begins with");
}

/* Lets them misbehave for so long; the most bytes that the server had meanwhile. */
static int misbehave(const phase *p, const options *o, server *s, size_t *ret_peak, fault *f)
{
    hostile groups[GROUPS] = { 0 };
    double end = load_clock() + o->seconds, next_look = 0;
    int err = 0;

    for (int i = 0; i < GROUPS && !err; i++)
        err = hostile_init(&groups[i], &p->groups[i], s->port, o->share, f);
    for (double now; !err && (now = load_clock()) < end;) {
        size_t bytes;

        for (int i = 0; i < GROUPS; i++)
            hostile_push(&groups[i]);
        if (now < next_look)
            continue;
        next_look = now + 0.01;
        err = process_memory(&s->process, &bytes, f);
        if (!err && bytes > *ret_peak)
            *ret_peak = bytes;
    }
    for (int i = 0; i < GROUPS; i++)
        hostile_done(&groups[i]);
    return err ? contestant_blame(s, f) : 0;
}

static int run_phase(const phase *p, const options *o, server *s, finding *ret, fault *f)
{
    background polite = { .plan = polite_plan(p, o, s, WARM_UP_S) },
               flood = { .plan = flood_plan(o, s, o->seconds) };
    size_t before, peak = 0;
    bool starved;
    int err = server_fill(o, s, p->flood ? FLOOD_KEYS : KEYS, value_size(p), f) ||
              load_run(&polite.plan, &polite.result, f) || process_memory(&s->process, &before, f) ||
              (p->before && ask_before(p, s, f));

    if (err)
        return contestant_blame(s, f);
    polite.plan.seconds = o->seconds + WARM_UP_S;
    if (background_start(&polite, f))
        return -1;
    nanosleep(&(struct timespec){ .tv_nsec = (long)(WARM_UP_S * 1e9) }, NULL);
    if (p->flood && background_start(&flood, f)) {
        pthread_join(polite.thread, NULL);
        return -1;
    }
    err = misbehave(p, o, s, &peak, f);
    if (p->flood && background_end(&flood, s, &starved, f))
        err = -1;
    if (background_end(&polite, s, &ret->starved, f) || err)
        return -1;
    ret->growth_mb = ((double)peak - (double)before) / MEGABYTE - p->allowed_mb;
    ret->growth_mb = ret->growth_mb > 0 ? ret->growth_mb : 0;
    ret->p99_ms = ret->starved ? PATIENCE_S * 1e3 : polite.result.p99_us * 1e-3;
    return 0;
}

static int run_server(const phase *p, const options *o, const contestant *who, const char *dir, finding *ret,
                      fault *f)
{
    server s = { 0 };
    int err = contestant_start(who, &s, dir, NULL, f);

    if (!err)
        err = run_phase(p, o, &s, ret, f);
    if (err)
        fault_prefix(f, "%s: ", p->name);
    contestant_stop(&s, 10);
    return err;
}

/* ---- all of them ---- */

/* Settings stay what they are by default, but for where to listen and that nothing is saved. */
static void set_defaults(options *o)
{
    struct rlimit limit;

    if (!o->seconds)
        o->seconds = 2;
    if (!o->connections)
        o->connections = 200;
    if (!o->share)
        o->share = 1;
    o->threads = 0;
    o->load_threads = 1;
    o->idle_connections = 9900; /* of which maxclients follows: 10,000 */
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void tell(table *growth, table *p99, const lineup *l, finding found[LINEUP_MAX][PHASES])
{
    int redis = lineup_find(l, "redis-server");

    for (unsigned i = 0; i < l->count; i++) {
        if (!server_has_transactions(&l->contestants[i]))
            continue;
        for (unsigned k = 0; k < PHASES; k++) {
            const finding *its = &found[i][k];
            unsigned column = table_column(growth, l->contestants[i].name), row;

            if (its->p99_ms == 0)
                continue; /* not asked for */
            row = table_row(growth, "%s", phases[k].name);
            table_set(growth, row, column, its->growth_mb, "%.1f", its->growth_mb);
            column = table_column(p99, l->contestants[i].name);
            row = table_row(p99, "%s", phases[k].name);
            if (its->starved)
                table_set(p99, row, column, its->p99_ms, "no answer for %.0f s", PATIENCE_S);
            else if (redis < 0 || (unsigned)redis == i || found[redis][k].p99_ms == 0)
                table_set(p99, row, column, its->p99_ms, "%.2f", its->p99_ms);
            else
                table_set(p99, row, column, its->p99_ms, "%.2f (%.2f)", its->p99_ms,
                          its->p99_ms / found[redis][k].p99_ms);
        }
    }
}

static int run_all(const lineup *l, const options *o, const char *dir, finding found[LINEUP_MAX][PHASES],
                   fault *f)
{
    for (unsigned k = 0; k < PHASES; k++) {
        if (o->rows && !strstr(phases[k].name, o->rows))
            continue;
        fprintf(stderr, "kvbench: %s ...\n", phases[k].name);
        for (unsigned i = 0; i < l->count; i++)
            if (server_has_transactions(&l->contestants[i]) &&
                run_server(&phases[k], o, &l->contestants[i], dir, &found[i][k], f))
                return -1;
    }
    return 0;
}

static int check_rows(const options *o, fault *f)
{
    for (unsigned k = 0; k < PHASES; k++)
        if (!o->rows || strstr(phases[k].name, o->rows))
            return 0;
    return fault_usage(f, "--rows: no phase has \"%s\" in its name", o->rows);
}

int overload_bench(options *o, report *r, fault *f)
{
    static finding found[LINEUP_MAX][PHASES];
    static lineup l;
    char dir[256], title[160];
    table *growth, *p99;
    int err;

    set_defaults(o);
    if (check_rows(o, f) || lineup_init(&l, o, f) || process_make_dir("kvbench", dir, sizeof dir, f))
        return -1;
    err = run_all(&l, o, dir, found, f);
    process_remove_dir(dir);
    if (err)
        return err;
    growth = report_add(r, "Memory that the server grew by at the most, MB");
    snprintf(title, sizeof title,
             "99 in 100 requests of %llu other clients took at most, ms (x redis-server)",
             (unsigned long long)o->connections);
    p99 = report_add(r, title);
    if (!growth || !p99)
        return fault_set(f, "out of memory");
    tell(growth, p99, &l, found);
    return 0;
}
