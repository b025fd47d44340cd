/* object.h - how a value is stored, in Redis's words: for others than OBJECT ENCODING.
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_OBJECT_H
#define KV_COMMANDS_OBJECT_H

#include "call.h"

/* "int", "embstr", "raw". */
kv_slice kv_object_encoding(const entry *e);
/* INT_MAX of the integers that Redis shares, else 1. */
int64_t kv_object_references(const entry *e);

#endif
