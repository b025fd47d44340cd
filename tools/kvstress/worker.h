/* worker.h - a thread of kvstress: an event loop, its connections, and its part of each check.
 *
 * Whatever is checked by a history belongs to one worker, so that invocations and returns are noted, and ordered,
 * without a lock; only visibility (board.c) and pub/sub look across threads. The connections of one worker are
 * spread over the server's threads like any.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_WORKER_H
#define KVSTRESS_WORKER_H

#include "lane.h"
#include "run.h"

/* A part of the work. One for each check, but two for fifo (pipelines and pub/sub). */
typedef struct part {
    check_id check;
    unsigned weight; /* how often it is asked for work, beside the others */
    int (*begin)(worker *w);
    /* Puts calls into the lane; false when it has nothing to ask now. */
    bool (*issue)(worker *w, lane *l);
    void (*opened)(lane *l);   /* may be NULL: the lane is a new connection */
    bool (*finish)(worker *w); /* may be NULL: nothing is under way any more; false: call again */
    void (*end)(worker *w);
} part;

enum { PART_VISIBILITY, PART_LINEAR, PART_MULTIKEY, PART_FIFO, PART_PUBSUB, PART_TTL, PARTS };
extern const part *const WORKER_PARTS[PARTS];

struct worker {
    run *run;
    unsigned index;
    pthread_t thread;
    struct event_base *base;
    struct event *tick;
    lane *lanes; /* subscribers last */
    unsigned lane_count, data_lanes;
    uint64_t random;
    int64_t now; /* ns: after the last read, or before what is sent next */
    char *in;
    unsigned open_calls; /* of all lanes */
    unsigned shares[PARTS], share_sum;
    void *states[PARTS];
    bool verified, drained;
    unsigned finished;         /* parts */
    uint32_t last_look;        /* visibility.c: the next register to look at in the end */
    double pace;               /* part of the pipelines' depth that is used: less when the server is slow */
    int64_t waited_ns, waited; /* sum and number of latencies since the pace was set */
    int64_t published_at, recycled_at, idle_since, drained_at;
    int64_t ticked_at,
        present_since; /* of late it has looked after its connections all the time since then */
    tally tally;       /* this worker's own, published now and then */
    histogram latency;

    pthread_mutex_t lock; /* guards what is shown: */
    tally shown;
    histogram shown_latency;
};

int worker_init(worker *w, run *r, unsigned index, unsigned lanes, fault *f);
void worker_done(worker *w);
void *worker_main(void *arg);
/* What it has done so far; any thread. */
void worker_show(worker *w, tally *ret, histogram *ret_latency);

/* ---- for lane.c ------------------------------------------------------------------------- */

/* The lane may be asked more. */
void worker_fill(lane *l);
/* It is a new connection. */
void worker_opened(lane *l);

/* ---- for the parts ---------------------------------------------------------------------- */

static inline uint32_t worker_random(worker *w, uint32_t n)
{
    return random_below(&w->random, n);
}
static inline bool worker_knows(const worker *w, command_used command)
{
    return w->run->target.knows[command];
}
static inline bool worker_chance(worker *w, uint32_t percent)
{
    return random_below(&w->random, 100) < percent;
}
/* A reply was checked. */
static inline void worker_checked(worker *w, check_id check)
{
    w->tally.operations++;
    w->tally.checked[check]++;
}
/* An open lane that takes another call, other than this one if there is a choice; NULL: none. */
lane *worker_other_lane(worker *w, const lane *l);
/* A command whose reply does not matter: what tidies up. */
call *worker_tidy(lane *l);
/* The reply's kind is not that of the command: a violation. */
void worker_misfit(lane *l, const call *c, check_id check, const char *command, const reply *r);

#endif
