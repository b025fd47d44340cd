/* backoff.h - how long to wait before the next attempt: "full jitter", a random time up to a bound that doubles with
 * every failure, so that a thousand clients do not come back at the same moment.
 *
 * Source: Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_BACKOFF_H
#define KVC_BACKOFF_H

#include <stdint.h>
#include <sys/random.h>
#include <time.h>

/* A start for the random numbers of one connection. */
static inline uint64_t kvc_backoff_seed(void)
{
    uint64_t seed;
    struct timespec t;

    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) {
        clock_gettime(CLOCK_MONOTONIC, &t);
        seed = (uint64_t)t.tv_nsec;
    }
    return seed | 1;
}

/* Milliseconds from 0 to min(max_ms, min_ms * 2^failures), both included. */
static inline uint32_t kvc_backoff_ms(uint64_t *seed, unsigned failures, uint32_t min_ms, uint32_t max_ms)
{
    uint64_t bound = failures < 31 ? (uint64_t)min_ms << failures : max_ms;

    if (bound > max_ms)
        bound = max_ms;
    *seed ^= *seed << 13; /* xorshift64 */
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (uint32_t)(*seed % (bound + 1));
}

#endif
