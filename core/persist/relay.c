/* relay.c - see relay.h. SPDX-License-Identifier: MIT */
#include "relay.h"

void relay_init(relay *r)
{
    *r = (relay){ .busy = 0 };
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->full_tail = &r->full;
}

void relay_add(relay *r, relay_block *b)
{
    b->next = r->empty;
    r->empty = b;
}

void relay_done(relay *r)
{
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
}

relay_block *relay_take_empty(relay *r)
{
    relay_block *b;

    pthread_mutex_lock(&r->lock);
    while (!r->empty && !r->broken)
        pthread_cond_wait(&r->changed, &r->lock);
    b = r->broken ? NULL : r->empty;
    if (b)
        r->empty = b->next;
    pthread_mutex_unlock(&r->lock);
    return b;
}

void relay_give_full(relay *r, relay_block *b)
{
    b->next = NULL;
    pthread_mutex_lock(&r->lock);
    *r->full_tail = b;
    r->full_tail = &b->next;
    r->busy++;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

relay_block *relay_take_full(relay *r)
{
    relay_block *b;

    pthread_mutex_lock(&r->lock);
    while (!r->full && !r->ended && !r->broken)
        pthread_cond_wait(&r->changed, &r->lock);
    b = r->broken ? NULL : r->full;
    if (b) {
        r->full = b->next;
        if (!r->full)
            r->full_tail = &r->full;
    }
    pthread_mutex_unlock(&r->lock);
    return b;
}

void relay_give_back(relay *r, relay_block *b)
{
    pthread_mutex_lock(&r->lock);
    relay_add(r, b);
    r->busy--;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

void relay_wait_idle(relay *r)
{
    pthread_mutex_lock(&r->lock);
    while (r->busy)
        pthread_cond_wait(&r->changed, &r->lock);
    pthread_mutex_unlock(&r->lock);
}

static void stop(relay *r, bool *how)
{
    pthread_mutex_lock(&r->lock);
    *how = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

void relay_end(relay *r)
{
    stop(r, &r->ended);
}

void relay_break(relay *r)
{
    stop(r, &r->broken);
}

bool relay_is_broken(relay *r)
{
    bool broken;

    pthread_mutex_lock(&r->lock);
    broken = r->broken;
    pthread_mutex_unlock(&r->lock);
    return broken;
}
