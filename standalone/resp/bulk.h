/* bulk.h - writing RESP into memory whose size was computed before: for messages that many connections share.
 *
 *     char *p = ... bulk_size(name) + bulk_size(text) bytes ...;
 *     p = bulk_put(bulk_put(p, name), text);
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_BULK_H
#define KV_STANDALONE_BULK_H

#include <string.h>

#include "decimal.h"

/* Bytes that bulk_put writes. */
static inline size_t bulk_size(kv_slice text)
{
    char digits[DECIMAL_MAX];

    return decimal_format(digits, (int64_t)text.len).len + text.len + 5;
}

/* "<type><number> CRLF" at p; returns the end. */
static inline char *bulk_put_number(char *p, char type, size_t number)
{
    *p++ = type;
    p += decimal_format(p, (int64_t)number).len;
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

/* "$<len> CRLF <text> CRLF" at p; returns the end. */
static inline char *bulk_put(char *p, kv_slice text)
{
    p = bulk_put_number(p, '$', text.len);
    if (text.len)
        memcpy(p, text.data, text.len);
    p += text.len;
    *p++ = '\r';
    *p++ = '\n';
    return p;
}

#endif
