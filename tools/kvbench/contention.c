/* SPDX-License-Identifier: MIT */
#include "contention.h"

#include <hiredis/hiredis.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "lineup.h"
#include "server.h"

#define SHARDS_ASKED 1024

static void set_defaults(options *o)
{
    if (!o->threads)
        o->threads = get_nprocs() < 2 ? 2 : (uint64_t)get_nprocs();
    if (!o->load_threads)
        o->load_threads = o->threads;
    if (!o->connections)
        o->connections = 50;
    if (o->load_threads > o->connections)
        o->load_threads = o->connections;
    if (!o->keys)
        o->keys = 10000;
    if (!o->value_size)
        o->value_size = 16;
    if (!(o->seconds > 0))
        o->seconds = 3;
    if (!o->distribution)
        o->distribution = "zipf";
    o->only = "kvserver";
}

/* ---- asking --------------------------------------------------------------------------------- */

static redisReply *ask(redisContext *c, fault *f, const char *format)
{
    redisReply *r = redisCommand(c, format);

    if (!r)
        fault_set(f, "%s: %s", format, c->errstr[0] ? c->errstr : "no answer");
    else if (r->type == REDIS_REPLY_ERROR) {
        fault_set(f, "it answers \"%s\" to %s", r->str, format);
        freeReplyObject(r);
        r = NULL;
    }
    return r;
}

/* The value of a field, or NULL. */
static const redisReply *field(const redisReply *map, const char *name)
{
    for (size_t i = 0; map && map->type == REDIS_REPLY_ARRAY && i + 1 < map->elements; i += 2)
        if (map->element[i]->type == REDIS_REPLY_STRING && strcmp(map->element[i]->str, name) == 0)
            return map->element[i + 1];
    return NULL;
}

static int number(const redisReply *map, const char *name, double *ret, fault *f)
{
    const redisReply *r = field(map, name);

    if (!r || r->type != REDIS_REPLY_INTEGER)
        return fault_set(f, "LOCKSTAT tells no number \"%s\"", name);
    *ret = (double)r->integer;
    return 0;
}

/* How often and how long. */
typedef struct times {
    double count, total_ns, max_ns;
} times;

static int shard_times(const redisReply *shard, times *wait, times *hold, fault *f)
{
    return number(shard, "waits", &wait->count, f) || number(shard, "wait-ns", &wait->total_ns, f) ||
           number(shard, "wait-max-ns", &wait->max_ns, f) || number(shard, "holds", &hold->count, f) ||
           number(shard, "hold-ns", &hold->total_ns, f) || number(shard, "hold-max-ns", &hold->max_ns, f);
}

/* ---- checking ------------------------------------------------------------------------------- */

/* What all shards say together, is what the sum says; and INFO says it, too. */
static int check_sums(redisContext *c, const redisReply *told, fault *f)
{
    const redisReply *shards = field(told, "shards");
    double waits = 0, wait_ns = 0, count = 0, total = 0, unlisted = 0;
    redisReply *info;
    const char *at;
    int err = 0;

    if (!shards || shards->type != REDIS_REPLY_ARRAY)
        return fault_set(f, "LOCKSTAT tells no shards");
    for (size_t i = 0; i < shards->elements; i++) {
        times wait = { 0 }, hold = { 0 };

        if (shard_times(shards->element[i], &wait, &hold, f))
            return -1;
        waits += wait.count;
        wait_ns += wait.total_ns;
    }
    if (number(field(told, "wait"), "count", &count, f) ||
        number(field(told, "wait"), "total-ns", &total, f) || number(told, "unlisted-waits", &unlisted, f))
        return -1;
    if (waits + unlisted != count || (unlisted == 0 && wait_ns != total))
        return fault_set(f, "LOCKSTAT does not add up: %.0f waits of shards, %.0f in all", waits, count);
    info = ask(c, f, "INFO contention");
    if (!info)
        return -1;
    at = info->type == REDIS_REPLY_STRING ? strstr(info->str, "lock_waits:") : NULL;
    if (!at || strtod(at + strlen("lock_waits:"), NULL) != count)
        err = fault_set(f, "INFO contention and LOCKSTAT do not agree on %.0f waits", count);
    freeReplyObject(info);
    return err;
}

