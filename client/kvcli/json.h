/* json.h - replies as JSON (RFC 8259), valid whatever the reply holds.
 *
 *     null, true, 1, 1.5, "text"    as they are; numbers that JSON does not have (inf, nan) as strings
 *     [ ... ]                       arrays, sets, pushes
 *     { ... }                       maps; a key that is no text is the string that the key alone would be
 *     {"error": "ERR ..."}          an error
 *     {"base64": "AP8="}            a string that is not UTF-8 (of a map's key: "base64:AP8=")
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_JSON_H
#define KVCLI_JSON_H

#include "text.h"

/* ascii: with \u escapes instead of what is not ASCII. */
void json_reply(const kvc_reply *reply, bool ascii, text *out);
/* Of bytes that may be anything. */
void json_string(kvc_slice bytes, bool ascii, text *out);

#endif
