/* pool.h - the connections to one server: taken, used by one thread at a time, given back.
 *
 *     kvc_pool *pool = kvc_pool_new(options, tls);
 *     kvc_pool_take(pool, wait_ms, &connection, &error);
 *     ...
 *     kvc_release(connection);          // kvclient.h
 *     kvc_pool_call(pool, &(kvc_request){ .argc = argc, .argv = argv }, &reply, &error);   // all of it, with retries
 *     kvc_pool_free(pool);
 *
 * Threads    Any; no lock is held while one waits for the network. Who waits for a connection gets it in the order of coming.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_POOL_H
#define KVC_POOL_H

#include "connection.h"

typedef struct kvc_pool kvc_pool;

typedef struct kvc_request {
    size_t argc;
    const kvc_slice *argv;
    bool asking; /* ASKING goes before it, on the same connection */
} kvc_request;

/* options and tls (or NULL) are borrowed for the pool's life. NULL: out of memory. Connects when first asked. */
kvc_pool *kvc_pool_new(const kvc_options *options, kvc_tls *tls);
/* Every connection must have been given back. */
void kvc_pool_free(kvc_pool *pool);
/* This process is a child of the one that made the pool. */
bool kvc_pool_inherited(const kvc_pool *pool);
const kvc_options *kvc_pool_options(const kvc_pool *pool);

/* A connection in the state that the handshake left. wait_ms 0: as options say. kvc_release gives it back. */
kvc_status kvc_pool_take(kvc_pool *pool, uint32_t wait_ms, kvc_connection **ret_connection, kvc_error *error);

/* One command; an error reply is a reply. Repeated as options.retry allows. */
kvc_status kvc_pool_call(kvc_pool *pool, const kvc_request *request, kvc_reply **ret_reply, kvc_error *error);

/* Whether what failed in this way may be done again, and there is reason to hope: options.retry, the attempts so far. */
bool kvc_pool_may_repeat(const kvc_pool *pool, const kvc_error *failure, bool readonly, uint32_t attempts);

/* MULTI was seen to work here, so that a transaction may be sent in one go (pipeline.c). */
bool kvc_pool_knows_multi(const kvc_pool *pool);
void kvc_pool_learn_multi(kvc_pool *pool);

#endif
