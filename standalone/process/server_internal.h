/* server_internal.h - what the files of the process share: server.c, server_apply.c, server_figures.c, server_stop.c.
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SERVER_INTERNAL_H
#define KV_STANDALONE_SERVER_INTERNAL_H

#include "server.h"

/* Raises the limit of descriptors to what maxclients needs, or lowers the number of clients to what there is. */
void server_limit_clients(server *s);
/* Compares the memory in use with maxmemory: see over_memory. Any thread. */
void server_watch_memory(server *s) KV_EXCLUDES(kv_shard_held);
/* Makes signals events of worker 0. 0 or -1. */
int server_watch_signals(server *s);

#endif
