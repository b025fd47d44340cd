/* csv.c - SPDX-License-Identifier: MIT */
#include "csv.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "exit_status.h"

/* ---- records ---- */

static bool end_field(csv_record *record)
{
    if (record->n == CSV_FIELDS_MAX)
        return false;
    if (record->n == record->capacity) {
        record->capacity = record->capacity ? record->capacity * 2 : 16;
        record->ends = must_have(realloc(record->ends, record->capacity * sizeof *record->ends));
    }
    record->ends[record->n++] = record->bytes.len;
    return true;
}

/* After the opening quote. Where the field ends, behind its closing quote; NULL: not in these bytes. */
static const char *read_quoted(csv_record *record, const char *at, const char *end)
{
    for (;;) {
        const char *quote = at < end ? memchr(at, '"', (size_t)(end - at)) : NULL;

        if (!quote)
            return NULL;
        text_add(&record->bytes, at, (size_t)(quote - at));
        if (quote + 1 == end || quote[1] != '"')
            return quote + 1;
        text_add_char(&record->bytes, '"');
        at = quote + 2;
    }
}

static const char *read_plain(csv_record *record, const char *at, const char *end)
{
    const char *stop = at;

    while (stop < end && *stop != ',' && *stop != '\n')
        stop++;
    text_add(&record->bytes, at,
             (size_t)(stop - at) - (stop < end && *stop == '\n' && stop > at && stop[-1] == '\r'));
    return stop;
}

size_t csv_read(csv_record *record, kvc_slice bytes, bool at_end, const char **ret_wrong)
{
    const char *at = bytes.data, *end = bytes.data + bytes.len;

    *ret_wrong = NULL;
    record->n = 0;
    text_clear(&record->bytes);
    if (!bytes.len)
        return 0;
    for (;;) {
        bool quoted = at < end && *at == '"';

        at = quoted ? read_quoted(record, at + 1, end) : read_plain(record, at, end);
        if (quoted && at && at < end && *at == '\r')
            at++;
        if (!at || (at == end && !at_end)) {
            if (at_end)
                *ret_wrong = "a closing quote is missing";
            else if (bytes.len > CSV_RECORD_MAX)
                *ret_wrong = "a record is longer than 512 MiB";
            return 0;
        }
        if (at < end && *at != ',' && *at != '\n')
            *ret_wrong = "a closing quote is followed by something else than a comma or the end of the line";
        else if (!end_field(record))
            *ret_wrong = "a record has more than 4096 fields";
        if (*ret_wrong)
            return 0;
        if (at == end || *at == '\n')
            return (size_t)(at - bytes.data) + (at < end);
        at++;
    }
}

kvc_slice csv_field(const csv_record *record, size_t i)
{
    size_t begin = i ? record->ends[i - 1] : 0;

    return kvc_bytes(text_str(&record->bytes) + begin, record->ends[i] - begin);
}

void csv_record_done(csv_record *record)
{
    text_done(&record->bytes);
    free(record->ends);
    *record = (csv_record){ 0 };
}

/* ---- templates ---- */

static char wrong_text[256];

static void add_piece(csv_template *t, kvc_slice literal, long field)
{
    if (t->pieces.n >= t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 16;
        t->fields = must_have(realloc(t->fields, t->capacity * sizeof *t->fields));
    }
    t->fields[t->pieces.n] = field;
    words_add(&t->pieces, literal);
}

/* The column with this name; -1: there is none. */
static long column(const csv_record *header, kvc_slice name)
{
    for (size_t i = 0; header && i < header->n; i++) {
        kvc_slice field = csv_field(header, i);

        if (field.len == name.len && memcmp(field.data, name.data, name.len) == 0)
            return (long)i;
    }
    return -1;
}

