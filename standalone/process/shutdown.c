/* shutdown.c - see shutdown.h.
 *
 *     SHUTDOWN, SIGTERM --> writes are paused --> every worker was visited --> replicas are asked
 *                                                                                |  all have acknowledged, or shutdown-timeout
 *                           server_stop <-- a snapshot, if there is to be one <--'
 *
 * Without it, what was written last is lost to replicas that were a little behind: the stream ends with the process. So writes
 * wait (as with CLIENT PAUSE WRITE, which is counted apart), reads go on, and the end begins when every replica
 * has said that it has applied everything, or the time is over: then the log names those that have not. Without replicas, with NOW,
 * and with shutdown-timeout 0, there is nothing to wait for.
 *
 * What "everything" is is known only when no batch runs any more that began before the pause: so workers, and the state thread, are
 * visited first.
 *
 * A client that said SHUTDOWN is blocked meanwhile. It gets an error when nothing comes of it (SHUTDOWN ABORT, a snapshot that
 * fails), and its connection is closed otherwise.
 *
 * Locks: shutdown.lock before pause_lock and the mailboxes of workers. Blocked clients are ended by messages to their workers.
 *
 * SPDX-License-Identifier: MIT */
#include "shutdown.h"

#include <stdio.h>
#include <stdlib.h>

#include "actor.h"
#include "blocking.h"
#include "feed.h"
#include "peer.h"
#include "persistence.h"
#include "replica.h"
#include "server.h"

/* ---- clients that wait ---- */

static void finish_client(blocking *b, kv_reply *reply, blocking_end why)
{
    (void)b;
    if (why != BLOCKING_ERROR)
        reply->ops->error(reply, KV_STR("ERR Errors trying to SHUTDOWN. Check logs."));
}

static int block(connection *c)
{
    return blocking_begin(c, sizeof(blocking), 0, finish_client) ? 0 : -1;
}

/* On each worker, without the lock: nothing has come of it. */
static void go_on(worker *w)
{
    for (blocking *b = w->blocked, *next; b; b = next) {
        next = b->next;
        if (b->finish == finish_client)
            blocking_finish(b, BLOCKING_DONE);
    }
    blocking_end_pause(w);
}

/* Each worker looks what has become of it, unless it is about to. */
static void visit_all(server *s)
{
    for (int i = 0; i < s->worker_count; i++) {
        worker *w = &s->workers[i];

        w->shutdown_counts = true;
        if (!w->shutdown_posted)
            worker_post(w, &w->shutdown_visit);
        w->shutdown_posted = true;
    }
}

static void give_up(server *s)
{
    s->shutdown.phase = SHUTDOWN_NONE;
    blocking_pause_for_shutdown(s, false);
    visit_all(s);
}

/* ---- replicas ---- */

/* Whether all of them have everything; *ret_text (yours, or NULL): what is to be said of those that have not. */
static bool all_have_it(server *s, char **ret_text)
{
    size_t len = 0, all = 0, behind = 0;
    FILE *out;

    *ret_text = NULL;
    out = open_memstream(ret_text, &len);
    if (!out)
        return false;
    behind = replica_write_lagging(s, s->shutdown.position, out, &all);
    fprintf(out, "%zu of %zu replicas are in sync when shutting down.", all - behind, all);
    if (fclose(out) != 0) {
        free(*ret_text);
        *ret_text = NULL;
    }
    return behind == 0;
}

static void tell_log(server *s, bool all, char *text)
{
    for (char *line; (line = strsep(&text, "\n")) != NULL;)
        log_write(&s->log, all ? CONFIG_LOG_NOTICE : CONFIG_LOG_WARNING, "%s", line);
}

/* ---- the steps: the lock is held ---- */

/* On worker 0, or (there is nobody to wait for) on that of c. */
static int go(server *s, connection *c, const shutdown_how *how)
{
    atomic_store(&s->stop_now, how->now);
    if (how->save) {
        atomic_store(&s->save_at_end, true);
        return persistence_save_and_stop(s->persistence, c, how->force);
    }
    if (c)
        c->flags |= CONNECTION_CLOSE_AFTER;
    server_stop(s);
    return 0;
}

/* Goes on, when it may. */
static void look(server *s)
{
    shutdown_state *d = &s->shutdown;
    bool late = peer_clock_ms() >= d->until_ms, all;
    char *text;

    if (d->phase != SHUTDOWN_WAITS)
        return;
    all = all_have_it(s, &text);
    if (all || late) {
        tell_log(s, all, text);
        d->phase = SHUTDOWN_SAVES;
        d->how.now |= late;
        if (go(s, NULL, &d->how) != 0)
            give_up(s);
    }
    free(text);
}

