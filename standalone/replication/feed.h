/* feed.h - what is changed here, as a stream of commands to those that follow: one backlog, and where each of them is in it.
 *
 *     feed_enter(s, &reader);                      // worker: changes are told from here on
 *     feed_seal(s); ... feed_join(s, &reader);     // around the moment of a data set: reader goes on from there
 *     feed_acknowledge(&reader, offset);           // it has loaded that, and says so: it is sent what comes
 *     n = feed_take(&reader, pieces, ...);         // worker: the next pieces, to be sent and given back
 *     feed_leave(&reader);                         // worker: its connection is closed
 *
 * Offsets count the bytes of the stream, as Redis's do. A history is a name and the offsets that were told under it: a replica that
 * comes again with both goes on where it was, if the backlog reaches back so far.
 *
 * Threads    As said with each function.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_FEED_H
#define KV_STANDALONE_FEED_H

#include "server.h"

#define FEED_ID_LEN      40
#define FEED_ADDRESS_MAX 64

typedef struct feed feed;
typedef struct feed_chunk feed_chunk;

enum feed_state {
    FEED_WAITS,  /* for its data set */
    FEED_LOADS,  /* is sent it */
    FEED_LOADED, /* was sent it, and has not said that it took it */
    FEED_ONLINE, /* is sent what changes */
};

/* One that follows: a part of its connection. All zero at first. */
typedef struct feed_reader {
    worker_message look; /* first; posted when there is something for it. run is set by who enters */
    struct connection *c;
    char address[FEED_ADDRESS_MAX]; /* that it listens on; and */
    int port;
    bool entered; /* and has not left; the worker's */
    bool mute;    /* it is not closed for its silence; set before it enters */

    /* Guarded by the feed's lock. */
    struct feed_reader *next, **link; /* link NULL: it is not among them */
    enum feed_state state;
    bool
        answers; /* it has acknowledged something: its data set may have arrived before that was noticed here */
    bool joined; /* the last five have a meaning */
    bool posted;
    const char *lost;              /* why it is to be closed; NULL: it is not */
    feed_chunk *at;                /* what it is sent next; NULL: it has everything */
    size_t skip;                   /* of that */
    int64_t offset;                /* of that */
    int64_t acknowledged, durable; /* it has applied that, and has it on disk (-1: it has no log) */
    int64_t heard_ms;
    int64_t behind_since_ms; /* by more than the soft limit; 0: it is not */
} feed_reader;

/* 0, or -1: memory is out. */
int feed_new(server *s);
void feed_free(server *s);

/* ---- the threads that change something ---- */

/* A change, from the stores' listener. */
void feed_note(server *s, aof_writer *writer, const kv_change *change) KV_UNDER_LOCK;
static inline bool feed_listens(const server *s)
{
    return atomic_load_explicit(&((server *)s)->feed_open, memory_order_acquire);
}
/* A command that is no change: PUBLISH, PING. Any thread. */
void feed_tell(server *s, int argc, const kv_slice argv[]) KV_EXCLUDES(kv_shard_held);
/* A turn of a worker, or of a task, ends: what was told is on its way. */
void feed_turn_ends(server *s) KV_EXCLUDES(kv_shard_held);
/* Worker 0, a few times a second. */
void feed_tick(server *s) KV_EXCLUDES(kv_shard_held);
/* The databases were exchanged for others: everybody has to fetch them anew. Any thread. */
void feed_break(server *s, const char *why) KV_EXCLUDES(kv_shard_held);

/* ---- a replica passes on what its primary sends: feed_relay.c ---- */

/* The databases are those of history id at this offset, and nothing changes them but the primary's commands, all of which are
 * handed to feed_relay. What was told before is nothing. */
void feed_relay_begin(server *s, const char id[FEED_ID_LEN + 1], int64_t offset) KV_EXCLUDES(kv_shard_held);
bool feed_relays(const server *s);
/* Whole commands, which are applied; bytes are copied. Nothing unless it relays. */
void feed_relay(server *s, kv_slice bytes) KV_EXCLUDES(kv_shard_held);
/* The primary calls its history so from here on. */
void feed_relay_rename(server *s, const char id[FEED_ID_LEN + 1]);
/* The databases are no longer exactly the primary's: who follows fetches them anew, and is told what changes here. */
void feed_relay_break(server *s, const char *why) KV_EXCLUDES(kv_shard_held);
/* There is no primary any more: what is changed from here on, is told, in a history that goes on with that of the primary. */
void feed_promote(server *s) KV_EXCLUDES(kv_shard_held);

/* ---- those that follow ---- */

/* On r->c's worker, which keeps r until it has left and no message is under way (connection.in_flight). */
void feed_enter(server *s, feed_reader *r) KV_EXCLUDES(kv_shard_held);
void feed_leave(server *s, feed_reader *r);
/* Its message has come: why it is to be closed, or NULL. */
const char *feed_hear(server *s, feed_reader *r);
/* Whether it may go on in history id at offset (-1: it does not ask to): then it is online. */
bool feed_resume(server *s, feed_reader *r, kv_slice id, int64_t offset);

/* On the thread that makes data sets: at the moment, while all is locked; and behind it. */
void feed_seal(server *s);
/* Returns the offset of the moment. r NULL: nobody joins. */
int64_t feed_join(server *s, feed_reader *r) KV_EXCLUDES(kv_shard_held);

/* It has said something: it is there. */
void feed_heard(server *s, feed_reader *r);
/* It was sent its data set. online: it is sent what follows at once, not when it has acknowledged that. */
void feed_loaded(server *s, feed_reader *r, bool online);
/* It has applied everything up to offset, and has it on disk up to durable; -1: it does not say. */
void feed_acknowledge(server *s, feed_reader *r, int64_t offset, int64_t durable);

typedef struct feed_piece {
    kv_bytes *owner; /* a reference, yours */
    kv_slice bytes;
} feed_piece;
/* The next pieces, at most n, and no more when they have max_bytes together. */
size_t feed_take(server *s, feed_reader *r, feed_piece pieces[], size_t n, size_t max_bytes);
/* There is more to do for it, later. */
void feed_look_again(server *s, feed_reader *r);

/* ---- for commands and INFO: any thread ---- */

/* Where the stream is with everything that was told so far. */
int64_t feed_position(server *s);
/* Asks all to acknowledge. */
void feed_ask(server *s);
/* How many have applied that; how many have it on disk. */
int64_t feed_count(server *s, int64_t position);
int64_t feed_count_durable(server *s, int64_t position);

typedef struct feed_figures {
    char id[FEED_ID_LEN + 1];
    char old_id[FEED_ID_LEN + 1]; /* its name up to old_end; "": it had no other */
    int64_t old_end;
    bool open;
    int64_t offset, first_offset; /* what was told; where the backlog begins */
    size_t readers;
    size_t backlog_bytes;
    uint64_t full, resumed,
        refused; /* data sets that were asked for; links that went on; those that would have, and could not */
} feed_figures;
void feed_read_figures(server *s, feed_figures *ret_figures);
size_t feed_backlog_bytes(server *s);
/* Calls visit for each reader, with the feed's lock held: it may only copy and write to memory. */
void feed_visit(server *s, void (*visit)(void *arg, const feed_reader *r), void *arg);

#endif
