/* progress.h - how far a long work is: one line on stderr, redrawn ten times a second, and only on a terminal.
 *
 *     progress p;
 *     progress_begin(&p, settings, "keys", dbsize);          // 0: nobody knows how many there will be
 *     while (...) {
 *         progress_set(&p, done);
 *     }
 *     progress_end(&p);                                      // wipes the line
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_PROGRESS_H
#define KVCLI_PROGRESS_H

#include "settings.h"

typedef struct progress {
    bool shown, drawn;
    const char *unit;
    double total, done, began, next;
} progress;

void progress_begin(progress *p, const settings *s, const char *unit, double total);
void progress_set(progress *p, double done);
/* Before something else is printed. */
void progress_wipe(progress *p);
void progress_end(progress *p);

/* What the line says, seconds after the beginning: "[#####     ]  50%  1.0M keys  200.0k/s  ETA 0:05". */
void progress_line(const progress *p, double seconds, text *out);
/* 1234567 as "1.2M". */
void progress_number(double n, text *out);

#endif
