/* tracking.h - CLIENT TRACKING: which clients may have which keys in their caches, and telling them when these change.
 *
 *     tracking_before(c, row, argc, argv);           // a request of a tracking client: its keys are remembered first
 *     ... it reads ...
 *     stale = tracking_take_stale(s, key);           // a key was written: under its lock, after its new value is to be seen
 *     tracking_tell_stale(s, w, stale, origin);      // ... and later, who had it is told
 *
 * Threads    Any, but for tracking_set and tracking_deliver: the connection's, the worker's.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_TRACKING_H
#define KV_STANDALONE_TRACKING_H

#include "connection.h"

enum tracking_mode {
    TRACKING_ON = 1,
    TRACKING_BCAST = 2,
    TRACKING_OPTIN = 4,
    TRACKING_OPTOUT = 8,
    TRACKING_NOLOOP = 16,
    TRACKING_BROKEN = 32,  /* the client that it redirects to has gone */
    TRACKING_CACHING = 64, /* CLIENT CACHING was called for the next command */
};

/* What a client has asked for. Written by its worker under the lock of its place in the directory of clients. */
typedef struct tracker {
    unsigned mode;
    uint64_t redirect; /* the client to tell instead, or 0 */
    kv_slice *prefixes;
    size_t prefix_count, prefix_bytes;               /* what they take, here and in the table of all */
    struct tracking_note *deferred, **deferred_last; /* until a batch is back from the state thread */
} tracker;

typedef struct tracking tracking;
/* What is under way to a connection's worker. */
typedef struct tracking_note tracking_note;
struct tracking_note {
    tracking_note *next;
    enum { TRACKING_KEYS, TRACKING_ALL, TRACKING_BROKEN_NOW } what;
    uint64_t client;
    bool redirected; /* for another client, who asked for it */
    kv_bytes *keys;  /* TRACKING_KEYS: an array in RESP; a reference */
};

tracking *tracking_new(struct server *s);
void tracking_free(tracking *t);
/* Bytes that it takes, the table and the prefixes included. */
size_t tracking_memory(const tracking *t);

/* The directory of clients: every connection, from its beginning to its end. */
void tracking_enter(connection *c);
void tracking_leave(connection *c);
bool tracking_client_exists(struct server *s, uint64_t id);

static inline unsigned tracking_mode_of(const connection *c)
{
    return c->tracker ? c->tracker->mode : 0;
}

/* Begins, or changes, or with a mode of 0 ends. Prefixes are added to those that c has. KV_ENOMEM: nothing has changed. */
int tracking_set(connection *c, unsigned mode, uint64_t redirect, size_t count, const kv_slice prefixes[]);
/* After tracking_set: c's next request waits until no write can be under way that does not tell. */
void tracking_wait(connection *c);
void tracking_fence_down(worker *w, worker_message *message);
/* CLIENT CACHING: true for the next command only. */
void tracking_set_caching(connection *c, bool on);

/* Before a command of a tracking client runs, and afterwards. */
void tracking_before(connection *c, const kv_command *row, int argc, const kv_slice argv[]);
void tracking_after(connection *c, const kv_command *row);
/* The same within an act, whose locks are held: for client id in this mode. False: memory is out. When the locks are released,
 * tracking_act_ends is to be called; complete: it was never false. */
bool tracking_within_act(struct server *s, uint64_t id, unsigned mode, const kv_command *row, int argc,
                         const kv_slice argv[]);
void tracking_act_ends(struct server *s, uint64_t id, bool complete);

/* Whether anybody must hear of changes. */
bool tracking_listens(const struct server *s);
/* A key has changed, and its lock is still held: nobody's cache is up to date any more. Who had it is to be told by
 * tracking_tell_stale, or dropped by tracking_drop_stale; NULL: nobody had it. */
struct tracking_key *tracking_take_stale(struct server *s, kv_slice key);
void tracking_tell_stale(struct server *s, worker *from, struct tracking_key *stale, uint64_t origin);
void tracking_drop_stale(struct tracking_key *stale);
/* All keys have changed, and their locks are held, or it does not matter. Everybody is to be told by the second. */
void tracking_all_are_stale(struct server *s);
void tracking_tell_all(struct server *s, worker *from);
/* For those that want to hear of prefixes: keys that were changed by one origin, any of them more than once. Sorts keys. */
void tracking_broadcast(struct server *s, worker *from, kv_slice keys[], size_t count, uint64_t origin);

/* Bytes that c's tracking takes. */
static inline size_t tracking_memory_of(const connection *c)
{
    return c->tracker ? sizeof *c->tracker + c->tracker->prefix_bytes : 0;
}

/* Hands what notes say to the connections of w, and frees them. */
void tracking_deliver(worker *w, tracking_note *notes, connection *serving);
void tracking_note_free(tracking_note *note);
/* Hands c what had to wait for its replies (--sharing actor). */
void tracking_catch_up(connection *c);

typedef struct tracking_figures {
    size_t clients, keys, items, prefixes, bytes;
} tracking_figures;
void tracking_read_figures(const struct server *s, tracking_figures *ret);

#endif
