/* blocking.c - see blocking.h.
 *
 * A blocked connection has the flag BLOCKED, is in its worker's list, and has a timer of libevent if it has a timeout.
 * Its requests do not run; what it sends meanwhile is kept in its input, up to a limit, so that its end is noticed.
 *
 * Only its own worker touches a blocking. Others reach it by `waiter`: waking posts `news`, which belongs to the wait
 * table's lock from then on until it has arrived. A connection that is closed in between leaves its blocking behind, without
 * c, for the news to free.
 *
 * A pause is two atomics of the server, and one of the restrictions, which every batch reads. Postponed connections are in the list like all; one timer
 * of the worker ends the pause for them.
 *
 * SPDX-License-Identifier: MIT */
#include "blocking.h"

#include <stdlib.h>

#include "multi.h"
#include "server.h"
#include "session.h"

#define TIMEOUT_MS_MAX ((int64_t)100 * 366 * 24 * 3600 * 1000) /* a century: longer ones are none */

/* ---- the list ---- */

static void link_blocking(blocking *b, worker *w)
{
    b->link = w->blocked_tail;
    *w->blocked_tail = b;
    w->blocked_tail = &b->next;
    atomic_fetch_add_explicit(&w->blocked_count, 1, memory_order_relaxed);
}

static void unlink_blocking(blocking *b, worker *w)
{
    *b->link = b->next;
    if (b->next)
        b->next->link = b->link;
    else
        w->blocked_tail = b->link;
    atomic_fetch_sub_explicit(&w->blocked_count, 1, memory_order_relaxed);
}

static struct timeval interval(int64_t ms)
{
    return (struct timeval){ .tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000) };
}

/* Out of everything but the wait table's mailbox. */
static void detach(blocking *b)
{
    connection *c = b->c;
    worker *w = c->owner;

    if (b->timed)
        event_del(&b->timer);
    if (b->waiter.places)
        wait_table_leave(w->server->waits, &b->waiter);
    unlink_blocking(b, w);
    c->flags &= ~(unsigned)CONNECTION_BLOCKED;
    c->blocking = NULL;
    b->c = NULL;
}

static void free_blocking(blocking *b)
{
    if (!b->posted) /* nobody can post any more: it is in no queue */
        free(b);
}

/* ---- beginning and ending ---- */

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
    blocking *b = arg;

    (void)fd;
    (void)what;
    worker_begin(b->c->owner);
    blocking_finish(b, BLOCKING_TIMEOUT);
}

blocking *blocking_begin(connection *c, size_t size, int64_t timeout_ms,
                         void (*finish)(blocking *b, kv_reply *reply, blocking_end why))
{
    worker *w = c->owner;
    blocking *b = calloc(1, size);
    struct timeval timeout = interval(timeout_ms);

    if (!b)
        return NULL;
    b->c = c;
    b->finish = finish;
    if (timeout_ms > 0 && timeout_ms < TIMEOUT_MS_MAX) {
        event_assign(&b->timer, w->base, -1, 0, on_timeout, b);
        if (event_add(&b->timer, &timeout) != 0) {
            free(b);
            return NULL;
        }
        b->timed = true;
    }
    link_blocking(b, w);
    c->blocking = b;
    c->flags |= CONNECTION_BLOCKED;
    return b;
}

/* Begins a reply to c outside of a batch. */
static kv_reply *begin_reply(connection *c)
{
    worker *w = c->owner;

    w->reply.out = connection_output(c);
    w->call.command = c->last_command;
    resp_reply_set_protocol(&w->reply, c->protocol);
    return &w->reply.base;
}

static void go_on(connection *c, output_mark_at mark)
{
    if (c->flags & (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP))
        output_rewind(connection_output(c), mark);
    c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
    connection_flush(c);
}

void blocking_finish(blocking *b, blocking_end why)
{
    connection *c = b->c;
    kv_reply *reply = begin_reply(c);
    output_mark_at mark = output_mark(connection_output(c));

    detach(b);
    if (why == BLOCKING_ERROR)
        reply->ops->error(reply, KV_STR("UNBLOCKED client unblocked via CLIENT UNBLOCK"));
    b->finish(b, why == BLOCKING_ERROR ? NULL : reply, why);
    free_blocking(b);
    go_on(c, mark);
}

void blocking_forget(connection *c)
{
    blocking *b = c->blocking;

    if (!b)
        return;
    detach(b);
    free_blocking(b);
}

/* ---- keys ---- */

static void hear(worker *w, worker_message *message)
{
    blocking *b = (blocking *)((char *)message - offsetof(blocking, news));
    connection *c = b->c;
    output_mark_at mark;

    b->posted = false;
    if (!c) { /* it has ended meanwhile */
        free(b);
        return;
    }
    wait_table_heard(w->server->waits, &b->waiter); /* before looking: what comes later wakes again */
    mark = output_mark(connection_output(c));
    if (!b->retry(b, begin_reply(c)))
        return;
    detach(b);
    free_blocking(b);
    go_on(c, mark);
}

/* On any thread, with the table locked. */
static void post_news(waiter *waiter_)
{
    blocking *b = (blocking *)((char *)waiter_ - offsetof(blocking, waiter));

    b->posted = true;
    b->news.run = hear;
    worker_post(b->c->owner, &b->news);
}

