/* report.h - what a run has found, for people and as JSON. SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_REPORT_H
#define KVSTRESS_REPORT_H

#include "control.h"

enum { EXIT_OK, EXIT_VIOLATION, EXIT_TROUBLE, EXIT_UNDECIDED };

/* Prints it, and returns the exit status. */
int report_print(const run *r, const outcome *o, FILE *out);

#endif
