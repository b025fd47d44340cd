/* target.h - the server under test: where it is, and what it knows.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_TARGET_H
#define KVSTRESS_TARGET_H

#include <sys/socket.h>
#include <sys/un.h>

#include "options.h"

typedef struct target {
    char name[160]; /* "127.0.0.1:6379", or the socket's path */
    struct sockaddr_storage address;
    socklen_t address_len;
    int family;
    const options *options;
    char software[80]; /* what INFO says of itself */
    /* what it can do */
    bool transactions, ifeq, versions, pubsub, set_get, getdel, getex;
} target;

/* Resolves the address. */
int target_init(target *t, const options *o, fault *f);
/* A socket of the right kind that begins to connect without waiting; -1 with errno. *ret_done: it is connected. */
int target_connect(const target *t, bool *ret_done);
/* Whether it answers now: 0; else why not, and 1 if it does not listen, or is loading, and may answer later, or -1.
 * Waits seconds at most. */
int target_ping(const target *t, double seconds, fault *f);
/* Asks what it can do, and whether its answers are RESP at all. */
int target_probe(target *t, fault *f);

#endif
