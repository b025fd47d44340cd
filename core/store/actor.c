/* actor.c - a thread that owns the state, and the bounded queue by which others reach it.
 *
 * Senders link their message to the end of a list under a mutex and wake the thread when the list was
 * empty; the thread takes the whole list at once, so that under load there is one lock and no
 * wake-up per many messages. `waiting` counts what is queued and what is being run: that is what the bound
 * is about, since a message holds its sender's memory until it is done.
 *
 * The thread is registered with the domain as an event loop is: one quiescent point per list, offline
 * while it sleeps.
 *
 * Rejected: a lock-free queue. The mutex is held for two stores; the state thread, not the queue, is
 * what such a design saturates first.
 *
 * SPDX-License-Identifier: MIT */
#include "actor.h"

#include "domain.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct actor {
    kv_domain *domain;
    pthread_t thread;
    pthread_mutex_t mutex;    /* guards what follows */
    pthread_cond_t not_empty; /* the thread waits */
    pthread_cond_t not_full;  /* senders of actor_call wait */
    actor_message *head, **tail;
    size_t waiting, capacity;
    bool ending;
    int registered; /* of kv_thread_register on the thread: 0 or KV_ENOMEM; 1: not yet known */
};

/* ---- the thread ---- */

/* The queued messages, oldest first; NULL: the actor ends. */
static actor_message *actor_take(actor *a)
{
    actor_message *list;

    kv_thread_offline(a->domain);
    pthread_mutex_lock(&a->mutex);
    while (!a->head && !a->ending)
        pthread_cond_wait(&a->not_empty, &a->mutex);
    list = a->head;
    a->head = NULL;
    a->tail = &a->head;
    pthread_mutex_unlock(&a->mutex);
    kv_thread_online(a->domain);
    return list;
}

static void actor_finished(actor *a, size_t n)
{
    pthread_mutex_lock(&a->mutex);
    a->waiting -= n;
    pthread_cond_broadcast(&a->not_full);
    pthread_mutex_unlock(&a->mutex);
}

static void actor_report(actor *a, int registered)
{
    pthread_mutex_lock(&a->mutex);
    a->registered = registered;
    pthread_cond_broadcast(&a->not_full);
    pthread_mutex_unlock(&a->mutex);
}

static void *actor_main(void *arg)
{
    actor *a = arg;
    actor_message *list;
    int err = kv_thread_register(a->domain);

    actor_report(a, err);
    if (err)
        return NULL;
    while ((list = actor_take(a)) != NULL) {
        while (list) {
            actor_message *message = list;

            list = message->next;
            message->run(message);
            actor_finished(a, 1);
            message->done(message);
        }
        kv_thread_quiesce(a->domain);
    }
    kv_thread_unregister(a->domain);
    return NULL;
}

/* ---- its life ---- */

static void actor_destroy(actor *a)
{
    pthread_cond_destroy(&a->not_full);
    pthread_cond_destroy(&a->not_empty);
    pthread_mutex_destroy(&a->mutex);
    domain_free(a->domain, a, sizeof *a);
}

actor *actor_new(kv_domain *domain, size_t capacity)
{
    actor *a = domain_alloc(domain, sizeof *a, _Alignof(actor));
    int registered;

    if (!a)
        return NULL;
    *a = (actor){ .domain = domain, .capacity = capacity ? capacity : 1, .registered = 1 };
    a->tail = &a->head;
    pthread_mutex_init(&a->mutex, NULL);
    pthread_cond_init(&a->not_empty, NULL);
    pthread_cond_init(&a->not_full, NULL);
    if (pthread_create(&a->thread, NULL, actor_main, a) != 0) {
        actor_destroy(a);
        return NULL;
    }
    pthread_mutex_lock(&a->mutex);
    while (a->registered == 1)
        pthread_cond_wait(&a->not_full, &a->mutex);
    registered = a->registered;
    pthread_mutex_unlock(&a->mutex);
    if (registered != 0) {
        pthread_join(a->thread, NULL);
        actor_destroy(a);
        return NULL;
    }
    return a;
}

void actor_free(actor *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->mutex);
    a->ending = true;
    pthread_cond_signal(&a->not_empty);
    pthread_mutex_unlock(&a->mutex);
    pthread_join(a->thread, NULL);
    actor_destroy(a);
}

/* ---- its senders ---- */

/* The caller holds the mutex and has seen room. */
static void actor_link(actor *a, actor_message *message)
{
    bool was_empty = a->head == NULL;

    message->next = NULL;
    *a->tail = message;
    a->tail = &message->next;
    a->waiting++;
    if (was_empty)
        pthread_cond_signal(&a->not_empty);
}

bool actor_post(actor *a, actor_message *message)
{
    bool room;

    pthread_mutex_lock(&a->mutex);
    room = a->waiting < a->capacity;
    if (room)
        actor_link(a, message);
    pthread_mutex_unlock(&a->mutex);
    return room;
}

/* A message whose sender sleeps until it has been run. */
struct sleeper {
    actor_message message;
    actor_message *wrapped;
    pthread_mutex_t mutex;
    pthread_cond_t woken;
    bool ran;
};

static void sleeper_run(actor_message *message)
{
    struct sleeper *s = (struct sleeper *)message;

    s->wrapped->run(s->wrapped);
}

static void sleeper_done(actor_message *message)
{
    struct sleeper *s = (struct sleeper *)message;

    pthread_mutex_lock(&s->mutex);
    s->ran = true;
    pthread_cond_signal(&s->woken); /* under the mutex: s ends when its owner sees ran */
    pthread_mutex_unlock(&s->mutex);
}

void actor_call(actor *a, actor_message *message)
{
    struct sleeper s = { .message = { .run = sleeper_run, .done = sleeper_done }, .wrapped = message };

    if (pthread_equal(pthread_self(), a->thread)) {
        message->run(message);
        return;
    }
    pthread_mutex_init(&s.mutex, NULL);
    pthread_cond_init(&s.woken, NULL);

    pthread_mutex_lock(&a->mutex);
    while (a->waiting >= a->capacity)
        pthread_cond_wait(&a->not_full, &a->mutex);
    actor_link(a, &s.message);
    pthread_mutex_unlock(&a->mutex);

    pthread_mutex_lock(&s.mutex);
    while (!s.ran)
        pthread_cond_wait(&s.woken, &s.mutex);
    pthread_mutex_unlock(&s.mutex);
    pthread_cond_destroy(&s.woken);
    pthread_mutex_destroy(&s.mutex);
}
