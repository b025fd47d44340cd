/* port_reply.h - replies of the read port: RESP2 into a buffer that grows up to a limit.
 *
 *     port_reply_begin(&out, max);
 *     ... a command replies to &out.reply ...
 *     port_reply_end(&out);          // the reply, or an error in its place: it became too large, or memory was out
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_PORT_REPLY_H
#define KV_MODULE_PORT_REPLY_H

#include "command.h"

typedef struct port_reply {
    kv_reply reply; /* first: the sink's functions get the rest from there */
    char *bytes;
    size_t len, size;
    size_t begin, max; /* of the reply that is under way */
    enum { PORT_REPLY_FITS, PORT_REPLY_TOO_LARGE, PORT_REPLY_NO_MEMORY } trouble;
} port_reply;

void port_reply_init(port_reply *out);
void port_reply_begin(port_reply *out, size_t max);
void port_reply_end(port_reply *out);
/* A whole error reply. */
void port_reply_error(port_reply *out, const char *text);
/* Forgets the first n bytes: they were sent. */
void port_reply_sent(port_reply *out, size_t n);
void port_reply_done(port_reply *out);

#endif
