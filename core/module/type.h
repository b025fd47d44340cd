/* type.h - the data type: how the server saves, loads, copies, measures and frees the keys of it.
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_TYPE_H
#define KV_MODULE_TYPE_H

#include "redis_abi.h"

/* Creates it; NULL: the server refuses. In RedisModule_OnLoad. */
rm_type *type_create(rm_ctx *ctx);

#endif
