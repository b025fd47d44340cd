/* parts.h - commands that are about so many arguments that they are gone through in parts, between which the host
 * serves others.
 *
 *     static void begin(kv_call *call) { kv_reply_array(call->reply, call->argc - 2); }
 *     static void each(kv_call *call, int i) { kv_reply_bulk(call->reply, call->argv[i]); }
 *     ...
 *     kv_each_argument(call, 2, 4096, begin, each);
 *
 * For what needs no atomicity: between two parts, others change what the next one sees.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_PARTS_H
#define KV_COMMANDS_PARTS_H

#include "call.h"

/* What is done before the first argument (NULL: nothing), and with argument i. */
typedef void kv_begin_fn(kv_call *call);
typedef void kv_argument_fn(kv_call *call, int i);

/* Calls begin, then each for the arguments from first on: at_once of them, then the host's others have their turn. A host that puts
 * nothing off, or has no memory for it, has it all done at once. */
void kv_each_argument(kv_call *call, int first, int at_once, kv_begin_fn *begin, kv_argument_fn *each)
    KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

#endif
