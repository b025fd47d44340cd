/* pubsub.c - see pubsub.h.
 *
 * The problem: a message for a thousand subscribers on several workers must cost each of them little, and its
 * publisher next to nothing; no worker may touch another's connections; and yet the number that PUBLISH
 * replies, and the order in which messages arrive, must be those of one thread that does everything.
 *
 *     PUBLISH -> topics_match: receivers, and which workers have some
 *             -> a publication: the message once, in RESP, and a post for each of these workers
 *                      |
 *         postbox of worker 0      postbox of worker 1 ...       a locked list each
 *                      |
 *     pubsub_deliver: the topics' seats -> connection_mail       a form per topic and protocol, shared
 *     pubsub_send:    one send per connection that got mail
 *
 * The message as a subscriber sees it is a head, which depends on the topic and the protocol, and a tail
 * (channel and payload), which does not. The tail is written once, by the publisher. A worker writes head and
 * tail of a short message once for all of its subscribers of a topic and a protocol; several messages to the
 * same channel in a row become one form, and one send. A long tail is passed on by reference, wherever it goes.
 *
 * Order, and what real time demands:
 *   1. A publisher runs on one worker, and posts go to each postbox in its order; a postbox is emptied in
 *      order. So one publisher's messages reach every subscriber in order.
 *   2. Who is counted gets the message: see topic.c. Therefore a worker delivers what is in its postbox
 *      before a subscription begins or ends, and messages that were published before it are none of its.
 *   3. Before a subscriber's requests run, its worker's postbox is emptied: when its client learns elsewhere that
 *      a message was published, and then asks PING, the message comes first.
 *   4. A publisher that is a subscriber itself (RESP3) gets its message before the reply to PUBLISH, as in Redis.
 *
 * Bounds: what is handed to a connection counts against client-output-buffer-limit pubsub, and it is closed
 * when it leaves too much unread. A postbox is emptied whenever its worker gets round to it; a publisher that has filled one
 * beyond CROWD_BYTES is parked until then. No message is ever dropped.
 *
 * Wake-ups: a worker is woken when its postbox was empty, at the end of the publisher's turn, so that a
 * pipeline of messages costs one wake-up and arrives as one run.
 *
 * What a connection listens to is subscriber.c; what subscribers see of a message, and handing it to them, is
 * pubsub_deliver.c. Here are the postboxes, and who puts something into them.
 *
 * SPDX-License-Identifier: MIT */
#include "pubsub.h"

#include <stdlib.h>

#include "bulk.h"
#include "pubsub_internal.h"
#include "server.h"
#include "tracking.h"

#define CROWD_BYTES (4 * 1024 * 1024) /* in one postbox: who publishes more must wait */

/* ---- publishing ---- */

static kv_bytes *make_tail(topic_kind kind, kv_slice name, kv_slice payload)
{
    kv_bytes *tail;

    if (kind == TOPIC_MONITOR)
        return kv_bytes_new(payload);
    tail = kv_bytes_room(NULL, bulk_size(name) + bulk_size(payload), 0);

    if (tail)
        bulk_put(bulk_put(kv_bytes_data(tail), name), payload);
    return tail;
}

/* A publication with room for post_count posts; it takes over the match's references. NULL: memory is out. */
static publication *publication_new(topic_match *match, int post_count, kv_slice name, kv_slice payload)
{
    publication *p =
        malloc(sizeof *p + (size_t)post_count * sizeof *p->posts + match->count * sizeof(topic *));
    kv_bytes *tail = p ? make_tail(match->topics[0]->kind, name, payload) : NULL;

    if (!tail) {
        free(p);
        return NULL;
    }
    *p = (publication){ .topic_count = (uint32_t)match->count, .tail = tail };
    atomic_init(&p->references, (uint32_t)post_count);
    p->posts = (post *)(p + 1);
    p->topics = (topic **)(p->posts + post_count);
    memcpy(p->topics, match->topics, match->count * sizeof(topic *));
    match->count = 0;
    p->bytes = sizeof *p + kv_bytes_size(tail);
    return p;
}

void publication_unref(publication *p)
{
    /* Pairs with the same of the other workers. */
    if (atomic_fetch_sub_explicit(&p->references, 1, memory_order_acq_rel) != 1)
        return;
    for (uint32_t i = 0; i < p->topic_count; i++)
        topic_unref(p->topics[i]);
    kv_bytes_unref(p->tail);
    free(p);
}

/* Returns whether the postbox was empty; *crowded is set when it holds much. */
static bool put_post(postbox *box, post *mail, size_t bytes, bool *crowded)
{
    bool was_empty;

    pthread_mutex_lock(&box->lock);
    was_empty = box->first == NULL && box->notes == NULL;
    *box->last = mail;
    box->last = &mail->next;
    box->bytes += bytes;
    if (box->bytes > CROWD_BYTES)
        *crowded = box->awaited = true;
    pthread_mutex_unlock(&box->lock);
    return was_empty;
}

void pubsub_post_note(server *s, worker *from, int to, tracking_note *note)
{
    postbox *box = s->workers[to].postbox;
    bool was_empty;

    note->next = NULL;
    pthread_mutex_lock(&box->lock);
    was_empty = box->first == NULL && box->notes == NULL;
    *box->notes_last = note;
    box->notes_last = &note->next;
    pthread_mutex_unlock(&box->lock);
    if (from)
        from->has_posts = true;
    if (was_empty && from && to != from->index)
        from->postbox->to_wake[to / 64] |= (uint64_t)1 << (to % 64);
    else if (was_empty && !from)
        worker_wake(&s->workers[to]);
}

