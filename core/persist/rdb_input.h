/* rdb_input.h - the bytes that an RDB reader has before it: a window on the source that keeps the record at hand together.
 *
 *     buffer   ... | mark: the record at hand begins | at: the next byte | end | room
 *
 * Private to core/persist. SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_RDB_INPUT_H
#define KV_PERSIST_RDB_INPUT_H

#include "rdb.h"

typedef struct rdb_input {
    rdb_source_fn *source; /* NULL: the buffer is the caller's, and all there is */
    void *arg;
    unsigned char *buffer;
    size_t size, mark, at, end;
    size_t summed;   /* what stands before is in crc */
    uint64_t before; /* bytes of the source that are no longer in the buffer */
    uint64_t crc;
    int error; /* RDB_E..., the first one */
    char reason[200];
} rdb_input;

/* A string as it was found: in the buffer, unpacked elsewhere, or spelt out. */
typedef struct rdb_text {
    enum { RDB_IN_BUFFER, RDB_UNPACKED, RDB_DIGITS } where;
    size_t offset, len; /* in the buffer, from mark */
    char *unpacked;     /* the text's own, used again */
    size_t unpacked_size;
    char digits[12];
} rdb_text;

void rdb_input_init(rdb_input *in, rdb_source_fn *source, void *arg);
void rdb_input_init_memory(rdb_input *in, kv_slice bytes);
void rdb_input_done(rdb_input *in);

/* Notes the first error; returns it. */
int rdb_input_fail(rdb_input *in, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));
uint64_t rdb_input_offset(const rdb_input *in);
/* The record at hand begins with the next byte; what came before may go. */
void rdb_input_mark(rdb_input *in);
/* The checksum of everything before the next byte. */
uint64_t rdb_input_crc(rdb_input *in);

/* All of these: 0, or the error. */
int rdb_input_take(rdb_input *in, size_t n, const unsigned char **ret_bytes); /* valid until the next call */
int rdb_input_byte(rdb_input *in, unsigned *ret_byte);
int rdb_input_length(rdb_input *in, uint64_t *ret_length);
int rdb_input_text(rdb_input *in, rdb_text *text);
/* Over n bytes, over a string, over n strings, without keeping them. The record at hand is no longer together then. */
int rdb_input_pass(rdb_input *in, uint64_t n);
int rdb_input_pass_text(rdb_input *in);
int rdb_input_pass_texts(rdb_input *in, uint64_t n);

/* Valid until the next of the calls above. */
kv_slice rdb_text_slice(const rdb_input *in, const rdb_text *text);
void rdb_text_done(rdb_text *text);

/* rdb_pass.c: over a value of a type that is not supported, whose type byte was read. */
int rdb_pass_value(rdb_input *in, unsigned type);
/* And over what a module left beside the keys; ret_name gets its name: 10 bytes. */
int rdb_pass_module_aux(rdb_input *in, char *ret_name);
/* The name of a module that an id tells, without its version. */
void rdb_module_name(uint64_t id, char *ret_name);

#endif
