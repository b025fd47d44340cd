/* data_set_internal.h - what the two halves of data_set.h share: one makes data sets (data_set.c), the other hands their bytes to
 * the workers, and waits for those who read them (data_set_transfer.c).
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_DATA_SET_INTERNAL_H
#define KV_STANDALONE_DATA_SET_INTERNAL_H

#include <pthread.h>

#include "data_set.h"
#include "persistence.h"
#include "worker.h"

#define CHUNK_BYTES ((size_t)256 * 1024)
#define MARK_LEN    40
#define NEWLINE_MS  1000 /* between two signs of life */

/* Of the chunk that is on its way. */
enum chunk_state { CHUNK_NONE, CHUNK_POSTED, CHUNK_PENDING };

struct transfer {
    worker_message message; /* first */
    transfer *next;         /* that waits */
    data_sets *all;
    connection *c; /* the worker's */
    worker *w;
    uint64_t id; /* of c */
    bool psync, mark;
    struct feed_reader *reader; /* of c, or NULL */

    /* Guarded by all->lock. */
    kv_bytes *chunk;
    enum chunk_state state;
    bool posted, gone, ended, whole;
};

struct data_sets {
    struct server *server;
    pthread_mutex_t lock; /* guards the next eight */
    pthread_cond_t changed;
    transfer *first, **last; /* those that wait */
    int64_t newline_ms;      /* when they are told next that they do */
    struct sender *senders;  /* of files: each has a thread, or had one that is to be joined */
    bool started, ending, cancelled;
    pthread_t thread;
};

/* Who sends a file that is complete. */
typedef struct sender {
    struct sender *next;
    pthread_t thread;
    struct sending *sending;
    bool done; /* with the lock: the thread ends */
} sender;

/* What the thread is at. */
typedef struct sending {
    transfer *t;
    persistence_copy copy;
    char *buffer; /* CHUNK_BYTES */
    size_t len;
    int file;      /* -1: there is none */
    bool to_file;  /* what is gathered goes there */
    uint64_t kept; /* bytes in it */
    uint64_t sent;
    int64_t newline_ms; /* when the client is told next that it is not forgotten */
    int64_t waited_ms;  /* for the client, since it had taken */
    uint64_t counted;   /* of sent */
    int64_t offset;     /* of the moment, in the stream of changes */
    bool begun;         /* the head was sent */
    const char *why;    /* it is of no use to go on */
    char failure[160];  /* of the file; empty: it has not failed */
    char mark[MARK_LEN + 1], id[40 + 1];
} sending;

/* ---- all->lock is held ---- */

/* The transfer is over. */
void transfer_end(transfer *t, bool whole);
/* The first of those that wait, which waits no longer; NULL: nobody does. */
transfer *transfer_take_first(data_sets *all);

/* ---- on the worker's thread ---- */

/* There is a chunk, or the end. */
void transfer_hear(worker *w, worker_message *message);

/* ---- on the thread that makes data sets ---- */

/* Sends bytes when c has taken those before. 0, or an errno: with s->why, or ENOMEM. */
int sending_chunk(sending *s, kv_slice bytes);
/* Waits until c has taken all. 0, or ECANCELED with s->why. */
int sending_wait(sending *s);
/* Nothing is sent for now, but a sign of life when it is time. pause: after a little while. 0, or ECANCELED with s->why. */
int sending_stay(sending *s, bool pause);

#endif
