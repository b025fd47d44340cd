/* text.c - SPDX-License-Identifier: MIT */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "exit_status.h"

/* Makes room for len bytes and a NUL, and gives where they go. */
static char *text_room(text *t, size_t len)
{
    if (t->size - t->len <= len) {
        size_t size = t->size ? t->size : 64;

        while (size - t->len <= len) {
            must_have(size > SIZE_MAX / 2 ? NULL : t);
            size *= 2;
        }
        t->data = must_have(realloc(t->data, size));
        t->size = size;
    }
    return t->data + t->len;
}

void text_add(text *t, const void *data, size_t len)
{
    char *to = text_room(t, len);

    if (len)
        memcpy(to, data, len);
    to[len] = 0;
    t->len += len;
}

void text_add_slice(text *t, kvc_slice bytes)
{
    text_add(t, bytes.data, bytes.len);
}

void text_add_str(text *t, const char *str)
{
    text_add(t, str, strlen(str));
}

void text_add_char(text *t, char c)
{
    text_add(t, &c, 1);
}

void text_printf(text *t, const char *format, ...)
{
    va_list arguments;
    int len;

    va_start(arguments, format);
    len = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    must_have(len < 0 ? NULL : t);
    va_start(arguments, format);
    vsnprintf(text_room(t, (size_t)len), (size_t)len + 1, format, arguments);
    va_end(arguments);
    t->len += (size_t)len;
}

static void add_escaped(text *t, unsigned char c)
{
    static const char letters[] = "\\\"\n\r\t\a\b", escapes[] = "\\\"nrtab";
    const char *at = c ? strchr(letters, c) : NULL;

    if (at)
        text_printf(t, "\\%c", escapes[at - letters]);
    else if (c >= 0x20 && c < 0x7f)
        text_add_char(t, (char)c);
    else
        text_printf(t, "\\x%02x", c);
}

void text_quoted(text *t, kvc_slice bytes)
{
    text_add_char(t, '"');
    for (size_t i = 0; i < bytes.len; i++)
        add_escaped(t, (unsigned char)bytes.data[i]);
    text_add_char(t, '"');
}

void text_quoted_utf8(text *t, kvc_slice bytes)
{
    text_add_char(t, '"');
    for (size_t i = 0, len; i < bytes.len; i += len) {
        len = utf8_len(kvc_bytes(bytes.data + i, bytes.len - i));
        /* U+0080 to U+009F are control characters to a terminal. */
        if (len > 2 || (len == 2 && ((unsigned char)bytes.data[i] != 0xc2 || bytes.data[i + 1] & 0x20)))
            text_add(t, bytes.data + i, len);
        else {
            add_escaped(t, (unsigned char)bytes.data[i]);
            len = 1;
        }
    }
    text_add_char(t, '"');
}

void text_clear(text *t)
{
    t->len = 0;
    if (t->data)
        t->data[0] = 0;
}

void text_done(text *t)
{
    free(t->data);
    *t = (text){ 0 };
}

kvc_slice text_slice(const text *t)
{
    return kvc_bytes(text_str(t), t->len);
}

const char *text_str(const text *t)
{
    return t->data ? t->data : "";
}

size_t utf8_len(kvc_slice s)
{
    const unsigned char *b = (const unsigned char *)s.data;
    uint32_t point;
    size_t len;

    if (!s.len || b[0] < 0x80)
        return s.len ? 1 : 0;
    len = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
    if (b[0] < 0xc2 || b[0] > 0xf4 || s.len < len)
        return 0;
    point = b[0] & (0xff >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((b[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (b[i] & 0x3f);
    }
    /* Overlong forms, surrogates, and what is beyond Unicode. */
    if ((len == 3 && point < 0x800) || (len == 4 && point < 0x10000) || (point >= 0xd800 && point < 0xe000) ||
        point > 0x10ffff)
        return 0;
    return len;
}

bool slice_is_word(kvc_slice s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.data, word, s.len) == 0;
}
