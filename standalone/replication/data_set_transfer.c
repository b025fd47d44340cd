/* data_set_transfer.c - see data_set_internal.h: the way of a data set's bytes, from the thread that makes them to the connection.
 *
 *     thread: give --chunk, message--> worker of c: pending --> socket
 *               ^                         |
 *               '------- drained ---------'
 *
 * A chunk is the thread's until it is posted, the worker's while it is pending; there is one at a time for each connection. Who waits for his
 * data set is sent an empty line now and then, as is who waits while his is written into a file.
 *
 * A connection that is closed forgets its transfer; the thread notices, and gives the transfer back to the worker, which frees it. c
 * lives as long (in_flight).
 *
 * Locks: all->lock is a leaf but for the mailboxes of workers.
 *
 * SPDX-License-Identifier: MIT */
#include "data_set_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "peer.h"
#include "replica.h"
#include "server.h"
#include "steady_cond.h"

#define LOOK_MS 20 /* between two looks at what nobody signals */

/* ---- to the worker ---- */

/* lock is held. */
static void post(transfer *t)
{
    if (!t->posted)
        worker_post(t->w, &t->message);
    t->posted = true;
}

/* The transfer is over, for c as well. */
static void finish(transfer *t, connection *c, bool whole)
{
    c->in_flight--;
    if (!(c->flags & CONNECTION_CLOSING))
        replica_ended(c, whole);
    free(t);
}

void transfer_hear(worker *w, worker_message *message)
{
    transfer *t = (transfer *)message;
    connection *c = t->c;
    kv_bytes *chunk = NULL;
    bool ended, whole;

    (void)w;
    pthread_mutex_lock(&t->all->lock);
    t->posted = false;
    ended = t->ended;
    whole = t->whole;
    if (t->state == CHUNK_POSTED) {
        t->state = CHUNK_PENDING;
        chunk = t->chunk;
        t->chunk = NULL;
    }
    pthread_mutex_unlock(&t->all->lock);
    if (chunk && !(c->flags & CONNECTION_CLOSING))
        connection_send_bytes(c, chunk, kv_bytes_slice(chunk));
    kv_bytes_unref(chunk);
    if (ended)
        finish(t, c, whole);
}

void transfer_drained(transfer *t)
{
    pthread_mutex_lock(&t->all->lock);
    if (t->state == CHUNK_PENDING) {
        t->state = CHUNK_NONE;
        pthread_cond_broadcast(&t->all->changed);
    }
    pthread_mutex_unlock(&t->all->lock);
}

void transfer_forget(transfer *t)
{
    pthread_mutex_lock(&t->all->lock);
    t->gone = true;
    pthread_cond_broadcast(&t->all->changed);
    pthread_mutex_unlock(&t->all->lock);
}

/* ---- those that wait: lock is held ---- */

void transfer_end(transfer *t, bool whole)
{
    kv_bytes_unref(t->chunk); /* c has gone, or is about to be closed */
    t->chunk = NULL;
    t->state = CHUNK_NONE;
    t->ended = true;
    t->whole = whole;
    post(t);
}

static void give(transfer *t, kv_bytes *chunk)
{
    t->chunk = chunk;
    t->state = CHUNK_POSTED;
    post(t);
}

transfer *transfer_take_first(data_sets *all)
{
    transfer *t = all->first;

    if (!t)
        return NULL;
    all->first = t->next;
    if (!all->first)
        all->last = &all->first;
    return t;
}

/* Sends those that wait a sign of life, if it is time, and lets those go that have left. */
static void look_after_waiting(data_sets *all)
{
    transfer *list = all->first, *next;

    if (!list || peer_clock_ms() < all->newline_ms)
        return;
    all->newline_ms = peer_clock_ms() + NEWLINE_MS;
    all->first = NULL;
    all->last = &all->first;
    for (transfer *t = list; t; t = next) {
        kv_bytes *newline = t->state == CHUNK_NONE && !t->gone ? kv_bytes_new(KV_STR("\n")) : NULL;

        next = t->next;
        t->next = NULL;
        if (newline)
            give(t, newline);
        if (t->gone) {
            transfer_end(t, false);
        } else {
            *all->last = t;
            all->last = &t->next;
        }
    }
}

