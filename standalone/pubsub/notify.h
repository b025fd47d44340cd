/* notify.h - what changed in the databases, told to those who asked: keyspace notifications and client-side caches.
 *
 *     notify_thread(&w->notices);                  // once on each thread that runs commands
 *     ... commands run; the stores tell their listener what they changed ...
 *     if (w->notices.some) notify_flush(...);      // before the replies are sent: publishes
 *
 * Threads    notify_apply: any. The others: the thread whose notices they are.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_NOTIFY_H
#define KV_STANDALONE_NOTIFY_H

#include <pthread.h>
#include <stdatomic.h>

#include "aof_buffer.h"
#include "call.h"

struct server;
struct worker;

/* One letter of notify-keyspace-events each: bit i is NOTIFY_LETTERS[i]. */
#define NOTIFY_LETTERS "g$lshzxetdnKEm"
enum notify_class {
    NOTIFY_GENERIC = 1 << 0,
    NOTIFY_STRING = 1 << 1,
    NOTIFY_EXPIRED = 1 << 6,
    NOTIFY_EVICTED = 1 << 7,
    NOTIFY_ALL = (1 << 10) - 1, /* 'A': the letters up to d */
    NOTIFY_NEW = 1 << 10,
    NOTIFY_KEYSPACE = 1 << 11,
    NOTIFY_KEYEVENT = 1 << 12,
    NOTIFY_MISS = 1 << 13,
};

typedef struct notice notice;

/* A thread's: which call runs on it, and whether it has told anything that was not yet published. */
typedef struct notices {
    struct server *server;
    const kv_call *call;
    uint64_t client_id; /* whose call it is */
    bool of_primary;    /* and it is the primary's, as a replica applies it */
    bool unlogged;      /* the log of changes is not told */
    bool some;
    bool acting;        /* EXEC runs, and holds locks */
    notice *held;       /* the first half of a rename: the second is told first */
    aof_writer *writer; /* of the log of changes: this thread's; NULL: notify_thread finds one */
    aof_writer *feeder; /* of the stream to replicas; NULL: the one that goes with writer */
} notices;

/* What was told and not yet published, in order. */
typedef struct notice_queue {
    pthread_mutex_t lock; /* guards the next two; taken under the lock of a shard */
    notice *first, **last;
    pthread_mutex_t publishing; /* one thread publishes at a time, so that the order stays */
    pthread_mutex_t applying;
    _Atomic bool wanted; /* somebody listens: events, or caches */
} notice_queue;

/* Makes n the notices of the calling thread; NULL: it has none any more. */
void notify_thread(notices *n);
/* Publishes what was told so far. from: the worker whose thread this is, or NULL. Returns whether a worker has much to deliver
 * (see pubsub_publish). */
bool notify_flush(struct server *s, struct worker *from, notices *n);

/* Takes notice of changes in the stores from now on, or of none, as the configuration and clients want it. */
void notify_apply(struct server *s);
/* When the databases are there; before they go. */
void notify_open(struct server *s);
void notify_close(struct server *s);

/* Letters as a set of classes, -1: one is none; and back, as Redis writes them. */
int notify_parse_classes(kv_slice letters);
void notify_write_classes(unsigned classes, char text[16]);

/* A message of an act, which holds the locks of what it changes: is published with what it has told before and after it, in its place.
 * False: memory is out. */
bool notify_say(notices *n, int kind, kv_slice channel, kv_slice payload);

/* kv_call.on_miss: a key was looked up that is not there. */
void notify_miss(kv_call *call, kv_slice key);

#endif
