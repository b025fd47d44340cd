/* batch.c - see batch.h.
 *
 * Three ways to parse a request, each for what the one before it leaves: a request that begins with the same
 * bytes as its predecessor (most do: a client's pipeline is GET, GET, GET), or as one of a few kinds before that (MULTI,
 * SET, EXEC), needs no header parsed and no name looked up; a short one that is all there is parsed at once; the state
 * machine takes the rest.
 *
 * Cost of a GET like the one before: about 60 instructions, its hash included.
 *
 * SPDX-License-Identifier: MIT */
#include "batch.h"

void batch_init(batch *b, const bool direct[KV_COMMAND_COUNT], const kv_renames *renames)
{
    b->renames = renames;
    b->direct = direct;
    for (int i = 0; i < BATCH_OPENINGS; i++)
        b->openings[i].len = SIZE_MAX;
    b->opening = 0;
}

static inline void hash_key(request *r, const kv_domain *domain, int key)
{
    r->hashed = key > 0;
    r->hash = key > 0 ? domain_hash(domain, r->argv[key]) : 0;
}

static inline int first_key(const kv_command *row, int argc)
{
    return row && row->keys.first < argc ? row->keys.first : 0;
}

/* Finds the row and hashes the first key. end: of the request. */
static void prepare(const batch *b, request *r, const kv_domain *domain, const kv_slice *argv, int argc,
                    size_t end)
{
    const kv_command *row = b->renames ? kv_renames_find(b->renames, argv[0]) : kv_command_find(argv[0]);

    r->row = row;
    r->argv = argv;
    r->argc = argc;
    r->end = end;
    r->direct = row && b->direct[row->id] && kv_command_arity_ok(row, argc);
    hash_key(r, domain, first_key(row, argc));
}

/* ---- requests that begin like the one before ---- */

/* Remembers how a request that resp_parse_small took began, in place of the oldest that is remembered. */
static void remember(batch *b, const request *r, const char *data)
{
    size_t len = (size_t)(r->argv[0].data - data) + r->argv[0].len + 2;
    batch_opening *o;

    if (len < 8 || len > 16)
        return;
    b->opening = (b->opening + 1) % BATCH_OPENINGS;
    o = &b->openings[b->opening];
    memcpy(&o->first, data, 8);
    memcpy(&o->last, data + len - 8, 8);
    o->len = len;
    o->row = r->row;
    o->argc = r->argc;
    o->key = first_key(r->row, r->argc);
    o->direct = r->direct;
}

/* Whether the len bytes from data on begin like another kind that is remembered: from here on it is that. */
static inline bool recall(batch *b, const char *data, size_t len)
{
    uint64_t first, last;

    for (unsigned i = 1; i < BATCH_OPENINGS; i++) {
        unsigned other = (b->opening + i) % BATCH_OPENINGS;
        const batch_opening *o = &b->openings[other];

        if (o->len > len)
            continue;
        memcpy(&first, data, 8);
        memcpy(&last, data + o->len - 8, 8);
        if (first != o->first || last != o->last)
            continue;
        b->opening = other;
        return true;
    }
    return false;
}

/* Takes the request at `at` when it begins like that and is all there: returns the byte behind it, or NULL. */
static inline char *take_alike(const batch_opening *o, request *r, const kv_domain *domain, char *at,
                               char *end, kv_slice *argv)
{
    uint64_t first, last;
    char *next;

    if ((size_t)(end - at) < o->len)
        return NULL;
    memcpy(&first, at, 8);
    memcpy(&last, at + o->len - 8, 8);
    if (first != o->first || last != o->last)
        return NULL;
    next = resp_parse_small_arguments(at + o->len, end, argv + 1, o->argc - 1);
    if (!next)
        return NULL;
    argv[0] = kv_slice_of(at + 8, o->len - 10); /* behind "*2 CRLF $3 CRLF" */
    r->row = o->row;
    r->argv = argv;
    r->argc = o->argc;
    r->direct = o->direct;
    hash_key(r, domain, o->key);
    return next;
}

/* Takes the requests that begin like the one before, up to one that does not or is not all there. Returns
 * the first slice not used. A loop of its own, so that all it needs stays in registers. */
__attribute__((noinline)) static kv_slice *take_run(batch *b, const kv_domain *domain, char *data, size_t len,
                                                    kv_slice *slices, const kv_slice *slices_end)
{
    const batch_opening o = b->openings[b->opening];
    request *r = b->requests + b->count, *requests_end = b->requests + BATCH_REQUESTS;
    char *at = data + b->used, *next;

    for (; r < requests_end && slices <= slices_end; r++, at = next, slices += o.argc) {
        next = take_alike(&o, r, domain, at, data + len, slices);
        if (!next)
            break;
        r->end = (size_t)(next - data);
    }
    b->count = (int)(r - b->requests);
    b->used = (size_t)(at - data);
    return slices;
}

/* Takes the requests whose kind is remembered. Returns the first slice not used. */
static inline kv_slice *take_known(batch *b, const kv_domain *domain, char *data, size_t len,
                                   kv_slice *slices, const kv_slice *slices_end)
{
    int before;

    slices = take_run(b, domain, data, len, slices, slices_end);
    while (b->used < len && recall(b, data + b->used, len - b->used)) {
        before = b->count;
        slices = take_run(b, domain, data, len, slices, slices_end);
        if (b->count == before) /* it only begins like that, or is not all there */
            break;
    }
    return slices;
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
        prepare(b, &b->requests[b->count++], domain, parser->argv, parser->argc, b->used);
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
    if (fresh) { /* the first by itself: without a pipeline it is the only one */
        const batch_opening *o = &b->openings[b->opening];
        char *next = take_alike(o, b->requests, domain, data, data + len, slices);

        if (next) {
            slices += o->argc;
            b->count = 1;
            b->used = b->requests[0].end = (size_t)(next - data);
        }
    }
    for (;;) {
        size_t used;
        int argc = 0;

        if (b->used == len)
            return BATCH_MORE;
        if (fresh)
            slices = take_known(b, domain, data, len, slices, slices_end);
        if (b->used == len)
            return BATCH_MORE;
        if (b->count == BATCH_REQUESTS || slices > slices_end)
            return BATCH_FULL;
        if (fresh)
            argc = resp_parse_small(data + b->used, len - b->used, slices, &used);
        if (argc == 0)
            return parse_any(b, parser, limits, domain, data, len);
        b->used += used;
        prepare(b, &b->requests[b->count], domain, slices, argc, b->used);
        remember(b, &b->requests[b->count++], data + b->used - used);
        slices += argc;
    }
}

bool batch_parse_alone(batch *b, const kv_domain *domain, request *r, kv_slice argv[RESP_SMALL_ARGS],
                       char *data, size_t len)
{
    char *next = take_alike(&b->openings[b->opening], r, domain, data, data + len, argv);
    size_t used = len;
    int argc;

    if (!next && recall(b, data, len))
        next = take_alike(&b->openings[b->opening], r, domain, data, data + len, argv);
    if (next) {
        r->end = len;
        return next == data + len;
    }
    argc = resp_parse_small(data, len, argv, &used);
    if (argc == 0 || used != len)
        return false;
    prepare(b, r, domain, argv, argc, len);
    remember(b, r, data);
    return true;
}
