/* contention.h - kvbench contention: who waits for which lock under a chosen skew, as the server tells it.
 *
 * Starts kvserver, fills it, lets the load fight for its keys, and prints what LOCKSTAT says of that time (its fields and
 * units: standalone/observe/lockstat.h), after checking that its parts add up and that INFO contention says the same.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_CONTENTION_H
#define KVBENCH_CONTENTION_H

#include "options.h"
#include "report.h"

int contention_bench(options *o, report *r, fault *f);

#endif
