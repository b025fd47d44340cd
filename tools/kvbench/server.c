/* SPDX-License-Identifier: MIT */
#include "server.h"

#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "meter.h"

static void set_defaults(options *o)
{
    if (!o->threads)
        o->threads = o->strategies ? (uint64_t)get_nprocs() : 1;
    if (!o->load_threads)
        o->load_threads = o->strategies ? o->threads : 1;
    if (!o->connections)
        o->connections = 50;
    if (o->load_threads > o->connections)
        o->load_threads = o->connections;
    if (!o->keys)
        o->keys = o->callgrind ? 100000 : 1000000;
    if (!o->value_size)
        o->value_size = 16;
    if (!(o->seconds > 0))
        o->seconds = 1;
}

load_plan server_plan(const options *o, const server *s, uint64_t value_size)
{
    load_plan plan = { .connections = (unsigned)o->connections,
                       .depth = (unsigned)o->depth,
                       .threads = (unsigned)o->load_threads,
                       .keys = o->keys,
                       .patience = 20,
                       .seed = o->seed };

    protocol_init(&plan.protocol, s ? s->contestant->protocol : PROTOCOL_RESP, value_size);
    if (s) {
        plan.port = s->port;
        plan.protocol.any_value = s->contestant->is_floor;
    }
    return plan;
}

bool server_has_transactions(const contestant *c)
{
    return c->protocol == PROTOCOL_RESP && !c->is_floor;
}

int server_fill(const options *o, server *s, uint64_t keys, uint64_t value_size, fault *f)
{
    load_plan plan = server_plan(o, s, value_size);
    load_result result;

    plan.keys = plan.requests = keys;
    plan.in_order = true;
    plan.set_percent = 100;
    plan.depth = 64;
    return load_run(&plan, &result, f) ? contestant_blame(s, f) : 0;
}

/* ---- counted rows: instructions and system calls -------------------------------------------- */

enum { GET_DEEP, SET_DEEP, GET_SINGLE, SET_TEN, EXEC_TEN, COUNTED_ROWS };

static int count_rows(const meter *m, const lineup *l, const options *o, const char *dir, uint64_t keys,
                      uint64_t requests, unsigned connections, const char *format, table *t, fault *f)
{
    load_plan fill = server_plan(o, NULL, o->value_size), plans[COUNTED_ROWS];
    char rows[COUNTED_ROWS][64];

    fill.threads = 1;
    fill.connections = connections;
    fill.patience = 120; /* valgrind makes a server 50 times slower */
    fill.keys = keys;
    for (int i = 0; i < COUNTED_ROWS; i++) {
        plans[i] = fill;
        plans[i].requests = requests;
    }
    snprintf(rows[GET_DEEP], sizeof rows[0], "GET, pipeline %llu", (unsigned long long)o->depth);
    snprintf(rows[SET_DEEP], sizeof rows[0], "SET, pipeline %llu", (unsigned long long)o->depth);
    snprintf(rows[GET_SINGLE], sizeof rows[0], "GET, no pipeline");
    snprintf(rows[SET_TEN], sizeof rows[0], "SET, pipeline %u", SERVER_TRANSACTION);
    snprintf(rows[EXEC_TEN], sizeof rows[0], "SET, %u in MULTI and EXEC", SERVER_TRANSACTION);
    plans[SET_DEEP].set_percent = plans[SET_TEN].set_percent = plans[EXEC_TEN].set_percent = 100;
    plans[SET_TEN].depth = plans[EXEC_TEN].depth = plans[EXEC_TEN].transaction = SERVER_TRANSACTION;
    plans[GET_SINGLE].depth = 1;
    plans[GET_SINGLE].connections = (unsigned)o->connections;
    fill.in_order = true;
    fill.requests = keys;
    fill.set_percent = 100;
    fill.depth = 64;
    for (unsigned c = 0; c < l->count; c++) {
        double per_request[COUNTED_ROWS];
        int n = server_has_transactions(&l->contestants[c]) ? COUNTED_ROWS : SET_TEN;
        unsigned column;

        if (m == &METER_INSTRUCTIONS && l->contestants[c].protocol == PROTOCOL_MEMCACHED) {
            fprintf(stderr, "kvbench: memcached sets limits that valgrind refuses: left out\n");
            continue;
        }
        column = table_column(t, l->contestants[c].name);

        fprintf(stderr, "kvbench: %s under %s ...\n", l->contestants[c].name, m->tool);
        if (meter_run(m, &l->contestants[c], dir, o->keep, &fill, plans, (unsigned)n, per_request, f))
            return -1;
        for (int i = 0; i < n; i++)
            table_set(t, table_row(t, "%s", rows[i]), column, per_request[i], format, per_request[i]);
    }
    return 0;
}

static int instructions(const lineup *l, const options *o, const char *dir, report *r, fault *f)
{
    table *t = report_add(r, "User-space instructions per request");

    if (!t)
        return fault_set(f, "out of memory");
    if (!meter_usable(&METER_INSTRUCTIONS))
        return fault_set(f, "valgrind is not installed: it counts the instructions");
    return count_rows(&METER_INSTRUCTIONS, l, o, dir, o->keys, o->requests ? o->requests : 100000, 1, "%.0f",
                      t, f);
}

static int system_calls(const lineup *l, const options *o, const char *dir, report *r, fault *f)
{
    table *t;

    if (!meter_usable(&METER_SYSCALLS)) {
        fprintf(stderr, "kvbench: strace is not installed or not permitted: no system calls are counted\n");
        return 0;
    }
    t = report_add(r, "System calls per request");
    if (!t)
        return fault_set(f, "out of memory");
    return count_rows(&METER_SYSCALLS, l, o, dir, 1000, 20000, (unsigned)o->connections, "%.3f", t, f);
}

int server_bench(options *o, report *r, fault *f)
{
    static lineup l; /* large, and there is one run per process */
    char dir[256];
    int err;

    set_defaults(o);
    if (lineup_init(&l, o, f) || process_make_dir("kvbench", dir, sizeof dir, f))
        return -1;
    if (o->callgrind) {
        err = instructions(&l, o, dir, r, f);
    } else {
        err = speed_run(&l, o, dir, r, f);
        if (!err && o->strace)
            err = system_calls(&l, o, dir, r, f);
        if (!err && !o->strategies)
            err = memory_run(&l, o, dir, r, f);
    }
    process_remove_dir(dir);
    return err;
}
