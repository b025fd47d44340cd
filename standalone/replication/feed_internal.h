/* feed_internal.h - what feed.c and feed_relay.c share. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_FEED_INTERNAL_H
#define KV_STANDALONE_FEED_INTERNAL_H

#include "feed.h"

struct feed_chunk {
    feed_chunk *next;
    kv_bytes *owner;
    kv_slice bytes;
};

struct feed {
    aof_buffer buffer;
    _Atomic uint64_t taken;     /* of what has entered, as buffer.appended counts */
    _Atomic unsigned age;       /* grows when a history begins: what writers have begun before is nothing */
    _Atomic bool relays;        /* the stream is the primary's: nothing is told here */
    _Atomic bool crowded;       /* too much has entered: the history is at its end */
    _Atomic int64_t base;       /* an offset is base + a position in the buffer */
    _Atomic int64_t most_bytes; /* that may be behind the slowest; 0: any */

    pthread_mutex_t lock; /* guards the following */
    char id[FEED_ID_LEN + 1];
    char old_id[FEED_ID_LEN + 1]; /* of what the history was before old_end; "": it had no other name */
    int64_t old_end;
    feed_chunk *first, *last; /* the backlog: offsets start to end */
    int64_t start, end;
    feed_reader *readers;
    size_t reader_count;
    int64_t idle_since_ms, pinged_ms;
    uint64_t full, resumed, refused;
};

/* ---- feed->lock is held ---- */

/* Puts bytes that lie in owner, a reference that it takes, at the end. False: memory is out. */
bool feed_append(feed *f, kv_bytes *owner, kv_slice bytes);
/* What everybody has goes, but for repl-backlog-size; those for whom there is something are told. */
void feed_appended(server *s);
/* From here on changes are told, behind what is in the backlog, under a new name. notify_apply is to be called, without the lock. */
void feed_listen(server *s);
/* Its connection is to be closed. */
void feed_lose(feed_reader *r, const char *why);
void feed_lose_all(feed *f, const char *why);
/* The history is at its end: nobody may go on in it. True: notify_apply is to be called, without the lock. */
bool feed_end_history(server *s, const char *why);

#endif
