/* persistence_requests.c - who asks for a snapshot: SAVE, BGSAVE, SHUTDOWN, signals; and the answers to those that wait.
 *
 *     SAVE, SHUTDOWN: connection_park, into p->waiting --> the task --> a message to the connection's worker --> reply
 *
 * A request that finds a snapshot under way is refused; while the log is being rewritten, SCHEDULE leaves it to a later
 * tick. FLUSHALL is a SAVE of what it has left. Only SHUTDOWN ends the one under way, since its own comes later and has more in it.
 *
 * Threads: any; answers are given on the connection's own. SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "persistence_internal.h"

/* ---- answers ---- */

static void reply_to(worker *w, const persistence_waiting *one)
{
    connection *c = one->connection;
    kv_reply *reply = &w->reply.base;

    if (one->stop && (one->saved || one->force))
        connection_close(c);
    else if (one->stop)
        reply->ops->error(reply, KV_STR("ERR Errors trying to SHUTDOWN. Check logs."));
    else if (one->saved || one->flush)
        reply->ops->simple(reply, KV_STR("OK"));
    else if (one->reload && one->how & PERSISTENCE_FROM_LOG)
        reply->ops->error(reply, KV_STR("ERR The log of changes cannot be written. Check logs."));
    else if (one->reload)
        reply->ops->error(reply, KV_STR("ERR Error trying to load the RDB dump"));
    else
        reply->ops->error(reply, KV_STR("ERR"));
}

/* The next signal is not a second one. */
static void refuse_to_stop(server *s)
{
    log_write(&s->log, CONFIG_LOG_WARNING, "Error trying to save the DB, can't exit.");
    atomic_store(&s->save_at_end, false);
    s->stop_signals = 0;
    shutdown_failed(s);
}

static void answer(worker *w, worker_message *message)
{
    persistence_waiting *one = (persistence_waiting *)message;
    connection *c = one->connection;

    if (one->stop && (one->saved || one->force))
        server_stop(w->server);
    else if (one->stop)
        refuse_to_stop(w->server);
    if (c && connection_unpark(c)) {
        output_mark_at mark = output_mark(connection_output(c));

        w->reply.out = connection_output(c);
        w->call.command = c->last_command;
        resp_reply_set_protocol(&w->reply, c->protocol);
        reply_to(w, one);
        if (c->flags & (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP))
            output_rewind(w->reply.out, mark);
        c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
        connection_flush(c);
    }
    free(one);
}

void persistence_answer_all(server *s, persistence_waiting *list, bool saved)
{
    while (list) {
        persistence_waiting *one = list;

        list = one->next;
        one->saved = saved;
        worker_post(one->connection ? one->connection->owner : &s->workers[0], &one->message);
    }
}

/* ---- requests ---- */

/* With the claim. */
static void start_locked(persistence *p)
{
    p->saving = p->wanted = true;
    p->scheduled = false;
    p->begun_s = p->last_try_s = persistence_now_s();
    pthread_cond_signal(&p->wake);
}

enum persistence_answer persistence_begin(persistence *p, bool schedule)
{
    enum persistence_answer result = PERSISTENCE_BUSY;

    pthread_mutex_lock(&p->lock);
    if (p->saving) {
        result = PERSISTENCE_BUSY;
    } else if (persistence_claim(p)) {
        start_locked(p);
        result = PERSISTENCE_STARTED;
    } else if (schedule) { /* the log is being rewritten: the tick will do it */
        p->scheduled = true;
        result = PERSISTENCE_SCHEDULED;
    }
    pthread_mutex_unlock(&p->lock);
    return result;
}

/* c waits for the job, unless another one is under way. */
static enum persistence_answer start_for(persistence *p, connection *c, persistence_waiting what)
{
    persistence_waiting *one = calloc(1, sizeof *one);
    enum persistence_answer result = PERSISTENCE_BUSY;

    if (!one)
        return PERSISTENCE_BUSY;
    *one = what;
    one->message.run = answer;
    one->connection = c;
    pthread_mutex_lock(&p->lock);
    if (!p->saving && persistence_claim(p)) {
        connection_park(c);
        one->next = p->waiting;
        p->waiting = one;
        start_locked(p);
        result = PERSISTENCE_STARTED;
    }
    pthread_mutex_unlock(&p->lock);
    if (result == PERSISTENCE_BUSY)
        free(one);
    return result;
}

enum persistence_answer persistence_save_for(persistence *p, connection *c)
{
    return start_for(p, c, (persistence_waiting){ 0 });
}

enum persistence_answer persistence_reload_for(persistence *p, connection *c, unsigned how)
{
    return start_for(p, c, (persistence_waiting){ .reload = true, .how = how });
}

bool persistence_emptied(void *of, kv_call *call)
{
    server *s = of;
    persistence *p = s->persistence;
    connection *c = call->host;

    if (!atomic_load(&s->loaded)) /* the log has told it */
        return false;
    if (!s->actor && c && !(c->flags & CONNECTION_MULTI) && persistence_has_points(p) &&
        start_for(p, c, (persistence_waiting){ .flush = true }) == PERSISTENCE_STARTED)
        return true;
    atomic_store(&p->emptied, true);
    return false;
}

int persistence_save_and_stop(persistence *p, connection *c, bool force)
{
    persistence_waiting *one = calloc(1, sizeof *one);

    if (!one)
        return -1;
    *one = (persistence_waiting){ .message.run = answer, .connection = c, .stop = true, .force = force };
    if (c)
        connection_park(c);
    pthread_mutex_lock(&p->lock);
    one->next = p->waiting;
    p->waiting = one;
    p->wanted = true;
    persistence_cancel_locked(p); /* no copy begins from here on */
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    return 0;
}
