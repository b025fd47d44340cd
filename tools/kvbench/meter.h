/* meter.h - counts what a server does per request by running it under a tool that counts.
 *
 *     meter_run(&METER_INSTRUCTIONS, &contestant, dir, NULL, fill, plans, n, per_request, fault);
 *
 * The server is run n + 1 times under the tool: once only filled, then filled and given each of the plans.
 * The difference between the totals, divided by the number of requests, is the cost of one: start-up,
 * filling and shutdown cancel out.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_METER_H
#define KVBENCH_METER_H

#include "contestant.h"

typedef struct meter {
    const char *tool;         /* the program that counts */
    const char *arguments[8]; /* its words; {file} is where it writes; ends with NULL */
    bool child;               /* the server is the tool's child, rather than the same process */
    /* Reads the total from the tool's file: 0, or -1 when there is none in it. */
    int (*total)(const char *path, double *ret_total);
} meter;

extern const meter METER_INSTRUCTIONS; /* user-space instructions, by valgrind's callgrind */
extern const meter METER_SYSCALLS;     /* system calls, by strace */

/* Whether the tool is there and may be used here. */
bool meter_usable(const meter *m);

/* fill and plans[i] are load plans without a port; plans[i].requests says how many. keep (may be NULL):
 * the directory where the tool's files are kept as <server>.<i>.out. */
int meter_run(const meter *m, const contestant *c, const char *dir, const char *keep, const load_plan *fill,
              const load_plan plans[], unsigned n, double ret_per_request[], fault *f);

#endif
