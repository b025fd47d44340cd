/* durable.h - kvbench durable: what the log of changes costs, and snapshots, beside other servers on the same disk.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_DURABLE_H
#define KVBENCH_DURABLE_H

#include "options.h"
#include "report.h"

int durable_bench(options *o, report *r, fault *f);

#endif
