/* topic.h - channels and patterns that somebody listens to, and who.
 *
 *     topic *t = topic_join(topics, TOPIC_CHANNEL, name, w->index);      // one subscription more
 *     subscription *sub = ...; topic_seat_add(t, w->index, sub);
 *     ...
 *     topic_match found; topics_match(topics, TOPIC_CHANNEL, name, &found);   // what a message goes to
 *     ... found.topics[i], found.receivers ...
 *     topic_match_done(&found);
 *
 * A topic exists while it has subscriptions. Its subscriptions sit in one list per worker, its seats, which
 * only that worker touches; how many there are, all may know.
 *
 * Threads    Any, but for the lists of seats: their worker's.
 * Ownership  topic_join gives a reference that topic_leave takes back; topics_match gives references.
 * Errors     NULL or false: memory is out.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_TOPIC_H
#define KV_STANDALONE_TOPIC_H

#include <pthread.h>
#include <stdatomic.h>

#include "domain.h"

/* TOPIC_MONITOR: the name is a filter of commands, and messages are bytes as they are (monitor.c). */
typedef enum topic_kind { TOPIC_CHANNEL, TOPIC_PATTERN, TOPIC_SHARD, TOPIC_MONITOR, TOPIC_KINDS } topic_kind;

struct subscription;

/* The subscriptions of one worker's connections. */
typedef struct topic_seats {
    struct subscription **list; /* the worker's own, as are count and capacity */
    uint32_t count, capacity;
    uint32_t announced; /* subscriptions that count for PUBLISH: under the lock of the topic's part */
} topic_seats;

typedef struct topic {
    struct topic *next; /* in its bucket */
    topic_kind kind;
    uint64_t hash;
    _Atomic uint32_t references;
    uint32_t users;       /* sum of announced */
    size_t pattern_index; /* TOPIC_PATTERN: where it stands among the patterns */
    kv_slice name;        /* behind the seats */
    size_t size_bytes;    /* of the block */
    topic_seats seats[];  /* one per worker */
} topic;

typedef struct topics topics;

topics *topics_new(kv_domain *domain, int worker_count);
void topics_free(topics *all);

/* Counts a subscription of a worker's connection: from the return on, messages are meant for it, too. */
topic *topic_join(topics *all, topic_kind kind, kv_slice name, int worker);
void topic_leave(topics *all, topic *t, int worker);
/* The hash that the topic of that name has. */
uint64_t topic_hash(const topics *all, topic_kind kind, kv_slice name);
void topic_unref(topic *t);

/* Puts sub into the seats of its worker, and takes it out; *ret_moved is who sits in its place now, or NULL. */
bool topic_sit(topic *t, int worker, struct subscription *sub, uint32_t *ret_seat);
struct subscription *topic_stand_up(topic *t, int worker, uint32_t seat);

/* What a message to a channel reaches: the channel's topic, if there is one, then the patterns that match. */
#define TOPIC_MATCH_FEW 8
typedef struct topic_match {
    topic **topics;
    size_t count, capacity;
    int64_t receivers;
    uint64_t workers[2]; /* those that have receivers: bit i % 64 of word i / 64 */
    topic *few[TOPIC_MATCH_FEW];
} topic_match;
/* kind: TOPIC_CHANNEL; TOPIC_SHARD or TOPIC_MONITOR, which no patterns match. False: memory is out, and nothing is to be undone. */
bool topics_match(topics *all, topic_kind kind, kv_slice name, topic_match *ret_match);
void topic_match_done(topic_match *match);

/* ---- figures ---- */

size_t topics_count(topics *all, topic_kind kind);
/* Subscriptions to one, or 0. */
int64_t topic_users(topics *all, topic_kind kind, kv_slice name);
/* References to all topics of a kind: an array to be freed, *ret_count of them. False: memory is out. */
bool topics_list(topics *all, topic_kind kind, topic ***ret_list, size_t *ret_count);
/* Bytes that topics take. */
size_t topics_memory(topics *all);

#endif
