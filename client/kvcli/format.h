/* format.h - replies as people and scripts read them.
 *
 *     format f = { .kind = FORMAT_RAW, .element_delimiter = "\n", .reply_delimiter = "\n" };
 *     text out = { 0 };
 *     format_reply(&f, reply, &out);
 *     fwrite(out.data, 1, out.len, stdout);
 *
 * Byte for byte what redis-cli writes, but where that is not JSON (errors; numbers that JSON has not; bytes that are not UTF-8),
 * and for big numbers and attributes, which it does not know.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_FORMAT_H
#define KVCLI_FORMAT_H

#include "text.h"

typedef enum format_kind {
    FORMAT_TERMINAL, /* types shown, strings quoted, arrays numbered */
    FORMAT_RAW,      /* the bytes, and delimiters */
    FORMAT_CSV,
    FORMAT_JSON,
    FORMAT_JSON_ASCII, /* JSON with \u escapes for what is not ASCII */
} format_kind;

typedef struct format {
    format_kind kind;
    bool verbatim; /* but for JSON: text for people, as INFO's, goes out as it is */
    bool utf8;     /* of FORMAT_TERMINAL: strings that are UTF-8 are shown so */
    bool colors;   /* of FORMAT_TERMINAL */
    const char *element_delimiter, *reply_delimiter; /* of FORMAT_RAW */
} format;

/* Adds the reply and what ends it. */
void format_reply(const format *f, const kvc_reply *reply, text *out);
/* As on a terminal, every line but the first indented, without an end. */
void format_indented(const format *f, const kvc_reply *reply, int indent, text *out);
/* Whether people read the reply to this command as text: INFO, CLIENT LIST, ... */
bool format_is_verbatim(size_t argc, const kvc_slice *argv);

#endif
