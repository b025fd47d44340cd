/* stopwatch.h - time that only goes forward, for durations. SPDX-License-Identifier: MIT */
#ifndef KVCLI_STOPWATCH_H
#define KVCLI_STOPWATCH_H

#include <time.h>

static inline double stopwatch_seconds(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

#endif
