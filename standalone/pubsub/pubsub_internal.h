/* pubsub_internal.h - what pubsub.c, pubsub_deliver.c and subscriber.c share. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_PUBSUB_INTERNAL_H
#define KV_STANDALONE_PUBSUB_INTERNAL_H

#include "pubsub.h"
#include "server.h"
#include "tracking.h"

typedef struct subscription {
    topic *topic;
    connection *owner;
    uint32_t seat;
} subscription;

typedef struct publication publication;

/* A publication in one worker's postbox. */
typedef struct post {
    struct post *next;
    publication *publication;
} post;

/* A message under way. The arrays stand behind it. */
struct publication {
    _Atomic uint32_t references; /* one per post */
    uint32_t topic_count;
    topic **topics;
    post *posts;
    kv_bytes *tail; /* channel and payload, as two bulk strings */
    size_t bytes;
};

typedef struct postbox {
    pthread_mutex_t lock; /* guards the next six */
    post *first, **last;
    tracking_note *notes, **notes_last;
    size_t bytes;
    bool awaited; /* a publisher waits until it is emptied */

    /* The worker's own. */
    uint64_t to_wake[2]; /* workers that were posted to in this turn */
    connection *waiting; /* publishers, parked */
    worker_message room; /* tells this worker that a postbox was emptied */
    _Atomic bool room_posted;
    connection *mailed; /* connections that were handed something */
} postbox;

/* Takes what is in w's postbox, in its order, and tells those that wait for room. */
post *pubsub_empty_postbox(worker *w);
/* One post less; the last one frees it. */
void publication_unref(publication *p);

#endif
