/* replica_guard.h - min-replicas-to-write: no writes while too few replicas are near. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_REPLICA_GUARD_H
#define KV_STANDALONE_REPLICA_GUARD_H

#include <stdio.h>

struct server;

/* Sets or clears SERVER_LONELY by the configuration and the replicas of now: a few times a second, and when either has changed. Any
 * thread. */
void replica_guard_look(struct server *s);
/* The field of INFO, where the guard is on. */
void replica_guard_write(struct server *s, FILE *out);

#endif
