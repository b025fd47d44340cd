/* hostile.h - clients that misbehave: many that idle, send without reading, never end a request, come and go.
 *
 *     hostile h;
 *     hostile_init(&h, &plan, port, 1.0, fault);
 *     while (...) hostile_push(&h);         // never waits for more than a millisecond
 *     hostile_done(&h);
 *
 * A client sends its opening once, then its body as often as the plan says, as fast as the server takes it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_HOSTILE_H
#define KVBENCH_HOSTILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "fault.h"

typedef struct hostile_plan {
    unsigned connections;
    const char *opening;   /* NULL: none */
    size_t opening_filler; /* bytes of a value that follow the opening */
    const char *body;      /* NULL: none */
    size_t body_filler;    /* bytes of a value that follow it, with CRLF */
    uint64_t repeat;       /* of the body */
    bool reads;            /* what is answered */
    bool returns;          /* after the first answer it hangs up, and connects again */
} hostile_plan;

typedef struct hostile_client hostile_client;

typedef struct hostile {
    const hostile_plan *plan;
    int port;
    hostile_client *clients;
    unsigned count;  /* of clients, some of whom may not be connected */
    uint64_t closed; /* by the server, or refused */
    char *opening, *body;
    size_t opening_len, body_len; /* of some repetitions of the body */
    uint64_t body_bytes;          /* that a client sends in all */
} hostile;

/* share: of the plan's connections, for a small machine or a quick test. */
int hostile_init(hostile *h, const hostile_plan *plan, int port, double share, fault *f);
/* Each client connects, sends and reads a bit. */
void hostile_push(hostile *h);
void hostile_done(hostile *h);

#endif
