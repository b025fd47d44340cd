/* batch.h - the requests that were parsed from one read, before any of them runs.
 *
 * Having them all at once is what lets their cache misses overlap: the rows are found and the first keys
 * hashed while parsing, then all buckets are prefetched, then all entries, then they run in order.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_BATCH_H
#define KV_STANDALONE_BATCH_H

#include "command.h"
#include "resp.h"

#define BATCH_REQUESTS 64
#define BATCH_SLICES   (BATCH_REQUESTS * 4 + RESP_SMALL_ARGS)

typedef struct request {
    const kv_command *row; /* NULL: no such command */
    const kv_slice *argv;
    int argc;
    bool hashed; /* hash is that of the first key */
    uint64_t hash;
    size_t end; /* bytes of the input up to and with this request */
} request;

typedef enum batch_end {
    BATCH_FULL,  /* there may be more requests in the input */
    BATCH_MORE,  /* the rest of the input is no whole request */
    BATCH_ERROR, /* a protocol error comes after the requests */
    BATCH_NOMEM,
} batch_end;

typedef struct batch {
    request requests[BATCH_REQUESTS];
    int count;
    size_t used; /* bytes of the input that are done with when the requests are */
    kv_slice slices[BATCH_SLICES];
} batch;

/* Parses whole requests from data until the batch is full or the input ends. The requests point into
 * data, into the batch and into parser, until the next call. domain: of the hash. */
batch_end batch_parse(batch *b, resp_parser *parser, const resp_limits *limits, const kv_domain *domain,
                      char *data, size_t len);

#endif
