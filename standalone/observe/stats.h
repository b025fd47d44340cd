/* stats.h - what a thread counts while it serves, and the sums that INFO shows.
 *
 * How long commands take. A command whose row is not FAST is timed on every call: two readings of ticks.h, 15 ns beside
 * what it does. A call of the others takes less than the readings would, nearly; so of each of these and each thread the
 * first 64 calls are timed, and then one in 64 (calls of a pipeline that run as one are timed as one). usec in INFO is the
 * mean of the timed calls times the number of calls: exact while there are few, an estimate later, and never one command's
 * time under another's name. In the histograms (durations.h) a timed call stands for those before it that were not.
 *
 * Which command was slow (SLOWLOG, LATENCY) is no matter of samples: see slow.h, which also sets the fields for it.
 *
 * Each counting thread (a worker, the state thread) has one stats that only it writes, without locked
 * instructions; anybody may read it at any time, and sums them all. CONFIG RESETSTAT touches none of them: it
 * remembers the sums of that moment, which are subtracted from then on; the histograms it gives a new generation, with
 * which each thread begins anew by itself.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_STATS_H
#define KV_STANDALONE_STATS_H

#include "command.h"
#include "durations.h"
#include "error_words.h"
#include "ticks.h"

/* The first words of errors that have counters; others are counted in error_words.h. */
#define STATS_ERRORS(X) \
    X(ERR)              \
    X(WRONGTYPE)        \
    X(NOAUTH)           \
    X(WRONGPASS)        \
    X(NOPROTO)          \
    X(OOM)              \
    X(NOPERM)           \
    X(EXECABORT)        \
    X(LOADING)          \
    X(MISCONF)          \
    X(READONLY)         \
    X(BUSY) X(NOSCRIPT) X(DENIED) X(UNBLOCKED) X(BUSYGROUP) X(NOGROUP) X(BUSYKEY) X(NOREPLICAS) X(MASTERDOWN)

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
    X(denied_commands)             \
    X(denied_keys)                 \
    X(denied_channels)             \
    X(output_limit_disconnections) \
    X(evicted_clients)             \
    X(query_limit_disconnections)  \
    X(keyspace_hits) X(keyspace_misses) X(reads) X(writes) X(expire_us) X(expire_caps)

/* Plain numbers: a sum, or the difference of two. */
typedef struct stats_sums {
#define STATS_SUM_FIELD(name) uint64_t name;
    STATS_COUNTERS(STATS_SUM_FIELD)
#undef STATS_SUM_FIELD
    uint64_t errors[STATS_ERROR_COUNT];
    uint64_t calls[KV_COMMAND_COUNT], failed_calls[KV_COMMAND_COUNT], rejected_calls[KV_COMMAND_COUNT];
    uint64_t timed_calls[KV_COMMAND_COUNT], nanoseconds[KV_COMMAND_COUNT]; /* nanoseconds: of the timed */
} stats_sums;

#define STATS_SAMPLE 64

struct slow_watch;

typedef struct stats {
    kv_counters keyspace;
#define STATS_ATOMIC_FIELD(name) _Atomic uint64_t name;
    STATS_COUNTERS(STATS_ATOMIC_FIELD)
#undef STATS_ATOMIC_FIELD
    _Atomic uint64_t errors[STATS_ERROR_COUNT];
    _Atomic uint64_t calls[KV_COMMAND_COUNT], failed_calls[KV_COMMAND_COUNT],
        rejected_calls[KV_COMMAND_COUNT];
    _Atomic uint64_t timed_calls[KV_COMMAND_COUNT], nanoseconds[KV_COMMAND_COUNT];
    durations *_Atomic durations[KV_COMMAND_COUNT]; /* NULL: no call was timed */

    /* The writing thread's own. */
    uint8_t untimed[KV_COMMAND_COUNT]; /* so many calls until one is timed */
    uint8_t stood[KV_COMMAND_COUNT];   /* calls since the last one that was */
    uint8_t begun[KV_COMMAND_COUNT];   /* timed calls in this generation, up to STATS_SAMPLE */
    unsigned generation;
    bool keeps_durations; /* latency-tracking */
    bool each;            /* every call is timed */
    ticks_clock clock;
    uint64_t slow_ticks;  /* a call that takes as long is told; INT64_MAX: none is */
    uint64_t timed_ticks; /* of calls that were timed, in this batch */
    struct slow_watch *slow;
    error_words *words; /* NULL: what has no counter is only counted in error_replies */
} stats;

/* By the writing thread only. Where a function is small and cold enough, compilers call one copy of this, which takes three
 * times as long as doing it. */
__attribute__((always_inline)) static inline void stats_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Counts a call of the row id that begins; whether it is to be timed. */
static inline bool stats_call(stats *s, int id)
{
    stats_add(&s->calls[id], 1);
    if (__builtin_expect(s->untimed[id] == 0, 0))
        return true;
    s->untimed[id]--;
    return false;
}

/* Whether n calls that are about to run as one are to be timed; they are not counted yet. */
static inline bool stats_times_many(const stats *s, int id, uint64_t n)
{
    return s->untimed[id] < n;
}

/* n calls that ran as one were not timed. */
static inline void stats_skip(stats *s, int id, uint64_t n)
{
    s->untimed[id] -= (uint8_t)(s->untimed[id] < n ? s->untimed[id] : n);
}

/* n calls of the row took so long. */
void stats_time(stats *s, const kv_command *row, uint64_t n, uint64_t ticks);
/* Before first use, and when the thread has ended. */
void stats_init(stats *s, const ticks_clock *clock, struct slow_watch *slow, error_words *words);
void stats_done(stats *s);
/* By its own thread, now and then: what is asked for, and whether all began anew. */
void stats_ask(stats *s, unsigned generation, bool keeps_durations, bool each);
/* Adds the histogram of the row id to sum. */
void stats_sum_durations(const stats *s, int id, unsigned generation, durations_sum *sum);

/* Microseconds in all calls of the row id, as far as is known. */
uint64_t stats_usec(const stats_sums *sums, int id);
/* Counts an error reply: in all, and under its first word. */
void stats_error(stats *s, kv_slice text);
/* Adds s to sums. */
void stats_sum(const stats *s, stats_sums *sums);
/* Subtracts base from sums. Of a command that was called since, but never timed since, the earlier times stay. */
void stats_subtract(stats_sums *sums, const stats_sums *base);

#endif