int blocking_keys(blocking *b, size_t n, const kv_slice keys[], bool (*retry)(blocking *b, kv_reply *reply))
{
    connection *c = b->c;

    b->retry = retry;
    b->waiter.wake = post_news;
    if (wait_table_join(c->owner->server->waits, &b->waiter, n, c->db, keys) == 0)
        return 0;
    detach(b);
    free(b);
    return KV_ENOMEM;
}

/* ---- CLIENT PAUSE ---- */

void blocking_apply_reaping(server *s)
{
    bool on = atomic_load(&s->complete) && atomic_load(&s->pause) == PAUSE_NONE &&
              !atomic_load(&s->pause_for_shutdown) && !(atomic_load(&s->restrictions) & SERVER_REPLICA);

    for (int i = 0; i < s->databases.count; i++)
        store_set_reaping(s->databases.stores[i], on);
}

void blocking_set_pause(server *s, int pause)
{
    bool none = pause == PAUSE_NONE && !atomic_load(&s->pause_for_shutdown);

    atomic_store_explicit(&s->pause, pause, memory_order_release);
    server_restrict(s, SERVER_PAUSED, none ? 0 : SERVER_PAUSED);
    blocking_apply_reaping(s);
}

void blocking_pause_for_shutdown(server *s, bool on)
{
    pthread_mutex_lock(&s->pause_lock);
    atomic_store(&s->pause_for_shutdown, on);
    blocking_set_pause(s, atomic_load(&s->pause));
    pthread_mutex_unlock(&s->pause_lock);
}

/* The stricter one of the two. */
static int with_shutdown(const server *s, int pause)
{
    return pause == PAUSE_NONE && atomic_load(&((server *)s)->pause_for_shutdown) ? PAUSE_WRITE : pause;
}

int blocking_pause(server *s, int64_t now_ms)
{
    int pause = atomic_load_explicit(&s->pause, memory_order_acquire);

    if (!pause || now_ms < atomic_load_explicit(&s->pause_until_ms, memory_order_relaxed))
        return with_shutdown(s, pause);
    pthread_mutex_lock(&s->pause_lock);
    if (now_ms >= atomic_load_explicit(&s->pause_until_ms, memory_order_relaxed))
        blocking_set_pause(s, PAUSE_NONE);
    pause = atomic_load_explicit(&s->pause, memory_order_relaxed);
    pthread_mutex_unlock(&s->pause_lock);
    return with_shutdown(s, pause);
}

/* The row that the request would run, or NULL: it would not run. */
static const kv_command *row_of(const request *r)
{
    const kv_command *row = r->row;
    size_t subcommands;

    if (!row)
        return NULL;
    kv_command_subcommands(row, &subcommands);
    if (subcommands && r->argc > 1)
        row = kv_command_find_sub(row, r->argv[1]);
    return row && kv_command_arity_ok(row, r->argc) ? row : NULL;
}

static bool is_paused(const connection *c, const kv_command *row, int pause)
{
    if (!row || (!(c->flags & CONNECTION_AUTHENTICATED) && !(row->flags & KV_CMD_NO_AUTH)))
        return false; /* an error says so at once */
    if (pause == PAUSE_ALL)
        return true;
    return multi_writes(row) || (row->id == KV_COMMAND_exec && c->multi && c->multi->writes);
}

static void on_pause_over(evutil_socket_t fd, short what, void *arg)
{
    worker *w = arg;

    (void)fd;
    (void)what;
    worker_begin(w);
    blocking_end_pause(w);
}

/* Looks again when the pause is to end. The end of one for a shutdown is told. */
static void arm_pause(worker *w)
{
    int64_t left_ms = atomic_load_explicit(&w->server->pause_until_ms, memory_order_relaxed) - clock_ms();
    struct timeval timeout = interval(left_ms < 1 ? 1 : left_ms < TIMEOUT_MS_MAX ? left_ms : TIMEOUT_MS_MAX);

    if (atomic_load(&w->server->pause) == PAUSE_NONE)
        return;
    if (!event_initialized(&w->pause_over))
        event_assign(&w->pause_over, w->base, -1, 0, on_pause_over, w);
    event_add(&w->pause_over, &timeout);
}

bool blocking_postpones(connection *c, const request *r)
{
    worker *w = c->owner;
    int pause = blocking_pause(w->server, w->now_ms);
    const kv_command *row = pause ? row_of(r) : NULL;

    if (!pause || !is_paused(c, row, pause))
        return false;
    if (!blocking_begin(c, sizeof *c->blocking, 0, NULL)) {
        connection_close(c);
        return true;
    }
    c->blocking->postponed = true;
    c->last_command = row;
    arm_pause(w);
    return true;
}

void blocking_end_pause(worker *w)
{
    blocking *next;
    bool left = false;
    bool over = blocking_pause(w->server, clock_ms()) == PAUSE_NONE;

    for (blocking *b = w->blocked; b; b = next) {
        connection *c = b->c;

        next = b->next;
        if (!b->postponed)
            continue;
        left = true;
        if (!over)
            continue;
        detach(b);
        free(b);
        connection_run_later(c);
    }
    if (left && !over)
        arm_pause(w);
}
