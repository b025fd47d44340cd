/* object.h - objects whose histories are recorded: a key, a group of keys, a bank.
 *
 *     object *o = pool_pick(p);
 *     op *asked = object_ask(o, lane, OP_GET, FORM_VALUE, NULL);
 *     object_begin(o, lane, 2, "GET"); object_key(o, 0, &lane->out);
 *
 * The reply completes the operation. An object takes options->history operations, at most options->overlap at a
 * time; then nothing more is asked of it, its history is handed to the jury when nothing is under way, and a new
 * object with keys that were never used takes its place. That is what bounds memory and the work of the checker.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVSTRESS_OBJECT_H
#define KVSTRESS_OBJECT_H

#include "history.h"
#include "worker.h"

#define OBJECT_LAST 48

/* How a reply is read. */
typedef enum form {
    FORM_VALUE,     /* text or nil */
    FORM_STATUS,    /* OK or nil */
    FORM_FLAG,      /* 1 as OK, 0 as nil */
    FORM_NUMBER,    /* an integer */
    FORM_VERSION,   /* GETV: [text, version, ms] or nil */
    FORM_ALL,       /* all members of a group: the same text, or nil */
    FORM_COUNT,     /* an integer: all members (1), or none (0) */
    FORM_EXEC_OKS,  /* EXEC of SETs: [OK ...], or nil: it did not happen */
    FORM_EXEC_ALL,  /* EXEC of GETs of all members */
    FORM_LIST,      /* the balances, as text */
    FORM_BALANCE,   /* one of them, as text */
    FORM_EXEC_LIST, /* EXEC of GETs of all balances */
    FORM_EXEC_MOVE, /* EXEC of DECRBY and INCRBY: two integers */
} form;

typedef struct pool pool;

typedef struct object {
    pool *pool;
    history history;
    uint8_t kind;    /* of the pool's user */
    uint8_t keys;    /* members, accounts; else 1 */
    bool ready;      /* may be asked */
    bool closing;    /* is to be judged when nothing is under way */
    bool verified;   /* was read after a crash */
    bool finished;   /* of pool_finish: it was handed in */
    uint32_t serial; /* tells its keys from all others */
    unsigned open, unknown;
    int64_t not_before;     /* ns: ask nothing before */
    int64_t lag_ns;         /* how old the server's clock may have been (lane.h), at most */
    char last[OBJECT_LAST]; /* the value that was seen last, if short */
    uint8_t last_len;
    bool last_present;
    int64_t last_version;
} object;

struct pool {
    worker *worker;
    check_id check;
    char letter;
    object *objects;
    unsigned count;
    uint32_t serials;
    object **parked; /* complete, but not judged before the next crash */
    unsigned parked_count, parked_room;
    void (*renew)(object *o);         /* chooses kind and keys of a new object */
    void (*read)(object *o, lane *l); /* reads all of it, after a crash */
};

/* count objects; -1 when memory is out. */
int pool_init(pool *p, worker *w, check_id check, char letter, unsigned count, void (*renew)(object *o),
              void (*read)(object *o, lane *l));
void pool_done(pool *p);
/* One that may be asked now, by the distribution; NULL: none was found. */
object *pool_pick(pool *p);
/* Hands all histories in; false while some may not be, because an operation is under way. */
bool pool_finish(pool *p);

/* The next operation, and the call that completes it (*ret_call may be wanted). NULL when memory is out, of which
 * the run has been told; then nothing is to be written to the lane. */
op *object_ask(object *o, lane *l, op_kind kind, form f, call **ret_call);
/* Appends the name of key i as an argument. */
void object_key(const object *o, unsigned i, wire *out);
/* The module's key that holds its keys. */
const char *object_store(const object *o);
/* Begins a command on keys of o, of so many words, its name included; WATCH: lane_watch. */
void object_begin(const object *o, lane *l, unsigned words, const char *name);
void object_command(const object *o, lane *l, const char *name); /* name key */
/* A text of this object that nobody has written before; returns its length. */
size_t object_new_text(const object *o, char out[24]);
/* Remembers bytes as an argument of an operation. */
void object_excerpt(object *o, const char *bytes, size_t len, excerpt *ret);
/* Something other than an operation is under way (WATCH, the opening of an account), or no longer. */
void object_hold(object *o);
void object_release(object *o, lane *l);
/* Takes a new serial and begins anew; what was recorded is forgotten. */
void object_renew(object *o);

#endif
