/* async_watch.h - what a connection waits for, told to the event loop.
 *
 *     kvc_watch_release(&watch);                       // a step may close the socket
 *     status = kvc_session_step(session, now_ms, &wait, &error);
 *     kvc_watch_set(&watch, &wait);                    // calls back when wait says
 *
 * Threads    The loop's.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_ASYNC_WATCH_H
#define KVC_ASYNC_WATCH_H

#include "dial.h"

struct event;
struct event_base;

typedef void kvc_watch_fn(void *arg);

typedef struct kvc_watch {
    struct event *io, *timer;
    int fd; /* -1: none is watched */
    short events;
    int64_t until_ms;
    bool again; /* it was asked for, and did not come yet */
    kvc_watch_fn *fn;
    void *arg;
} kvc_watch;

/* False: out of memory. */
bool kvc_watch_init(kvc_watch *watch, struct event_base *base, kvc_watch_fn *fn, void *arg);
/* Ends it; one that was zeroed, too. */
void kvc_watch_done(kvc_watch *watch);
/* Calls back when the socket is ready, and at wait->until_ms. False: the loop refused. */
bool kvc_watch_set(kvc_watch *watch, const kvc_dial_wait *wait);
/* Lets go of the socket, which may be closed now. */
void kvc_watch_release(kvc_watch *watch);
/* Calls back in this or the next turn of the loop. */
void kvc_watch_again(kvc_watch *watch);

#endif
