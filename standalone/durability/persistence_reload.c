/* persistence_reload.c - DEBUG RELOAD: the data go into the file and come back out of it, which shows test suites that both ways
 * keep everything.
 *
 *     claim --> save --> SERVER_LOADING: clients are refused --> empty --> load on all cores --> answer
 *
 * It is a job of the snapshot task, like a SAVE: the client that asked is parked. Nobody is served what is not complete, as at the start;
 * but a file that cannot be loaded (with NOSAVE it may be anybody's) does not end the process: the client is told, and what was
 * loaded until then is there.
 *
 * With appendonly it is refused: the log would not be told of keys that come by this way. Nor are replicas: they fetch everything anew.
 *
 * Threads: the task's. SPDX-License-Identifier: MIT */
#include "actor.h"
#include "feed.h"
#include "persistence_internal.h"

/* Empties all databases, as a message to the state thread where there is one. */
typedef struct emptying {
    actor_message message;
    server *server;
    notices notices;
    int err;
} emptying;

static void run_emptying(actor_message *message)
{
    emptying *e = (emptying *)message;
    server *s = e->server;

    notify_thread(&e->notices);
    e->err = epoch_enter(s->domain);
    if (!e->err)
        e->err = store_clear_all(s->databases.stores, (size_t)s->databases.count, true);
    epoch_leave(s->domain);
    if (e->notices.some)
        notify_flush(s, NULL, &e->notices);
    notify_thread(s->actor ? &s->actor_notices : NULL);
}

static int empty_all(server *s)
{
    emptying e = { .message.run = run_emptying, .server = s, .notices = { .server = s } };

    if (s->actor)
        actor_call(s->actor, &e.message);
    else
        run_emptying(&e.message);
    return e.err;
}

void persistence_show_loading(persistence *p, bool loading)
{
    pthread_mutex_lock(&p->lock);
    p->loading = loading;
    if (loading)
        p->load_started_s = persistence_now_s();
    pthread_mutex_unlock(&p->lock);
    persistence_apply(p->server);
}

/* What is in the databases is what is in the file. */
static void note_saved(persistence *p)
{
    uint64_t changes = persistence_count_changes(p->server);

    pthread_mutex_lock(&p->lock);
    p->saved_changes = changes;
    pthread_mutex_unlock(&p->lock);
}

int persistence_reload(persistence *p, unsigned how)
{
    server *s = p->server;
    int result = 0;

    if (!(how & PERSISTENCE_NO_SAVE) && persistence_save(p) != 0)
        return -1;
    persistence_show_loading(p, true);
    if (!(how & PERSISTENCE_NO_FLUSH))
        result = empty_all(s);
    if (result == 0)
        result = persistence_load(p);
    else
        log_write(&s->log, CONFIG_LOG_WARNING, "DEBUG RELOAD: memory is out");
    feed_break(s, "the databases were reloaded");
    note_saved(p);
    persistence_show_loading(p, false);
    log_write(&s->log, CONFIG_LOG_WARNING, "DB reloaded by DEBUG RELOAD%s", result == 0 ? "" : ": it failed");
    return result == 0 ? 0 : -1;
}