/* ---- telling -------------------------------------------------------------------------------- */

static int tell_load(report *r, const load_result *load, fault *f)
{
    table *t = report_add(r, "Load");
    unsigned column;

    if (!t)
        return fault_set(f, "out of memory");
    column = table_column(t, "kvserver");
    table_set(t, table_row(t, "requests per second"), column, (double)load->requests / load->seconds, "%.0f",
              (double)load->requests / load->seconds);
    table_set(t, table_row(t, "latency of a pipeline, p50, microseconds"), column, load->p50_us, "%.0f",
              load->p50_us);
    table_set(t, table_row(t, "latency of a pipeline, p99, microseconds"), column, load->p99_us, "%.0f",
              load->p99_us);
    return 0;
}

static int tell_sums(report *r, const redisReply *told, const load_result *load, fault *f)
{
    static const char *const parts[] = { "wait", "hold" };
    static const struct {
        const char *field, *row;
    } figures[] = { { "p50-ns", "p50, ns" },    { "p90-ns", "p90, ns" }, { "p99-ns", "p99, ns" },
                    { "p999-ns", "p99.9, ns" }, { "max-ns", "max, ns" }, { "total-ns", "in all, ns" } };
    table *t = report_add(r, "Locks");
    double value = 0;

    if (!t)
        return fault_set(f, "out of memory");
    for (size_t i = 0; i < 2; i++) {
        const redisReply *part = field(told, parts[i]);
        unsigned column = table_column(t, i ? "held after a wait" : "waited for");

        if (number(part, "count", &value, f))
            return -1;
        table_set(t, table_row(t, "times"), column, value, "%.0f", value);
        table_set(t, table_row(t, "times per million requests"), column, value * 1e6 / (double)load->requests,
                  "%.1f", value * 1e6 / (double)load->requests);
        for (size_t j = 0; j < sizeof figures / sizeof *figures; j++) {
            if (number(part, figures[j].field, &value, f))
                return -1;
            table_set(t, table_row(t, "%s", figures[j].row), column, value, "%.0f", value);
        }
    }
    return 0;
}

static void set_times(table *t, unsigned row, const char *name, const times *x)
{
    char column[48];
    double mean = x->count ? x->total_ns / x->count : 0;

    snprintf(column, sizeof column, "%ss", name);
    table_set(t, row, table_column(t, column), x->count, "%.0f", x->count);
    snprintf(column, sizeof column, "mean %s, ns", name);
    table_set(t, row, table_column(t, column), mean, "%.0f", mean);
    snprintf(column, sizeof column, "max %s, ns", name);
    table_set(t, row, table_column(t, column), x->max_ns, "%.0f", x->max_ns);
}

static int tell_shards(report *r, const options *o, const redisReply *told, fault *f)
{
    const redisReply *shards = field(told, "shards");
    table *t = report_add(r, "Shards waited for longest");
    double all = 0;

    if (!t)
        return fault_set(f, "out of memory");
    if (number(field(told, "wait"), "total-ns", &all, f))
        return -1;
    for (size_t i = 0; i < shards->elements && i < o->top; i++) {
        const redisReply *shard = shards->element[i];
        times wait = { 0 }, hold = { 0 };
        double db = 0, index = 0;
        unsigned row;

        if (shard_times(shard, &wait, &hold, f) || number(shard, "db", &db, f) ||
            number(shard, "shard", &index, f))
            return -1;
        row = table_row(t, "db %.0f, shard %.0f", db, index);
        set_times(t, row, "wait", &wait);
        table_set(t, row, table_column(t, "share of waiting"), all ? wait.total_ns / all : 0, "%.1f%%",
                  all ? 100 * wait.total_ns / all : 0);
        set_times(t, row, "hold", &hold);
    }
    return 0;
}

