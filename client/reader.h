/* reader.h - bytes of a server to replies, under bounds.
 *
 *     kvc_reader *reader = kvc_reader_new(&(kvc_limits){ .bytes = 1 << 30, .depth = 32, .elements = 1 << 24 });
 *     kvc_reader_feed(reader, data, len, &error);
 *     while ((status = kvc_reader_next(reader, &reply, &error)) == KVC_OK)
 *         use(reply);
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_READER_H
#define KVC_READER_H

#include "kvclient.h"

typedef struct kvc_reader kvc_reader;

typedef struct kvc_limits {
    size_t bytes;    /* of one reply: text, and what its nodes take */
    uint32_t depth;  /* aggregates in each other */
    size_t elements; /* in one reply, nested ones included */
} kvc_limits;

/* NULL: out of memory. */
kvc_reader *kvc_reader_new(const kvc_limits *limits);
void kvc_reader_free(kvc_reader *reader);
/* After a failure feed and next go on failing. */
kvc_status kvc_reader_feed(kvc_reader *reader, const void *data, size_t len, kvc_error *error);
/* KVC_OK: *ret_reply is yours. KVC_NIL: more bytes are needed. KVC_EPROTOCOL, KVC_ENOMEM. */
kvc_status kvc_reader_next(kvc_reader *reader, kvc_reply **ret_reply, kvc_error *error);
/* Every byte that was fed belongs to a reply that next handed out. */
bool kvc_reader_idle(const kvc_reader *reader);

#endif
