/* replication_internal.h - what replication.c, replication_sync.c and replication_load.c share.
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_REPLICATION_INTERNAL_H
#define KV_STANDALONE_REPLICATION_INTERNAL_H

#include <pthread.h>

#include "peer.h"
#include "replication.h"
#include "server.h"

/* What the primary was told: see replication_ack.c. */
typedef struct ack_state {
    int64_t durable;       /* -1: there is no log */
    bool is_paired;        /* the next two belong together */
    uint64_t log_position; /* as aof_position counts */
    int64_t offset;
    bool owes;      /* it has asked, and is told again when */
    int64_t wanted; /* is durable */
    int64_t sent_ms;
} ack_state;

/* Of the stream: read, and not applied. */
typedef struct held_bytes {
    char *bytes;
    size_t len, capacity;
} held_bytes;

struct replication {
    struct server *server;
    pthread_t thread;
    bool started;
    int poke_fd; /* readable: the goal has changed */

    /* Guards the goal. Held while a piece of the stream is applied and while a data set is put in place, so that nothing is
     * applied for a goal that is no longer. Taken by workers, for that long; before any shard. */
    pthread_mutex_t goal_lock;
    char host[REPLICATION_HOST_MAX]; /* "": none */
    int port;
    uint64_t goal; /* grows with each change */
    bool begun;    /* replication_begin was called for it */
    bool ending;
    bool was_primary; /* since the task has looked: clients may have written, whatever the goal is now */

    /* The task's own. */
    peer link;
    replication_stream *stream;
    uint64_t serving; /* the goal it works for */
    char to_host[REPLICATION_HOST_MAX];
    int to_port;
    bool has_history; /* the databases are id's at the stream's offset */
    ack_state ack;
    held_bytes held;                 /* see replication_relay.c */
    bool silent;                     /* a primary without PSYNC: it takes no REPLCONF ACK */
    char id[REPLICATION_ID_LEN + 1]; /* of the primary's history */
    uint64_t visits_asked;           /* of workers, ever; see replication_load.c */
    _Atomic uint64_t visits;         /* and so many were made */
    kv_store **spare;                /* databases for the next data set, empty between two; NULL: none yet */
    int64_t retry_ms;                /* how long to wait before the next attempt */
    char said[256];                  /* the failure that was logged last */

    pthread_mutex_t figures_lock; /* guards what follows; a leaf */
    replication_figures figures;
    replication_link shown; /* the link, while it */
    bool is_shown;          /* is a client */
};

/* The result of a step: 0, or -1 after replication_fail. */

/* Notes why the attempt has failed, and logs it unless that was the last thing logged. -1. */
int replication_fail(replication *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The same with what the link says; silently when the goal has changed. */
int replication_fail_link(replication *r, const char *doing);
/* Of the link that the task serves; nothing when the goal has changed. */
void replication_set_state(replication *r, replication_state state);
/* When what begins now has taken too long, by repl-timeout. */
int64_t replication_deadline(const replication *r);
/* The goal has changed: everything is to end. */
bool replication_is_stale(replication *r);
/* Something has come from the primary. */
void replication_note_heard(replication *r);

/* replication_link.c: the link is a client from here on; has received something; is none any more, before it is closed. */
void replication_show_link(replication *r);
void replication_note_link(replication *r);
void replication_hide_link(replication *r);

/* replication_ack.c: a link begins. */
void replication_begin_acks(replication *r);
/* The primary has asked. */
int replication_answer(replication *r) KV_EXCLUDES(kv_shard_held);
/* Tells the primary, if it is time; *ret_next_ms: when it may be again. */
int replication_acknowledge(replication *r, int64_t *ret_next_ms) KV_EXCLUDES(kv_shard_held);

/* replication_relay.c, with goal_lock: a data set is in place, all of it or not; so many bytes were read, and the offset has passed so
 * many more; the link is lost; the replication is freed. */
void replication_begin_relay(replication *r, int64_t offset, bool whole) KV_EXCLUDES(kv_shard_held);
void replication_relay(replication *r, const char *bytes, size_t read, size_t applied)
    KV_EXCLUDES(kv_shard_held);
void replication_drop_held(replication *r);
void replication_end_relay(replication *r);
/* Any thread: the configuration may have changed. */
void replication_look_at_relay(server *s) KV_EXCLUDES(kv_shard_held);

/* replication_sync.c: from a connected link to databases that are the primary's at the stream's offset. */
int replication_synchronize(replication *r) KV_EXCLUDES(kv_shard_held);

/* replication_load.c: reads a data set from the link, of so many bytes or (-1) up to its own end, behind which mark stands,
 * and puts it in place of what is in the databases. */
int replication_load(replication *r, int64_t bytes, const char mark[REPLICATION_ID_LEN], int64_t offset)
    KV_EXCLUDES(kv_shard_held);

#endif
