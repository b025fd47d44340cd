/* actor.h - a thread that owns the state, reached by messages (--sharing actor).
 *
 *     struct batch { actor_message message; ... commands, replies ... };
 *     batch->message.run = run_batch;         // on the actor's thread: execute
 *     batch->message.done = wake_owner;       // on the actor's thread, last: hand the replies back
 *     if (!actor_post(actor, &batch->message)) ... the queue is full: keep it, try when one comes back
 *
 * The queue is bounded and first-in-first-out for each sender. A message belongs to the actor from
 * actor_post to done, and is not touched by the actor after done was entered.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STORE_ACTOR_H
#define KV_STORE_ACTOR_H

#include "kvstore/kvstore.h"

typedef struct actor actor;
typedef struct actor_message actor_message;
typedef void actor_fn(actor_message *message);

struct actor_message {
    actor_message *next; /* the queue's */
    actor_fn *run;
    actor_fn *done;
};

/* Starts the thread, registered with domain. capacity: how many messages may wait. NULL: memory or threads are out. */
actor *actor_new(kv_domain *domain, size_t capacity);
/* Runs what is queued, then ends the thread. */
void actor_free(actor *a) KV_EXCLUDES(kv_shard_held);
/* False when the queue is full; message is then still the caller's. */
bool actor_post(actor *a, actor_message *message) KV_EXCLUDES(kv_shard_held);
/* Posts (waiting for room) and waits until run has returned; done is not called. On the actor's own thread it just runs. */
void actor_call(actor *a, actor_message *message) KV_EXCLUDES(kv_shard_held);

/* The actor of a store, NULL unless it was made with KV_SHARING_ACTOR: each such store has its own. (The
 * server's databases are one state: it makes one actor for them all, over stores that are shared by shards.) */
actor *store_actor(const kv_store *store);

#endif
