/* ticks.c - see ticks.h. SPDX-License-Identifier: MIT */
#include "ticks.h"

#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define MEASURE_NS 2000000

uint64_t ticks_of_system(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static bool has_constant_counter(void)
{
#if defined(__x86_64__)
    unsigned a, b, c, d;

    return __get_cpuid(0x80000007, &a, &b, &c, &d) && (d & (1u << 8));
#elif defined(__aarch64__)
    return true;
#else
    return false;
#endif
}

void ticks_init(ticks_clock *clock)
{
    const struct timespec pause = { .tv_nsec = MEASURE_NS };
    uint64_t start_ns, start, took_ns, took;

    *clock = (ticks_clock){ .counter = has_constant_counter(), .ns_per_tick = 1 };
    if (!clock->counter)
        return;
    start_ns = ticks_of_system();
    start = ticks_now(clock);
    nanosleep(&pause, NULL);
    took_ns = ticks_of_system() - start_ns;
    took = ticks_now(clock) - start;
    if (took && took_ns)
        clock->ns_per_tick = (double)took_ns / (double)took;
    /* Slower than 1 MHz or faster than 20 GHz: that is no such counter. */
    if (!took || clock->ns_per_tick > 1000 || clock->ns_per_tick < 0.05)
        *clock = (ticks_clock){ .counter = false, .ns_per_tick = 1 };
}
