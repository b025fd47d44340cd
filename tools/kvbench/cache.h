/* cache.h - kvbench cache: how well eviction chooses, and what it costs.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_CACHE_H
#define KVBENCH_CACHE_H

#include "options.h"
#include "report.h"

int cache_bench(options *o, report *r, fault *f);

#endif
