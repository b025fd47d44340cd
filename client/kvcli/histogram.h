/* histogram.h - durations, counted in buckets that are at most 1/64 of their value wide.
 *
 *     histogram h = { 0 };
 *     histogram_add(&h, microseconds);
 *     p99 = histogram_percentile(&h, 99);
 *
 * Log-linear buckets: below 128 one for each value, above 64 for each power of two. Fixed size, no allocation.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_HISTOGRAM_H
#define KVCLI_HISTOGRAM_H

#include <stdint.h>

enum { HISTOGRAM_SUB = 64, HISTOGRAM_BUCKETS = 2 * HISTOGRAM_SUB + 34 * HISTOGRAM_SUB };

typedef struct histogram {
    uint64_t n, least, most;
    double sum;
    uint64_t buckets[HISTOGRAM_BUCKETS];
} histogram;

void histogram_add(histogram *h, uint64_t value);
/* A value that percent of all are not above, to within a bucket; 0 when there are none. */
uint64_t histogram_percentile(const histogram *h, double percent);
double histogram_mean(const histogram *h);

#endif
