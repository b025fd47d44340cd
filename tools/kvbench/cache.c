/* cache.c - see cache.h.
 *
 * Hit rates: a server has room for a tenth of the keys; a trace by Zipf's law asks for them, and stores what is missing. The
 * same trace through a list of as many keys as the server held in the end, true LRU, tells what was to be reached; and so
 * does true LFU, which counts the uses of a key for as long as it has it. The second half of the trace is counted.
 *
 * Cost: new keys are stored, once while the store grows, from half of that number of keys to one and a half times, and
 * once while it is full. Both have about the same number of keys in them. Before it counts as full, the same store has its
 * keys overwritten: that is what its SETs cost when nothing has to go. Servers take turns, round after round.
 *
 * SPDX-License-Identifier: MIT */
#include "cache.h"

#include <hiredis/hiredis.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "median.h"
#include "server.h"

#define PIPELINE   16
#define EXPONENT   0.99
#define COST_KEYS  1000000
#define COST_VALUE 32
#define ROUNDS_MAX 99

static void set_defaults(options *o)
{
    o->threads = 1;
    o->connections = 20;
    o->load_threads = 1;
    if (!o->keys)
        o->keys = 200000;
    if (!o->value_size)
        o->value_size = 100;
    if (!o->requests)
        o->requests = 2000000;
}

/* ---- the trace ---- */

static uint64_t random_next(uint64_t *state) /* SplitMix64 */
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

/* NULL: memory is out. */
static uint32_t *make_trace(const options *o)
{
    uint32_t *trace = malloc(o->requests * sizeof *trace);
    double *weights = malloc(o->keys * sizeof *weights), sum = 0;
    uint64_t state = o->seed;

    for (uint64_t i = 0; weights && i < o->keys; i++)
        weights[i] = sum += pow((double)(i + 1), -EXPONENT);
    for (uint64_t i = 0; trace && weights && i < o->requests; i++) {
        double at = (double)(random_next(&state) >> 11) * 0x1p-53 * sum;
        uint64_t low = 0, high = o->keys - 1;

        while (low < high) {
            uint64_t middle = low + (high - low) / 2;

            if (weights[middle] < at)
                low = middle + 1;
            else
                high = middle;
        }
        trace[i] = (uint32_t)low;
    }
    if (!weights) {
        free(trace);
        trace = NULL;
    }
    free(weights);
    return trace;
}

/* ---- the truth ---- */

/* Keys that are in, in a heap: the one to go first, by rank, at its root. */
typedef struct truth {
    uint64_t *rank;         /* [keys]: when it was used last, or how often since it is in */
    uint32_t *heap, *place; /* place: 1 + where in the heap, 0 when it is out */
    size_t count;
} truth;

static void put_at(truth *t, size_t at, uint32_t key)
{
    t->heap[at] = key;
    t->place[key] = (uint32_t)at + 1;
}

static void sink(truth *t, size_t at, uint32_t key)
{
    for (size_t child; (child = 2 * at + 1) < t->count; at = child) {
        if (child + 1 < t->count && t->rank[t->heap[child + 1]] < t->rank[t->heap[child]])
            child++;
        if (t->rank[key] <= t->rank[t->heap[child]])
            break;
        put_at(t, at, t->heap[child]);
    }
    put_at(t, at, key);
}

static void rise(truth *t, size_t at, uint32_t key)
{
    for (; at > 0 && t->rank[key] < t->rank[t->heap[(at - 1) / 2]]; at = (at - 1) / 2)
        put_at(t, at, t->heap[(at - 1) / 2]);
    put_at(t, at, key);
}

/* Percent; negative: memory is out. */
static double true_hits(const options *o, const uint32_t *trace, size_t capacity, bool lfu)
{
    truth t = { .rank = calloc(o->keys, sizeof *t.rank),
                .heap = calloc(capacity, sizeof *t.heap),
                .place = calloc(o->keys, sizeof *t.place) };
    uint64_t hits = 0;
    bool ok = t.rank && t.heap && t.place;

    for (uint64_t i = 0; ok && i < o->requests; i++) {
        uint32_t key = trace[i];
        bool hit = t.place[key] != 0;

        t.rank[key] = lfu ? t.rank[key] + 1 : i + 1;
        hits += hit && i >= o->requests / 2;
        if (hit) {
            sink(&t, t.place[key] - 1, key);
        } else if (t.count == capacity) {
            t.place[t.heap[0]] = 0;
            if (lfu)
                t.rank[t.heap[0]] = 0;
            sink(&t, 0, key);
        } else {
            rise(&t, t.count++, key);
        }
    }
    free(t.rank);
    free(t.heap);
    free(t.place);
    return ok ? 100.0 * (double)hits / (double)(o->requests - o->requests / 2) : -1;
}

