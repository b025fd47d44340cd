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
 * SPDX-License-Identifier: MIT */
#include "pubsub.h"

#include <stdlib.h>

#include "decimal.h"
#include "server.h"
#include "tracking.h"

#define CROWD_BYTES (4 * 1024 * 1024) /* in one postbox: who publishes more must wait */
#define RUN_BYTES   (64 * 1024)       /* of messages that become one form */
#define TAIL_SHORT  8192              /* tails up to here are copied into forms */

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

/* ---- subscriptions of a connection ---- */

static bool is_to(const subscription *sub, topic_kind kind, kv_slice name, uint64_t hash)
{
    return sub->topic->hash == hash && sub->topic->kind == kind && kv_slice_equal(sub->topic->name, name);
}

/* The slot of the subscription to a topic, or the empty one where it would stand. There are slots. */
static subscription **find_slot(const subscriber *s, topic_kind kind, kv_slice name, uint64_t hash)
{
    size_t i = hash & (s->capacity - 1);

    while (s->slots[i] && !is_to(s->slots[i], kind, name, hash))
        i = (i + 1) & (s->capacity - 1);
    return &s->slots[i];
}

static bool grow_slots(subscriber *s)
{
    subscriber grown = { .capacity = s->capacity ? 2 * s->capacity : 8 };

    if (4 * (s->count + 1) <= 3 * s->capacity)
        return true;
    grown.slots = calloc(grown.capacity, sizeof *grown.slots);
    if (!grown.slots)
        return false;
    for (size_t i = 0; i < s->capacity; i++) {
        const topic *t = s->slots[i] ? s->slots[i]->topic : NULL;

        if (t)
            *find_slot(&grown, t->kind, t->name, t->hash) = s->slots[i];
    }
    s->bytes += (grown.capacity - s->capacity) * sizeof *grown.slots;
    free(s->slots);
    s->slots = grown.slots;
    s->capacity = grown.capacity;
    return true;
}

/* Empties a slot, and moves those behind it that would no longer be found. */
static void empty_slot(subscriber *s, subscription **slot)
{
    size_t mask = s->capacity - 1, hole = (size_t)(slot - s->slots);

    for (size_t i = (hole + 1) & mask; s->slots[i]; i = (i + 1) & mask) {
        size_t home = s->slots[i]->topic->hash & mask;

        if (((i - home) & mask) >= ((i - hole) & mask)) {
            s->slots[hole] = s->slots[i];
            hole = i;
        }
    }
    s->slots[hole] = NULL;
}

/* What follows from the number of subscriptions: how its requests are treated, and which limits hold. */
static void update_flags(connection *c)
{
    bool listens = c->subscriber && c->subscriber->count > c->subscriber->counts[TOPIC_MONITOR],
         did = c->flags & CONNECTION_SUBSCRIBED;

    if (listens != did)
        atomic_fetch_add_explicit(&c->owner->server->pubsub_clients, listens ? 1 : -1, memory_order_relaxed);
    c->flags &= ~(unsigned)(CONNECTION_SUBSCRIBED | CONNECTION_RESTRICTED);
    if (listens)
        c->flags |= CONNECTION_SUBSCRIBED | (c->protocol == 2 ? CONNECTION_RESTRICTED : 0);
}

void pubsub_protocol_changed(connection *c)
{
    update_flags(c);
}

static subscription *subscription_new(connection *c, topic *t)
{
    subscription *sub = malloc(sizeof *sub);

    if (!sub)
        return NULL;
    *sub = (subscription){ .topic = t, .owner = c };
    if (!topic_sit(t, c->owner->index, sub, &sub->seat)) {
        free(sub);
        return NULL;
    }
    return sub;
}

/* Frees it; t may be gone afterwards. */
static void subscription_end(connection *c, subscription *sub)
{
    subscription *moved = topic_stand_up(sub->topic, c->owner->index, sub->seat);

    if (moved)
        moved->seat = sub->seat;
    c->subscriber->counts[sub->topic->kind]--;
    c->subscriber->count--;
    c->subscriber->bytes -= sizeof *sub + sub->topic->name.len;
    topic_leave(c->owner->server->topics, sub->topic, c->owner->index);
    free(sub);
}

