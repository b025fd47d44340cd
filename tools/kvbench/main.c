/* kvbench - how fast, and how much memory: the server, the map, the strategies.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "cache.h"
#include "contention.h"
#include "durable.h"
#include "fanout.h"
#include "floor.h"
#include "map_bench.h"
#include "options.h"
#include "overload.h"
#include "report.h"
#include "server.h"
#include "tls.h"

enum { EXIT_MEASURED, EXIT_USAGE, EXIT_FAILED };

static int run(options *o, report *r, fault *f)
{
    switch (o->mode) {
    case MODE_SERVER:
        return server_bench(o, r, f);
    case MODE_MAP:
        return map_bench(o, r, f);
    case MODE_CONTENTION:
        return contention_bench(o, r, f);
    case MODE_CACHE:
        return cache_bench(o, r, f);
    case MODE_FANOUT:
        return fanout_bench(o, r, f);
    case MODE_OVERLOAD:
        return overload_bench(o, r, f);
    case MODE_DURABLE:
        return durable_bench(o, r, f);
    case MODE_TLS:
        return tls_bench(o, r, f);
    default:
        return floor_serve((int)o->port, o->value_size ? (size_t)o->value_size : 16, f);
    }
}

int main(int argc, char **argv)
{
    options o;
    report r = { 0 };
    fault f = { .usage = false };

    if (options_parse(&o, argc, argv, &f)) {
        fprintf(stderr, "kvbench: %s\n", f.text);
        return EXIT_USAGE;
    }
    if (o.version)
        printf("kvbench " KV_VERSION "\n");
    if (o.help || o.version)
        return EXIT_MEASURED;

    int err = run(&o, &r, &f);

    if (!err && o.mode != MODE_FLOOR) {
        report_print(&r, argc, argv, o.json, stdout);
        err = o.chart ? report_draw(&r, argc, argv, o.chart, &f) : 0;
    }
    if (err)
        fprintf(stderr, "kvbench: %s\n", f.text);
    report_done(&r);
    if (err)
        return f.usage ? EXIT_USAGE : EXIT_FAILED;
    return EXIT_MEASURED;
}