/* ---- asking ---- */

static int failed(const redisContext *c, redisReply *r, const char *what, fault *f)
{
    int err = 0;

    if (!r)
        err = fault_set(f, "%s: %s", what, c->errstr[0] ? c->errstr : "no answer");
    else if (r->type == REDIS_REPLY_ERROR)
        err = fault_set(f, "it answers \"%s\" to %s", r->str, what);
    return err;
}

static int tell_it(redisContext *c, fault *f, const char *format, unsigned long long value)
{
    redisReply *r = redisCommand(c, format, value);
    int err = failed(c, r, format, f);

    freeReplyObject(r);
    return err;
}

static int ask_number(redisContext *c, const char *command, const char *field, uint64_t *ret, fault *f)
{
    redisReply *r = redisCommand(c, command);
    const char *at = r && r->type == REDIS_REPLY_STRING ? strstr(r->str, field) : NULL;
    int err = failed(c, r, command, f);

    if (!err && r->type == REDIS_REPLY_INTEGER)
        *ret = (uint64_t)r->integer;
    else if (!err && at)
        *ret = strtoull(at + strlen(field), NULL, 10);
    else if (!err)
        err = fault_set(f, "it tells no %s in %s", field, command);
    freeReplyObject(r);
    return err;
}

/* Some requests of the trace; what is missing is stored. */
static int run_some(redisContext *c, const uint32_t keys[], int n, const char *value, size_t value_size,
                    uint64_t *hits, fault *f)
{
    redisReply *r = NULL;
    int missing = 0;

    for (int i = 0; i < n; i++)
        redisAppendCommand(c, "GET key:%u", keys[i]);
    for (int i = 0; i < n; i++) {
        bool hit;

        if (redisGetReply(c, (void **)&r) != REDIS_OK)
            r = NULL;
        if (failed(c, r, "GET", f)) {
            freeReplyObject(r);
            return -1;
        }
        hit = r->type == REDIS_REPLY_STRING;
        freeReplyObject(r);
        *hits += hit;
        if (!hit) {
            redisAppendCommand(c, "SET key:%u %b", keys[i], value, value_size);
            missing++;
        }
    }
    while (missing-- > 0) {
        if (redisGetReply(c, (void **)&r) != REDIS_OK)
            r = NULL;
        if (failed(c, r, "SET", f)) {
            freeReplyObject(r);
            return -1;
        }
        freeReplyObject(r);
    }
    return 0;
}

static int run_trace(redisContext *c, const options *o, const uint32_t *trace, double *ret_percent, fault *f)
{
    char *value = malloc(o->value_size);
    uint64_t hits = 0, half = o->requests / 2;
    int err = value ? 0 : fault_set(f, "out of memory");

    if (value)
        memset(value, 'v', o->value_size);
    for (uint64_t i = 0; i < o->requests && !err; i += PIPELINE) {
        int n = o->requests - i < PIPELINE ? (int)(o->requests - i) : PIPELINE;
        uint64_t before = hits;

        err = run_some(c, trace + i, n, value, o->value_size, &hits, f);
        if (i < half)
            hits = before;
    }
    free(value);
    *ret_percent = 100.0 * (double)hits / (double)(o->requests - half);
    return err;
}

