/* whole.h - commands on all fields of a key: KV.ALL, KV.KEYS, KV.VALUES, KV.COUNT, KV.LEN, KV.INFO; and the canonical
 * records KV.PUT and KV.REM.
 *
 * Threads    The server's main thread; big reads go on in the pool. SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_WHOLE_H
#define KV_MODULE_WHOLE_H

#include "redis_abi.h"

rm_command_fn whole_all, whole_keys, whole_values, whole_count, whole_len, whole_info;
rm_command_fn record_put, record_remove;

#endif
