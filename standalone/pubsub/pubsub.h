/* pubsub.h - messages from those who publish to those who listen, across workers.
 *
 *     pubsub_subscribe(c, TOPIC_CHANNEL, name);            // c->subscriber knows from now on
 *     receivers = pubsub_publish(s, w, TOPIC_CHANNEL, name, payload, &crowded);
 *     ... at the end of the turn: pubsub_send(w) ...
 *
 * Threads    pubsub_publish: any. The others: the thread of the worker, or of the connection's.
 * Ownership  Names and payloads are copied.
 * Order      Messages of one publisher reach a subscriber in the order in which they were published.
 * Errors     KV_ENOMEM, KV_ETOOBIG; nothing has changed.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_PUBSUB_H
#define KV_STANDALONE_PUBSUB_H

#include "connection.h"
#include "topic.h"

struct tracking_note;

/* What a connection listens to. */
typedef struct subscriber {
    struct subscription **slots; /* open addressing, by the topic's hash */
    size_t capacity, count;
    size_t bytes;
    uint32_t counts[TOPIC_KINDS]; /* by the topics' kinds; their sum is count */
} subscriber;

#define PUBSUB_SUBSCRIPTIONS_MAX (1024 * 1024) /* of one connection */

/* 0, also when it is subscribed already; KV_ENOMEM; KV_ETOOBIG: it has too many. */
int pubsub_subscribe(connection *c, topic_kind kind, kv_slice name);
/* Whether it was subscribed. */
bool pubsub_unsubscribe(connection *c, topic_kind kind, kv_slice name);
/* Ends subscriptions of a kind, at most so many; calls each with their names. *at is 0 at first, and what the last call has left for the
 * next one. True: there are no more of them. */
bool pubsub_unsubscribe_some(connection *c, topic_kind kind, size_t most, size_t *at,
                             void (*each)(void *arg, kv_slice name), void *arg);
/* Calls each with the names of c's topics of a kind. */
void pubsub_each(const connection *c, topic_kind kind, void (*each)(void *arg, kv_slice name), void *arg);
/* Ends all of them, and forgets that c was a subscriber: closing, RESET. */
void pubsub_forget(connection *c);

/* Whether test is true of all that c listens to. */
bool pubsub_all(const connection *c, bool (*test)(void *arg, topic_kind kind, kv_slice name), void *arg);

/* Subscriptions of a connection, 0 for one that has none. */
static inline uint32_t pubsub_count(const connection *c, topic_kind kind)
{
    return c->subscriber ? c->subscriber->counts[kind] : 0;
}

/* Sends a message to everybody who is subscribed at this moment, and returns how many that are, or KV_ENOMEM.
 * from: the worker whose thread this is, or NULL. *ret_crowded: a worker has much to deliver already, and who goes on
 * publishing should wait (pubsub_wait). */
int64_t pubsub_publish(struct server *s, worker *from, topic_kind kind, kv_slice name, kv_slice payload,
                       bool *ret_crowded);
/* How many that would be. */
int64_t pubsub_receivers(struct server *s, topic_kind kind, kv_slice name);
/* Parks c until the crowd has thinned. */
void pubsub_wait(connection *c);
/* After c->protocol has changed. */
void pubsub_protocol_changed(connection *c);

/* Hands the messages that wait for w's connections to them. Inside a request, serving is whose request it is: its output is
 * in use, and nobody's is sent. */
void pubsub_deliver(worker *w, connection *serving);
/* The same with what tracking tells. */
void pubsub_deliver_notes(worker *w, connection *serving);
/* The same, sends what connections were handed, and wakes the workers that w has published to: between requests. */
void pubsub_send(worker *w);
/* Puts a note into a worker's postbox; it is delivered between requests. */
void pubsub_post_note(struct server *s, worker *from, int to, struct tracking_note *note);
/* Puts c among those that were handed something. */
void pubsub_mailed(connection *c);

/* The postbox of a worker: before its thread runs, and after it has ended. 0, or -1: memory is out. */
int pubsub_open(worker *w);
void pubsub_close(worker *w);

#endif
