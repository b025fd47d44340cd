/* csv.h - records of CSV (RFC 4180), and commands made of them.
 *
 *     csv_record record = { 0 };
 *     const char *wrong;
 *     size_t used = csv_read(&record, bytes, at_end, &wrong);   // 0: more bytes are needed (or wrong)
 *     csv_template_expand(&template, &record, &out);            // the command, in RESP
 *
 * Fields stand between commas; one in double quotes may hold commas, newlines and "" for a quote. Lines end with LF or CRLF.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_CSV_H
#define KVCLI_CSV_H

#include "text.h"
#include "words.h"

/* Of a record. */
enum { CSV_FIELDS_MAX = 4096 };
#define CSV_RECORD_MAX (512u * 1024 * 1024)

typedef struct csv_record {
    text bytes;   /* the fields, one behind the other */
    size_t *ends; /* of each field in bytes */
    size_t n, capacity;
} csv_record;

/* Reads the record that bytes begin with and gives how many bytes it takes; 0 when it is not whole (at_end: then it is what is left),
 * or with *ret_wrong. An empty line is a record of one empty field. */
size_t csv_read(csv_record *record, kvc_slice bytes, bool at_end, const char **ret_wrong);
kvc_slice csv_field(const csv_record *record, size_t i);
void csv_record_done(csv_record *record);

/* A command with $1, $2 ..., ${name}, and $$ for a dollar sign, in any of its words. */
typedef struct csv_template {
    words pieces; /* literals, alternating with what pieces_field says */
    long *fields; /* of each piece: the field that stands there (from 0), or CSV_LITERAL, or CSV_WORD_END */
    size_t capacity; /* of fields */
    size_t n_words;
} csv_template;

enum { CSV_LITERAL = -1, CSV_WORD_END = -2 };

/* header: the names of the columns, or NULL. NULL, or what is wrong; the message lives until the next call. */
const char *csv_template_read(csv_template *t, const char *source, const csv_record *header);
/* Adds the command; false: the record has no field *ret_missing (from 1). */
bool csv_template_expand(const csv_template *t, const csv_record *record, text *out, size_t *ret_missing);
void csv_template_done(csv_template *t);

#endif
