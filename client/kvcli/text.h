/* text.h - bytes that grow while something is written into them.
 *
 *     text line = { 0 };
 *     text_printf(&line, "%zu) ", i);
 *     text_quoted(&line, key);
 *     fwrite(line.data, 1, line.len, stdout);
 *     text_done(&line);
 *
 * Memory that runs out ends the process (must_have): nothing here fails. data is followed by a NUL that len does not
 * count, once anything was added.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_TEXT_H
#define KVCLI_TEXT_H

#include "kvclient.h"

typedef struct text {
    char *data;
    size_t len, size;
} text;

void text_add(text *t, const void *data, size_t len);
void text_add_slice(text *t, kvc_slice bytes);
void text_add_str(text *t, const char *str);
void text_add_char(text *t, char c);
void text_printf(text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* In double quotes, as the tokeniser of words.h reads it back: what is not printable ASCII becomes \n, \t, \xHH ... */
void text_quoted(text *t, kvc_slice bytes);
/* The same, but valid UTF-8 stays as it is. */
void text_quoted_utf8(text *t, kvc_slice bytes);
void text_clear(text *t);
void text_done(text *t);
kvc_slice text_slice(const text *t);
/* The text as a C string: "" when nothing was added. */
const char *text_str(const text *t);

/* The bytes of the valid UTF-8 sequence that s begins with, 1 to 4; 0: it begins with none. */
size_t utf8_len(kvc_slice s);

/* Equal, whatever the case of ASCII letters. */
bool slice_is_word(kvc_slice s, const char *word);

#endif
