/* growth.h - filling a map, one insert after the other, and replacing its keys for a while.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_GROWTH_H
#define KVBENCH_GROWTH_H

#include "subject.h"

typedef struct growth {
    double per_second;   /* inserts */
    double rss_bytes;    /* per key: what the process grew by */
    double peak_bytes;   /* per key: and by how much at its highest */
    double domain_bytes; /* per key: what the domain says it has */
} growth;

/* Inserts keys 0 .. keys - 1. */
int growth_fill(subject *s, uint64_t keys, growth *ret_growth, fault *f);

typedef struct slowest {
    double worst_us;  /* the slowest single insert during which the thread was not preempted */
    double preempted; /* inserts over 50 us that were */
} slowest;

/* The same, looking at the clock after every insert. */
int growth_watch(subject *s, uint64_t keys, slowest *ret_slowest, fault *f);

typedef struct churn {
    double per_second; /* a delete and an insert */
    double grown;      /* resident memory afterwards / before */
} churn;

/* For so many seconds deletes a random key and inserts a new one; the map holds keys 0 .. keys - 1 before,
 * and as many others afterwards. */
int growth_churn(subject *s, uint64_t keys, double seconds, uint64_t seed, churn *ret_churn, fault *f);

#endif
