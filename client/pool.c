/* pool.c - idle connections, slots, and who waits for them.
 *
 *     slots (at most pool_max)  =  idle connections  +  connections in use  +  connections being made
 *
 * A thread takes an idle connection, or a free slot in which it then makes one, or waits in line. What is given back, a connection or
 * the slot of one that was closed, goes to the first in line and past nobody, so that waiting is fair. The most recently used
 * idle connection is taken first, so that the others grow old and are closed (idle_close_s; there is no thread of
 * our own: it happens during the next take or give).
 *
 * An idle connection is looked at before it is used: a server that restarted has closed it, which costs one poll(2) to see and saves
 * the caller a command that failed after it was sent. One that has something to read is of no use either.
 *
 * After a failed connect nobody tries again before a random time has passed (backoff.h); who comes meanwhile waits for that
 * moment as part of its connect deadline.
 *
 * The lock guards the lists and counters, and is held for a handful of instructions: never during I/O or a callback.
 *
 * SPDX-License-Identifier: MIT */
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "backoff.h"
#include "clock.h"
#include "command_facts.h"
#include "failure.h"
#include "reply.h"

/* Stands on the stack of who waits. */
typedef struct waiter {
    pthread_cond_t served_now;
    bool served;
    kvc_connection *connection; /* served: a connection, or NULL and the slot for one */
    struct waiter *next;
} waiter;

struct kvc_pool {
    const kvc_options *options; /* borrowed */
    kvc_tls *tls;               /* borrowed, or NULL */
    pid_t pid;
    atomic_bool knows_multi;

    pthread_mutex_t lock;
    kvc_connection *idle; /* the most recently used first */
    uint32_t slots;       /* in use */
    waiter *first_waiter, *last_waiter;

    unsigned failures; /* to connect, in a row */
    int64_t retry_at_ms;
    uint64_t seed;
};

kvc_pool *kvc_pool_new(const kvc_options *options, kvc_tls *tls)
{
    kvc_pool *pool = calloc(1, sizeof *pool);

    if (!pool)
        return NULL;
    if (pthread_mutex_init(&pool->lock, NULL) != 0) {
        free(pool);
        return NULL;
    }
    pool->options = options;
    pool->tls = tls;
    pool->pid = getpid();
    pool->seed = kvc_backoff_seed();
    atomic_init(&pool->knows_multi, false);
    return pool;
}

bool kvc_pool_inherited(const kvc_pool *pool)
{
    return pool->pid != getpid();
}

const kvc_options *kvc_pool_options(const kvc_pool *pool)
{
    return pool->options;
}

bool kvc_pool_knows_multi(const kvc_pool *pool)
{
    return atomic_load_explicit(&pool->knows_multi, memory_order_relaxed); /* says nothing of other data */
}

void kvc_pool_learn_multi(kvc_pool *pool)
{
    atomic_store_explicit(&pool->knows_multi, true, memory_order_relaxed);
}

/* ---- telling the owner ---- */

static void tell_state(const kvc_pool *pool, const kvc_connection *connection, bool up)
{
    if (pool->options->on_state)
        pool->options->on_state(pool->options->state_arg, kvc_connection_address(connection), up);
}

static void tell_failure(const kvc_pool *pool, const kvc_error *failure)
{
    if (pool->options->log)
        pool->options->log(pool->options->log_arg, KVC_LOG_WARNING, failure->message);
}

static void close_connection(const kvc_pool *pool, kvc_connection *connection)
{
    tell_state(pool, connection, false);
    kvc_connection_close(connection);
}

static void close_list(const kvc_pool *pool, kvc_connection *list)
{
    while (list) {
        kvc_connection *next = kvc_connection_idle(list)->next;

        close_connection(pool, list);
        list = next;
    }
}

/* In a child that forked, the lock may have been held by a thread that is not there: it is left alone. */
void kvc_pool_free(kvc_pool *pool)
{
    kvc_connection *next;

    if (!pool)
        return;
    if (!kvc_pool_inherited(pool)) {
        close_list(pool, pool->idle);
        pthread_mutex_destroy(&pool->lock);
    } else {
        for (; pool->idle; pool->idle = next) {
            next = kvc_connection_idle(pool->idle)->next;
            kvc_connection_close(pool->idle);
        }
    }
    free(pool);
}

/* ---- slots ---- */

/* Takes what was idle for too long out of the list; the slots are free then. The lock is held. */
static kvc_connection *take_expired(kvc_pool *pool, int64_t now_ms)
{
    int64_t oldest_ms = now_ms - (int64_t)pool->options->idle_close_s * 1000;
    kvc_connection **link = &pool->idle, *expired;

    while (*link && kvc_connection_idle(*link)->since_ms > oldest_ms)
        link = &kvc_connection_idle(*link)->next;
    expired = *link;
    *link = NULL;
    for (kvc_connection *c = expired; c; c = kvc_connection_idle(c)->next)
        pool->slots--;
    return expired;
}

