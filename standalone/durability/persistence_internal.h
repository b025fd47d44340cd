/* persistence_internal.h - what the files of the snapshot task share. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_PERSISTENCE_INTERNAL_H
#define KV_STANDALONE_PERSISTENCE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "persistence.h"
#include "rdb_load.h"
#include "rdb_save.h"
#include "server.h"

/* A client that waits for its SAVE. */
typedef struct persistence_waiting {
    worker_message message;
    struct persistence_waiting *next;
    connection *connection; /* NULL: it is a signal that is to stop the server */
    bool saved;
    bool stop, force; /* stop the server then; also if it failed */
    bool flush;       /* FLUSHALL has emptied the databases: its answer is no other if it failed */
    bool reload;      /* how: of PERSISTENCE_... */
    unsigned how;
} persistence_waiting;

struct persistence {
    server *server;
    pthread_t thread;
    bool started;
    _Atomic bool claimed;
    _Atomic bool emptied;         /* a snapshot is to be taken at the next tick: see persistence_emptied */
    _Atomic(snapshot *) snapshot; /* while one is taken; see kept_lock */

    pthread_mutex_t lock; /* guards the following */
    pthread_cond_t wake;
    pthread_cond_t loaded; /* steady: the first load is over, and clients may be served */
    bool wanted, scheduled, saving, stop, loading, last_ok;
    persistence_waiting *waiting;
    int64_t last_save_s, last_try_s, last_duration_s, begun_s, load_started_s;
    uint64_t saves, saved_changes; /* of store_changes, at the moment of the last snapshot */
    rdb_save *save;                /* under way */
    uint64_t keys_total;
    _Atomic bool ending;       /* whatever is loaded is not wanted any more */
    uint64_t undelayed;        /* records, since the last delay: see persistence_load.c */
    bool loads_log;            /* what is loaded is the log */
    uint64_t visits_asked;     /* of workers, ever; the task's: see persistence_reload.c */
    _Atomic uint64_t visits;   /* and so many were made */
    pthread_mutex_t kept_lock; /* held while *snapshot is looked at, or goes */

    rdb_load load;
};

static inline int64_t persistence_now_s(void)
{
    return clock_ms() / 1000;
}

/* Changes since the start, of all databases. */
uint64_t persistence_count_changes(const server *s);
/* The path of the snapshot, to be freed; NULL: memory is out. */
char *persistence_path(const server *s);

/* The task's jobs. Takes a snapshot and writes it, while nobody else takes one: 0, or -1 after logging why. */
int persistence_save(persistence *p) KV_EXCLUDES(kv_shard_held);
/* Reads the file into the databases: 0, also when there is none, or -1 after logging why. */
int persistence_load(persistence *p) KV_EXCLUDES(kv_shard_held);
/* Saves, empties the databases, and loads that file, or the log; with the claim. 0, or -1 after logging why. */
int persistence_reload(persistence *p, unsigned how) KV_EXCLUDES(kv_shard_held);
/* Loads what there is at the start; ends the process when that cannot be done, else says that the data are loaded, unless the
 * server ends before they are. */
void persistence_load_first(persistence *p) KV_EXCLUDES(kv_shard_held);

/* Whether the next record of what is loaded is wanted; arg: the persistence. Takes as long as key-load-delay says. */
bool persistence_goes_on(void *arg);

/* How far the loading is. */
typedef struct persistence_progress {
    uint64_t bytes, bytes_total, keys, expired;
} persistence_progress;
persistence_progress persistence_loaded_so_far(persistence *p);

/* Ends a snapshot under way; the task goes on. The second: lock is held. */
void persistence_cancel(persistence *p);
void persistence_cancel_locked(persistence *p);
/* Answers all of the list on their workers, and frees it. */
void persistence_answer_all(server *s, persistence_waiting *list, bool saved) KV_EXCLUDES(kv_shard_held);

#endif
