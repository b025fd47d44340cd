/* actor_batch.h - requests on their way to the state thread and replies on their way back (--sharing actor).
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ACTOR_BATCH_H
#define KV_STANDALONE_ACTOR_BATCH_H

#include "connection.h"

/* As dispatch_batch: posts the longest run of data commands at the front of b and parks c, or runs the session command
 * that stands there. */
int actor_batch_dispatch(connection *c, const batch *b);
/* Goes on with what c->unfinished holds. */
void actor_batch_continue(connection *c);
void actor_batch_free(actor_batch *b);
/* Lets connections that wait for a place in the queue try again. */
void actor_batch_retry(worker *w);

#endif