int pubsub_subscribe(connection *c, topic_kind kind, kv_slice name)
{
    topics *all = c->owner->server->topics;
    subscription **slot, *sub;
    topic *t;

    pubsub_deliver(c->owner, c);
    if (!c->subscriber)
        c->subscriber = calloc(1, sizeof *c->subscriber);
    if (!c->subscriber || !grow_slots(c->subscriber))
        return KV_ENOMEM;
    if (c->subscriber->count >= PUBSUB_SUBSCRIPTIONS_MAX)
        return KV_ETOOBIG;
    slot = find_slot(c->subscriber, kind, name, topic_hash(all, kind, name));
    if (*slot)
        return 0;
    t = topic_join(all, kind, name, c->owner->index);
    if (!t)
        return KV_ENOMEM;
    sub = subscription_new(c, t);
    if (!sub) {
        topic_leave(all, t, c->owner->index);
        return KV_ENOMEM;
    }
    *slot = sub;
    c->subscriber->counts[kind]++;
    c->subscriber->count++;
    c->subscriber->bytes += sizeof *sub + name.len;
    update_flags(c);
    return 0;
}

bool pubsub_unsubscribe(connection *c, topic_kind kind, kv_slice name)
{
    subscription **slot, *sub;

    if (!pubsub_count(c, kind))
        return false;
    pubsub_deliver(c->owner, c);
    slot = find_slot(c->subscriber, kind, name, topic_hash(c->owner->server->topics, kind, name));
    if (!*slot)
        return false;
    sub = *slot;
    empty_slot(c->subscriber, slot);
    subscription_end(c, sub);
    update_flags(c);
    return true;
}

size_t pubsub_unsubscribe_all(connection *c, topic_kind kind, void (*each)(void *arg, kv_slice name),
                              void *arg)
{
    size_t ended = 0;

    pubsub_deliver(c->owner, c);
    for (size_t i = 0; pubsub_count(c, kind) && i < c->subscriber->capacity;) {
        subscription *sub = c->subscriber->slots[i];

        if (!sub || sub->topic->kind != kind) {
            i++;
            continue;
        }
        empty_slot(c->subscriber, &c->subscriber->slots[i]); /* another may have moved here: look again */
        c->subscriber->counts[kind]--;                       /* each is told what is left */
        each(arg, sub->topic->name);
        c->subscriber->counts[kind]++;
        subscription_end(c, sub);
        ended++;
    }
    update_flags(c);
    return ended;
}

void pubsub_each(const connection *c, topic_kind kind, void (*each)(void *arg, kv_slice name), void *arg)
{
    const subscriber *s = c->subscriber;

    for (size_t i = 0; s && i < s->capacity; i++)
        if (s->slots[i] && s->slots[i]->topic->kind == kind)
            each(arg, s->slots[i]->topic->name);
}

bool pubsub_all(const connection *c, bool (*test)(void *arg, topic_kind kind, kv_slice name), void *arg)
{
    const subscriber *s = c->subscriber;

    for (size_t i = 0; s && i < s->capacity; i++)
        if (s->slots[i] && !test(arg, s->slots[i]->topic->kind, s->slots[i]->topic->name))
            return false;
    return true;
}

void pubsub_forget(connection *c)
{
    subscriber *s = c->subscriber;

    if (!s)
        return;
    for (size_t i = 0; i < s->capacity; i++)
        if (s->slots[i])
            subscription_end(c, s->slots[i]);
    update_flags(c);
    free(s->slots);
    free(s);
    c->subscriber = NULL;
}

/* ---- publishing ---- */

