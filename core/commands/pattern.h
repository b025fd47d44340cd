/* pattern.h - the patterns of KEYS, SCAN MATCH and COMMAND LIST.
 *
 *     *        any bytes, also none
 *     ?        any one byte
 *     [a-z_]   one of these bytes; [^a-z]: none of these; '-' between two bytes is a range, in either order
 *     \x       x itself, also inside brackets
 *
 * A bracket that is not closed ends with the pattern; a '\' at the very end stands for itself.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_PATTERN_H
#define KV_COMMANDS_PATTERN_H

#include "kvstore/kvstore.h"

#define PATTERN_MAX       (1024 * 1024) /* longer patterns are for the caller to refuse */
#define PATTERN_STARS_MAX 1000          /* a pattern that needs more of them to match does not */

/* Whether the whole of text matches. Iterative: no memory, at most pattern.len * text.len steps. */
bool pattern_match(kv_slice pattern, kv_slice text, bool ignore_case);

#endif
