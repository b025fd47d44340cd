/* open_store.c - kvc_open_store: a client of a store in this process.
 *
 * A library of its own, libkvclient_store, so that libkvclient links no engine. All it does is to name the engine's functions;
 * what is made of them stands in store_client.c.
 *
 * SPDX-License-Identifier: MIT */
#include "engine.h"

static const kvc_engine engine = {
    .exec = kv_exec,
    .exec_many = kv_exec_many,
    .value_free = kv_value_free,
    .copy = kv_store_copy,
    .ref = kv_store_ref,
    .unref = kv_store_unref,
    .error_text = kv_error_text,
};

kvc_status kvc_open_store(kv_store *store, kvc_client **ret_client, kvc_error *error)
{
    return kvc_open_engine(&engine, store, ret_client, error);
}
