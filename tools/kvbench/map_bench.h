/* map_bench.h - kvbench map: the map and the store in this process, without any socket.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_MAP_BENCH_H
#define KVBENCH_MAP_BENCH_H

#include "options.h"
#include "report.h"

#include "kvstore/kvstore.h"

/* Runs the rows that the options ask for; fills in the defaults of options that were not given. */
int map_bench(options *o, report *r, fault *f);

#endif
