/* durations.h - how long the calls of one command took on one thread: a histogram.
 *
 * Sixteen buckets to each power of two of nanoseconds, so a percentile is exact to 1/16; up to 18 minutes. One thread
 * adds, any may read. It is emptied by its own thread, when it finds that the server counts anew (generation): nobody else
 * writes, so nothing is locked. A call that was not timed is counted with the next one that was (stats.h).
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_DURATIONS_H
#define KV_STANDALONE_DURATIONS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define DURATIONS_BUCKETS 592

typedef struct durations {
    _Atomic unsigned generation;
    _Atomic uint64_t counts[DURATIONS_BUCKETS];
} durations;

typedef struct durations_sum {
    uint64_t total;
    uint64_t counts[DURATIONS_BUCKETS];
} durations_sum;

/* By the writing thread: n calls took ns each. */
void durations_add(durations *d, unsigned generation, uint64_t ns, uint64_t n);
/* Adds what belongs to the generation to sum. */
void durations_sum_up(const durations *d, unsigned generation, durations_sum *sum);

/* The longest time in the bucket that holds ns. */
uint64_t durations_highest_like(uint64_t ns);
/* The time that a share (0..100) of the calls did not pass, as the longest of its bucket; 0: there were none. */
uint64_t durations_percentile(const durations_sum *sum, double percent);
/* How many calls took less than ns, a power of two. */
uint64_t durations_below(const durations_sum *sum, uint64_t ns);

#endif
