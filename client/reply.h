/* reply.h - inside a kvc_reply, for what builds one: the reader of a connection, and the transport in process.
 *
 *     kvc_reply *list = kvc_reply_new(KVC_TYPE_ARRAY);
 *     kvc_reply *one = kvc_reply_new_text(KVC_TYPE_STRING, kvc_str("a"));
 *     if (!list || !one || !kvc_reply_add(list, one)) ...   // NULL, false: out of memory
 *
 * A reply is a tree of separately allocated nodes. An aggregate's room grows with the elements that come, not with the
 * number a server announces: memory stays proportional to the bytes received.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_REPLY_H
#define KVC_REPLY_H

#include "kvclient.h"

struct kvc_reply {
    kvc_type type;
    uint32_t depth; /* of aggregates being read: 1 for the outermost */
    size_t n;       /* bytes of text, or elements */
    union {
        int64_t integer; /* INT, BOOL */
        double number;   /* DOUBLE */
        struct {
            kvc_reply **items; /* owned */
            size_t capacity;
        } elements; /* ARRAY, MAP, SET, PUSH */
    } is;
    char text[]; /* n bytes and a NUL: STRING, SIMPLE, ERROR, BIGNUM, VERBATIM, DOUBLE */
};

bool kvc_type_is_aggregate(kvc_type type);

/* Constructors: NULL when memory is out. */
kvc_reply *kvc_reply_new(kvc_type type);
kvc_reply *kvc_reply_new_text(kvc_type type, kvc_slice text);
kvc_reply *kvc_reply_new_int(kvc_type type, int64_t integer);
kvc_reply *kvc_reply_new_double(double number, kvc_slice text);
/* Takes element over; false: out of memory, and element is still the caller's. */
bool kvc_reply_add(kvc_reply *list, kvc_reply *element);

/* The reply is text of exactly these bytes; case does not matter. */
bool kvc_reply_is_word(const kvc_reply *reply, const char *word);

#endif
