/* gather.h - requests of many clients that came in one turn, to be run together.
 *
 *     gather_add(c, data, len)   the event: one short request, read and parsed, waits for the end of the pass
 *     gather_run(w)              the end of the pass: all of them run, then their replies are sent
 *
 * A request waits for what else the loop found ready with it, never for anything to come.
 *
 * Threads    The worker's own.
 * Ownership  data stays in the worker's input: its first `used` bytes are taken while anything is gathered.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_GATHER_H
#define KV_STANDALONE_GATHER_H

#include "batch.h"
#include "resp.h"

#define GATHER_MAX     32
#define GATHER_BYTES   512 /* of one request */
#define GATHER_REPLIES (16 * 1024)

struct connection;
struct worker;

typedef struct gathered {
    struct connection *of;
    char *data; /* len bytes, the whole request, with the slack behind it */
    size_t len;
    request request;
    kv_slice argv[RESP_SMALL_ARGS];
} gathered;

typedef struct gathered_reply {
    struct connection *to;
    size_t len;
} gathered_reply;

/* All zero is empty. */
typedef struct gathering {
    int count, reply_count;
    size_t used;        /* bytes of the worker's input */
    size_t reply_bytes; /* of replies */
    gathered those[GATHER_MAX];
    uint64_t hashes[GATHER_MAX]; /* of their keys */
    gathered_reply to[GATHER_MAX];
    char replies[GATHER_REPLIES]; /* one behind the other, in the order of to */
} gathering;

/* Takes what was read of c to the first free byte of the worker's input. False: it is not one short request for a key, or
 * something is special about c; then it is to be run at once. */
bool gather_add(struct connection *c, char *data, size_t len) KV_EXCLUDES(kv_shard_held);

/* Runs what was gathered and sends the replies. */
void gather_run(struct worker *w) KV_EXCLUDES(kv_shard_held);

#endif
