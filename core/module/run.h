/* run.h - running one command on the fields of one key, and what follows from it.
 *
 * Threads    The server's main thread. SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_RUN_H
#define KV_MODULE_RUN_H

#include "keyed.h"

/* One command on one key: opened, its fields shown by store, until run_end. */
typedef struct run {
    rm_ctx *ctx;
    rm_str *name;    /* of the key */
    rm_key *key;     /* NULL: it has been closed */
    keyed *keyed;    /* NULL: there is no such key */
    keyed_part part; /* what store shows of it */
    kv_store *store;
    int64_t now_ms;
    bool replied; /* an error was replied already: nothing is to be run */
} run;

/* Opens that part of the key's fields, for reading or for writing. Replies WRONGTYPE, or -OOM, and then sets replied: run_end is called all
 * the same. Enters an epoch. */
void run_begin(run *r, rm_ctx *ctx, rm_str *name, int mode, keyed_part part) KV_ACQUIRES(kv_epoch_held);
/* Ends it: what has changed is kept, replicated, signalled to WATCH and to listeners, which hear "kv.<what>". A key without
 * fields is deleted. */
void run_end(run *r, const char *what) KV_RELEASES(kv_epoch_held);

/* Whether a row of the table is a command of the module: it makes sense on the fields of one key. */
bool run_fits(const kv_command *row);
/* KV.<row> key arguments...: the row's command on that key's fields. */
int run_row(rm_ctx *ctx, const kv_command *row, rm_str **argv, int argc);
/* Removes the fields of the key of that name whose deadline has passed, if it is still k, and says when it is due again. */
void run_expire(rm_ctx *ctx, rm_str *name, const keyed *k, int64_t now_ms);

static inline kv_slice run_slice(const rm_str *text)
{
    size_t len;
    const char *data = rm.StringPtrLen(text, &len);

    return kv_slice_of(data, len);
}

#endif
