/* stats.h - what a thread counts while it serves, and the sums that INFO shows.
 *
 * How long commands take (INFO commandstats): two readings of the clock cost a tenth of a GET that comes alone, so not
 * every call is timed. Of each command and thread, the first 64 calls are, and then one in 64; calls of a pipeline
 * that run as one are timed as one. usec is the mean of the timed ones times the number of calls: exact while there
 * are few, an estimate later, and never one command's time under another's name. Timing whole batches instead, and
 * dividing by the number of calls, would save no more, and give a GET beside a KEYS half of its time.
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
    X(NOPROTO)          \
    X(OOM) X(NOPERM) X(EXECABORT) X(LOADING) X(MISCONF) X(READONLY) X(BUSY) X(NOSCRIPT) X(DENIED) X(UNBLOCKED)

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
    X(evicted_clients)             \
    X(query_limit_disconnections) X(keyspace_hits) X(keyspace_misses) X(reads) X(writes)

/* Plain numbers: a sum, or the difference of two. */
typedef struct stats_sums {
#define STATS_SUM_FIELD(name) uint64_t name;
    STATS_COUNTERS(STATS_SUM_FIELD)
#undef STATS_SUM_FIELD
    uint64_t errors[STATS_ERROR_COUNT];
    uint64_t calls[KV_COMMAND_COUNT], failed_calls[KV_COMMAND_COUNT], rejected_calls[KV_COMMAND_COUNT];
    uint64_t timed_calls[KV_COMMAND_COUNT], nanoseconds[KV_COMMAND_COUNT]; /* nanoseconds: of the timed */
} stats_sums;

#define STATS_SAMPLE 64 /* a power of 2 */

typedef struct stats {
    kv_counters keyspace;
#define STATS_ATOMIC_FIELD(name) _Atomic uint64_t name;
    STATS_COUNTERS(STATS_ATOMIC_FIELD)
#undef STATS_ATOMIC_FIELD
    _Atomic uint64_t errors[STATS_ERROR_COUNT];
    _Atomic uint64_t calls[KV_COMMAND_COUNT], failed_calls[KV_COMMAND_COUNT],
        rejected_calls[KV_COMMAND_COUNT];
    _Atomic uint64_t timed_calls[KV_COMMAND_COUNT], nanoseconds[KV_COMMAND_COUNT];
} stats;

/* By the writing thread only. */
static inline void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Counts a call of the row id that begins; whether it is to be timed. */
static inline bool stats_call(stats *s, int id)
{
    uint64_t calls = atomic_load_explicit(&s->calls[id], memory_order_relaxed);

    atomic_store_explicit(&s->calls[id], calls + 1, memory_order_relaxed);
    return calls < STATS_SAMPLE || calls % STATS_SAMPLE == 0;
}

/* Whether n calls that are about to run as one are to be timed; they are not counted yet. */
static inline bool stats_times_many(const stats *s, int id, uint64_t n)
{
    uint64_t calls = atomic_load_explicit(&((stats *)s)->calls[id], memory_order_relaxed);

    return calls < STATS_SAMPLE || calls / STATS_SAMPLE != (calls + n) / STATS_SAMPLE;
}

/* n calls took so long. */
static inline void stats_time(stats *s, int id, uint64_t n, uint64_t nanoseconds)
{
    stats_add(&s->timed_calls[id], n);
    stats_add(&s->nanoseconds[id], nanoseconds);
}

/* Microseconds in all calls of the row id, as far as is known. */
uint64_t stats_usec(const stats_sums *sums, int id);
/* Counts an error reply: in all, and under its first word. */
void stats_error(stats *s, kv_slice text);
/* Adds s to sums. */
void stats_sum(const stats *s, stats_sums *sums);
/* Subtracts base from sums. Of a command that was called since, but never timed since, the earlier times stay. */
void stats_subtract(stats_sums *sums, const stats_sums *base);

#endif
