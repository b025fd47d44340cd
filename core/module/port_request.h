/* port_request.h - what a client of the read port asks: RESP arrays of bulk strings.
 *
 *     switch (request_parse(in, max, &request, &used, &why)) {
 *     case REQUEST_WHOLE: ... request.argv[0 .. request.argc - 1] point into in; used bytes of it are done
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_PORT_REQUEST_H
#define KV_MODULE_PORT_REQUEST_H

#include "kvstore/kvstore.h"

typedef struct port_request {
    kv_slice *argv; /* room for size, kept from one request to the next */
    size_t size;
    int argc;
} port_request;

typedef enum request_state { REQUEST_PARTIAL, REQUEST_WHOLE, REQUEST_WRONG } request_state;

/* The request that in begins with; an empty one has argc 0. max: bytes that it may have at most. REQUEST_WRONG: *ret_why
 * says why, as an error reply does; nothing that follows can be understood. */
request_state request_parse(kv_slice in, size_t max, port_request *request, size_t *ret_used,
                            const char **ret_why);
void request_done(port_request *request);

#endif
