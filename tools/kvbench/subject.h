/* subject.h - what kvbench map hammers: a map (core/map/map.h) or a store (kvstore.h), by worker threads.
 *
 *     subject_init(&s, KV_SHARING_SHARDED, options, fault);
 *     subject_run(&s, &work, &result, fault);         // work: which operation, threads, how long
 *     subject_done(&s);
 *
 * Keys are those of protocol.h: 16 bytes made from a number. A key's value follows from its number and
 * never changes, so a GET can be checked at any time, whatever was written meanwhile.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_SUBJECT_H
#define KVBENCH_SUBJECT_H

#include "baseline.h"
#include "fault.h"
#include "map.h"

#define SUBJECT_NOW_MS    INT64_C(1800000000000) /* the time it is, for as long as we measure */
#define SUBJECT_VALUE_MAX 1024u
#define SUBJECT_BATCH     16u

typedef struct subject {
    kv_domain *domain;
    map *map; /* one of these two */
    kv_store *store;
    baseline *base;      /* for the WORK_BASE_... kinds of work */
    size_t value_size;   /* bytes */
    int64_t deadline_ms; /* of every key */
} subject;

/* An empty map, or with store an empty store with that sharing. */
int subject_init(subject *s, bool store, kv_sharing sharing, size_t value_size, bool ttl, fault *f);
void subject_done(subject *s);

/* Stores the value of a key; removes a key. 0 or KV_E... */
int subject_set(subject *s, uint64_t key);
int subject_delete(subject *s, uint64_t key);
/* Whether the key is there, with all the bytes of its value. */
bool subject_check(subject *s, uint64_t key);

typedef enum work_kind {
    WORK_GET,       /* random keys, value copied out */
    WORK_GET_BATCH, /* the same, SUBJECT_BATCH at a time through the prefetch stages */
    WORK_MIX,       /* half GET, half SET of existing keys */
    WORK_HOT,       /* GET of one key, the same for all threads */
    WORK_ZIPF,      /* GET, the k-th key drawn with a probability of 1 to k */
    WORK_ZIPF_MIX,  /* WORK_MIX with keys drawn like that */
    WORK_BASE_HOT,  /* what WORK_HOT does besides: makes a key, copies a value out of one line */
    WORK_BASE_MISS, /* baseline_lookups */
    WORK_BASE_16,   /* baseline_lookups_ahead, 16 at a time */
    WORK_BASE_64,   /* 64 at a time */
    WORK_BASE_SUMS, /* baseline_arithmetic */
} work_kind;

typedef struct work {
    work_kind kind;
    unsigned threads;
    bool registered; /* event-loop threads: quiescent once per turn; else an epoch per call */
    uint64_t keys;   /* 0 .. keys - 1 are there */
    double seconds;
    uint64_t operations; /* stop each thread after so many; 0: only by time */
    uint64_t seed;
} work;

typedef struct work_result {
    double operations, seconds; /* of all threads together; wall time */
    double ns;                  /* CPU time per operation: untouched by what else the machine does */
} work_result;

int subject_run(subject *s, const work *w, work_result *ret_result, fault *f);

#endif