/* ---- visits ---- */

static void do_nothing(actor_message *message)
{
    (void)message;
}

/* No batch of before runs any more: what was told is all there is. */
static void begin_waiting(server *s)
{
    s->shutdown.position = feed_position(s);
    s->shutdown.phase = SHUTDOWN_WAITS;
    feed_ask(s);
    feed_turn_ends(s);
    look(s);
}

/* Without the lock: the state thread may want it. */
static void visit_actor(server *s)
{
    actor_message last = { .run = do_nothing };

    if (s->actor)
        actor_call(s->actor, &last);
    pthread_mutex_lock(&s->shutdown.lock);
    if (s->shutdown.phase == SHUTDOWN_PAUSES && s->shutdown.visits == 0)
        begin_waiting(s);
    pthread_mutex_unlock(&s->shutdown.lock);
}

void shutdown_hear(worker *w, worker_message *message)
{
    shutdown_state *d = &w->server->shutdown;
    bool over, last;

    (void)message;
    pthread_mutex_lock(&d->lock);
    w->shutdown_posted = false;
    over = d->phase == SHUTDOWN_NONE;
    if (d->phase == SHUTDOWN_PAUSES && w->shutdown_counts)
        d->visits--;
    w->shutdown_counts = false;
    last = d->phase == SHUTDOWN_PAUSES && d->visits == 0;
    pthread_mutex_unlock(&d->lock);
    if (over)
        go_on(w);
    else if (last)
        visit_actor(w->server);
}

/* ---- beginning and ending ---- */

static bool has_to_wait(server *s, const shutdown_how *how)
{
    feed_figures figures;

    feed_read_figures(s, &figures);
    return !how->now && figures.readers && config_number(s->config, CONFIG_ID_shutdown_timeout) > 0;
}

static int begin_pause(server *s, connection *c, const shutdown_how *how)
{
    shutdown_state *d = &s->shutdown;

    if (c && block(c) != 0)
        return -1;
    log_write(&s->log, CONFIG_LOG_NOTICE, "Waiting for replicas before shutting down.");
    d->how = *how;
    d->until_ms = peer_clock_ms() + config_number(s->config, CONFIG_ID_shutdown_timeout) * 1000;
    d->phase = SHUTDOWN_PAUSES;
    d->visits = s->worker_count;
    blocking_pause_for_shutdown(s, true);
    visit_all(s);
    return 0;
}

int shutdown_begin(server *s, connection *c, const shutdown_how *how)
{
    int result;

    pthread_mutex_lock(&s->shutdown.lock);
    if (s->shutdown.phase != SHUTDOWN_NONE)
        result = c ? block(c) : 0; /* the one that is under way decides */
    else if (has_to_wait(s, how))
        result = begin_pause(s, c, how);
    else
        result = go(s, c, how);
    pthread_mutex_unlock(&s->shutdown.lock);
    return result;
}

bool shutdown_abort(server *s)
{
    bool under_way;

    pthread_mutex_lock(&s->shutdown.lock);
    under_way = s->shutdown.phase == SHUTDOWN_PAUSES || s->shutdown.phase == SHUTDOWN_WAITS;
    if (under_way) {
        log_write(&s->log, CONFIG_LOG_NOTICE, "Shutdown manually aborted.");
        give_up(s);
    }
    pthread_mutex_unlock(&s->shutdown.lock);
    return under_way;
}

void shutdown_failed(server *s)
{
    pthread_mutex_lock(&s->shutdown.lock);
    if (s->shutdown.phase != SHUTDOWN_NONE)
        give_up(s);
    pthread_mutex_unlock(&s->shutdown.lock);
}

void shutdown_tick(server *s)
{
    pthread_mutex_lock(&s->shutdown.lock);
    look(s);
    pthread_mutex_unlock(&s->shutdown.lock);
}

int64_t shutdown_left_ms(server *s)
{
    int64_t left = -1;

    pthread_mutex_lock(&s->shutdown.lock);
    if (s->shutdown.phase == SHUTDOWN_PAUSES || s->shutdown.phase == SHUTDOWN_WAITS) {
        left = s->shutdown.until_ms - peer_clock_ms();
        left = left < 0 ? 0 : left;
    }
    pthread_mutex_unlock(&s->shutdown.lock);
    return left;
}
