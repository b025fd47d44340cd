/* resp_reply.h - the reply sink that writes RESP2 or RESP3 into an output.
 *
 *     resp_reply reply;
 *     resp_reply_init(&reply, out, 2);
 *     command->run(&call);                    // call.reply = &reply.base
 *
 * The one place where errors and simple strings become bytes: CR and LF in them turn to blanks and they are
 * cut at a length, so that no text can smuggle a second reply into the stream.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_RESP_REPLY_H
#define KV_STANDALONE_RESP_REPLY_H

#include "call.h"
#include "output.h"

/* Values from this length on are sent by reference. */
#define RESP_REPLY_REFERENCE_MIN 8192

typedef struct resp_reply {
    kv_reply base; /* first, so that a kv_reply * is one of these */
    output *out;
    /* Called with the text of each error; may be NULL. */
    void (*on_error)(void *arg, kv_slice text);
    void *arg;
} resp_reply;

void resp_reply_init(resp_reply *reply, output *out, int protocol);
/* HELLO changes the protocol of a connection. */
void resp_reply_set_protocol(resp_reply *reply, int protocol);

/* What no command but DEBUG PROTOCOL replies, of a reply that is a resp_reply: a big number, a bulk in RESP2; and an attribute
 * of so many pairs, which follow. False: RESP2 has none, and nothing may follow. */
void resp_reply_bignum(kv_reply *reply, kv_slice digits);
bool resp_reply_attribute(kv_reply *reply, size_t pairs);

#endif
