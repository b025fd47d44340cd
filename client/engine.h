/* engine.h - how the in-process client reaches the engine: through these functions of kvstore.h, and not by linking it.
 *
 * libkvclient knows the types of kvstore.h and none of its functions, so that a program that only talks to servers needs no
 * engine. libkvclient_store, which is one function (store/open_store.c), brings the two together. A program that has the engine
 * in it as a static library links the static libkvclient_store, and there is one engine, not two.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_ENGINE_H
#define KVC_ENGINE_H

#include "kvclient.h"
#include "kvstore/kvstore.h"

typedef struct kvc_engine {
    int (*exec)(kv_store *store, int argc, const kv_slice argv[], kv_value **ret_reply, int64_t now_ms);
    int (*exec_many)(kv_store *store, const kv_transaction *transaction, kv_value **ret_reply,
                     size_t *ret_refused, int64_t now_ms);
    void (*value_free)(kv_value *value);
    int (*copy)(kv_store *store, kv_slice key, void *buffer, size_t size, kv_meta *ret_meta, int64_t now_ms);
    kv_store *(*ref)(kv_store *store);
    void (*unref)(kv_store *store);
    const char *(*error_text)(int error);
} kvc_engine;

/* engine is borrowed for the client's life. Visible for libkvclient_store alone; not part of the API. */
KVC_API kvc_status kvc_open_engine(const kvc_engine *engine, kv_store *store, kvc_client **ret_client,
                                   kvc_error *error);

#endif
