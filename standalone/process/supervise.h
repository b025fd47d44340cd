/* supervise.h - telling whoever started us how the service is doing: systemd (sd_notify(3), by hand) or upstart.
 *
 *     supervise_open(s)        at the start: says who supervises, by the directive and the environment
 *     supervise_ready(s)       READY=1; at a reload between supervise_reloading and this
 *     supervise_tick(s)        WATCHDOG=1, as long as every worker's loop goes round
 *     supervise_stopping(s)    STOPPING=1
 *
 * Threads    open before there are any others; tick on worker 0; the rest any.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SUPERVISE_H
#define KV_STANDALONE_SUPERVISE_H

#include <stdbool.h>
#include <stdint.h>

#include "kvstore/capability.h"

struct server;

typedef enum supervisor { SUPERVISOR_NONE, SUPERVISOR_SYSTEMD, SUPERVISOR_UPSTART } supervisor;

typedef struct supervision {
    supervisor by;
    int64_t watchdog_ms; /* a silence of so long, and systemd restarts us; 0: it does not watch */
    int64_t fed_ms;      /* when it last heard of us; worker 0's */
} supervision;

void supervise_open(struct server *s) KV_EXCLUDES(kv_shard_held);
/* "no", "systemd" or "upstart", as INFO says it. */
const char *supervise_name(const struct server *s);

void supervise_ready(struct server *s) KV_EXCLUDES(kv_shard_held);
void supervise_reloading(struct server *s) KV_EXCLUDES(kv_shard_held);
void supervise_stopping(struct server *s) KV_EXCLUDES(kv_shard_held);
void supervise_tick(struct server *s) KV_EXCLUDES(kv_shard_held);

#endif
