/* blocking.h - connections that wait for something, while their worker goes on.
 *
 *     static void finish(blocking *b, kv_reply *reply, blocking_end why) { ... reply, in every case ... }
 *
 *     blocking *b = blocking_begin(c, sizeof *b, timeout_ms, finish);   // parks c; NULL: memory is out
 *
 * It ends, on the worker's thread, by whichever comes first: blocking_finish of the one who has what it waits for;
 * its timeout; CLIENT UNBLOCK; the end of the connection, and then finish is not called. A command that waits for keys also
 * joins the server's wait_table:
 *
 *     blocking_keys(b, n, keys, retry);   // retry runs on the worker's thread, when one of them was signalled: try again,
 *                                         // then blocking_finish(b, BLOCKING_DONE), or false: wait on
 *
 * Postponed clients (CLIENT PAUSE) are kept here as well: their request has not run, and runs from the input when
 * the pause is over, in its order.
 *
 * Inside of a transaction nothing blocks: ask blocking_allowed first.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_BLOCKING_H
#define KV_STANDALONE_BLOCKING_H

#include "connection.h"
#include "wait_table.h"

typedef enum blocking_end {
    BLOCKING_DONE,    /* what was waited for is there: finish replies it */
    BLOCKING_TIMEOUT, /* finish replies what the command says then */
    BLOCKING_ERROR, /* CLIENT UNBLOCK ERROR: the reply is made here, finish only cleans up (reply is NULL) */
} blocking_end;

typedef struct blocking blocking;

/* Begins a struct of the command's own. */
struct blocking {
    connection *c;
    void (*finish)(blocking *b, kv_reply *reply, blocking_end why);
    bool (*retry)(blocking *b, kv_reply *reply); /* of keys: whether it was served, and replied */
    blocking *next, **link;                      /* in the worker's list, oldest first */
    struct event timer;
    bool timed, postponed;
    waiter waiter;       /* of keys */
    worker_message news; /* that it was woken; guarded by the wait table's lock until it arrives */
    bool posted;
};

static inline bool blocking_allowed(const connection *c)
{
    return !(c->flags & CONNECTION_MULTI);
}

/* Parks c. size: of the command's struct, all zero behind the blocking. timeout_ms: 0: for ever. */
blocking *blocking_begin(connection *c, size_t size, int64_t timeout_ms,
                         void (*finish)(blocking *b, kv_reply *reply, blocking_end why));
/* Waits for keys of the connection's database too. KV_ENOMEM: not so, b has ended and c goes on. */
int blocking_keys(blocking *b, size_t n, const kv_slice keys[], bool (*retry)(blocking *b, kv_reply *reply));
/* Ends it, replies, and lets c go on. */
void blocking_finish(blocking *b, blocking_end why);
/* Replicas have acknowledged something: ends each WAIT of the worker that has what it waits for. */
void wait_look(worker *w) KV_EXCLUDES(kv_shard_held);
/* The connection is closed. */
void blocking_forget(connection *c);

/* ---- CLIENT PAUSE ---- */

enum { PAUSE_NONE, PAUSE_WRITE, PAUSE_ALL };

/* The only way to change it; pause_lock is held. While anything is paused, reads remove no key that has expired. */
void blocking_set_pause(struct server *s, int pause);
/* Pauses writes besides, whatever clients pause and unpause, or ends that: then blocking_end_pause on each worker. */
void blocking_pause_for_shutdown(struct server *s, bool on);
/* Lets reads remove what has expired, or not: neither while anything is paused, nor on a replica. pause_lock is held. */
void blocking_apply_reaping(struct server *s);
/* What is paused now; ends a pause whose time is over. */
int blocking_pause(struct server *s, int64_t now_ms);
/* Whether the request must wait for the end of a pause: then c is parked before it. */
bool blocking_postpones(connection *c, const request *r);
/* The pause may be over: whoever was postponed goes on. */
void blocking_end_pause(worker *w);

#endif
