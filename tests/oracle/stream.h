/* stream.h - a random stream of commands, the same for the same seed.
 *
 *     stream *s = stream_new(42, 1000);
 *     for (size_t i = 0; i < s->count; i++)
 *         ... s->steps[i].argv ...
 *     stream_free(s);
 *
 * Few keys and few values, so that commands meet; every option of every data command of Redis 7.0; about one
 * command in ten is malformed. Deadlines are years away or long past, never near, so that two servers that
 * run the stream at different speeds must answer the same.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_STREAM_H
#define TESTS_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kvstore/kvstore.h"

enum { stream_clients = 4 }; /* the odd ones speak RESP3 */

/* How two servers' replies to a step are compared. */
typedef enum comparison {
    COMPARE_BYTES,
    COMPARE_TIME,   /* integers that may differ by step.tolerance */
    COMPARE_SET,    /* elements in any order */
    COMPARE_DEEP,   /* elements of elements in any order */
    COMPARE_KEYS,   /* DBSIZE: the same unless expired keys may still be counted */
    COMPARE_RANDOM, /* RANDOMKEY: both null, or both keys that exist */
    COMPARE_SCAN,   /* SCAN: the whole iteration is compared, as a set */
    COMPARE_TYPE,   /* only the type of reply */
    COMPARE_DUMP,   /* payloads: how well a long value is packed is each server's own business */
} comparison;

/* What becomes of a payload of DUMP before RESTORE is given it. Redis must take it for damaged in all cases but the first. */
typedef enum payload_change {
    PAYLOAD_AS_IT_IS,
    PAYLOAD_FLIP,    /* one bit */
    PAYLOAD_CUT,     /* of its end */
    PAYLOAD_GROW,    /* a byte more */
    PAYLOAD_SHORTER, /* a part of the value lacks, and the checksum is right */
    PAYLOAD_NEWER,   /* of a version that does not exist, and the checksum is right */
    PAYLOAD_CHANGES,
} payload_change;

enum { stream_payloads = 8 }; /* of DUMP's replies so many are remembered */

typedef struct step {
    int client;          /* 0 .. stream_clients - 1 */
    bool pipelined;      /* sent together with the step before, when that has the same client */
    bool leaves_expired; /* may store a key that has expired already */
    bool clears;         /* FLUSHALL */
    comparison how;
    long long tolerance;
    int payload;  /* the argument that becomes one of those; 0: none */
    size_t which; /* and which of them */
    payload_change change;
    size_t where;
    size_t argc;
    kv_slice *argv; /* owned, like what they point to */
} step;

typedef struct stream {
    size_t count;
    step *steps;
} stream;

/* Aborts when memory is out: this is a test. */
stream *stream_new(uint64_t seed, size_t count);
void stream_free(stream *s);

#endif
