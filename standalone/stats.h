/* stats.h - what a thread counts while it serves, and the sums that INFO shows.
 *
 * Each counting thread (a worker, the state thread) has one stats that only it writes, without locked
 * instructions; anybody may read it at any time, and sums them all. CONFIG RESETSTAT touches none of them: it
 * remembers the sums of that moment, which are subtracted from then on.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_STATS_H
#define KV_STANDALONE_STATS_H

#include "command.h"

/* The first words of errors that are counted by name; others count as ERR. */
#define STATS_ERRORS(X) \
    X(ERR)              \
    X(WRONGTYPE)        \
    X(NOAUTH)           \
    X(WRONGPASS)        \
    X(NOPROTO) X(OOM) X(NOPERM) X(EXECABORT) X(LOADING) X(MISCONF) X(READONLY) X(BUSY) X(NOSCRIPT) X(DENIED)

enum stats_error {
#define STATS_ERROR_ENUM(word) STATS_##word,
    STATS_ERRORS(STATS_ERROR_ENUM)
#undef STATS_ERROR_ENUM
        STATS_ERROR_COUNT
};
extern const char *const stats_error_names[STATS_ERROR_COUNT];

#define STATS_COUNTERS(X)          \
    X(commands)                    \
    X(connections_received)        \
    X(connections_rejected)        \
    X(input_bytes)                 \
    X(output_bytes)                \
    X(error_replies)               \
    X(auth_failures)               \
    X(output_limit_disconnections) \
    X(query_limit_disconnections) X(keyspace_hits) X(keyspace_misses) X(reads) X(writes)

/* Plain numbers: a sum, or the difference of two. */
typedef struct stats_sums {
#define STATS_SUM_FIELD(name) uint64_t name;
    STATS_COUNTERS(STATS_SUM_FIELD)
#undef STATS_SUM_FIELD
    uint64_t errors[STATS_ERROR_COUNT];
    uint64_t calls[KV_COMMAND_COUNT], failed_calls[KV_COMMAND_COUNT], rejected_calls[KV_COMMAND_COUNT];
    uint64_t nanoseconds[KV_COMMAND_COUNT]; /* estimated from one call in STATS_SAMPLE */
} stats_sums;

#define STATS_SAMPLE 64

typedef struct stats {
    kv_counters keyspace;
#define STATS_ATOMIC_FIELD(name) _Atomic uint64_t name;
    STATS_COUNTERS(STATS_ATOMIC_FIELD)
#undef STATS_ATOMIC_FIELD
    _Atomic uint64_t errors[STATS_ERROR_COUNT];
    _Atomic uint64_t calls[KV_COMMAND_COUNT], failed_calls[KV_COMMAND_COUNT],
        rejected_calls[KV_COMMAND_COUNT];
    _Atomic uint64_t nanoseconds[KV_COMMAND_COUNT];
} stats;

/* By the writing thread only. */
static inline void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Counts an error reply: in all, and under its first word. */
void stats_error(stats *s, kv_slice text);
/* Adds s to sums. */
void stats_sum(const stats *s, stats_sums *sums);
/* Subtracts base from sums. */
void stats_subtract(stats_sums *sums, const stats_sums *base);

#endif
