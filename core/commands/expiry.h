/* expiry.h - when a key shall end, as the options of SET, GETEX and MSETEX say it.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMMANDS_EXPIRY_H
#define KV_COMMANDS_EXPIRY_H

#include "args.h"

typedef enum expiry_kind {
    EXPIRY_NONE,
    EXPIRY_EX,   /* seconds from now */
    EXPIRY_PX,   /* milliseconds from now */
    EXPIRY_EXAT, /* Unix time in seconds */
    EXPIRY_PXAT, /* Unix time in milliseconds */
    EXPIRY_KEEP, /* KEEPTTL: as it is */
    EXPIRY_PERSIST,
} expiry_kind;

typedef struct key_expiry {
    expiry_kind kind;
    kv_slice amount; /* of EX ... PXAT */
} key_expiry;

/* Reads an expiry option at argv[*index] and leaves *index on its last word. allowed: EXPIRY_KEEP,
 * EXPIRY_PERSIST, or EXPIRY_NONE for neither. Returns 1; 0: there is none; KV_ESYNTAX: another kind was given
 * before, or the amount is missing. */
int expiry_parse(key_expiry *e, const kv_call *call, int *index, expiry_kind allowed);

/* The deadline that e means; KV_FOREVER without one. KV_ENOTINT, KV_EDEADLINE (not above 0, or overflow). */
int expiry_deadline(const key_expiry *e, int64_t now_ms, int64_t *ret_deadline_ms);

/* Replies err, which may be KV_EDEADLINE: that one names the command. */
void expiry_reply_error(kv_call *call, int err);

#endif
