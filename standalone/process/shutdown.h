/* shutdown.h - the beginning of the end: replicas are given the time to take what was written.
 *
 *     shutdown_begin(s, c, &(shutdown_how){ .save = true });   // a client's SHUTDOWN; c NULL: a signal's
 *     shutdown_abort(s);                                       // SHUTDOWN ABORT, while replicas are waited for
 *
 * Threads    Any, but for shutdown_tick. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SHUTDOWN_H
#define KV_STANDALONE_SHUTDOWN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "kvstore/capability.h"

struct server;
struct connection;
struct worker;
struct worker_message;

typedef struct shutdown_how {
    bool save;  /* a snapshot is written first */
    bool force; /* its failure does not matter */
    bool now;   /* nobody is waited for */
} shutdown_how;

enum shutdown_phase {
    SHUTDOWN_NONE,
    SHUTDOWN_PAUSES, /* writes are paused; some batches may still run */
    SHUTDOWN_WAITS,  /* for replicas */
    SHUTDOWN_SAVES,  /* nobody is waited for any more; writes are still paused */
};

/* A part of the server; all zero at first, but for the lock. */
typedef struct shutdown {
    pthread_mutex_t lock; /* guards the rest */
    enum shutdown_phase phase;
    shutdown_how how;
    int64_t until_ms; /* of peer_clock_ms */
    int64_t position; /* of the stream: what is to be acknowledged */
    int visits;       /* of workers, that are still to come */
} shutdown_state;

/* 0, or -1: memory is out. c, if any, is replied to, or closed, when it has failed, or succeeded. */
int shutdown_begin(struct server *s, struct connection *c, const shutdown_how *how)
    KV_EXCLUDES(kv_shard_held);
/* False: nothing that could be given up is under way. */
bool shutdown_abort(struct server *s) KV_EXCLUDES(kv_shard_held);
/* The snapshot could not be written: the server goes on. */
void shutdown_failed(struct server *s) KV_EXCLUDES(kv_shard_held);
/* What shutdown_visit of each worker runs. */
void shutdown_hear(struct worker *w, struct worker_message *message) KV_EXCLUDES(kv_shard_held);
/* Worker 0, a few times a second. */
void shutdown_tick(struct server *s) KV_EXCLUDES(kv_shard_held);
/* How long replicas will be waited for at most; -1: they are not. */
int64_t shutdown_left_ms(struct server *s);

#endif
