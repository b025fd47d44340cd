/* actor_batch.h - requests on their way to the state thread and replies on their way back (--sharing actor).
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ACTOR_BATCH_H
#define KV_STANDALONE_ACTOR_BATCH_H

#include "actor.h"
#include "connection.h"

/* ---- a message to the state thread for one connection, which is parked until it is back ---- */

typedef struct actor_errand actor_errand;
/* On the state thread, inside an epoch; replies go to call->reply. */
typedef void actor_errand_run(actor_errand *e, kv_call *call);
/* Back on the worker's thread, before the replies are sent; what is replied here comes after those. c may be closed. */
typedef void actor_errand_done(actor_errand *e, connection *c, kv_reply *reply);

/* Begins a struct that malloc gave, all zero. */
struct actor_errand {
    actor_message message; /* first */
    worker_message back;
    actor_errand_run *run;
    actor_errand_done *done;
    connection *c;
    worker *w;
    int db;
    bool no_touch, muted;
    bool kept; /* set by done: it goes on living */
    size_t value_max;
    slowlog_entry *slow; /* commands that took long, without their client yet */
    const kv_call *call; /* while running: for errors */
    resp_reply reply;
    output out;
};

/* Posts it (there must be a place: actor_batch_dispatch sees to that), parks c, and frees it in the end. */
void actor_errand_post(actor_errand *e, connection *c, actor_errand_run *run, actor_errand_done *done);

/* ---- requests ---- */

/* As dispatch_batch: posts the longest run of data commands at the front of b and parks c, or runs the session command
 * that stands there. */
int actor_batch_dispatch(connection *c, const batch *b);
/* Goes on with what c->unfinished holds. */
void actor_batch_continue(connection *c);
void actor_batch_free(actor_batch *b);
/* Lets connections that wait for a place in the queue try again. */
void actor_batch_retry(worker *w);

#endif
