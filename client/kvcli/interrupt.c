/* interrupt.c - SPDX-License-Identifier: MIT */
#include "interrupt.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "exit_status.h"

/* A signal handler has nobody who could hand these to it. */
static volatile sig_atomic_t happened;
static _Atomic(kvc_connection *) watched;

static void on_interrupt(int signal)
{
    kvc_connection *connection = atomic_load(&watched);
    int saved = errno;

    (void)signal;
    if (happened)
        _exit(EXIT_INTERRUPTED);
    happened = 1;
    if (connection)
        kvc_connection_wake(connection);
    errno = saved;
}

void interrupt_catch(void)
{
    struct sigaction action = { .sa_handler = on_interrupt };

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

void interrupt_release(void)
{
    struct sigaction action = { .sa_handler = SIG_DFL };

    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    happened = 0;
}

void interrupt_watch(kvc_connection *connection)
{
    atomic_store(&watched, connection);
    if (connection && happened) /* just before it could be told */
        kvc_connection_wake(connection);
}

bool interrupt_happened(void)
{
    return happened;
}

void interrupt_clear(void)
{
    happened = 0;
}

int interrupt_poll(struct pollfd fds[], unsigned n)
{
    sigset_t interrupt, before;
    int ready = -1;

    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    errno = EINTR;
    if (!happened)
        ready = ppoll(fds, n, NULL, &before);
    sigprocmask(SIG_SETMASK, &before, NULL);
    return ready;
}

bool interrupt_sleep(double seconds)
{
    struct timespec rest = { .tv_sec = (time_t)seconds };

    rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * 1e9);
    return !happened && (nanosleep(&rest, NULL) == 0 || !happened);
}
