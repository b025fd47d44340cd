/* acl_text.h - lists of the patterns and words that rules are about.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ACL_TEXT_H
#define KV_STANDALONE_ACL_TEXT_H

#include "kvstore/kvstore.h"

/* A text, and what it is about: ACL_READ | ACL_WRITE of a key pattern, the id of the row of a first argument. */
typedef struct acl_text {
    char *data;
    size_t len;
    size_t literal; /* so many bytes at its beginning stand for themselves, were it a pattern */
    unsigned about;
} acl_text;

typedef struct acl_texts {
    acl_text *list;
    size_t count;
} acl_texts;

/* Appends a copy. False: memory is out. */
bool acl_texts_add(acl_texts *texts, kv_slice text, unsigned about);
void acl_texts_clear(acl_texts *texts);
/* Appends copies of all of from. False: memory is out. */
bool acl_texts_copy(acl_texts *to, const acl_texts *from);
/* NULL: it is not there. */
acl_text *acl_texts_find(const acl_texts *texts, kv_slice text);

#endif
