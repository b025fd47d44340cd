/* decimal.h - 64-bit integers as the text that stands in a value.
 *
 * Strict: an optional '-', no '+', no leading zeros, no spaces, in range; so each integer has one text, and
 * a value is an integer exactly if formatting it gives the same bytes.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STORE_DECIMAL_H
#define KV_STORE_DECIMAL_H

#include "kvstore/kvstore.h"

#define DECIMAL_MAX 20 /* the longest text, "-9223372036854775808", without a NUL */

/* False when text is no integer in that form; *ret_value is then untouched. */
bool decimal_parse(kv_slice text, int64_t *ret_value);
/* Writes value into buffer, without a NUL, and returns the bytes written. */
kv_slice decimal_format(char buffer[DECIMAL_MAX], int64_t value);

#endif
