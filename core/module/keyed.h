/* keyed.h - what one Redis key of our type holds: fields, as a pack or as a store.
 *
 *     kv_store *store = keyed_open(keyed, part);    // a store that shows its fields, or those of a part
 *     ... run a command on it ...
 *     keyed_close(keyed, part, changed);            // and the fields are the key's again
 *
 * A few short fields are a pack; when a command leaves more than that, the store it ran on becomes the key's and
 * stays so until the key is emptied or saved and loaded. Only stores are read by other threads.
 *
 * Threads    The server's main thread, but for keyed_free (any thread) and the readers of a retained store.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_KEYED_H
#define KV_MODULE_KEYED_H

#include "module.h"
#include "pack.h"

struct expiring;

typedef struct keyed {
    uintptr_t content;         /* a pack *, or a kv_store * plus 1, or plus 3 with a handle; 0: no fields */
    struct expiring *expiring; /* its place in the queue of what has deadlines, or NULL (expire.h) */
} keyed;

/* NULL when memory is out. */
keyed *keyed_new(void);
/* A copy with its own fields, versions and deadlines included; NULL when memory is out. */
keyed *keyed_copy(const keyed *from);
/* On any thread; other threads may still read a store of it that they have retained. */
void keyed_free(keyed *k);

size_t keyed_count(const keyed *k);
/* Allocated for it, in bytes; an estimate of O(1). */
size_t keyed_size(const keyed *k);
/* The newest version that it has given out. */
uint64_t keyed_version(const keyed *k);
/* Its store, or NULL: it is a pack. Borrowed. */
kv_store *keyed_store(const keyed *k);
/* Whether it has a handle (handle.h); only a store may be given one. */
bool keyed_attached(const keyed *k);
void keyed_set_attached(keyed *k, bool attached);

/* Which fields a command is about: all that it may look at or change. n 0: the whole key. */
typedef struct keyed_part {
    const kv_slice *names;
    size_t n;
} keyed_part;

/* A store that shows that part of k's fields until keyed_close; k NULL: an empty one. One at a time. NULL: memory is out. */
kv_store *keyed_open(const keyed *k, keyed_part part) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);
/* Ends keyed_open. changed: what the store holds now are that part of k's fields (k is not NULL). KV_ENOMEM: they are
 * not. */
int keyed_close(keyed *k, keyed_part part, bool changed) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);

/* The whole key has been opened: what is shown becomes its store. KV_ENOMEM: it is as it was. */
int keyed_make_store(keyed *k) KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held);

/* Calls visit for each field, those past their deadline included. Nobody may write meanwhile. */
typedef void keyed_visit_fn(void *arg, const pack_field *field);
void keyed_each(const keyed *k, keyed_visit_fn *visit, void *arg);

/* Stores a field with the version and the deadline it had elsewhere. KV_ENOMEM, KV_EINVAL: version 0. */
int keyed_restore(kv_store *store, const pack_field *field) KV_REQUIRES(kv_epoch_held)
    KV_EXCLUDES(kv_shard_held);

/* The newest version that a record or a payload may have. The sequence goes on from there for ever, so what a client
 * says is limited far below the end of the numbers; what the server itself loads, or its primary sends, may have gone
 * on from that. ctx may be NULL. */
uint64_t keyed_version_max(rm_ctx *ctx);

/* A store of the module, which reports its changes to module.effects. NULL when memory is out. */
kv_store *keyed_store_new(uint64_t version_start);

#endif
