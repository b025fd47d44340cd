/* target.h - the server under test: where it is, and what it knows.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_TARGET_H
#define KVSTRESS_TARGET_H

#include <sys/socket.h>
#include <sys/un.h>

#include "options.h"

/* The commands, and forms of commands, that kvstress does without when the server does not know them. What it cannot
 * do without is PING, SET and GET. */
typedef enum command_used {
    USE_ECHO,
    USE_SET_XX,
    USE_SET_PX,
    USE_SET_EX,
    USE_SET_IFEQ,
    USE_SET_KEEPTTL,
    USE_GETV, /* and SET ... IFVER */
    USE_GETSET,
    USE_GETRANGE,
    USE_GETEX,
    USE_EXISTS,
    USE_STRLEN,
    USE_INCR,
    USE_DECR,
    USE_INCRBY,
    USE_DECRBY,
    USE_APPEND,
    USE_PSETEX,
    USE_PEXPIRE,
    USE_PTTL,
    USE_TTL,
    USE_PERSIST,
    USE_MSET,
    USE_MGET,
    USE_GETDEL,
    USE_SETNX,
    USE_DEL,
    USE_MSETNX,
    USE_PUBLISH,
    COMMANDS_USED
} command_used;

typedef struct target {
    char name[160]; /* "127.0.0.1:6379", or the socket's path */
    struct sockaddr_storage address;
    socklen_t address_len;
    int family;
    const options *options;
    char software[80]; /* what INFO says of itself */
    bool knows[COMMANDS_USED];
    bool transactions; /* MULTI, EXEC, WATCH, UNWATCH */
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
