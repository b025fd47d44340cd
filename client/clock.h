/* clock.h - the clock deadlines are kept by: milliseconds that no one sets back.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_CLOCK_H
#define KVC_CLOCK_H

#include <stdint.h>
#include <time.h>

#define KVC_NEVER INT64_MAX

static inline int64_t kvc_now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The deadline of something that may take this long; UINT32_MAX: as long as it likes. */
static inline int64_t kvc_deadline(uint32_t timeout_ms)
{
    return timeout_ms == UINT32_MAX ? KVC_NEVER : kvc_now_ms() + timeout_ms;
}

/* For poll(2): -1 when there is no deadline, 0 when it has passed. */
static inline int kvc_poll_timeout(int64_t deadline_ms)
{
    int64_t left;

    if (deadline_ms == KVC_NEVER)
        return -1;
    left = deadline_ms - kvc_now_ms();
    return left <= 0 ? 0 : left > 1000000000 ? 1000000000 : (int)left;
}

#endif