static bool is_member(const uint64_t set[2], int i)
{
    return set[i / 64] >> (i % 64) & 1;
}

static int64_t post_all(server *s, worker *from, topic_match *match, kv_slice name, kv_slice payload,
                        bool *ret_crowded)
{
    int n = __builtin_popcountll(match->workers[0]) + __builtin_popcountll(match->workers[1]), next = 0;
    publication *p = publication_new(match, n, name, payload);
    size_t bytes;

    if (!p)
        return KV_ENOMEM;
    bytes = p->bytes;
    for (int i = 0; next < n; i++) {
        post *mail = &p->posts[next];

        if (!is_member(match->workers, i))
            continue;
        next++; /* before it is posted: with the last post, p may be gone */
        *mail = (post){ .publication = p };
        if (!put_post(s->workers[i].postbox, mail, bytes, ret_crowded))
            continue;
        if (!from)
            worker_wake(&s->workers[i]);
        else if (i != from->index)
            from->postbox->to_wake[i / 64] |= (uint64_t)1 << (i % 64);
    }
    if (from)
        from->has_posts = true;
    return match->receivers;
}

int64_t pubsub_publish(server *s, worker *from, topic_kind kind, kv_slice name, kv_slice payload,
                       bool *ret_crowded)
{
    topic_match match;
    int64_t result = 0;

    *ret_crowded = false;
    if (!topics_match(s->topics, kind, name, &match))
        return KV_ENOMEM;
    if (match.receivers > 0)
        result = post_all(s, from, &match, name, payload, ret_crowded);
    topic_match_done(&match);
    return result;
}

int64_t pubsub_receivers(server *s, topic_kind kind, kv_slice name)
{
    topic_match match;
    int64_t receivers;

    if (!topics_match(s->topics, kind, name, &match))
        return KV_ENOMEM;
    receivers = match.receivers;
    topic_match_done(&match);
    return receivers;
}

/* ---- a crowd ---- */

void pubsub_wait(connection *c)
{
    postbox *box = c->owner->postbox;

    connection_park(c);
    c->next_waiting = box->waiting;
    box->waiting = c;
}

/* A postbox was emptied: who waited goes on. */
static void go_on(worker *w, worker_message *message)
{
    connection *c = w->postbox->waiting, *next;

    (void)message;
    atomic_store_explicit(&w->postbox->room_posted, false, memory_order_release);
    w->postbox->waiting = NULL;
    for (; c; c = next) {
        next = c->next_waiting;
        if (connection_unpark(c)) {
            c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
            connection_flush(c);
        }
    }
}

static void tell_room(const server *s)
{
    for (int i = 0; i < s->worker_count; i++) {
        postbox *box = s->workers[i].postbox;

        if (!atomic_exchange_explicit(&box->room_posted, true, memory_order_acq_rel))
            worker_post(&s->workers[i], &box->room);
    }
}

post *pubsub_empty_postbox(worker *w)
{
    postbox *box = w->postbox;
    bool awaited;
    post *mail;

    pthread_mutex_lock(&box->lock);
    mail = box->first;
    awaited = box->awaited;
    box->first = NULL;
    box->last = &box->first;
    box->bytes = 0;
    box->awaited = false;
    pthread_mutex_unlock(&box->lock);
    if (awaited)
        tell_room(w->server);
    return mail;
}

/* ---- sending ---- */

void pubsub_mailed(connection *c)
{
    postbox *box = c->owner->postbox;

    if (c->flags & CONNECTION_MAILED)
        return;
    c->flags |= CONNECTION_MAILED;
    c->next_mailed = box->mailed;
    box->mailed = c;
    c->owner->has_posts = true;
}

static void wake_others(worker *w)
{
    for (int i = 0; i < w->server->worker_count; i++)
        if (is_member(w->postbox->to_wake, i))
            worker_wake(&w->server->workers[i]);
    w->postbox->to_wake[0] = w->postbox->to_wake[1] = 0;
}

static tracking_note *take_notes(worker *w)
{
    postbox *box = w->postbox;
    tracking_note *notes;

    pthread_mutex_lock(&box->lock);
    notes = box->notes;
    box->notes = NULL;
    box->notes_last = &box->notes;
    pthread_mutex_unlock(&box->lock);
    return notes;
}

void pubsub_deliver_notes(worker *w, connection *serving)
{
    tracking_deliver(w, take_notes(w), serving);
}

void pubsub_send(worker *w)
{
    connection *c, *next;

    wake_others(w);
    pubsub_deliver(w, NULL);
    pubsub_deliver_notes(w, NULL);
    w->has_posts = false;
    c = w->postbox->mailed;
    w->postbox->mailed = NULL;
    for (; c; c = next) {
        next = c->next_mailed;
        c->flags &= ~(unsigned)CONNECTION_MAILED;
        connection_send_mail(c);
    }
}

/* ---- life ---- */

int pubsub_open(worker *w)
{
    w->postbox = calloc(1, sizeof *w->postbox);
    if (!w->postbox)
        return -1;
    pthread_mutex_init(&w->postbox->lock, NULL);
    w->postbox->last = &w->postbox->first;
    w->postbox->notes_last = &w->postbox->notes;
    w->postbox->room.run = go_on;
    return 0;
}

void pubsub_close(worker *w)
{
    post *next;

    if (!w->postbox)
        return;
    for (post *mail = w->postbox->first; mail; mail = next) {
        next = mail->next;
        publication_unref(mail->publication);
    }
    for (tracking_note *note = w->postbox->notes, *after; note; note = after) {
        after = note->next;
        tracking_note_free(note);
    }
    pthread_mutex_destroy(&w->postbox->lock);
    free(w->postbox);
}
