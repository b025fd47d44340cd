/* tracking_internal.h - what the files of tracking share: tracking.c, tracking_table.c, tracking_prefix.c, tracking_note.c.
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_TRACKING_INTERNAL_H
#define KV_STANDALONE_TRACKING_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "server.h"
#include "tracking.h"

#define TRACKING_PARTS  64
#define TRACKING_PEOPLE 4096 /* buckets of the directory */

/* A key that somebody may have. */
typedef struct tracking_key {
    struct tracking_key *next;
    uint64_t hash;
    uint64_t *clients;
    uint32_t count, capacity;
    uint32_t key_len;
    unsigned age; /* of the table, when the first of them was remembered */
    char key[];
} tracking_key;

typedef struct tracking_part {
    pthread_mutex_t lock;
    tracking_key **buckets;
    size_t bucket_count, count;
    size_t hand; /* where the next one to be dropped is looked for */
} tracking_part;

typedef struct tracking_prefix {
    kv_slice text;
    uint64_t *clients;
    size_t count;
} tracking_prefix;

struct tracking {
    tracking_part parts[TRACKING_PARTS];
    pthread_mutex_t people_locks[TRACKING_PARTS];
    connection *people[TRACKING_PEOPLE];
    pthread_mutex_t prefix_lock; /* guards the next two */
    tracking_prefix *prefixes;
    size_t prefix_total;
    _Atomic size_t clients, broadcasts, keys, items, prefix_count;
    _Atomic size_t bytes; /* what the table and the prefixes take */
    _Atomic unsigned age; /* grows when all keys become stale: what was remembered before is nothing */
    _Atomic size_t hand;  /* the part in which the next key to be dropped is looked for */
    _Atomic int fence;    /* threads that may still be in writes which are not told */
    worker_message *fences;
};

static inline void tracking_count_bytes(tracking *t, size_t more, size_t less)
{
    atomic_fetch_add_explicit(&t->bytes, more - less, memory_order_relaxed);
}

/* ---- the directory (tracking.c) ---- */

/* What others may know of a connection. */
typedef struct tracking_person {
    connection *c; /* only for its own worker */
    int worker;
    unsigned mode;
    uint64_t redirect;
} tracking_person;

/* False: there is no such client. Any thread. */
bool tracking_look_up(tracking *t, uint64_t id, tracking_person *ret);
/* c's own thread. */
void tracking_set_mode(connection *c, unsigned mode);

/* ---- the table (tracking_table.c): any thread ---- */

/* Remembers that a client may have a key. False: memory is out. */
bool tracking_remember(tracking *t, kv_slice key, uint64_t hash, uint64_t id);
/* Takes a key out of the table, to be freed; NULL: nobody has it. */
tracking_key *tracking_forget(tracking *t, kv_slice key, uint64_t hash);
/* Takes some key out, of one part after the other; NULL: that part has none. */
tracking_key *tracking_take_next(tracking *t);
/* What was remembered so far is nothing any more: the clients are told otherwise, or none is left. Takes no time, and leaves it there
 * until the second. */
void tracking_outdate(tracking *t);
void tracking_drop_outdated(tracking *t);
void tracking_key_free(tracking_key *key);

/* ---- prefixes (tracking_prefix.c): any thread ---- */

/* 0 or KV_ENOMEM. */
int tracking_join_prefix(tracking *t, kv_slice text, uint64_t id);
void tracking_leave_prefix(tracking *t, kv_slice text, uint64_t id);
/* Orders slices for qsort. */
int tracking_by_bytes(const void *a, const void *b);

/* ---- notes (tracking_note.c) ---- */

/* Keys as an array in RESP, a new reference; NULL: memory is out. */
kv_bytes *tracking_make_keys(const kv_slice keys[], size_t count);
/* Tells a client, or whom it redirects to. broadcast: of a prefix, else of a key that it has read. Any thread; from is
 * the worker whose thread it is, or NULL. */
void tracking_tell(server *s, worker *from, uint64_t client, uint64_t origin, bool broadcast, int what,
                   kv_bytes *keys);

#endif
