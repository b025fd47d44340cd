/* report.h - what a run found: tables, notes, and the machine that they are true of.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_REPORT_H
#define KVBENCH_REPORT_H

#include "fault.h"
#include "table.h"

#define REPORT_TABLES 8

typedef struct report {
    table *tables[REPORT_TABLES];
    unsigned count;
} report;

/* A new table at the end; NULL when memory is out. The report owns it. */
table *report_add(report *r, const char *title);
void report_done(report *r);
/* command: the words that were run, for those who want to run them again. */
void report_print(const report *r, int argc, char **argv, bool json, FILE *out);
/* As a picture, in a file. */
int report_draw(const report *r, int argc, char **argv, const char *path, fault *f);

#endif
