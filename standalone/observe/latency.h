/* latency.h - events that took longer than latency-monitor-threshold: when, and how long.
 *
 *     latency_add(l, "expire-cycle", 23, now_ms);         // milliseconds; kept when that is the threshold or more
 *
 * Of each event the last 160 samples are kept, at most one a second (the longest of it), and the longest of all. Events have
 * constant names, at most LATENCY_EVENTS of them.
 *
 * Threads    Any. One lock, a leaf, taken by what took long and by LATENCY.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_LATENCY_H
#define KV_STANDALONE_LATENCY_H

#include <pthread.h>
#include <stdatomic.h>

#include "kvstore/kvstore.h"

#define LATENCY_EVENTS  32
#define LATENCY_SAMPLES 160

typedef struct latency_sample {
    int64_t time_s, ms;
} latency_sample;

typedef struct latency_event {
    const char *name;
    int64_t max_ms;
    size_t count, next; /* samples in the ring, and where the next one goes */
    latency_sample samples[LATENCY_SAMPLES];
} latency_event;

typedef struct latency_monitor {
    _Atomic int64_t threshold_ms; /* 0: nothing is kept */
    pthread_mutex_t lock;         /* guards the next two */
    size_t count;
    latency_event *events; /* LATENCY_EVENTS of them */
} latency_monitor;

latency_monitor *latency_new(void);
void latency_free(latency_monitor *l);
/* Whether anybody wants to know, so that the clock is to be read. */
static inline bool latency_asked(const latency_monitor *l)
{
    return atomic_load_explicit(&((latency_monitor *)l)->threshold_ms, memory_order_relaxed) != 0;
}
/* name must live on. */
void latency_add(latency_monitor *l, const char *name, int64_t ms, int64_t now_ms) KV_EXCLUDES(kv_shard_held);
/* A copy of the event of that name, oldest sample first in samples[0 .. count); false: there is none. */
bool latency_read(latency_monitor *l, kv_slice name, latency_event *ret_event);
/* The names of all events, those that were first seen first; returns how many. */
size_t latency_names(latency_monitor *l, const char *ret_names[LATENCY_EVENTS]);
/* Forgets an event, or all (NULL data); returns how many. */
size_t latency_reset(latency_monitor *l, kv_slice name);

#endif