/* Room for a tenth of the keys: what they take when nothing is limited. */
static int make_tight(redisContext *c, const options *o, const char *policy, fault *f)
{
    uint64_t used = 0;
    char *value = malloc(o->value_size);
    char command[96];
    int err = value ? 0 : fault_set(f, "out of memory");

    if (value)
        memset(value, 'v', o->value_size);
    for (uint64_t i = 0; i < o->keys / 10 && !err; i++) {
        redisReply *r = redisCommand(c, "SET key:%llu %b", (unsigned long long)i, value, o->value_size);

        err = failed(c, r, "SET", f);
        freeReplyObject(r);
    }
    free(value);
    snprintf(command, sizeof command, "CONFIG SET maxmemory-policy %s", policy);
    return err || ask_number(c, "INFO memory", "used_memory:", &used, f) ||
           tell_it(c, f, "CONFIG SET maxmemory %llu", used) || tell_it(c, f, command, 0) ||
           tell_it(c, f, "FLUSHALL", 0);
}

/* ---- the rows ---- */

typedef struct outcome_of {
    double percent, lru, lfu;
    uint64_t keys;
} outcome_of;

static redisContext *connect_to(const server *s, fault *f)
{
    struct timeval patience = { .tv_sec = 20 };
    redisContext *c = redisConnectWithTimeout("127.0.0.1", s->port, patience);

    if (c && !c->err)
        return c;
    fault_set(f, "%s", c ? c->errstr : "out of memory");
    if (c)
        redisFree(c);
    return NULL;
}

static int measure_hits(const contestant *who, const options *o, const char *dir, const char *policy,
                        const uint32_t *trace, outcome_of *ret, fault *f)
{
    server s;
    redisContext *c;
    int err;

    if (contestant_start(who, &s, dir, NULL, f))
        return -1;
    c = connect_to(&s, f);
    err = !c || make_tight(c, o, policy, f) || run_trace(c, o, trace, &ret->percent, f) ||
          ask_number(c, "DBSIZE", "", &ret->keys, f);
    if (err)
        contestant_blame(&s, f);
    if (c)
        redisFree(c);
    contestant_stop(&s, 10);
    if (!err && ret->keys > 0) {
        ret->lru = true_hits(o, trace, ret->keys, false);
        ret->lfu = true_hits(o, trace, ret->keys, true);
    }
    return err ? -1 : 0;
}

/* CPU microseconds per SET of a store, all of about the same size. */
typedef struct cost {
    double growing, overwriting, full;
} cost;

/* CPU microseconds per SET of `requests` keys out of so many. */
static int set_some(const options *o, server *s, uint64_t keys, uint64_t requests, uint64_t seed,
                    double *ret_us, fault *f)
{
    load_plan plan = server_plan(o, s, COST_VALUE);
    load_result result;
    double before = process_cpu(&s->process);

    plan.keys = keys;
    plan.requests = requests;
    plan.set_percent = 100;
    plan.depth = 64;
    plan.seed = seed;
    if (load_run(&plan, &result, f))
        return contestant_blame(s, f);
    *ret_us = (process_cpu(&s->process) - before) * 1e6 / (double)result.requests;
    return 0;
}

static int set_new(const options *o, server *s, uint64_t requests, uint64_t seed, double *ret_us, fault *f)
{
    return set_some(o, s, UINT32_MAX, requests, seed, ret_us, f);
}

static int measure_store(const options *o, server *s, redisContext *c, uint64_t n, cost *ret, fault *f)
{
    uint64_t used = 0;
    double unused;

    return set_new(o, s, n / 2, 1, &unused, f) || set_new(o, s, n, 2, &ret->growing, f) ||
           tell_it(c, f, "FLUSHALL", 0) || server_fill(o, s, n, COST_VALUE, f) ||
           set_some(o, s, n, n, 3, &ret->overwriting, f) ||
           ask_number(c, "INFO memory", "used_memory:", &used, f) ||
           tell_it(c, f, "CONFIG SET maxmemory-policy allkeys-lru", 0) ||
           tell_it(c, f, "CONFIG SET maxmemory %llu", used) || set_new(o, s, n / 2, 4, &unused, f) ||
           set_new(o, s, n, 5, &ret->full, f);
}

