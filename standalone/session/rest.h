/* rest.h - commands that take long are run in parts, between which the worker serves others.
 *
 * A command of core that has too much to do at once hands what is left of it to call->put_off, and has not replied yet. Its
 * connection is UNFINISHED then: it goes on in the worker's next turns, and none of its other requests run meanwhile.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_REST_H
#define KV_STANDALONE_REST_H

#include "connection.h"

/* kv_call.put_off: keeps rest, with a copy of the arguments, for call->host. */
bool rest_put_off(kv_call *call, kv_rest *rest);
/* Runs the next part of c's; the worker's call is set up for c. */
void rest_go_on(connection *c) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);
/* Forgets it. Takes a connection without one. */
void rest_end(connection *c);
/* What it takes. */
size_t rest_memory(const connection *c);

#endif
