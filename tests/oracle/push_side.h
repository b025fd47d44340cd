/* push_side.h - one of the two servers of push_oracle with its clients, and what they are sent.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_PUSH_SIDE_H
#define TESTS_PUSH_SIDE_H

#include "push_plan.h"
#include "resp.h"
#include "server.h"

enum { same_message_max = 16 };

/* What a client is sent: replies with messages, and replies with invalidations. Of a transaction, what is published by its commands and
 * what is told of its changes are apart, too: redis-server says each in its turn, kvserver publishes when the locks are released. */
enum { MESSAGES, INVALIDATIONS, EVENTS, STREAMS };

typedef struct push_side {
    const char *name;
    server *server;
    conn *conns[clients];
    char id[clients][24];
    bool in_multi[clients];
    bool events_apart;            /* compared among themselves, apart from replies, too */
    char *said[clients][STREAMS]; /* since the last step: as it came */
    size_t said_len[clients][STREAMS];
    int same[clients][STREAMS]; /* how many of its last pieces are one message to several patterns, */
    size_t last[clients][STREAMS][same_message_max]; /* and their lengths */
    bool invalidated[clients];                       /* was the last of INVALIDATIONS */
    size_t tail_len[clients][STREAMS];               /* of that message */
} push_side;

/* Starts the server; false: it does not start. */
bool push_side_open(push_side *s, const char *name, const char *const server_options[]);
/* New clients of an empty server. */
bool push_side_begin(push_side *s);
/* Runs a step and collects what everybody was sent. */
bool push_side_step(push_side *s, const step *what, unsigned number);
/* The server is the caller's to stop. */
void push_side_end(push_side *s);

#endif
