/* run.h - one run of kvstress: what all its threads share.
 *
 * Threads    options, target, prefix, seed and start_ns do not change while workers run; atomics are atomics; the
 *            rest is guarded by lock.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_RUN_H
#define KVSTRESS_RUN_H

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "evidence.h"
#include "histogram.h"
#include "options.h"
#include "target.h"

#define RUN_REFUSALS 16

typedef struct jury jury;
typedef struct board board;
typedef struct channels channels;

typedef enum phase {
    PHASE_WORK,   /* ask and check */
    PHASE_CRASH,  /* the same, only what can be judged across a crash */
    PHASE_VERIFY, /* after a crash: read everything once */
    PHASE_DRAIN,  /* wait for what is under way, then leave */
} phase;

/* An error that the server gave, and how often. */
typedef struct refusal {
    char text[96];
    uint64_t count;
} refusal;

typedef struct tally {
    uint64_t operations;        /* replies that were checked */
    uint64_t checked[CHECKS];   /* of them, by check */
    uint64_t refused;           /* error replies */
    uint64_t unknown;           /* outcomes lost with a connection */
    uint64_t opened, lost;      /* connections; lost: closed by the server */
    uint64_t messages, dropped; /* pub/sub: messages received, subscribers that the server closed */
} tally;

typedef struct run {
    const options *options;
    const volatile sig_atomic_t *interrupted; /* the user has had enough */
    target target;
    char prefix[32]; /* of every key */
    uint64_t seed;
    int64_t start_ns;
    int64_t wall_offset_ns; /* CLOCK_REALTIME - CLOCK_MONOTONIC at the start */
    double *zipf;           /* cumulative, for options->keys ranks */

    _Atomic phase phase;
    atomic_bool server_up;   /* false: connections break because we kill the server */
    atomic_llong crashed_ns; /* when it was killed last; 0: never */
    atomic_uint next_process;
    atomic_uint verified; /* workers that have verified after a crash */
    atomic_uint drained;  /* workers that have nothing under way in the end: then keys may be removed */
    jury *jury;
    board *board;       /* of visibility.c */
    channels *channels; /* of pubsub.c */

    pthread_mutex_t lock;
    bool failed; /* fault says why the run cannot go on */
    fault fault;
    evidence *violations; /* [options->violations] */
    unsigned violation_count;
    refusal refusals[RUN_REFUSALS];
    unsigned refusal_count;
} run;

/* The module's key that holds what several connections share: that, or one for all (--module). */
static inline const char *run_store(const run *r, const char *own)
{
    return r->options->module == MODULE_ONE ? r->prefix : own;
}

/* Any thread. Takes the evidence; ends the run when there are enough. */
void run_violation(run *r, evidence *e);
/* Any thread: the run cannot go on. The first reason counts. */
void run_fail(run *r, const fault *f);
/* The server replied with this error. */
void run_refused(run *r, const char *text);
/* Whether it is over, for a violation or a failure. */
bool run_over(run *r);
/* A rank from 0 to n - 1 by the distribution; n is at most options->keys. */
uint32_t run_pick(const run *r, uint64_t *random, uint32_t n);

#endif
