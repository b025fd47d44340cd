/* persistence.h - snapshots of the server: SAVE, BGSAVE, save points, loading at the start.
 *
 * One thread, the snapshot task, writes and reads the files; workers send it requests and are told of the end by messages.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_PERSISTENCE_H
#define KV_STANDALONE_PERSISTENCE_H

#include "connection.h"
#include "rdb_save.h"
#include "worker.h"

struct server;
typedef struct persistence persistence;

/* What INFO tells. Times in seconds; -1: never. */
typedef struct persistence_figures {
    bool loading, saving, last_ok;
    int64_t last_save_s, last_duration_s, current_duration_s;
    uint64_t saves, changes;
    uint64_t keys_done, keys_total; /* of the snapshot under way */
    uint64_t kept_bytes;            /* what is kept of what was overwritten meanwhile */
    uint64_t load_started_s, load_bytes, load_bytes_total, load_keys, load_expired;
} persistence_figures;

/* NULL: memory is out. */
persistence *persistence_new(struct server *s);
/* Looks whether there are data to load: the log with appendonly (it has it all), else a snapshot; if so, the server is SERVER_LOADING from now on. */
bool persistence_prepare(persistence *p);
/* Starts the task, which loads them first, starts the log, and calls server_loaded when that is done; a file that cannot be
 * loaded ends the process. 0, or -1: no thread. */
int persistence_start(persistence *p);
/* Waits until what persistence_prepare has found is loaded, but no longer than ms. */
void persistence_await_load(persistence *p, int64_t ms);
bool persistence_is_loading(persistence *p);
/* The databases are being filled anew, at another time than the start: clients are refused (-LOADING), or no longer. */
void persistence_show_loading(persistence *p, bool loading);
bool persistence_is_saving(persistence *p);
/* Ends what is under way, loading or a snapshot, and the task. No client is served any more. */
void persistence_stop(persistence *p);
void persistence_free(persistence *p);

enum persistence_answer { PERSISTENCE_STARTED, PERSISTENCE_BUSY, PERSISTENCE_SCHEDULED };

/* BGSAVE. Any thread. */
enum persistence_answer persistence_begin(persistence *p, bool schedule) KV_EXCLUDES(kv_shard_held);
/* SAVE: as that, and c, which is parked by this call, is answered at the end. PERSISTENCE_BUSY: it is not parked. */
enum persistence_answer persistence_save_for(persistence *p, connection *c) KV_EXCLUDES(kv_shard_held);
/* FLUSHALL: what is on disk must not come back. Where there are save points, saves what is left: nothing. True: the client of call is
 * parked, and answered then; otherwise (in EXEC, on the state thread, from a primary, beside another snapshot) the next tick does it. */
bool persistence_emptied(void *server, kv_call *call);
/* DEBUG RELOAD and LOADAOF, in the same way; while it loads the server is SERVER_LOADING. */
enum persistence_reloading {
    PERSISTENCE_NO_SAVE = 1,  /* the file as it is */
    PERSISTENCE_NO_FLUSH = 2, /* into what is there */
    PERSISTENCE_FROM_LOG = 4, /* LOADAOF: not the file */
};
enum persistence_answer persistence_reload_for(persistence *p, connection *c, unsigned how)
    KV_EXCLUDES(kv_shard_held);
/* SHUTDOWN, or (c NULL) a signal: saves, after ending a snapshot under way, then stops the server; when that failed, does not,
 * unless force says so, and answers c, which is parked. -1: memory is out, nothing was done. */
int persistence_save_and_stop(persistence *p, connection *c, bool force) KV_EXCLUDES(kv_shard_held);
/* Saves on this thread, after a snapshot under way was ended: at the end of the server. 0 or -1 after logging why. */
int persistence_save_now(persistence *p) KV_EXCLUDES(kv_shard_held);
/* Whether there are save points: a server with any saves when it stops. */
bool persistence_has_points(persistence *p);

/* A domain has one snapshot at a time: whoever takes one besides claims it. False: somebody has it. */
bool persistence_claim(persistence *p);
/* Ends a snapshot of the task that is under way, and waits until it has the claim: for who exchanges and frees whole stores, which
 * a snapshot may be in. */
void persistence_hold_off(persistence *p) KV_EXCLUDES(kv_shard_held);
void persistence_unclaim(persistence *p);

/* Who wants a copy of the databases of one moment for himself. The first five are the caller's. */
typedef struct persistence_copy {
    rdb_sink_fn
        *sink; /* is handed the bytes of an RDB file; it may wait, as long as save.cancel is not set */
    void (*before_moment)(void *arg);               /* it may wait */
    void (*at_moment)(void *arg);                   /* see snapshot.h */
    void (*after_moment)(void *arg, bool has_come); /* after each before_moment, when nothing is locked */
    void *arg;                                      /* of all four */
    rdb_save save;
    const snapshot
        *snap; /* while sink is called; it may see from it that waiting is of no use: snapshot_failed */
} persistence_copy;

/* Makes one, on this thread. Who needs the one snapshot for the server itself (SHUTDOWN, persistence_hold_off) ends it. Writers are not slowed for
 * it, as they would be for a disk: more than twice snapshot-keep-bytes of overwritten entries end it. 0; EBUSY: there is another
 * snapshot, and sink was not called; or an errno, see rdb_save_error. */
int persistence_make_copy(persistence *p, persistence_copy *copy) KV_EXCLUDES(kv_shard_held);

/* Worker 0, a few times a second: begins a snapshot when a save point is reached. */
void persistence_tick(persistence *p) KV_EXCLUDES(kv_shard_held);
void persistence_read_figures(persistence *p, persistence_figures *ret_figures) KV_EXCLUDES(kv_shard_held);
/* Changes since the last snapshot. */
uint64_t persistence_changes(persistence *p) KV_EXCLUDES(kv_shard_held);
/* What was changed by then is in a file (or came from one). */
void persistence_reset_changes(persistence *p) KV_EXCLUDES(kv_shard_held);
/* Makes SERVER_DISK_ERROR as the last snapshot and the configuration say. */
void persistence_apply(struct server *s);

/* A worker about to write, when the server is SERVER_PRESSED: waits a little for the snapshot to get on. */
void persistence_wait_for_room(persistence *p);

#endif
