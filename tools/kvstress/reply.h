/* reply.h - replies as hiredis reads them, without an allocation for each.
 *
 *     reply_reader r;
 *     reply_reader_init(&r);
 *     reply_feed(&r, bytes, len);
 *     while (reply_next(&r, &reply) == 1) ...      // reply lives until the next call
 *
 * hiredis is the codec; its reader builds the objects that we give it functions for, and ours stand in one
 * block of memory that is used again for each reply.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_REPLY_H
#define KVSTRESS_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

typedef enum reply_type {
    REPLY_IS_STRING,
    REPLY_IS_STATUS,
    REPLY_IS_ERROR,
    REPLY_IS_INTEGER,
    REPLY_IS_NIL,
    REPLY_IS_ARRAY,
    REPLY_IS_OTHER, /* of RESP3, which nobody asked for */
} reply_type;

typedef struct reply {
    reply_type type;
    long long integer;
    char *text; /* string, status, error; NUL-terminated */
    size_t len;
    struct reply **elements;
    size_t count;
} reply;

typedef struct reply_block {
    struct reply_block *next;
    size_t size;
} reply_block;

typedef struct reply_reader {
    struct redisReader *codec;
    reply_block *blocks; /* the first is the one in use */
    size_t used;
    bool whole; /* the last reply was complete: its memory may be used again */
} reply_reader;

/* -1 when memory is out. */
int reply_reader_init(reply_reader *r);
void reply_reader_done(reply_reader *r);
int reply_feed(reply_reader *r, const char *bytes, size_t len);
/* 1: *ret is the next reply; 0: more bytes are needed; -1: what came is not RESP, or memory is out. */
int reply_next(reply_reader *r, const reply **ret);
/* Why reply_next failed. */
const char *reply_trouble(const reply_reader *r);

static inline bool reply_is_status(const reply *r, const char *text)
{
    const char *at = r->text;

    if (r->type != REPLY_IS_STATUS)
        return false;
    while (*at && *at == *text)
        at++, text++;
    return *at == *text;
}

/* As people read it: "text", (nil), 17, [..]; long ones are cut. */
void reply_print(const reply *r, FILE *out);

#endif
