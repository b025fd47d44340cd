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

/* A match that takes more steps than these (tens of milliseconds: a pattern and a text of 10,000 bytes and more, made for it) is none. */
#define PATTERN_STEPS_MAX (16 * 1024 * 1024)

/* Whether the whole of text matches. Iterative: no memory, at most pattern.len * text.len steps, and PATTERN_STEPS_MAX. Adds
 * the steps that it took, at least one, to *steps: for who matches much and must not take long. */
bool pattern_match_counting(kv_slice pattern, kv_slice text, bool ignore_case, uint64_t *steps);

static inline bool pattern_match(kv_slice pattern, kv_slice text, bool ignore_case)
{
    uint64_t steps = 0;

    return pattern_match_counting(pattern, text, ignore_case, &steps);
}

#endif
