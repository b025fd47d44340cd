/* monitor.h - MONITOR: clients that are shown every command, as it runs, or some of them.
 *
 *     if (c->flags & CONNECTION_WATCHED) ...             // set by begin_batch while there is a monitor
 *         monitor_show(c, row, argc, argv);              // after the command
 *
 * Threads    The connection's, but for monitor_open and monitor_close: the server's life.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_MONITOR_H
#define KV_STANDALONE_MONITOR_H

#include "connection.h"

#define MONITOR_FILTERS_MAX 64 /* different ones at the same time */

typedef struct monitors monitors;

monitors *monitor_open(void);
void monitor_close(monitors *m);

/* Shows a request of c that has run to the monitors that want to see it. row: the subcommand's, where the command is a
 * container. Returns whether c should wait (pubsub_wait), since there is much to deliver. */
bool monitor_show(connection *c, const kv_command *row, int argc, const kv_slice argv[]);
/* The same of the commands that c's EXEC has run. */
bool monitor_show_queue(connection *c);
/* c is a monitor no more; its subscription is for the caller to end. */
void monitor_leave(connection *c);

#endif
