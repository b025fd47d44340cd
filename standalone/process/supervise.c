/* supervise.c - see supervise.h.
 *
 * systemd listens on the datagram socket that NOTIFY_SOCKET names ('@' in front: an abstract name) for lines of
 * NAME=value. With WatchdogSec= it expects WATCHDOG=1 in time and kills a service that stays silent. Worker 0 says it, but only
 * while every worker has ticked within that time: one that is stuck in a loop, or waits for a lock for ever, ends the
 * service, though the others answer. A worker without requests ticks, too.
 *
 * upstart, with "expect stop", waits until the process stops itself. SPDX-License-Identifier: MIT */
#include "supervise.h"

#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "server.h"

static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    size_t len = path ? strlen(path) : 0;
    ssize_t ignored;
    int fd;

    if (len < 2 || len >= sizeof address.sun_path || (path[0] != '/' && path[0] != '@'))
        return;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@')
        address.sun_path[0] = '\0'; /* an abstract name */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    ignored = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len));
    (void)ignored;
    close(fd);
}

/* Who asked to be told, by the environment; wanted is the directive. */
static supervisor find_supervisor(server *s, int64_t wanted)
{
    bool systemd = getenv("NOTIFY_SOCKET") != NULL, upstart = getenv("UPSTART_JOB") != NULL;

    if (wanted == CONFIG_UNSUPERVISED)
        return SUPERVISOR_NONE;
    if (wanted == CONFIG_UPSTART && !upstart)
        log_write(&s->log, CONFIG_LOG_WARNING, "supervised upstart: UPSTART_JOB is not set, nobody is told");
    if (wanted == CONFIG_SYSTEMD && !systemd)
        log_write(&s->log, CONFIG_LOG_WARNING,
                  "supervised systemd: NOTIFY_SOCKET is not set, nobody is told");
    if (upstart && wanted != CONFIG_SYSTEMD)
        return SUPERVISOR_UPSTART;
    return systemd && wanted != CONFIG_UPSTART ? SUPERVISOR_SYSTEMD : SUPERVISOR_NONE;
}

/* The time of the watchdog, when it watches this very process. */
static int64_t watchdog_ms(void)
{
    const char *usec = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (!usec || (pid && atol(pid) != (long)getpid()))
        return 0;
    return atoll(usec) / 1000;
}

void supervise_open(server *s)
{
    supervision *v = &s->supervision;

    v->by = find_supervisor(s, config_number(s->config, CONFIG_ID_supervised));
    if (v->by == SUPERVISOR_NONE)
        return;
    log_write(&s->log, CONFIG_LOG_NOTICE, "supervised by %s", supervise_name(s));
    if (v->by == SUPERVISOR_SYSTEMD)
        v->watchdog_ms = watchdog_ms();
}

const char *supervise_name(const server *s)
{
    static const char *const names[] = { "no", "systemd", "upstart" };

    return names[s->supervision.by];
}

void supervise_ready(server *s)
{
    if (s->supervision.by == SUPERVISOR_SYSTEMD)
        notify("READY=1\nSTATUS=Ready to accept connections\n");
    else if (s->supervision.by == SUPERVISOR_UPSTART) {
        unsetenv("UPSTART_JOB");
        raise(SIGSTOP);
    }
}

void supervise_reloading(server *s)
{
    char text[96];

    if (s->supervision.by != SUPERVISOR_SYSTEMD)
        return;
    snprintf(text, sizeof text, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=Reading files again\n",
             (unsigned long long)(clock_ns() / 1000));
    notify(text);
}

void supervise_stopping(server *s)
{
    if (s->supervision.by == SUPERVISOR_SYSTEMD)
        notify("STOPPING=1\nSTATUS=Sending the last replies\n");
}

void supervise_tick(server *s)
{
    supervision *v = &s->supervision;
    int64_t now_ms = (int64_t)(clock_ns() / 1000000);

    if (!v->watchdog_ms || now_ms - v->fed_ms < v->watchdog_ms / 4)
        return;
    for (int i = 0; i < s->worker_count; i++)
        if (now_ms - atomic_load_explicit(&s->workers[i].ticked_ms, memory_order_relaxed) >
            v->watchdog_ms / 2) {
            log_limited(&s->log, LOG_WATCHDOG, CONFIG_LOG_WARNING,
                        "Worker %d does nothing any more: the watchdog is not told that all is well", i);
            return;
        }
    v->fed_ms = now_ms;
    notify("WATCHDOG=1\n");
}
