/* histogram.h - latencies, in steps that grow with them (HDR: log-linear).
 *
 *     histogram h = { 0 };
 *     histogram_count(&h, ns);
 *     p99_us = histogram_percentile(&h, 0.99) * 1e-3;
 *
 * 32 steps per power of two: what is told is at most 3 % off, over the whole range from a nanosecond to
 * centuries. No allocation, no sorting; counting is a shift and an add.
 *
 * Threads    One histogram belongs to one thread; histogram_add merges them.
 *
 * SPDX-License-Identifier: MIT */
#ifndef HARNESS_HISTOGRAM_H
#define HARNESS_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS (60 * 32)

typedef struct histogram {
    uint64_t total, max_ns;
    uint64_t counts[HISTOGRAM_STEPS];
} histogram;

void histogram_count(histogram *h, uint64_t ns);
void histogram_add(histogram *to, const histogram *from);
/* Nanoseconds that the given part (0 to 1) of all was not above; 0 when nothing was counted. */
double histogram_percentile(const histogram *h, double part);

#endif