static void push_waiter(kvc_pool *pool, waiter *w)
{
    if (pool->last_waiter)
        pool->last_waiter->next = w;
    else
        pool->first_waiter = w;
    pool->last_waiter = w;
}

static void remove_waiter(kvc_pool *pool, waiter *w)
{
    waiter **link = &pool->first_waiter, *before = NULL;

    for (; *link != w; link = &(*link)->next)
        before = *link;
    *link = w->next;
    if (pool->last_waiter == w)
        pool->last_waiter = before;
}

/* A connection, or (NULL) the slot of one that is no more, goes to the first in line, or back. */
static void give(kvc_pool *pool, kvc_connection *connection)
{
    int64_t now_ms = kvc_now_ms();
    kvc_connection *expired = NULL;
    waiter *w;

    pthread_mutex_lock(&pool->lock);
    w = pool->first_waiter;
    if (w) {
        remove_waiter(pool, w);
        w->connection = connection;
        w->served = true;
        pthread_cond_signal(&w->served_now);
    } else if (connection) {
        *kvc_connection_idle(connection) = (kvc_idle){ .since_ms = now_ms, .next = pool->idle };
        pool->idle = connection;
        expired = take_expired(pool, now_ms);
    } else {
        pool->slots--;
    }
    pthread_mutex_unlock(&pool->lock);
    close_list(pool, expired);
}

