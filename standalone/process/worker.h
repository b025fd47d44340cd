/* worker.h - one thread, one event loop, its own connections.
 *
 * Workers share the stores and nothing else. What one wants from another's connections it sends as a
 * message; messages from one sender arrive in order.
 *
 * Threads    All functions but worker_post, worker_call and worker_wake: on the worker's own thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_WORKER_H
#define KV_STANDALONE_WORKER_H

#include <event2/event.h>
#include <event2/event_struct.h>
#include <pthread.h>

#include "aof_buffer.h"
#include "batch.h"
#include "gather.h"
#include "notify.h"
#include "output.h"
#include "resp_reply.h"
#include "slow.h"
#include "stats.h"

#define WORKER_INPUT_BYTES (128 * 1024)
#define WORKER_CLASSES     24
#define WORKER_CLASS_BYTES ((size_t)16 * 1024)
#define WORKER_CLOCKS_MS   1000 /* two workers' clocks differ by less, unless the machine's was set */

typedef struct worker worker;
typedef struct worker_message worker_message;
struct server;
struct connection;

/* Embedded in what is sent; run is called on the receiver's thread and owns the message from then on. */
struct worker_message {
    worker_message *next;
    void (*run)(worker *w, worker_message *message);
};

struct worker {
    struct server *server;
    int index;
    pthread_t thread;
    void *crash_stack; /* see crash.h */
    struct event_base *base;
    bool in_turn;  /* online in the domain's epochs, and turn_ms is of this turn */
    bool draining; /* the server stops: no new requests are read */
    bool drained;  /* draining, and without connections */
    int64_t drain_until_ms;
    int64_t turn_ms;                   /* when the turn began */
    int64_t now_ms;                    /* as of the batch that runs, or since the turn began */
    uint64_t clock_ticks, fresh_ticks; /* when now_ms was read, and for how long it is good */

    pthread_mutex_t mailbox_lock; /* guards the next two */
    worker_message *mailbox, **mailbox_tail;
    struct postbox *postbox; /* messages for subscribers, see pubsub.c */
    bool has_posts;          /* pubsub_send has something to do in this turn */
    int wakeup_fd;
    struct event wakeup, tick;
    int hz;                    /* ticks a second */
    _Atomic int64_t ticked_ms; /* the last of them, by a clock that nobody sets: see supervise.c */
    bool expiring;             /* there are more keys due than one slice removes */
    int expire_budget_ms;      /* what is left for it until the next tick */
    struct connection *fenced; /* wait for the fence of tracking.c */
    worker_message fence_down;
    _Atomic bool fence_down_posted;
    worker_message stop; /* server_stop's */

    /* Connections: all, oldest first; those with input left to run; those to be freed after the turn. */
    struct connection *connections, **connections_tail;
    struct connection *sweep; /* where the next tick goes on */
    struct connection *runnable, **runnable_tail;
    struct connection *doomed;
    bool dooming;                                           /* there are more of these than one turn frees */
    struct connection *actor_waiting, **actor_waiting_tail; /* for a place in the actor's queue */
    int actor_in_flight;
    struct blocking *blocked, **blocked_tail; /* see blocking.h; the longest waiting first */
    _Atomic int blocked_count;
    struct event pause_over;
    struct store_hold *hold; /* of the EXEC that runs on this thread */
    struct multi *spare_multi;
    _Atomic uint64_t multi_bytes; /* what the transactions of its connections take; written by this thread */
    _Atomic int connection_count;
    _Atomic int
        dealt_count; /* connections that the accepting worker gave to us: counted before they arrive */

    char *input; /* WORKER_INPUT_BYTES and the slack */
    size_t input_len;
    resp_parser parser;
    batch batch;
    gathering gathering;
    output out; /* of the connection being served */
    output_spares spare_outputs;
    resp_reply reply;
    kv_call call;
    uint64_t rng;
    uint32_t access;          /* the access clock of this turn */
    size_t output_limit;      /* the hard limit of normal clients, in this turn */
    int64_t memory_allowance; /* bytes of requests until memory is looked at again */
    size_t *candidates;       /* for eviction, by database */
    uint64_t *hands;          /* where it goes on, see map_evict */
    int64_t aged_ms;          /* when old entries were looked at last, see store_age_some */
    /* This batch: */
    unsigned restrictions; /* of the server; while there are none, the next two are 0 */
    bool refuse_memory;    /* there is not enough for what commands with DENYOOM may need */
    unsigned examined;     /* rows with one of these flags may be refused */
    stats stats;
    slow_watch slow;
    notices notices;

    /* Of the log of changes: what this thread writes, and connections that wait for it; see aof_hold.c. */
    aof_writer writer;
    aof_writer feeder;           /* of what replicas are told */
    worker_message acknowledged; /* by replicas: see replica_look_at_waits */
    _Atomic bool acknowledged_posted;
    worker_message shutdown_visit;         /* see shutdown.c, whose lock guards */
    bool shutdown_posted, shutdown_counts; /* these two */
    bool guarded;                          /* this turn: replies may have to wait */
    bool holds;                            /* connections were held in this turn */
    bool crowded;                          /* too much waits to be written, as of when so many bytes */
    uint64_t crowded_at;                   /* had been told as it knew of */
    struct connection *held, **held_tail;
    uint64_t hold_turn;                         /* of this turn; counts those in which any were held */
    _Atomic uint64_t hold_asked, hold_released; /* turns up to which it asks, and may send */
    uint64_t kept;                              /* replies that were ever held */
    _Atomic uint64_t kept_told;                 /* the same, as of the end of the last such turn */
    worker_message release;
    _Atomic bool release_posted;

    /* Of its clients; others read. Class i is those of less than WORKER_CLASS_BYTES << i, but for smaller classes. */
    _Atomic uint64_t client_bytes, replica_bytes, class_bytes[WORKER_CLASSES];
    worker_message shed; /* memory_shed's */
    _Atomic bool shedding;
};

/* Makes the loop, the mailbox and the buffers; 0 or -1 with errno. */
int worker_init(worker *w, struct server *s, int index);
/* Frees them, the connections too. The thread has ended. */
void worker_done(worker *w);
/* Serves until worker_drain and all connections are gone. */
void worker_run(worker *w) KV_EXCLUDES(kv_shard_held);
/* Starts a callback: reads the clock and goes online if that was not yet done in this turn. */
void worker_begin(worker *w);
/* Brings now_ms up to date, see worker.c; server.h has worker_read_clock, which does it when it is time. ticks: the
 * counter of now. */
void worker_read_clock_anew(worker *w, uint64_t ticks);
/* Ticks as often as hz says. */
void worker_set_tick(worker *w);
/* Stops reading requests, closes connections as their replies are sent, all of them after until_ms. */
void worker_drain(worker *w, int64_t until_ms);

/* Runs the messages that are there. */
void worker_run_mail(worker *w);

/* Any thread. */
void worker_post(worker *w, worker_message *message) KV_EXCLUDES(kv_shard_held);
/* Calls run on w's thread, in its turn. -1: memory is out. */
int worker_call(worker *w, void (*run)(worker *w)) KV_EXCLUDES(kv_shard_held);
/* Makes it look at its mailbox and its postbox. */
void worker_wake(worker *w);

#endif
