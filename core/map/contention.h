/* contention.h - who waits for shards: how often, for how long, for which, and for which keys.
 *
 *     contention_start(domain, my_clock_ns, 64);          // once, before there are threads
 *     ...
 *     contention_report *report = contention_read(domain, 10);
 *     contention_report_free(report);
 *
 * Only a thread that has to wait for a shard's lock measures: without contention nothing is counted, read or
 * written, and nothing costs anything (contention.c).
 *
 * Threads    All but contention_start: any, at any time. Figures of one report are read one after the other, while
 *            others count on.
 * Memory     About 70 KiB and 24 bytes per key, from the domain, until it ends.
 * Errors     KV_ENOMEM, or NULL.
 * Units      Nanoseconds of the clock that was given. "hold": of those locks only that were waited for by the thread that
 *            then held them, from the moment it got them until it let go.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MAP_CONTENTION_H
#define KV_MAP_CONTENTION_H

#include "map.h"

#define CONTENTION_SHARDS_MAX 1024 /* that are told apart; waits for others are counted in the sum only */
#define CONTENTION_KEYS_MAX   4096
#define CONTENTION_BUCKETS    168 /* of the histograms: four to each power of two */

typedef uint64_t contention_clock(void);

/* Begins to measure, for all maps of the domain; the waits for up to max_keys keys (0: none) are told apart. */
int contention_start(kv_domain *domain, contention_clock *clock_ns, size_t max_keys);
/* Counts from zero. */
void contention_reset(kv_domain *domain);

/* ---- reading ---- */

typedef struct contention_times {
    uint64_t count, total_ns, max_ns;
} contention_times;

typedef struct contention_histogram {
    contention_times times;
    uint64_t buckets[CONTENTION_BUCKETS];
} contention_histogram;

typedef struct contention_shard {
    const map *map;
    unsigned index;
    contention_times wait, hold;
} contention_shard;

/* A key that was waited for: waits is too high by at most error, which is 0 while there are fewer keys than the list
 * has places (Metwally, Agrawal, El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, 2005). */
typedef struct contention_key {
    const map *map;
    uint64_t hash; /* never to be shown; map_find_hash tells the key */
    uint64_t waits, error;
} contention_key;

typedef struct contention_report {
    contention_histogram wait, hold;
    uint64_t unlisted_waits;       /* for shards beyond CONTENTION_SHARDS_MAX */
    size_t shards_waited_for;      /* all of them */
    size_t shard_count, key_count; /* in the lists: the most waited for first */
    contention_shard *shards;      /* by total wait */
    contention_key *keys;          /* by waits */
} contention_report;

/* At most so many shards and keys. All zero when nothing is measured; NULL when memory is out. */
contention_report *contention_read(kv_domain *domain, size_t most);
void contention_report_free(contention_report *report);

/* The least time of a bucket; of CONTENTION_BUCKETS, the end. */
uint64_t contention_bucket_start(size_t index);
/* The time that a share (0.99) of the histogram's times do not pass; exact to a quarter. 0: there are none. */
uint64_t contention_percentile(const contention_histogram *h, double share);

#endif
