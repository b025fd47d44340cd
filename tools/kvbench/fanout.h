/* fanout.h - kvbench fanout: what it costs to hand one message to many subscribers.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_FANOUT_H
#define KVBENCH_FANOUT_H

#include "options.h"
#include "report.h"

int fanout_bench(options *o, report *r, fault *f);

#endif
