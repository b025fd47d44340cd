/* steady_cond.h - conditions whose deadlines are of a clock that nobody sets. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_STEADY_COND_H
#define KV_STANDALONE_STEADY_COND_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

/* As pthread_cond_init, but pthread_cond_timedwait takes times of CLOCK_MONOTONIC. Ended by pthread_cond_destroy. */
static inline void steady_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t clock;

    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &clock);
    pthread_condattr_destroy(&clock);
}

/* The time of that clock in so many nanoseconds. */
static inline struct timespec steady_after(uint64_t ns)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    ns += (uint64_t)until.tv_nsec;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    return until;
}

#endif