/* ---- waiting, on the thread ---- */

/* lock is held. */
static void wait_a_little(data_sets *all)
{
    struct timespec until = steady_after(LOOK_MS * 1000000);

    pthread_cond_timedwait(&all->changed, &all->lock, &until);
    look_after_waiting(all);
}

/* Why it is of no use to go on; NULL: it is. lock is held. */
static const char *reason_to_end(const sending *s)
{
    const transfer *t = s->t;

    if (t->gone)
        return "the client has gone";
    if (t->all->cancelled || t->all->ending)
        return "the server stops";
    if (s->copy.snap && atomic_load_explicit(&s->copy.save.cancel, memory_order_relaxed))
        return "another snapshot comes first";
    if (s->copy.snap && snapshot_failed(s->copy.snap))
        return rdb_save_error(EOVERFLOW);
    return NULL;
}

/* Whether the client has taken enough in the time that was spent waiting for it. */
static bool is_quick_enough(sending *s, int64_t timeout_ms)
{
    int64_t rate = config_number(s->t->all->server->config, CONFIG_ID_repl_sync_min_rate);
    uint64_t taken = s->sent - s->counted;

    if (s->waited_ms < timeout_ms)
        return true;
    if (taken / (uint64_t)s->waited_ms * 1000 +
            taken % (uint64_t)s->waited_ms * 1000 / (uint64_t)s->waited_ms <
        (uint64_t)rate)
        return false;
    s->waited_ms = 0;
    s->counted = s->sent;
    return true;
}

/* Waits until c has taken the chunk before. 0, or an errno with s->why. lock is held. */
static int wait_for_reader(sending *s)
{
    data_sets *all = s->t->all;
    int64_t timeout_ms = config_number(all->server->config, CONFIG_ID_repl_timeout) * 1000,
            from_ms = peer_clock_ms(), until_ms = from_ms + timeout_ms;

    while (s->t->state != CHUNK_NONE && !s->why) {
        s->why = reason_to_end(s);
        if (!s->why && peer_clock_ms() >= until_ms)
            s->why = "the client has taken nothing for repl-timeout";
        if (!s->why)
            wait_a_little(all);
    }
    s->waited_ms += peer_clock_ms() - from_ms;
    if (!s->why && !is_quick_enough(s, timeout_ms))
        s->why = "the client takes less than repl-sync-min-rate";
    return s->why ? ECANCELED : 0;
}

int sending_chunk(sending *s, kv_slice bytes)
{
    data_sets *all = s->t->all;
    kv_bytes *chunk = kv_bytes_new(bytes);
    int err = chunk ? 0 : ENOMEM;

    pthread_mutex_lock(&all->lock);
    if (!err)
        err = wait_for_reader(s);
    if (!err)
        give(s->t, chunk);
    look_after_waiting(all);
    pthread_mutex_unlock(&all->lock);
    if (err)
        kv_bytes_unref(chunk);
    else
        s->sent += bytes.len;
    return err;
}

int sending_wait(sending *s)
{
    int err;

    pthread_mutex_lock(&s->t->all->lock);
    err = wait_for_reader(s);
    pthread_mutex_unlock(&s->t->all->lock);
    return err;
}

/* lock is held. What was sent before and not yet taken is sign enough. */
static void show_life(sending *s)
{
    int64_t now_ms = peer_clock_ms();
    kv_bytes *newline = NULL;

    if (s->t->state == CHUNK_NONE && now_ms >= s->newline_ms)
        newline = kv_bytes_new(KV_STR("\n"));
    if (!newline)
        return;
    give(s->t, newline);
    s->newline_ms = now_ms + NEWLINE_MS;
}

int sending_stay(sending *s, bool pause)
{
    data_sets *all = s->t->all;

    pthread_mutex_lock(&all->lock);
    s->why = reason_to_end(s);
    if (!s->why && pause)
        wait_a_little(all);
    if (!s->why)
        show_life(s);
    look_after_waiting(all);
    pthread_mutex_unlock(&all->lock);
    return s->why ? ECANCELED : 0;
}
