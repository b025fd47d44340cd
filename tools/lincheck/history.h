/* history.h - what happened to one object: operations, each with its invocation, its return and its reply.
 *
 *     history h;
 *     history_init(&h, MODEL_KEY, "user:1");
 *     op o = { .kind = OP_SET, .process = 3, .call = 100, .ret = 180, .reply = REPLY_OK };
 *     o.arg = history_text(&h, "hello", 5);
 *     history_add(&h, &o);
 *     ... checker_run(checker, &h, budget) ...
 *     history_done(&h);
 *
 * An object is one key; or a group of keys that are only ever written together, which is one register; or a
 * bank, some accounts that are changed and read together. An operation that failed with an error reply did not
 * happen and is not part of a history. One whose outcome is unknown (the connection broke) has ret HISTORY_OPEN:
 * it may have happened at any time after its call, or not at all; such a read says nothing and is left out.
 *
 * Process    A process is a connection. Its operations happen in the order in which they were added, even when
 *            they overlap in time, because a pipeline is executed in order.
 * Time       Nanoseconds on one clock; an operation precedes another if its ret is less than the other's call.
 * Errors     0, or -1 when memory is out.
 *
 * SPDX-License-Identifier: MIT */
#ifndef LINCHECK_HISTORY_H
#define LINCHECK_HISTORY_H

#include "value.h"

#define HISTORY_OPEN     INT64_MAX
#define HISTORY_ACCOUNTS 8
#define HISTORY_NAME_MAX 95

typedef enum model_kind { MODEL_KEY, MODEL_BANK } model_kind;

typedef enum op_kind {
    /* on a key */
    OP_GET,
    OP_SET, /* arg; cond; number = ms to live, 0 for none */
    OP_DEL, /* cond */
    OP_GETDEL,
    OP_ADD,    /* number */
    OP_APPEND, /* arg */
    OP_STRLEN,
    OP_EXISTS,
    OP_EXPIRE, /* number = ms to live */
    OP_PERSIST,
    OP_PTTL,
    OP_GETV, /* the reply is a value and, in reply_number, its version */
    /* on a bank; accounts are counted from 0 */
    OP_MOVE,    /* number from account a to account b; list = the two new balances */
    OP_ADD_AT,  /* number to account a */
    OP_READ,    /* list = all balances */
    OP_READ_AT, /* account a */
    OP_PUT,     /* if a holds list[0] and b holds list[2]: a = list[1], b = list[3] */
} op_kind;

typedef enum op_cond { COND_NONE, COND_NX, COND_XX, COND_IFEQ, COND_IFVER } op_cond;

typedef enum reply_kind {
    REPLY_UNKNOWN,
    REPLY_OK,
    REPLY_NIL,
    REPLY_VALUE,  /* seen */
    REPLY_NUMBER, /* reply_number */
    REPLY_LIST,   /* list */
    REPLY_TORN,   /* seen is the text: members of a group that do not agree; no state gives it */
} reply_kind;

/* Bytes that the history keeps, and what the models make of them. */
typedef struct excerpt {
    value value;
    uint32_t at; /* in history.bytes */
} excerpt;

typedef struct op {
    int64_t call, ret;
    uint32_t process;
    uint32_t id; /* its place in the history it comes from; shrink.c uses it */
    uint8_t kind, cond, reply;
    bool give_old : 1; /* OP_SET replies with the value before (SET ... GET, GETSET) */
    bool keep_ttl : 1; /* OP_SET leaves the deadline alone */
    bool any_time : 1; /* may have happened before its call, too: see shrink.h */
    int64_t number;
    int64_t reply_number;
    union {
        struct {
            excerpt arg, expect, seen;
        };
        struct {
            uint8_t a, b;
            int64_t list[HISTORY_ACCOUNTS];
        };
    };
    int64_t version; /* COND_IFVER */
} op;

typedef struct history {
    char name[HISTORY_NAME_MAX + 1];
    model_kind model;
    unsigned accounts; /* of a bank */
    int64_t initial[HISTORY_ACCOUNTS];
    int64_t slack_ns; /* how much the server's clock may differ, where deadlines are concerned */
    op *ops;
    unsigned count, room;
    char *bytes;
    uint32_t byte_count, byte_room;
} history;

void history_init(history *h, model_kind model, const char *name);
void history_done(history *h);
/* Forgets all operations, keeps the memory. */
void history_clear(history *h);
/* Room for one more operation, zeroed; NULL when memory is out. It moves with the next one. */
op *history_new_op(history *h);
int history_add(history *h, const op *o);
/* Keeps a copy of bytes. Out of memory: *ret is an excerpt of the same value whose bytes are lost, and -1. */
int history_text(history *h, const char *bytes, size_t len, excerpt *ret);
static inline const char *history_bytes(const history *h, excerpt t)
{
    return h->bytes + t.at;
}
/* A copy with its own memory. */
int history_copy(history *to, const history *from);
/* Whether the operation never changes anything, whatever the state. */
bool op_is_read(const op *o);
/* Whether it changed nothing, as its reply tells: a read, or a write that found that there was nothing to do. */
bool op_changed_nothing(const op *o);

#endif
