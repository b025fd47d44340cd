/* lane.h - a connection: requests under way, in order.
 *
 *     call *c = lane_call(l, get_done);            // a place in the pipeline
 *     c->object = ...; c->a = ...;
 *     lane_command(l, 2, "GET", group); wire_arg(&l->out, key, len);
 *
 * Then get_done is called with the reply, or with NULL when the connection was lost first and the outcome is
 * unknown. A lane belongs to one worker. Each connection that it opens in the course of time is a process of its
 * own.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_LANE_H
#define KVSTRESS_LANE_H

#include "clock.h"
#include "reply.h"
#include "wire.h"

#define CALL_ITEMS 8

typedef struct worker worker;
typedef struct lane lane;
typedef struct call call;

typedef void call_done(lane *l, const call *c, const reply *r);

struct call {
    call_done *done;
    int64_t sent;   /* ns */
    uint16_t steps; /* replies that come before the one that counts: OK and QUEUED of MULTI */
    uint8_t kind, count;
    uint32_t small;
    void *object;
    uint64_t a, b;
    uint64_t items[CALL_ITEMS];
};

typedef enum lane_state { LANE_CLOSED, LANE_CONNECTING, LANE_OPEN } lane_state;

/* What fifo.c knows of the keys that only this connection uses. */
typedef struct lane_fifo {
    uint32_t generation, sent; /* of the keys; commands so far */
    int64_t counter, number;   /* what the two keys hold once all that is under way is done */
    bool present;
    struct {
        uint8_t kind;
        int64_t expected, call, ret;
    } recent[8]; /* what was answered last */
    unsigned recent_count;
} lane_fifo;

struct lane {
    worker *worker;
    int fd;
    lane_state state;
    uint32_t process;
    unsigned depth;    /* requests under way at most */
    bool subscriber;   /* pubsub.c reads what comes */
    bool watching;     /* between WATCH and EXEC: no other transaction here */
    bool retiring;     /* to be closed, and another opened, when nothing is under way */
    bool blocked;      /* the socket is full */
    int64_t reopen_at; /* closed: when to try again */
    unsigned failures; /* attempts since the last reply */
    /* ns: when the latest request was sent that has been answered; 0: none yet. A server that reads its clock once per
     * turn of its event loop read it after that, for whatever is asked of it from now on. */
    int64_t clock_after;
    struct event *readable, *writable;
    reply_reader reader;
    wire out;
    call *ring; /* [ring_size], a power of two */
    unsigned ring_size, head, tail;
    lane_fifo fifo;
    uint64_t published[4]; /* pubsub.c: messages to each channel so far */
};

int lane_init(lane *l, worker *w, unsigned depth);
void lane_done(lane *l);
/* Begins to connect. */
void lane_open(lane *l);
/* Closes; what is under way is of unknown outcome. */
void lane_close(lane *l);
static inline unsigned lane_open_calls(const lane *l)
{
    return l->tail - l->head;
}
/* The next place in the pipeline; there is one. */
call *lane_call(lane *l, call_done *done);
/* Begins a command on keys, of so many words, its name included; the keys follow. Through the module (--module) they are
 * fields of the key store; otherwise that is not looked at. */
void lane_command(lane *l, unsigned words, const char *name, const char *store);
/* Begins WATCH of so many keys, which follow. False: nothing follows; the key whose fields they are is watched. */
bool lane_watch(lane *l, unsigned keys, const char *store);
/* Sends what the socket takes. */
void lane_send(lane *l);

#endif
