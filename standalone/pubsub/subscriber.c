/* subscriber.c - what one connection listens to.
 *
 * A hash table per connection (open addressing, linear probing, no tombstones: what stood behind a slot that is emptied
 * moves up), keyed by the topic's hash, so that a client with 100,000 channels joins and leaves in constant time. A
 * subscription also has a seat in its topic, for its worker (topic.c): messages find connections by the seats, never by
 * this table.
 *
 * Before a subscription begins or ends, the worker's postbox is emptied: messages that were published before are none of its
 * (pubsub.c, order).
 *
 * Threads: the connection's. SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "pubsub_internal.h"

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

bool pubsub_unsubscribe_some(connection *c, topic_kind kind, size_t most, size_t *at,
                             void (*each)(void *arg, kv_slice name), void *arg)
{
    subscriber *s = c->subscriber;

    pubsub_deliver(c->owner, c);
    while (most && pubsub_count(c, kind) && *at < s->capacity) {
        subscription *sub = s->slots[*at];

        if (!sub || sub->topic->kind != kind) {
            ++*at;
            continue;
        }
        empty_slot(s, &s->slots[*at]); /* another may have moved here: look again */
        s->counts[kind]--;             /* each is told what is left */
        each(arg, sub->topic->name);
        s->counts[kind]++;
        subscription_end(c, sub);
        most--;
    }
    update_flags(c);
    return !pubsub_count(c, kind);
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
