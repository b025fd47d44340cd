/* batch.h - the requests that were parsed from one read, before any of them runs.
 *
 * Having them all at once is what lets their cache misses overlap: the rows are found and the first keys
 * hashed while parsing, then all buckets are prefetched, then all entries, then they run in order.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_BATCH_H
#define KV_STANDALONE_BATCH_H

#include "command.h"
#include "renames.h"
#include "resp.h"

#define BATCH_REQUESTS 64
#define BATCH_OPENINGS 4
#define BATCH_SLICES   (BATCH_REQUESTS * 4 + RESP_SMALL_ARGS)

typedef struct request {
    const kv_command *row; /* NULL: no such command */
    const kv_slice *argv;
    int argc;
    bool hashed; /* hash is that of the first key */
    bool direct; /* the row has a function and the number of arguments fits it */
    uint64_t hash;
    size_t end; /* bytes of the input up to and with this request */
} request;

typedef enum batch_end {
    BATCH_FULL,  /* there may be more requests in the input */
    BATCH_MORE,  /* the rest of the input is no whole request */
    BATCH_ERROR, /* a protocol error comes after the requests */
    BATCH_NOMEM,
} batch_end;

/* How the last request began: "*2 CRLF $3 CRLF GET CRLF". The next one is likely to begin alike, and is then
 * known without being parsed so far. */
typedef struct batch_opening {
    uint64_t first, last; /* its first and last 8 bytes, which overlap */
    size_t len;           /* 8..16; SIZE_MAX: nothing is known */
    const kv_command *row;
    int argc, key; /* key: where the first one stands, or 0 */
    bool direct;
} batch_opening;

typedef struct batch {
    request requests[BATCH_REQUESTS];
    int count;
    size_t used;                            /* bytes of the input that are done with when the requests are */
    batch_opening openings[BATCH_OPENINGS]; /* of the last few kinds of requests */
    unsigned opening;                       /* which of them the last request had */
    const bool *direct;                     /* by row id: see dispatch_is_direct */
    const kv_renames *renames;
    kv_slice slices[BATCH_SLICES];
} batch;

/* Before first use. renames: the names by which commands are called, NULL: their own. Both must outlive the batch. */
void batch_init(batch *b, const bool direct[KV_COMMAND_COUNT], const kv_renames *renames);

/* Parses whole requests from data until the batch is full or the input ends. The requests point into
 * data, into the batch and into parser, until the next call. domain: of the hash. */
batch_end batch_parse(batch *b, resp_parser *parser, const resp_limits *limits, const kv_domain *domain,
                      char *data, size_t len);

/* Parses data that is one request by itself, and a short one: r points into it and into argv. False: it is not, or it takes more
 * than that to say; use batch_parse. */
bool batch_parse_alone(batch *b, const kv_domain *domain, request *r, kv_slice argv[RESP_SMALL_ARGS],
                       char *data, size_t len);

#endif
