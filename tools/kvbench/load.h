/* load.h - the load: many connections, each with a pipeline of GETs and SETs, every reply checked.
 *
 *     load_plan plan = { .port = port, .connections = 50, .depth = 64, .threads = 1, .keys = 1000000,
 *                        .seconds = 1 };
 *     protocol_init(&plan.protocol, PROTOCOL_RESP, 16);
 *     if (load_run(&plan, &result, fault)) ...
 *
 * A connection sends `depth` requests in one write, waits for all their replies, then sends the next:
 * depth 1 is a client that waits for each answer. Keys are drawn by a generator with a fixed
 * seed, or (in_order) taken in turn, which fills a server.
 *
 * Only 127.0.0.1 is ever connected to.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_LOAD_H
#define KVBENCH_LOAD_H

#include "fault.h"
#include "protocol.h"

typedef enum load_distribution {
    LOAD_UNIFORM,
    LOAD_ZIPF, /* exponent 0.99 */
    LOAD_HOT,  /* four of five requests go to one key in a hundred, but at least one */
} load_distribution;

typedef struct load_plan {
    protocol protocol;
    int port;                       /* on 127.0.0.1 */
    unsigned connections;           /* in all; at least threads */
    unsigned depth;                 /* requests per write */
    unsigned threads;               /* of the load generator */
    unsigned set_percent;           /* 0: GET only, 100: SET only */
    uint64_t keys;                  /* key space: 0 .. keys - 1; at most 2^32 */
    bool in_order;                  /* key 0, 1, 2, ... instead of random ones */
    load_distribution distribution; /* of random ones */
    uint64_t requests;              /* stop after so many; 0: only by time */
    double seconds;                 /* stop sending after this time; 0: only by count */
    double patience;                /* seconds without any reply after which the server counts as hung */
    unsigned transaction; /* SETs between MULTI and EXEC, at most 128, with set_percent 100; 0: none */
    uint64_t seed;
} load_plan;

typedef struct load_result {
    uint64_t requests;     /* answered */
    uint64_t misses;       /* GETs of keys that the server did not have */
    double seconds;        /* from the first write to the last reply */
    double p50_us, p99_us; /* of a batch: from its write to its last reply */
} load_result;

int load_run(const load_plan *plan, load_result *ret_result, fault *f);

/* Opens count connections, has one request answered on each, and leaves them open and idle. fds has
 * room for count; load_close_idle closes them. On an error all are closed. */
int load_open_idle(protocol_kind kind, int port, int fds[], unsigned count, fault *f);
void load_close_idle(int fds[], unsigned count);

/* One connected, blocking socket to 127.0.0.1:port, or -1 with errno. */
int load_connect(int port);
#define LOAD_LATER 1 /* it lives, and is still loading */
/* Asks the server on fd for a sign of life (PING, version) and waits for the answer: 0, LOAD_LATER or -1. */
int load_ping(protocol_kind kind, int fd, double patience, fault *f);

/* Seconds on the monotonic clock. */
double load_clock(void);

#endif