/* What a $ stands for, at the byte behind it; *ret_len bytes belong to it. */
static const char *read_reference(kvc_slice rest, const csv_record *header, long *ret_field, size_t *ret_len)
{
    const char *close = rest.len && rest.data[0] == '{' ? memchr(rest.data, '}', rest.len) : NULL;
    size_t digits = 0;

    while (digits < rest.len && digits < 5 && isdigit((unsigned char)rest.data[digits]))
        digits++;
    if (digits) {
        *ret_field = atol(rest.data) - 1;
        *ret_len = digits;
        return *ret_field < 0 || *ret_field >= CSV_FIELDS_MAX
                   ? "the first field is $1, the last possible $4096"
                   : NULL;
    }
    if (!close)
        return "behind $ a number, a {name} or another $ was expected";
    *ret_field = column(header, kvc_bytes(rest.data + 1, (size_t)(close - rest.data) - 1));
    *ret_len = (size_t)(close - rest.data) + 1;
    if (*ret_field >= 0)
        return NULL;
    snprintf(wrong_text, sizeof wrong_text, header ? "there is no column %.*s" : "%.*s needs --header",
             (int)*ret_len, rest.data);
    return wrong_text;
}

static const char *read_word(csv_template *t, kvc_slice word, const csv_record *header)
{
    size_t at = 0, begin = 0;

    while (at < word.len) {
        const char *why;
        long field;
        size_t len;

        if (word.data[at] != '$') {
            at++;
            continue;
        }
        if (at > begin)
            add_piece(t, kvc_bytes(word.data + begin, at - begin), CSV_LITERAL);
        at++;
        if (at < word.len && word.data[at] == '$') {
            begin = at++;
            continue;
        }
        why = read_reference(kvc_bytes(word.data + at, word.len - at), header, &field, &len);
        if (why)
            return why;
        add_piece(t, kvc_bytes("", 0), field);
        begin = at += len;
    }
    if (at > begin)
        add_piece(t, kvc_bytes(word.data + begin, at - begin), CSV_LITERAL);
    add_piece(t, kvc_bytes("", 0), CSV_WORD_END);
    t->n_words++;
    return NULL;
}

const char *csv_template_read(csv_template *t, const char *source, const csv_record *header)
{
    words w = { 0 };
    const char *why = words_split(kvc_str(source), &w);

    *t = (csv_template){ 0 };
    if (!why && w.n == 0)
        why = "a command was expected";
    for (size_t i = 0; !why && i < w.n; i++)
        why = read_word(t, w.items[i], header);
    words_done(&w);
    return why;
}

/* "<type><n>\r\n" */
static void add_header(text *out, char type, size_t n)
{
    char digits[24];
    size_t at = sizeof digits;

    digits[--at] = '\n';
    digits[--at] = '\r';
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    digits[--at] = type;
    text_add(out, digits + at, sizeof digits - at);
}

bool csv_template_expand(const csv_template *t, const csv_record *record, text *out, size_t *ret_missing)
{
    size_t before = out->len;

    add_header(out, '*', t->n_words);
    for (size_t i = 0, first = 0; i < t->pieces.n; i++) {
        size_t len = 0;

        if (t->fields[i] != CSV_WORD_END)
            continue;
        for (size_t k = first; k < i; k++) {
            if (t->fields[k] >= (long)record->n) {
                *ret_missing = (size_t)t->fields[k] + 1;
                out->len = before;
                return false;
            }
            len += t->fields[k] == CSV_LITERAL ? t->pieces.items[k].len
                                               : csv_field(record, (size_t)t->fields[k]).len;
        }
        add_header(out, '$', len);
        for (size_t k = first; k < i; k++)
            text_add_slice(out, t->fields[k] == CSV_LITERAL ? t->pieces.items[k]
                                                            : csv_field(record, (size_t)t->fields[k]));
        text_add(out, "\r\n", 2);
        first = i + 1;
    }
    return true;
}

void csv_template_done(csv_template *t)
{
    words_done(&t->pieces);
    free(t->fields);
    *t = (csv_template){ 0 };
}
