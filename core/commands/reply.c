/* reply.c - replies that are more than one call of the sink. SPDX-License-Identifier: MIT */
#include "call.h"

#include <stdarg.h>
#include <stdio.h>

#define ERROR_TEXT_MAX 512

void kv_reply_help(kv_reply *r, const char *const lines[], size_t n)
{
    kv_reply_array(r, n);
    for (size_t i = 0; i < n; i++)
        r->ops->simple(r, kv_str(lines[i]));
}

void kv_reply_error(kv_reply *r, int error)
{
    r->ops->error(r, kv_str(kv_error_text(error)));
}

void kv_reply_errorf(kv_reply *r, const char *format, ...)
{
    char text[ERROR_TEXT_MAX];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (len < 0)
        len = 0;
    if (len >= ERROR_TEXT_MAX)
        len = ERROR_TEXT_MAX - 1;
    while (len > 0 && (text[len - 1] == '\r' || text[len - 1] == '\n'))
        len--; /* a word of the client's at the end: as Redis does */
    r->ops->error(r, kv_slice_of(text, (size_t)len));
}
