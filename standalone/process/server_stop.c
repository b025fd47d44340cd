/* server_stop.c - signals, and the end of the process.
 *
 * Stopping is a message to every worker: worker 0 closes the listening sockets; each worker stops reading
 * requests, sends what is pending, and ends when its last connection has gone or shutdown-timeout has passed.
 * A second signal does not wait.
 *
 *     SIGTERM, SIGINT    wait for replicas (shutdown.c), save, where there are save points, and stop: or as shutdown-on-sigterm and -sigint say
 *     SIGHUP             read again: the log's file, aclfile, certificates
 *     SIGUSR1            INFO into the log
 *
 * Threads: signals are worker 0's, which hears them as events; server_stop may be called by any.
 *
 * SPDX-License-Identifier: MIT */
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "acl_file.h"
#include "acl_session.h"
#include "data_set.h"
#include "info.h"
#include "migrate.h"
#include "persistence.h"
#include "server.h"
#include "server_internal.h"
#include "tls_reload.h"

/* ---- stopping ---- */

static void drain(worker *w, worker_message *message)
{
    server *s = w->server;

    (void)message;
    worker_drain(w, atomic_load(&s->stop_now)
                        ? w->now_ms
                        : w->now_ms + config_number(s->config, CONFIG_ID_shutdown_timeout) * 1000);
}

/* On worker 0, before any worker drains: a connection accepted for one that does would be closed at once, while its
 * client, coming back, could be served by whoever listens on a handed socket next. */
static void stop_accepting(worker *w, worker_message *message)
{
    server *s = w->server;

    listener_stop(s);
    migrations_cancel(s->migrations);
    data_sets_cancel(s->data_sets);
    for (int i = 1; i < s->worker_count; i++) {
        s->workers[i].stop.run = drain;
        worker_post(&s->workers[i], &s->workers[i].stop);
    }
    drain(w, message);
}

void server_stop(server *s)
{
    if (atomic_exchange(&s->stopping, true))
        return;
    supervise_stopping(s);
    s->workers[0].stop.run = stop_accepting;
    worker_post(&s->workers[0], &s->workers[0].stop);
}

/* ---- signals ---- */

static void on_stop_signal(evutil_socket_t number, short what, void *arg)
{
    server *s = arg;
    int64_t how = config_number(s->config, number == SIGTERM ? CONFIG_ID_shutdown_on_sigterm
                                                             : CONFIG_ID_shutdown_on_sigint);
    bool save =
        (how & CONFIG_STOP_SAVE) || (!(how & CONFIG_STOP_NOSAVE) && persistence_has_points(s->persistence));

    (void)what;
    worker_begin(&s->workers[0]);
    if (s->stop_signals++) {
        log_write(&s->log, CONFIG_LOG_WARNING, "Second signal, exiting at once");
        _exit(1);
    }
    log_write(&s->log, CONFIG_LOG_WARNING, "Received %s scheduling shutdown...",
              number == SIGTERM ? "SIGTERM" : "SIGINT");
    if (shutdown_begin(s, NULL,
                       &(shutdown_how){ .save = save && !persistence_is_loading(s->persistence),
                                        .force = (how & CONFIG_STOP_FORCE) != 0,
                                        .now = (how & CONFIG_STOP_NOW) != 0 }) != 0)
        log_write(&s->log, CONFIG_LOG_WARNING, "Out of memory, can't exit.");
}

/* Reads aclfile again, if there is one; what it says holds as a whole or not at all. */
static void reload_users(server *s)
{
    char *path = config_text(s->config, CONFIG_ID_aclfile), *errors = NULL;
    bool ok = false;

    if (path && *path) {
        pthread_mutex_lock(&s->acl_lock);
        ok = acl_file_load(s->acl, path, &errors);
        pthread_mutex_unlock(&s->acl_lock);
        log_write(&s->log, ok ? CONFIG_LOG_NOTICE : CONFIG_LOG_WARNING, "%s",
                  ok       ? "The users of aclfile were read again"
                  : errors ? errors
                           : "Out of memory for the users of aclfile");
    }
    for (int i = 0; ok && i < s->worker_count; i++)
        worker_call(&s->workers[i], acl_session_refresh);
    free(errors);
    free(path);
}

static void on_reload_signal(evutil_socket_t number, short what, void *arg)
{
    server *s = arg;

    (void)number;
    (void)what;
    supervise_reloading(s);
    log_reopen(&s->log);
    reload_users(s);
    tls_reload_now(s);
    supervise_ready(s);
}

static void on_report_signal(evutil_socket_t number, short what, void *arg)
{
    server *s = arg;

    (void)number;
    (void)what;
    worker_begin(&s->workers[0]);
    info_log(s);
}

int server_watch_signals(server *s)
{
    static const struct {
        int number;
        event_callback_fn handler;
    } signals[SERVER_SIGNALS] = { { SIGTERM, on_stop_signal },
                                  { SIGINT, on_stop_signal },
                                  { SIGHUP, on_reload_signal },
                                  { SIGUSR1, on_report_signal } };

    signal(SIGPIPE, SIG_IGN);
    for (int i = 0; i < SERVER_SIGNALS; i++) {
        s->signals[i] = evsignal_new(s->workers[0].base, signals[i].number, signals[i].handler, s);
        if (!s->signals[i] || event_add(s->signals[i], NULL) != 0)
            return -1;
    }
    return 0;
}
