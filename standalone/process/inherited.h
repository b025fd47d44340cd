/* inherited.h - listening sockets that systemd, or who else started us, holds open (sd_listen_fds(3), by hand).
 *
 *     inherited_take(&l->inherited)                         at the start, before the process forks or has threads
 *     fd = inherited_tcp(&l->inherited, address, &in_use)   instead of a bind; -1: there is none
 *     inherited_close_others(s)                             what no directive asked for
 *
 * The holder keeps them when we end, so that clients wait in the socket's queue during a restart and none is refused.
 *
 * Threads    As listener_open. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_INHERITED_H
#define KV_STANDALONE_INHERITED_H

#include <stdbool.h>
#include <sys/socket.h>

#include "kvstore/capability.h"

#define INHERITED_MAX 32

struct server;

typedef struct inherited_socket {
    int fd;
    bool in_use;
} inherited_socket;

typedef struct inherited {
    inherited_socket sockets[INHERITED_MAX];
    int count;
} inherited;

/* Descriptors 3 and on, as LISTEN_FDS counts them, if LISTEN_PID is this process; they get O_NONBLOCK and FD_CLOEXEC. */
void inherited_take(inherited *in) KV_EXCLUDES(kv_shard_held);
/* The socket that listens at address, which is from then on in use. *ret_covered: it already is, as one that listens
 * on all addresses of IPv6 and IPv4. */
int inherited_tcp(inherited *in, const struct sockaddr *address, bool *ret_covered)
    KV_EXCLUDES(kv_shard_held);
int inherited_unix(inherited *in, const char *path) KV_EXCLUDES(kv_shard_held);
/* Closes those that are not in use, and says so in the log. */
void inherited_close_others(struct server *s) KV_EXCLUDES(kv_shard_held);

#endif
