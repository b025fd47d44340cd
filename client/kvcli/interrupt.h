/* interrupt.h - Ctrl-C, as a flag and a wake-up instead of a death.
 *
 *     interrupt_catch();
 *     interrupt_watch(connection);              // a wait in it returns KVC_ESTATE on Ctrl-C
 *     status = kvc_connection_next(connection, UINT32_MAX, &reply, &error);
 *     if (interrupt_happened())
 *         ...
 *     interrupt_watch(NULL);
 *
 * A second Ctrl-C before interrupt_clear ends the process with status 130: there is always a way out.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_INTERRUPT_H
#define KVCLI_INTERRUPT_H

#include <poll.h>

#include "kvclient.h"

void interrupt_catch(void);
/* Ctrl-C kills again, as at the start. */
void interrupt_release(void);
void interrupt_watch(kvc_connection *connection);
bool interrupt_happened(void);
void interrupt_clear(void);
/* As poll(2) without end; a Ctrl-C that came before it ends it, too (errno EINTR). */
int interrupt_poll(struct pollfd fds[], unsigned n);
/* Sleeps; false: Ctrl-C ended it. */
bool interrupt_sleep(double seconds);

#endif
