/* chart.h - a report as a picture: one HTML file, which needs nothing else.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_CHART_H
#define KVBENCH_CHART_H

#include "fault.h"
#include "report.h"

/* Writes the tables of r to path, each as bars; where: the machine, command: what was run. */
int chart_write(const report *r, const char *path, const char *command, const char *where, fault *f);

#endif