/* "$<len> CRLF <text> CRLF" at p; returns the end. */
static char *put_bulk(char *p, kv_slice text)
{
    *p++ = '$';
    p += decimal_format(p, (int64_t)text.len).len;
    *p++ = '\r';
    *p++ = '\n';
    if (text.len)
        memcpy(p, text.data, text.len);
    p += text.len;
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

static size_t bulk_size(kv_slice text)
{
    char digits[DECIMAL_MAX];

    return decimal_format(digits, (int64_t)text.len).len + text.len + 5;
}

static kv_bytes *make_tail(topic_kind kind, kv_slice name, kv_slice payload)
{
    kv_bytes *tail;

    if (kind == TOPIC_MONITOR)
        return kv_bytes_new(payload);
    tail = kv_bytes_room(NULL, bulk_size(name) + bulk_size(payload), 0);

    if (tail)
        put_bulk(put_bulk(kv_bytes_data(tail), name), payload);
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

static void publication_unref(publication *p)
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

/* ---- delivering ---- */

/* Consecutive publications that are delivered as one. */
typedef struct run {
    const post *first;
    size_t count;
    size_t tail_bytes;
    bool by_reference; /* a single one, whose tail is long */
} run;

static kv_slice kind_word(topic_kind kind)
{
    return kind == TOPIC_CHANNEL ? KV_STR("message")
           : kind == TOPIC_SHARD ? KV_STR("smessage")
                                 : KV_STR("pmessage");
}

static size_t head_size(const topic *t)
{
    if (t->kind == TOPIC_MONITOR)
        return 0;
    return 4 + bulk_size(kind_word(t->kind)) + (t->kind == TOPIC_PATTERN ? bulk_size(t->name) : 0);
}

static char *put_head(char *p, const topic *t, int protocol)
{
    if (t->kind == TOPIC_MONITOR)
        return p;
    *p++ = protocol == 3 ? '>' : '*';
    *p++ = t->kind == TOPIC_PATTERN ? '4' : '3';
    *p++ = '\r';
    *p++ = '\n';
    p = put_bulk(p, kind_word(t->kind));
    return t->kind == TOPIC_PATTERN ? put_bulk(p, t->name) : p;
}

/* What subscribers of t see of the run, but for a tail by reference. NULL: memory is out. */
static kv_bytes *make_form(const run *r, const topic *t, int protocol)
{
    kv_bytes *form = kv_bytes_room(NULL, r->count * head_size(t) + (r->by_reference ? 0 : r->tail_bytes), 0);
    const post *mail = r->first;
    char *p;

    if (!form)
        return NULL;
    p = kv_bytes_data(form);
    for (size_t i = 0; i < r->count; i++, mail = mail->next) {
        kv_slice tail = kv_bytes_slice(mail->publication->tail);

        p = put_head(p, t, protocol);
        if (r->by_reference)
            continue;
        memcpy(p, tail.data, tail.len);
        p += tail.len;
    }
    return form;
}

/* Closing a connection on the way takes it out of the seats, whose last one moves to its place: so from the end. */
static void deliver_to(worker *w, topic *t, const run *r, connection *serving)
{
    topic_seats *seats = &t->seats[w->index];
    kv_bytes *forms[2] = { NULL, NULL }, *tail = r->first->publication->tail;

    for (uint32_t i = seats->count; i-- > 0;) {
        connection *c = seats->list[i]->owner;
        kv_bytes **form = &forms[c->protocol == 3];

        if (!*form)
            *form = make_form(r, t, c->protocol);
        if (!*form) {
            connection_close_for_memory(c);
            continue;
        }
        connection_mail(c, *form, c == serving);
        if (r->by_reference)
            connection_mail(c, tail, c == serving);
    }
    kv_bytes_unref(forms[0]);
    kv_bytes_unref(forms[1]);
}

/* The longest run that begins at mail; returns what comes behind it. */
static post *take_run(post *mail, run *ret_run)
{
    const publication *p = mail->publication;
    const topic *t = p->topics[0];
    size_t bytes = kv_bytes_slice(p->tail).len;
    run *r = ret_run;

    *r = (run){ .first = mail, .count = 1, .tail_bytes = bytes, .by_reference = bytes > TAIL_SHORT };
    mail = mail->next;
    if (p->topic_count > 1 || r->by_reference)
        return mail;
    for (; mail; mail = mail->next, r->count++) {
        p = mail->publication;
        bytes = kv_bytes_slice(p->tail).len;
        if (p->topic_count > 1 || p->topics[0] != t || bytes > TAIL_SHORT ||
            r->tail_bytes + bytes > RUN_BYTES)
            break;
        r->tail_bytes += bytes;
    }
    return mail;
}

static post *empty_postbox(worker *w)
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

void pubsub_deliver(worker *w, connection *serving)
{
    post *mail = empty_postbox(w);

    while (mail) {
        post *next;
        run r;

        next = take_run(mail, &r);
        for (uint32_t i = 0; i < mail->publication->topic_count; i++)
            deliver_to(w, mail->publication->topics[i], &r, serving);
        while (mail != next) {
            post *done = mail;

            mail = mail->next;
            publication_unref(done->publication);
        }
    }
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
