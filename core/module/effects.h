/* effects.h - what a command has changed, field by field, until it is told to replicas, log and listeners.
 *
 * Change records arrive under a shard's lock and are only noted: the field's name. After the command its state is
 * looked up and replicated, not the operation: KV.PUT key field value deadline version, or KV.REM key field. So a
 * replica, a log and a primary agree on deadlines and versions, whatever the clock says there.
 *
 * Threads    The server's main thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_EFFECTS_H
#define KV_MODULE_EFFECTS_H

#include "kvstore/kvstore.h"

struct rm_ctx;
struct rm_str;

typedef struct effects {
    char *names; /* the changed fields: length, bytes, length, bytes ... */
    size_t len, size;
    size_t count;
    size_t last;         /* where the newest stands: a field changed twice in a row is noted once */
    int64_t earliest_ms; /* the earliest deadline that was set, or KV_FOREVER */
    bool muted;          /* what happens now is no change: a store is filled or emptied */
    bool failed;         /* memory was out for a name */
} effects;

/* A kv_change_fn; arg: the effects. */
void effects_note(void *arg, const kv_change *change);
/* Replicates what was noted, as the store shows it, for that key. */
void effects_replicate(effects *e, struct rm_ctx *ctx, struct rm_str *key, kv_store *store);
/* Forgets it. */
void effects_clear(effects *e);

#endif
