/* allocator.h - the engine's memory from the server's allocator, so that used_memory and maxmemory see it.
 *
 * Threads    Any. SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_ALLOCATOR_H
#define KV_MODULE_ALLOCATOR_H

#include "kvstore/kvstore.h"

extern const kv_allocator module_allocator;

#endif