static bool init_waiter(waiter *w)
{
    pthread_condattr_t attributes;
    bool done;

    *w = (waiter){ .served = false };
    if (pthread_condattr_init(&attributes) != 0)
        return false;
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    done = pthread_cond_init(&w->served_now, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return done;
}

/* The lock is held, and given up while waiting. False: not served in time. */
static bool wait_in_line(kvc_pool *pool, waiter *w, int64_t deadline_ms)
{
    const struct timespec deadline = { .tv_sec = deadline_ms / 1000,
                                       .tv_nsec = deadline_ms % 1000 * 1000000 };
    int err = 0;

    push_waiter(pool, w);
    while (!w->served && err != ETIMEDOUT)
        err = deadline_ms == KVC_NEVER ? pthread_cond_wait(&w->served_now, &pool->lock)
                                       : pthread_cond_timedwait(&w->served_now, &pool->lock, &deadline);
    if (!w->served)
        remove_waiter(pool, w);
    return w->served;
}

/* KVC_OK: a slot is the caller's, with its connection or (NULL) without. */
static kvc_status take_slot(kvc_pool *pool, uint32_t wait_ms, kvc_connection **ret_connection,
                            kvc_error *error)
{
    kvc_connection *expired;
    bool served = true;
    waiter w;

    *ret_connection = NULL;
    if (!init_waiter(&w))
        return kvc_fail_nomem(error);
    pthread_mutex_lock(&pool->lock);
    expired = take_expired(pool, kvc_now_ms());
    if (!pool->first_waiter && pool->idle) {
        *ret_connection = pool->idle;
        pool->idle = kvc_connection_idle(pool->idle)->next;
    } else if (!pool->first_waiter && pool->slots < pool->options->pool_max) {
        pool->slots++;
    } else {
        served = wait_in_line(pool, &w, kvc_deadline(wait_ms));
        *ret_connection = w.connection;
    }
    pthread_mutex_unlock(&pool->lock);
    pthread_cond_destroy(&w.served_now);
    close_list(pool, expired);
    return served ? KVC_OK
                  : kvc_fail(error, KVC_EPOOL,
                             "no connection became free within %u ms; all %u (pool_max) are in use", wait_ms,
                             pool->options->pool_max);
}

/* ---- connecting ---- */

/* Waits until the next attempt is due, or until the deadline. */
static void wait_for_turn(kvc_pool *pool, int64_t deadline_ms)
{
    struct timespec until;
    int64_t until_ms;

    pthread_mutex_lock(&pool->lock);
    until_ms = pool->retry_at_ms;
    pthread_mutex_unlock(&pool->lock);
    if (until_ms > deadline_ms)
        until_ms = deadline_ms;
    if (until_ms <= kvc_now_ms())
        return;
    until = (struct timespec){ .tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
}

static void note_outcome(kvc_pool *pool, bool connected)
{
    const kvc_options *options = pool->options;

    pthread_mutex_lock(&pool->lock);
    if (connected) {
        pool->failures = 0;
        pool->retry_at_ms = 0;
    } else {
        pool->retry_at_ms = kvc_now_ms() + kvc_backoff_ms(&pool->seed, pool->failures,
                                                          options->backoff_min_ms, options->backoff_max_ms);
        pool->failures++;
    }
    pthread_mutex_unlock(&pool->lock);
}

/* Makes a connection in the caller's slot; on failure the slot is given up. */
static kvc_status fill_slot(kvc_pool *pool, kvc_connection **ret_connection, kvc_error *error)
{
    int64_t deadline_ms = kvc_deadline(pool->options->connect_timeout_ms);
    kvc_error failure;
    kvc_status status;

    wait_for_turn(pool, deadline_ms);
    status = kvc_connection_open(pool, pool->options, pool->tls, deadline_ms, ret_connection, &failure);
    note_outcome(pool, status == KVC_OK);
    if (status == KVC_OK) {
        tell_state(pool, *ret_connection, true);
        return KVC_OK;
    }
    tell_failure(pool, &failure);
    give(pool, NULL);
    if (error)
        *error = failure;
    return status;
}

kvc_status kvc_pool_take(kvc_pool *pool, uint32_t wait_ms, kvc_connection **ret_connection, kvc_error *error)
{
    kvc_status status;

    *ret_connection = NULL;
    if (kvc_pool_inherited(pool))
        return kvc_fail(error, KVC_ESTATE, "this client belongs to the process that forked this one");
    status = take_slot(pool, wait_ms ? wait_ms : pool->options->pool_wait_ms, ret_connection, error);
    if (status != KVC_OK)
        return status;
    if (*ret_connection && kvc_connection_alive(*ret_connection))
        return KVC_OK;
    if (*ret_connection)
        close_connection(pool, *ret_connection);
    return fill_slot(pool, ret_connection, error);
}

void kvc_release(kvc_connection *connection)
{
    kvc_pool *pool;

    if (!connection)
        return;
    pool = kvc_connection_pool(connection);
    if (kvc_pool_inherited(pool)) {
        kvc_connection_close(connection);
        return;
    }
    if (!kvc_connection_reusable(connection)) {
        close_connection(pool, connection);
        connection = NULL;
    } else {
        kvc_connection_forget_wake(connection);
    }
    give(pool, connection);
}

/* ---- one command ---- */

bool kvc_pool_may_repeat(const kvc_pool *pool, const kvc_error *failure, bool readonly, uint32_t attempts)
{
    const kvc_options *options = pool->options;
    bool lost = failure->status == KVC_ECLOSED || failure->status == KVC_EIO;

    if (options->retry == KVC_RETRY_NEVER || attempts > options->max_retries)
        return false;
    if (!failure->sent)
        return lost || failure->status == KVC_ECONNECT;
    return lost && readonly && options->retry == KVC_RETRY_READONLY;
}

/* ASKING's own reply says nothing that the next one would not say. */
static kvc_status call_once(kvc_connection *connection, const kvc_request *request, kvc_reply **ret_reply,
                            kvc_error *error)
{
    static const kvc_slice asking = { "ASKING", 6 };
    int64_t deadline_ms = kvc_deadline(kvc_pool_options(kvc_connection_pool(connection))->command_timeout_ms);
    kvc_status status;

    if (request->asking) {
        status = kvc_connection_call(connection, deadline_ms, 1, &asking, ret_reply, error);
        kvc_reply_free(*ret_reply);
        *ret_reply = NULL;
        if (status != KVC_OK) {
            if (error)
                error->sent = false;
            return status;
        }
    }
    return kvc_connection_call(connection, deadline_ms, request->argc, request->argv, ret_reply, error);
}

kvc_status kvc_pool_call(kvc_pool *pool, const kvc_request *request, kvc_reply **ret_reply, kvc_error *error)
{
    int64_t give_up_ms = kvc_deadline(pool->options->connect_timeout_ms);
    kvc_connection *connection;
    kvc_error failure = { .status = KVC_OK };
    kvc_status status;
    uint32_t attempts = 0;
    bool readonly;

    *ret_reply = NULL;
    readonly = kvc_command_facts_of(request->argc, request->argv).flags & KVC_FACT_READONLY;
    do {
        status = kvc_pool_take(pool, 0, &connection, &failure);
        if (status == KVC_OK) {
            status = call_once(connection, request, ret_reply, &failure);
            kvc_release(connection);
        }
        attempts++;
    } while (status < 0 && kvc_pool_may_repeat(pool, &failure, readonly, attempts) &&
             kvc_now_ms() < give_up_ms);
    if (status < 0 && error)
        *error = failure;
    return status;
}
