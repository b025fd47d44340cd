/* parts.h - the checks, as parts of a worker. SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_PARTS_H
#define KVSTRESS_PARTS_H

#include "worker.h"

extern const part PART_OF_VISIBILITY, PART_OF_LINEAR, PART_OF_MULTIKEY, PART_OF_FIFO, PART_OF_PUBSUB,
    PART_OF_TTL;

/* Whether the server knows what the part needs. */
static inline bool parts_can(const target *t, unsigned i)
{
    switch (i) {
    case PART_MULTIKEY:
        return t->knows[USE_MSET] && t->knows[USE_MGET];
    case PART_PUBSUB:
        return t->knows[USE_PUBLISH];
    case PART_TTL:
        return t->knows[USE_SET_PX] || t->knows[USE_SET_EX] || t->knows[USE_PSETEX] || t->knows[USE_PEXPIRE];
    default:
        return true;
    }
}

/* ---- visibility.c: registers that all workers share ------------------------------------- */

board *board_new(const run *r);
void board_free(board *b);

/* ---- pubsub.c --------------------------------------------------------------------------- */

#define PUBSUB_SUBSCRIBERS 2u /* connections of each worker */

channels *channels_new(const options *o);
void channels_free(channels *c);
/* Whether the reply was a message, or about a subscription. */
bool pubsub_received(lane *l, const reply *r);
/* The server closed a subscriber. */
void pubsub_lost(lane *l);

/* ---- object.c: after a crash ------------------------------------------------------------ */

/* Reads one object that has not been read since the crash; false when there is none. */
bool parts_verify(worker *w, lane *l);
/* Whether all have been read; then their histories are judged and new objects take their places. */
bool parts_verified(worker *w);

#endif