/* Keys are those of the load, which print. */
static int tell_keys(report *r, const options *o, const redisReply *told, fault *f)
{
    const redisReply *keys = field(told, "keys");
    table *t = report_add(r, "Keys waited for most often");

    if (!t)
        return fault_set(f, "out of memory");
    if (!keys || keys->type != REDIS_REPLY_ARRAY)
        return fault_set(f, "LOCKSTAT tells no keys");
    for (size_t i = 0; i < keys->elements && i < o->top; i++) {
        const redisReply *key = field(keys->element[i], "key");
        double waits = 0, error = 0;
        unsigned row;

        if (number(keys->element[i], "waits", &waits, f) || number(keys->element[i], "error", &error, f))
            return -1;
        row = table_row(t, "%.60s", key && key->type == REDIS_REPLY_STRING ? key->str : "(gone)");
        table_set(t, row, table_column(t, "waits"), waits, "%.0f", waits);
        table_set(t, row, table_column(t, "too high by at most"), error, "%.0f", error);
    }
    return 0;
}

/* ---- the run -------------------------------------------------------------------------------- */

static load_distribution distribution_of(const options *o)
{
    return strcmp(o->distribution, "zipf") == 0  ? LOAD_ZIPF
           : strcmp(o->distribution, "hot") == 0 ? LOAD_HOT
                                                 : LOAD_UNIFORM;
}

static int measure(const options *o, server *s, redisContext *c, report *r, fault *f)
{
    load_plan plan = server_plan(o, s, o->value_size);
    load_result load;
    redisReply *told = NULL;
    double measured = 0;
    int err = -1;

    plan.distribution = distribution_of(o);
    plan.set_percent = (unsigned)o->set_percent;
    plan.seconds = o->seconds;
    plan.requests = o->requests;
    if (server_fill(o, s, o->keys, o->value_size, f))
        return -1;
    told = ask(c, f, "LOCKSTAT RESET");
    if (!told)
        return -1;
    freeReplyObject(told);
    if (load_run(&plan, &load, f))
        return contestant_blame(s, f);
    told = redisCommand(c, "LOCKSTAT TOP %d", SHARDS_ASKED);
    if (!told || told->type != REDIS_REPLY_ARRAY) {
        fault_set(f, "it answers \"%s\" to LOCKSTAT", told && told->str ? told->str : "");
        goto out;
    }
    if (number(told, "measured", &measured, f) || check_sums(c, told, f))
        goto out;
    if (!measured)
        fprintf(stderr, "kvbench: this server measures no waits (lockstat no, or --sharing actor)\n");
    err = tell_load(r, &load, f) || tell_sums(r, told, &load, f) || tell_shards(r, o, told, f) ||
          tell_keys(r, o, told, f);
out:
    if (told)
        freeReplyObject(told);
    return err;
}

int contention_bench(options *o, report *r, fault *f)
{
    static lineup l; /* large, and there is one run per process */
    struct timeval patience = { .tv_sec = 20 };
    redisContext *c = NULL;
    char dir[256];
    server s;
    int err;

    set_defaults(o);
    if (lineup_init(&l, o, f) || process_make_dir("kvbench", dir, sizeof dir, f))
        return -1;
    err = contestant_start(&l.contestants[0], &s, dir, NULL, f);
    if (err)
        goto out;
    c = redisConnectWithTimeout("127.0.0.1", s.port, patience);
    if (!c || c->err)
        err = fault_set(f, "kvserver: %s", c ? c->errstr : "out of memory");
    else {
        redisSetTimeout(c, patience);
        err = measure(o, &s, c, r, f);
    }
    if (c)
        redisFree(c);
    contestant_stop(&s, 10);
out:
    process_remove_dir(dir);
    return err;
}
