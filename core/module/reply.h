/* reply.h - the sink that hands a command's reply to the server.
 *
 *     module_reply reply;
 *     module_reply_init(&reply, ctx, false);
 *     kv_reply_int(&reply.reply, 1);
 *
 * Threads    Those of ctx. SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_REPLY_H
#define KV_MODULE_REPLY_H

#include "module.h"

typedef struct module_reply {
    kv_reply reply; /* first: the sink's functions get the rest from there */
    rm_ctx *ctx;
} module_reply;

/* fast: the reply has one shape in both protocols, so that the server need not be asked which it is. */
void module_reply_init(module_reply *reply, rm_ctx *ctx, bool fast);

#endif