static int measure_cost(const contestant *who, const options *o, const char *dir, cost *ret, fault *f)
{
    server s;
    redisContext *c;
    int err;

    if (contestant_start(who, &s, dir, NULL, f))
        return -1;
    fprintf(stderr, "kvbench: %s, growing, overwriting and full ...\n", who->name);
    c = connect_to(&s, f);
    err = !c || measure_store(o, &s, c, o->keys < COST_KEYS / 10 ? o->keys * 10 : COST_KEYS, ret, f);
    if (err)
        contestant_blame(&s, f);
    if (c)
        redisFree(c);
    contestant_stop(&s, 10);
    return err ? -1 : 0;
}

static int tell_hits(const lineup *l, const options *o, const char *dir, report *r, fault *f)
{
    static const char *const policies[] = { "allkeys-lru", "allkeys-lfu", "allkeys-random" };
    uint32_t *trace = make_trace(o);
    table *t = report_add(r, "Hits in a Zipf trace, percent (true LRU, true LFU of as many keys)");
    int err = trace && t ? 0 : fault_set(f, "out of memory");

    for (unsigned i = 0; i < l->count && !err; i++)
        for (size_t p = 0; p < sizeof policies / sizeof *policies && !err; p++) {
            outcome_of got = { 0 };

            if (!server_has_transactions(&l->contestants[i]))
                continue;
            fprintf(stderr, "kvbench: %s with %s ...\n", l->contestants[i].name, policies[p]);
            err = measure_hits(&l->contestants[i], o, dir, policies[p], trace, &got, f);
            if (!err)
                table_set(t, table_row(t, "%s", policies[p]), table_column(t, l->contestants[i].name),
                          got.percent, "%.1f (%.1f, %.1f)", got.percent, got.lru, got.lfu);
        }
    free(trace);
    return err;
}

enum { GROWING, OVERWRITING, FULL, FULL_TO_OVERWRITING, FULL_TO_GROWING, COST_ROWS };

static const char *const cost_rows[COST_ROWS] = {
    [GROWING] = "new keys, the store grows",
    [OVERWRITING] = "keys that are there, nothing is evicted",
    [FULL] = "new keys, the store is full, allkeys-lru",
    [FULL_TO_OVERWRITING] = "full / keys that are there",
    [FULL_TO_GROWING] = "full / the store grows",
};

static void keep_cost(double figures[COST_ROWS][ROUNDS_MAX], size_t round, const cost *c)
{
    figures[GROWING][round] = c->growing;
    figures[OVERWRITING][round] = c->overwriting;
    figures[FULL][round] = c->full;
    figures[FULL_TO_OVERWRITING][round] = c->full / c->overwriting;
    figures[FULL_TO_GROWING][round] = c->full / c->growing;
}

static int measure_costs(const lineup *l, const options *o, const char *dir,
                         double figures[LINEUP_MAX][COST_ROWS][ROUNDS_MAX], fault *f)
{
    for (size_t round = 0; round < o->rounds; round++)
        for (unsigned i = 0; i < l->count; i++) {
            cost got = { 0 };

            if (!server_has_transactions(&l->contestants[i]))
                continue;
            if (measure_cost(&l->contestants[i], o, dir, &got, f))
                return -1;
            keep_cost(figures[i], round, &got);
        }
    return 0;
}

static int tell_cost(const lineup *l, const options *o, const char *dir, report *r, fault *f)
{
    static double figures[LINEUP_MAX][COST_ROWS][ROUNDS_MAX];
    table *t = report_add(r, "Server CPU time per SET, microseconds");

    if (!t)
        return fault_set(f, "out of memory");
    if (measure_costs(l, o, dir, figures, f))
        return -1;
    for (unsigned i = 0; i < l->count; i++)
        for (int row = 0; row < COST_ROWS && server_has_transactions(&l->contestants[i]); row++) {
            double value = median(figures[i][row], (size_t)o->rounds);

            table_set(t, table_row(t, "%s", cost_rows[row]), table_column(t, l->contestants[i].name), value,
                      "%.2f", value);
        }
    return 0;
}

int cache_bench(options *o, report *r, fault *f)
{
    static lineup l;
    char dir[256];
    int err;

    set_defaults(o);
    if (lineup_init(&l, o, f) || process_make_dir("kvbench", dir, sizeof dir, f))
        return -1;
    err = tell_hits(&l, o, dir, r, f) || tell_cost(&l, o, dir, r, f);
    process_remove_dir(dir);
    return err ? -1 : 0;
}
