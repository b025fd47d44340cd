/* listener.h - the listening sockets, and new connections on their way to the workers.
 *
 * Worker 0 accepts and gives each connection to the worker that has the fewest. (SO_REUSEPORT would let every
 * worker accept, but the kernel deals by hash, so that two connections often share a worker while another idles;
 * and a second server on the same port would start without an error.)
 *
 * Threads    listener_open: any, under the server's config_lock. The rest: worker 0.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_LISTENER_H
#define KV_STANDALONE_LISTENER_H

#include <event2/event.h>

#include "config.h"
#include "inherited.h"

#define LISTENER_SOCKETS_MAX 32

struct server;

typedef enum listener_kind { LISTENER_TCP, LISTENER_TLS, LISTENER_UNIX } listener_kind;

typedef struct listener_socket {
    int fd;
    listener_kind kind;
    char name[256];      /* "127.0.0.1:6379", or a path */
    struct event *event; /* worker 0's; NULL: not yet watched */
    /* Worker 0's: the tcp-keepalive that its new connections have from it, -1: none of its options; and whether some that
     * came before it had them may be waiting. */
    int keepalive_s;
    bool older_wait;
} listener_socket;

typedef struct listener_sockets {
    listener_socket sockets[LISTENER_SOCKETS_MAX];
    int count;
} listener_sockets;

typedef struct listener {
    listener_sockets open;    /* what is listened on; under config_lock */
    listener_sockets closing; /* no longer wanted, not yet closed by worker 0; under config_lock */
    listener_sockets watched; /* what worker 0 accepts on: its own */
    int reserve_fd; /* given up to accept and refuse when descriptors run out; -1: it could not be had back */
    bool resting;   /* worker 0's: what is watched is not looked at until the next tick */
    inherited inherited; /* handed over by who started us, until the first listener_open */
    char unix_path[108]; /* of unixsocket, or "" */
    bool unix_inherited; /* so it is not for us to unlink */
    bool stopped;
} listener;

/* Opens what bind, port, tls-port and unixsocket say; sockets that are already open for one of the addresses are taken
 * over. On an error (-1, with the reason logged) everything is as before. */
int listener_open(struct server *s, config_error *ret_error) KV_EXCLUDES(kv_shard_held);
/* Watches what is open, closes what is no longer. On worker 0's thread. */
void listener_watch(struct server *s) KV_EXCLUDES(kv_shard_held);
/* After descriptors have run out: tries again. On worker 0's thread. */
void listener_tick(struct server *s);
/* Closes everything. */
void listener_stop(struct server *s) KV_EXCLUDES(kv_shard_held);

#endif
