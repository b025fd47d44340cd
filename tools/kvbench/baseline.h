/* baseline.h - what this machine's memory allows, with no map at all: the measure of a map's figures.
 *
 *     baseline *b = baseline_new(keys, fault);        // as much memory as a map of so many keys, huge pages
 *     at = baseline_lookups(b, at, 64);               // 64 times two cache misses, each waiting for the last
 *     at = baseline_lookups_ahead(b, at, 64);         // the same, all on their way at once
 *     baseline_free(b);
 *
 * Threads    It is only read: any number.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_BASELINE_H
#define KVBENCH_BASELINE_H

#include <stdint.h>

#include "fault.h"

typedef struct baseline baseline;

/* NULL: memory is out. */
baseline *baseline_new(uint64_t keys, fault *f);
void baseline_free(baseline *b);
/* n lookups with nothing but their misses: a random line of an index, and the line of an entry that it names.
 * Where a lookup begins depends on what the one before it found. Returns the position to go on from. */
uint64_t baseline_lookups(const baseline *b, uint64_t position, unsigned n);
#define BASELINE_AHEAD 64u

/* n (at most BASELINE_AHEAD) such lookups at once: all lines of the index are prefetched, then all entries, then read. Where
 * they lie follows from position alone; the next position depends on what all of them found. */
uint64_t baseline_lookups_ahead(const baseline *b, uint64_t position, unsigned n);
/* 64 bytes that all threads may copy from: a hot key with no map around it. */
const char *baseline_hot_line(const baseline *b);
/* n steps in registers, each of which needs the one before: what two threads of it make more than one says whether the
 * machine has two cores. Returns the number to go on from. */
uint64_t baseline_arithmetic(uint64_t number, unsigned n);

#endif
