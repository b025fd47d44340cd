/* round.h - a function that is run once on each worker's thread, for a connection that waits for that.
 *
 * No worker may look at another's connections, so a question about all of them travels:
 *
 *     asking worker --visit--> every other worker: looks at its own, notes what it found in the round
 *                                     | the last one to finish
 *     asking worker <---------------- '   answers, goes on with the asking connection
 *
 * The asking connection is parked meanwhile, so its replies stay in order. With one worker nothing travels and
 * nothing is parked. What the asker's worker has sent to others before arrives there before the visit.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ROUND_H
#define KV_STANDALONE_ROUND_H

#include "connection.h"

typedef struct round round;

/* The first member of what is asked. */
struct round {
    void (*visit)(round *r, worker *w);
    void (*answer)(round *r, kv_reply *reply); /* on the asker's thread, after all visits */
    void (*end)(round *r);                     /* frees it */

    connection *asker; /* from here on round.c's */
    worker_message back;
    struct round_stop *stops; /* one for each worker */
    _Atomic int left;         /* visits that are not over */
};

/* Starts with the worker of the call's connection; replies itself when memory is out. */
void round_start(round *r, kv_call *call);

#endif
