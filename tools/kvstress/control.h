/* control.h - a run from its first connection to its verdict. SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_CONTROL_H
#define KVSTRESS_CONTROL_H

#include "jury.h"
#include "launch.h"
#include "run.h"

typedef struct outcome {
    tally tally;
    histogram latency;
    jury_result jury;
    double seconds;
    unsigned crashes;
} outcome;

/* Runs the checks of r->options against r->target. server is the one that kvstress started, or NULL. What was found
 * is in *r (violations, fault) and *ret. -1 when the run could not begin. */
int control_run(run *r, launch *server, outcome *ret, fault *f);
void control_done(run *r);

#endif
