/* overload.h - kvbench overload: what clients that misbehave cost the memory of a server, and its other clients.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_OVERLOAD_H
#define KVBENCH_OVERLOAD_H

#include "options.h"
#include "report.h"

int overload_bench(options *o, report *r, fault *f);

#endif
