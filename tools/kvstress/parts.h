/* parts.h - the checks, as parts of a worker. SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_PARTS_H
#define KVSTRESS_PARTS_H

#include "worker.h"

extern const part PART_OF_VISIBILITY, PART_OF_LINEAR, PART_OF_MULTIKEY, PART_OF_FIFO, PART_OF_PUBSUB,
    PART_OF_TTL;

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
