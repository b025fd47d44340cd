/* condition.h - compare and set: the conditions of SET, DELEX and DEL, and their test against a key.
 *
 *     NX, XX               the key is absent, is present
 *     IFEQ v, IFNE v       its value is v; is not v (an absent key is not)
 *     IFDEQ d, IFDNE d     the same of its digest: XXH3, 64 bits, 16 hexadecimal digits
 *     IFVER n              its version is n, as GETV tells it; 0: it is absent
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_CONDITION_H
#define KV_COMMANDS_CONDITION_H

#include "args.h"

typedef enum condition_kind {
    CONDITION_NONE,
    CONDITION_NX,
    CONDITION_XX,
    CONDITION_IFEQ,
    CONDITION_IFNE,
    CONDITION_IFDEQ,
    CONDITION_IFDNE,
    CONDITION_IFVER,
} condition_kind;

typedef struct key_condition {
    condition_kind kind;
    kv_slice value;  /* IFEQ, IFNE: borrowed from argv */
    uint64_t number; /* IFDEQ, IFDNE: the digest; IFVER: the version */
} key_condition;

/* Reads a condition at argv[*index] and leaves *index on its last word. Returns 1; 0: there is none; KV_ESYNTAX:
 * another was given before, or its operand is missing; KV_ENOTINT: no version; KV_EINVAL: no digest. */
int condition_parse(key_condition *c, const kv_call *call, int *index);
/* Replies such an error. */
void condition_reply_error(kv_call *call, int err);

/* 0 when the condition holds for e (NULL: absent), KV_ECOND when not, KV_ETYPE when it compares a value and e
 * is no string. */
int condition_check(const key_condition *c, const entry *e);

/* Deletes argv[1] if c holds, and replies 1; 0: it does not, or there is no key; or an error. */
void condition_delete(kv_call *call, const key_condition *c) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);

uint64_t condition_digest(kv_slice value);

#endif
