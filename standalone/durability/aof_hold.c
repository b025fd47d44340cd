/* aof_hold.c - replies that wait until what they tell is safe.
 *
 *     connection_flush --> aof_hold: output moves to c->pending, c is HELD in its worker's list, of turn n
 *     end of the turn:     written at once, and released; or: n is asked for, and the task woken
 *     message of the task: turns up to n are safe: those connections are flushed
 *
 * The worker never waits: it goes on with other connections. A held connection runs no further requests, as every one that
 * has output pending; what it sends meanwhile is read ahead. Messages of others to it (pub/sub, invalidations) are put behind
 * its replies, and make it wait for the turn in which they came.
 *
 * Nothing is held when there is nothing that is not safe: a server that is only read from is not slowed down.
 *
 * SPDX-License-Identifier: MIT */
#include <time.h>

#include "aof_internal.h"
#include "connection.h"

#define CROWD_LOOK (256u * 1024) /* bytes after which a worker looks again how many wait */

/* ---- the list ---- */

static void link_held(connection *c)
{
    worker *w = c->owner;

    c->flags |= CONNECTION_HELD;
    c->next_held = NULL;
    c->held_link = w->held_tail;
    *w->held_tail = c;
    w->held_tail = &c->next_held;
}

static void unlink_held(connection *c)
{
    worker *w = c->owner;

    c->flags &= ~(unsigned)CONNECTION_HELD;
    *c->held_link = c->next_held;
    if (c->next_held)
        c->next_held->held_link = c->held_link;
    else
        w->held_tail = c->held_link;
}

static void keep(connection *c)
{
    worker *w = c->owner;

    if (!(c->flags & CONNECTION_HELD)) {
        link_held(c);
        w->kept++;
    }
    c->hold_turn = w->hold_turn;
    w->holds = true;
}

/* Nothing more is acknowledged. What c's last batch may have written before that was known is not: c ends, and its client does
 * not know. */
static bool hold_when_broken(connection *c)
{
    if (!(c->flags & CONNECTION_MAY_WRITE))
        return false;
    connection_close(c);
    return true;
}

/* Whether replies to c wait for a log in this state that is well. */
static bool must_wait(const connection *c, aof *a, int state)
{
    return (c->flags & CONNECTION_HELD) || (state == AOF_ON && !aof_is_safe(a, &c->owner->writer));
}

bool aof_would_hold(const connection *c)
{
    aof *a = c->owner->server->aof;
    int state = atomic_load_explicit(&a->state, memory_order_acquire); /* as in aof_hold */

    return state == AOF_BROKEN || must_wait(c, a, state);
}

bool aof_hold(connection *c)
{
    aof *a = c->owner->server->aof;
    /* Pairs with the store in aof_break, which comes after that of the restriction. */
    int state = atomic_load_explicit(&a->state, memory_order_acquire);

    if (state == AOF_BROKEN)
        return hold_when_broken(c);
    if (!must_wait(c, a, state))
        return false;
    keep(c);
    return true;
}

static bool is_crowded(const aof *a)
{
    uint64_t written = atomic_load_explicit(&((aof *)a)->written, memory_order_relaxed),
             appended = aof_buffer_appended(&a->buffer);

    return appended > written &&
           appended - written > atomic_load_explicit(&((aof *)a)->buffer_max, memory_order_relaxed);
}

void aof_task_wrote(server *s)
{
    aof *a = s->aof;
    struct timespec pause = { .tv_nsec = 1000000 };

    if (atomic_load_explicit(&a->state, memory_order_relaxed) == AOF_ON)
        aof_ask(a);
    while (is_crowded(a) && atomic_load_explicit(&a->state, memory_order_relaxed) == AOF_ON) {
        nanosleep(&pause, NULL);
        aof_ask(a);
    }
}

/* The same for a worker, which looks at what others have told only when what it knows itself has grown. */
static bool is_crowded_for(worker *w)
{
    const aof *a = w->server->aof;
    uint64_t most = atomic_load_explicit(&((aof *)a)->buffer_max, memory_order_relaxed),
             near = aof_buffer_appended_near(&a->buffer, &w->writer);

    if (w->crowded || near - w->crowded_at >= (most < CROWD_LOOK * 8 ? most / 8 : CROWD_LOOK)) {
        w->crowded_at = near;
        w->crowded = is_crowded(a);
    }
    return w->crowded;
}

bool aof_admits(connection *c)
{
    /* Pairs with the change in aof_break: who does not see it broken may write, and is not answered if it breaks (aof_hold). */
    bool broken = c->owner->restrictions & SERVER_LOG_BROKEN;

    c->flags = broken ? c->flags & ~(unsigned)CONNECTION_MAY_WRITE : c->flags | CONNECTION_MAY_WRITE;
    if (broken || !is_crowded_for(c->owner))
        return true;
    keep(c);
    return false;
}

void aof_forget(connection *c)
{
    if (c->flags & CONNECTION_HELD)
        unlink_held(c);
}

/* ---- releasing ---- */

/* Sends what is held of the turns up to `turn`. */
static void release(worker *w, uint64_t turn)
{
    bool broken = atomic_load_explicit(&w->server->aof->state, memory_order_relaxed) == AOF_BROKEN;
    connection *last = NULL;

    /* Those that stay go to the end of the list: the first of them marks where all were seen. */
    while (w->held && w->held != last) {
        connection *c = w->held;

        unlink_held(c);
        if (c->hold_turn > turn) {
            link_held(c);
            last = last ? last : c;
        } else if (broken) {
            connection_close(c);
        } else {
            connection_send_held(c);
        }
    }
}

static void hear_release(worker *w, worker_message *message)
{
    (void)message;
    /* Before the position is read: what is stored after that posts again. */
    atomic_store(&w->release_posted, false);
    release(w, atomic_load(&w->hold_released));
    if (atomic_load_explicit(&w->blocked_count, memory_order_relaxed))
        waitaof_look(w);
}

void aof_post_release(worker *w, uint64_t turn)
{
    atomic_store(&w->hold_released, turn);
    if (!atomic_exchange(&w->release_posted, true))
        worker_post(w, &w->release);
}

void aof_look_soon(worker *w)
{
    aof_post_release(w, atomic_load(&w->hold_released));
}

void aof_turn_ends(worker *w)
{
    aof *a = w->server->aof;
    uint64_t turn = w->hold_turn++, enough;

    w->holds = false;
    if (atomic_load_explicit(&a->state, memory_order_relaxed) != AOF_ON || aof_make_safe(a)) {
        release(w, turn);
        return;
    }
    atomic_store(&w->kept_told, w->kept);
    atomic_store(&w->hold_asked, turn);
    /* In this order with the above, as the task clears it before it looks at them: who sees it set is not overlooked. */
    enough = atomic_load(&a->enough);
    if (!enough || aof_kept_in_all(a) >= enough)
        aof_ask(a);
}

void aof_init_worker(worker *w)
{
    w->held_tail = &w->held;
    w->release.run = hear_release;
    w->hold_turn = 1;
}
