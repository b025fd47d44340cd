/* aof_internal.h - what the files of the log's task share. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_AOF_INTERNAL_H
#define KV_STANDALONE_AOF_INTERNAL_H

#include <pthread.h>

#include "aof.h"
#include "aof_group.h"
#include "rdb_load.h"

enum aof_state {
    AOF_OFF,     /* nothing is told; so it is, too, while it is loaded */
    AOF_WAITING, /* it is being switched on: what changes is written, and nothing is promised */
    AOF_ON,      /* what changes is written */
    AOF_BROKEN,  /* nothing more is acknowledged: writes are refused */
};

struct aof {
    server *server;
    aof_buffer buffer;
    _Atomic int state;  /* enum aof_state */
    _Atomic int policy; /* enum aof_policy */
    _Atomic int action; /* enum aof_error_action */
    _Atomic bool no_sync_while_rewriting;
    _Atomic uint64_t buffer_max;    /* bytes that may wait */
    _Atomic uint64_t prepare_bytes; /* of the file, ahead, with always */
    _Atomic unsigned age; /* grows when changes are heard again: what writers have begun before is nothing */

    pthread_mutex_t file_lock; /* guards the next eight */
    aof_log log;
    char directory[AOF_NAME_MAX], prefix[AOF_NAME_MAX];
    aof_file file;
    aof_queue batch;    /* taken, and not yet written */
    uint64_t batch_end; /* where it ends, as buffer.appended counts */
    bool retry;         /* the last write failed; batch is still to be written */
    _Atomic bool
        spoilt; /* what is in the files is not what was told, and never will be: only a rewrite helps */

    /* Positions as buffer.appended counts: what was handed to the system, and what is on disk. */
    _Atomic uint64_t written, synced;
    _Atomic uint64_t file_bytes, older_bytes, base_bytes, sequence,
        batches; /* older: of the files before it */

    pthread_t task;
    pthread_mutex_t lock; /* guards the next five */
    pthread_cond_t wake;
    bool started, asked, stopping;
    bool ending; /* appendonly no: the task closes the log */

    aof_group group; /* the task's own */
    /* While the task waits for company: it need not be asked before aof_kept_in_all is so much. 0: it does not wait. */
    _Atomic uint64_t enough;

    /* Of a rewrite; see aof_rewrite.c. */
    pthread_mutex_t rewriter_lock; /* guards the next three */
    pthread_t rewriter;
    bool rewriter_started;
    bool
        bare; /* appendonly is no: the rewrite writes a base, and nothing goes on behind it. Set while no rewriter runs */
    _Atomic bool rewriting, stop_rewriting, rewrite_ok;
    _Atomic uint64_t rewrite_started_ns, no_rewrite_before_ns, rewrites, rewrites_failed;
    _Atomic int64_t last_rewrite_s;
    pthread_cond_t was_rotated; /* with `lock`, which guards the next three */
    bool rotated;
    int rotate_error;
    aof_entry rotated_entry;

    _Atomic bool wanted;    /* a rewrite, as soon as can be */
    _Atomic bool scheduled; /* the same, by BGREWRITEAOF: with or without a log */
    _Atomic bool apart;     /* no manifest names the file before the new base is there */
    _Atomic bool deaf;      /* what is told is dropped: it is spoilt */
    _Atomic bool syncing;
    _Atomic uint64_t syncs, delayed_syncs;
    _Atomic bool write_ok;
    _Atomic bool loading; /* it is, or will be, at the start */
    _Atomic uint64_t loaded_bytes, total_bytes;
    rdb_load base;               /* of the log, where that is an RDB file */
    pthread_mutex_t reason_lock; /* guards the next */
    char reason[256];
};

/* ---- aof_task.c ---- */

/* Whether everything that any thread may have published is safe, by the policy. writer: this thread's. */
bool aof_is_safe(aof *a, const aof_writer *writer);
/* The same, after writing what is to be written on this thread, where the policy allows that and it can be done at once. */
bool aof_make_safe(aof *a) KV_EXCLUDES(kv_shard_held);
/* Those who wait for the sync itself (WAITAOF) look again. */
void aof_tell_waiting(const aof *a) KV_EXCLUDES(kv_shard_held);
/* How many replies workers ever kept back. */
uint64_t aof_kept_in_all(const aof *a);
/* Wakes the task. */
void aof_ask(aof *a);
/* Takes and writes what has been told. file_lock is held. 0 or -errno. */
void aof_mend(aof *a) KV_EXCLUDES(kv_shard_held);
/* From here on the files cannot become right by writing to them. file_lock is held. */
void aof_spoil(aof *a) KV_EXCLUDES(kv_shard_held);
int aof_commit(aof *a) KV_EXCLUDES(kv_shard_held);
/* Syncs what was written before the call; 0, or -errno after the failure was dealt with. file_lock is held. */
int aof_sync(aof *a) KV_EXCLUDES(kv_shard_held);
/* Something failed, and what was told may be lost: exits, or refuses writes from now on. */
void aof_break(aof *a, const char *what, int err) KV_EXCLUDES(kv_shard_held);
void *aof_task(void *arg);

/* Writes and syncs what was told before the seal. file_lock is held; the task only. */
int aof_write_sealed(aof *a) KV_EXCLUDES(kv_shard_held);

/* ---- aof_rewrite.c ---- */

/* The buffer is sealed: another file begins. file_lock is held; the task only. 0 or -errno: try again later. */
int aof_rotate(aof *a) KV_EXCLUDES(kv_shard_held);
/* Ends a rewrite that is under way, and waits for that. */
void aof_rewrite_stop(aof *a) KV_EXCLUDES(kv_shard_held);

/* ---- aof_hold.c ---- */

/* Lets w send what is held of its turns up to `turn`. Any thread. */
void aof_post_release(worker *w, uint64_t turn) KV_EXCLUDES(kv_shard_held);
/* What a worker has, all zero, to hold connections. */
void aof_init_worker(worker *w);

static inline bool aof_syncs_always(const aof *a)
{
    return atomic_load_explicit(&((aof *)a)->policy, memory_order_relaxed) == AOF_SYNC_ALWAYS;
}

#endif
