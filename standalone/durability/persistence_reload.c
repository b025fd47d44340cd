/* persistence_reload.c - DEBUG RELOAD and LOADAOF: the data go into the file and come back out of it, or out of the log, which shows
 * test suites that both ways keep everything.
 *
 *     claim --> SERVER_LOADING: clients are refused, their batches end --> save, or sync the log --> empty
 *           --> nothing is told --> load on all cores --> changes are told again --> answer
 *
 * It is a job of the snapshot task, like a SAVE: the client that asked is parked. Clients are refused before the file is written, or what
 * they wrote after its moment would be gone. Nobody is served what is not complete, as at the start; a primary's commands wait, too.
 *
 * The log. What was saved and loaded again is what the log tells, and so it is told nothing: it goes on behind it. Where the file
 * may hold something else (NOSAVE, NOFLUSH) the log is told of the emptying and then of each key, as when a replica has taken a
 * data set (aof_retell.h): a crash before that is done leaves a part of the file's keys, which is what the command asks for.
 * LOADAOF syncs the log first.
 *
 * Failures. A file that cannot be loaded (with NOSAVE it may be anybody's) does not end the process: the client is told, and what was
 * loaded until then is there. But if it is what was just saved, and there is a log, that is loaded instead. A log that
 * cannot be loaded ends the process, as at the start: what is in memory is less than what it tells.
 *
 * Replicas fetch everything anew.
 *
 * Threads: the task's. SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "actor.h"
#include "aof.h"
#include "aof_retell.h"
#include "blocking.h"
#include "feed.h"
#include "persistence_internal.h"
#include "replication.h"

/* ---- emptying ---- */

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

static int empty_all(server *s, bool unlogged)
{
    emptying e = { .message.run = run_emptying,
                   .server = s,
                   .notices = { .server = s, .unlogged = unlogged } };

    if (s->actor)
        actor_call(s->actor, &e.message);
    else
        run_emptying(&e.message);
    if (e.err)
        log_write(&s->log, CONFIG_LOG_WARNING, "DEBUG RELOAD: memory is out");
    return e.err ? -1 : 0;
}

/* ---- those who are refused meanwhile ---- */

void persistence_show_loading(persistence *p, bool loading)
{
    pthread_mutex_lock(&p->lock);
    p->loading = loading;
    if (loading)
        p->load_started_s = persistence_now_s();
    pthread_mutex_unlock(&p->lock);
    persistence_apply(p->server);
}

static void note_visit(worker *w)
{
    atomic_fetch_add(&w->server->persistence->visits, 1);
}

static void do_nothing(actor_message *message)
{
    (void)message;
}

/* What began before clients were refused has ended. (Workers that have ended are not waited for.) */
static void wait_for_batches(persistence *p)
{
    const struct timespec pause = { .tv_nsec = 200000 };
    actor_message last = { .run = do_nothing };
    server *s = p->server;

    for (int i = 0; i < s->worker_count; i++)
        p->visits_asked += worker_call(&s->workers[i], note_visit) == 0;
    while (atomic_load(&p->visits) < p->visits_asked && !atomic_load(&p->ending))
        nanosleep(&pause, NULL);
    if (s->actor)
        actor_call(s->actor, &last);
    replication_pause(s);
    replication_resume(s);
}

static void set_source(persistence *p, bool is_log)
{
    pthread_mutex_lock(&p->lock);
    p->loads_log = is_log;
    pthread_mutex_unlock(&p->lock);
}

/* What is in the databases is what is in the file. */
static void note_saved(persistence *p)
{
    uint64_t changes = persistence_count_changes(p->server);

    pthread_mutex_lock(&p->lock);
    p->saved_changes = changes;
    pthread_mutex_unlock(&p->lock);
}

/* ---- the two ways ---- */

/* Ends the process when it cannot be done, unless that ends anyway. */
static int load_log(persistence *p)
{
    server *s = p->server;

    set_source(p, true);
    if (aof_reload(s, persistence_goes_on, p) == 0)
        return 0;
    if (atomic_load(&p->ending))
        return -1;
    log_write(&s->log, CONFIG_LOG_WARNING, "The log of changes cannot be loaded again, exiting.");
    _exit(1);
}

/* Whether the databases will be what the log tells. */
static bool keeps_log(unsigned how)
{
    return !(how & (PERSISTENCE_NO_SAVE | PERSISTENCE_NO_FLUSH));
}

static int load_file(persistence *p, unsigned how)
{
    server *s = p->server;
    int result;

    set_source(p, false);
    result = persistence_load(p);
    if (result == 0 || !aof_listens(s) || !keeps_log(how) || atomic_load(&p->ending))
        return result;
    log_write(&s->log, CONFIG_LOG_WARNING, "What was saved cannot be loaded: the log is loaded instead");
    result = empty_all(s, true);
    if (result == 0)
        load_log(p);
    return -1;
}

/* Nothing is lost yet when it fails. */
static int prepare(persistence *p, unsigned how)
{
    server *s = p->server;
    char *path;
    int result;

    if (how & PERSISTENCE_FROM_LOG)
        return aof_flush(s);
    if (!(how & PERSISTENCE_NO_SAVE))
        return persistence_save(p);
    path = persistence_path(s);
    result = path && access(path, R_OK) == 0 ? 0 : -1;
    free(path);
    return result;
}

static int empty_and_load(persistence *p, unsigned how)
{
    server *s = p->server;
    int result = how & PERSISTENCE_NO_FLUSH ? 0 : empty_all(s, keeps_log(how));

    if (result != 0)
        return result;
    server_incomplete(s);
    result = how & PERSISTENCE_FROM_LOG ? load_log(p) : load_file(p, how);
    if (!atomic_load(&p->ending)) /* otherwise what is there is of no use, and nobody is told of it */
        server_complete(s);
    return result;
}

int persistence_reload(persistence *p, unsigned how)
{
    server *s = p->server;
    int result;

    persistence_show_loading(p, true);
    wait_for_batches(p);
    result = prepare(p, how);
    if (result == 0) {
        feed_break(s, "the databases are reloaded");
        result = empty_and_load(p, how);
        if (!keeps_log(how) && !atomic_load(&p->ending) && aof_retell(s, false, persistence_goes_on, p) != 0)
            result = -1;
        if (!(how & PERSISTENCE_FROM_LOG))
            note_saved(p);
    }
    set_source(p, false);
    persistence_show_loading(p, false);
    log_write(&s->log, CONFIG_LOG_WARNING, "%s%s",
              how & PERSISTENCE_FROM_LOG ? "Append Only File loaded by DEBUG LOADAOF"
                                         : "DB reloaded by DEBUG RELOAD",
              result == 0 ? "" : ": it failed");
    return result == 0 ? 0 : -1;
}
