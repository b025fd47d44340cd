/* stream.c - SPDX-License-Identifier: MIT */
#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "interrupt.h"
#include "print.h"

/* An Enter alone has said all it had to say: the prompt is not to read it again. */
static void take_enter(void)
{
    int there = 0;
    char enter;

    if (ioctl(STDIN_FILENO, FIONREAD, &there) == 0 && there == 1 && read(STDIN_FILENO, &enter, 1) < 0)
        return;
}

/* Waits for the connection or for the user; true: the user typed. */
static bool user_types(conversation *c)
{
    struct pollfd fds[2] = { { .fd = kvc_connection_fd(c->connection), .events = POLLIN },
                             { .fd = STDIN_FILENO, .events = POLLIN } };

    if (!c->patient)
        return false;
    while (interrupt_poll(fds, 2) < 0 && errno == EINTR && !interrupt_happened())
        ;
    return !interrupt_happened() && fds[1].revents && !fds[0].revents;
}

/* In RESP2 a connection in this state takes few commands, and one that monitors none: a new one is opened by who comes next. */
static exit_status leave(conversation *c)
{
    if (c->patient)
        putchar('\n'); /* behind the terminal's ^C */
    conversation_close(c);
    c->subscriptions = 0;
    c->monitoring = false;
    return c->patient ? EXIT_FINE : EXIT_INTERRUPTED;
}

exit_status stream_run(conversation *c, kvc_error *error)
{
    kvc_reply *message = NULL;

    if (c->settings->stdout_is_terminal && c->settings->stderr_is_terminal)
        fprintf(stderr, "Reading messages... (Ctrl-C leaves%s)\n",
                c->patient && !c->monitoring ? ", Enter gives a prompt" : "");
    while (c->subscriptions > 0 || c->monitoring) {
        kvc_status status;

        if (print_flush() != EXIT_FINE)
            return EXIT_IO;
        status = conversation_next(c, 1, &message, error);
        if (status == KVC_ETIMEOUT) {
            if (user_types(c) && !c->monitoring) {
                take_enter();
                *error = (kvc_error){ .status = KVC_OK };
                return EXIT_FINE;
            }
            status = interrupt_happened() ? KVC_ESTATE : conversation_next(c, UINT32_MAX, &message, error);
        }
        if (interrupt_happened()) {
            kvc_reply_free(message);
            *error = (kvc_error){ .status = KVC_OK };
            return leave(c);
        }
        if (status != KVC_OK)
            return exit_status_of(error);
        print_reply(c->settings, 0, NULL, message);
        kvc_reply_free(message);
        message = NULL;
    }
    *error = (kvc_error){ .status = KVC_OK };
    return EXIT_FINE;
}
