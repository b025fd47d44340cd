/* memory.c - resident memory per key and per idle connection.
 *
 * A fresh server for each figure; what it holds before is subtracted. Memory per key is everything that
 * the process grew by, whatever its allocator kept for later: that is what the machine must have.
 *
 * SPDX-License-Identifier: MIT */
#include <poll.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "server.h"

#define SETTLE_MS 3000 /* servers shrink the buffers of idle connections every second or two */

static int memory_of(server *s, size_t *ret_bytes, fault *f)
{
    return process_memory(&s->process, ret_bytes, f) ? contestant_blame(s, f) : 0;
}

static int per_key(const contestant *c, const options *o, const char *dir, uint64_t value_size,
                   double *ret_bytes, fault *f)
{
    server s;
    size_t before = 0, after = 0;
    int err;

    fprintf(stderr, "kvbench: memory of %s with %llu keys ...\n", c->name,
            (unsigned long long)o->memory_keys);
    if (contestant_start(c, &s, dir, NULL, f))
        return -1;
    err = memory_of(&s, &before, f);
    if (!err)
        err = server_fill(o, &s, o->memory_keys, value_size, f);
    if (!err)
        err = memory_of(&s, &after, f);
    contestant_stop(&s, 10);
    *ret_bytes = ((double)after - (double)before) / (double)o->memory_keys;
    return err;
}

static int per_connection(const contestant *c, const char *dir, int fds[], unsigned count, double *ret_bytes,
                          fault *f)
{
    server s;
    size_t before = 0, after = 0;
    int err;

    fprintf(stderr, "kvbench: %u idle connections to %s ...\n", count, c->name);
    if (contestant_start(c, &s, dir, NULL, f))
        return -1;
    err = memory_of(&s, &before, f);
    if (!err) {
        err = load_open_idle(c->protocol, s.port, fds, count, f);
        if (err)
            contestant_blame(&s, f);
    }
    if (!err) {
        poll(NULL, 0, SETTLE_MS);
        err = memory_of(&s, &after, f);
        load_close_idle(fds, count);
    }
    contestant_stop(&s, 10);
    *ret_bytes = ((double)after - (double)before) / count;
    return err;
}

/* As many as asked for, as far as the limit of open files goes, which is raised for us and the servers. */
static unsigned idle_count(const options *o)
{
    unsigned most = lineup_connections_max(o);
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    return o->idle_connections < most ? (unsigned)o->idle_connections : most;
}

int memory_run(const lineup *l, const options *o, const char *dir, report *r, fault *f)
{
    static const uint64_t VALUE_SIZES[] = { 8, 32 };
    unsigned count = idle_count(o);
    int *fds, err = 0;
    table *t;

    if (!o->memory && !o->idle)
        return 0;
    t = report_add(r, "Resident memory, bytes");
    fds = malloc(count * sizeof *fds);
    if (!t || !fds)
        err = fault_set(f, "out of memory");
    for (unsigned c = 0; c < l->count && !err; c++) {
        const contestant *one = &l->contestants[c];
        unsigned column = table_column(t, one->name);
        double bytes;

        for (unsigned i = 0; i < 2 && o->memory && !one->is_floor && !err; i++) {
            err = per_key(one, o, dir, VALUE_SIZES[i], &bytes, f);
            if (!err)
                table_set(t,
                          table_row(t, "per key of %llu, 16-byte key and %llu-byte value",
                                    (unsigned long long)o->memory_keys, (unsigned long long)VALUE_SIZES[i]),
                          column, bytes, "%.1f", bytes);
        }
        if (o->idle && !err) {
            err = per_connection(one, dir, fds, count, &bytes, f);
            if (!err)
                table_set(t, table_row(t, "per idle connection of %u", count), column, bytes, "%.0f", bytes);
        }
    }
    free(fds);
    return err;
}
