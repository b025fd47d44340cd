/* module.h - the module's state: the one there is, since its callbacks are given none.
 *
 * Threads    The server's main thread writes stores, packs and everything here, unless said. Other threads only read: the
 *            pool the stores it was given (pool.h), the server's lazy-free thread frees keys (keyed.h). A forked child
 *            reads packs and stores and takes no lock.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_MODULE_H
#define KV_MODULE_MODULE_H

#include "command.h"
#include "effects.h"
#include "redis_abi.h"

#define MODULE_NAME      "kv"
#define MODULE_TYPE_NAME "kvstore-1" /* nine characters, for ever: they stand in every RDB file */
#define MODULE_ENCODING  1           /* of what rdb_save writes */

typedef struct module_state {
    rm_type *type;
    kv_domain *domain; /* of all stores: memory from the server's allocator */
    kv_store *scratch; /* where commands on packs run; empty in between */
    uint64_t version;  /* its versions are at least as new */
    effects effects;   /* what the command that runs has changed */
    kv_counters counters;
    uint64_t rng;

    /* The settings: written by the main thread, read by any. */
    _Atomic long long offload_min_fields; /* kv.offload-min-fields */
    _Atomic long long offload_threads;    /* kv.offload-threads */
    _Atomic long long reply_max_fields;   /* kv.reply-max-fields */
    _Atomic long long port;               /* kv.port; 0: closed */
    _Atomic long long port_max_clients, port_max_handles, port_max_request, port_max_reply;

    _Atomic uint64_t keys, stores; /* keys of our type, those of them that are stores */
    uint64_t expired_fields, offloaded;
    _Atomic uint64_t
        ended;         /* stores that their keys have let go of: who held one meanwhile may have freed it */
    _Atomic bool tidy; /* much was freed: the main thread gives back what it keeps for its next blocks */
} module_state;

extern module_state module;

/* The milliseconds of the clock that the server uses. */
static inline int64_t module_now_ms(void)
{
    return (int64_t)rm.Milliseconds();
}

#endif
