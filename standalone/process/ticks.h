/* ticks.h - the cheapest clock there is, for how long something took.
 *
 *     uint64_t start = ticks_now(&clock);
 *     ...
 *     took_ns = ticks_to_ns(&clock, ticks_now(&clock) - start);
 *
 * Where the processor counts at a constant rate in all of its states and says so (x86-64: the invariant time stamp
 * counter, CPUID 80000007h, EDX bit 8; AArch64: always), that counter is read: about 8 ns, a handful of
 * instructions, where clock_gettime takes 18. Elsewhere the ticks are CLOCK_MONOTONIC's nanoseconds.
 * Its rate is measured once, against CLOCK_MONOTONIC, when the server starts.
 *
 * Threads    Any. A thread that is moved between processors reads counters that the kernel keeps in step; should a
 *            difference be negative all the same, ticks_to_ns makes it 0.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_TICKS_H
#define KV_STANDALONE_TICKS_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

typedef struct ticks_clock {
    bool counter; /* the processor's; else CLOCK_MONOTONIC */
    double ns_per_tick;
} ticks_clock;

/* Finds out what there is, and measures its rate: takes 2 ms. */
void ticks_init(ticks_clock *clock);
uint64_t ticks_of_system(void);

static inline uint64_t ticks_now(const ticks_clock *clock)
{
#if defined(__x86_64__)
    if (__builtin_expect(clock->counter, 1))
        return __rdtsc();
#elif defined(__aarch64__)
    if (__builtin_expect(clock->counter, 1)) {
        uint64_t ticks;

        __asm__ volatile("mrs %0, cntvct_el0" : "=r"(ticks));
        return ticks;
    }
#else
    (void)clock;
#endif
    return ticks_of_system();
}

static inline uint64_t ticks_to_ns(const ticks_clock *clock, uint64_t ticks)
{
    return (int64_t)ticks < 0 ? 0 : (uint64_t)((double)ticks * clock->ns_per_tick);
}

static inline uint64_t ticks_of_ns(const ticks_clock *clock, uint64_t ns)
{
    double ticks = (double)ns / clock->ns_per_tick;

    return ticks < 9e18 ? (uint64_t)ticks : INT64_MAX;
}

#endif
