/* batch.c - see batch.h. SPDX-License-Identifier: MIT */
#include "batch.h"

/* Finds the row and hashes the first key. */
static inline void prepare(request *r, const kv_domain *domain, const kv_slice *argv, int argc, size_t end)
{
    const kv_command *row = kv_command_find(argv[0]);

    r->row = row;
    r->argv = argv;
    r->argc = argc;
    r->end = end;
    r->hashed = row && row->keys.first > 0 && row->keys.first < argc;
    if (r->hashed)
        r->hash = domain_hash(domain, argv[row->keys.first]);
}

/* One request by the state machine. Its argv stays in the parser, so no other request may follow. */
static batch_end parse_any(batch *b, resp_parser *parser, const resp_limits *limits, const kv_domain *domain,
                           char *data, size_t len)
{
    size_t used;
    resp_status status = resp_parse(parser, limits, data + b->used, len - b->used, &used);

    b->used += used;
    switch (status) {
    case RESP_REQUEST:
        prepare(&b->requests[b->count++], domain, parser->argv, parser->argc, b->used);
        return BATCH_FULL;
    case RESP_ERROR:
        return BATCH_ERROR;
    case RESP_NOMEM:
        return BATCH_NOMEM;
    default:
        return BATCH_MORE;
    }
}

batch_end batch_parse(batch *b, resp_parser *parser, const resp_limits *limits, const kv_domain *domain,
                      char *data, size_t len)
{
    kv_slice *slices = b->slices, *slices_end = b->slices + BATCH_SLICES - RESP_SMALL_ARGS;
    bool fresh = parser->base == NULL; /* no request is half parsed */

    b->count = 0;
    b->used = 0;
    while (b->count < BATCH_REQUESTS && slices <= slices_end) {
        size_t used;
        int argc = 0;

        if (b->used == len)
            return BATCH_MORE;
        if (fresh)
            argc = resp_parse_small(data + b->used, len - b->used, slices, &used);
        if (argc == 0)
            return parse_any(b, parser, limits, domain, data, len);
        b->used += used;
        prepare(&b->requests[b->count++], domain, slices, argc, b->used);
        slices += argc;
    }
    return BATCH_FULL;
}
