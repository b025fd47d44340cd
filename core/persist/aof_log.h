/* aof_log.h - the files of a log, as one: found, checked, loaded, and gone on with.
 *
 *     aof_log log = { .directory = "appendonlydir", .prefix = "appendonly.aof", .say = say };
 *     found = aof_log_load(&log, &load, &end);            // AOF_LOG_LOADED: the stores have what it tells
 *     err = aof_log_continue(&log, &end, &file);          // opens its last file, or a new one, for appending
 *
 * Layout, Redis 7's: directory/prefix.manifest names directory/prefix.<seq>.base.rdb (or .aof), prefix.<seq>.incr.aof, ...
 *
 * Threads    One at a time.
 * Errors     0 or -errno; say has been told why.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_AOF_LOG_H
#define KV_PERSIST_AOF_LOG_H

#include <stdatomic.h>

#include "aof_apply.h"
#include "aof_file.h"
#include "aof_manifest.h"

#define AOF_PATH_MAX 4096

typedef enum aof_saying { AOF_NOTICE, AOF_WARNING } aof_saying;

typedef struct aof_log {
    const char *directory, *prefix;
    fault_plan *faults;
    aof_manifest manifest;
    void (*say)(void *arg, aof_saying how, const char *text); /* may be NULL */
    void *arg;
} aof_log;

typedef enum aof_log_found {
    AOF_LOG_NONE, /* there is no log */
    AOF_LOG_LOADED,
    AOF_LOG_REFUSED, /* it is damaged, or cannot be read */
    AOF_LOG_STOPPED, /* go_on said so */
} aof_log_found;

/* How to load. */
typedef struct aof_load_options {
    const kv_databases *databases; /* NULL: check only, and understand nothing */
    int64_t now_ms;
    int threads; /* that carry out commands, and how long they are not used: see aof_apply.h */
    unsigned alone;
    bool
        cut_tail; /* a torn tail of the last file is cut off (aof_log_continue does); otherwise it is refused */
    /* Loads a base file in RDB format; AOF_LOG_REFUSED: why has been told. *ret_bytes: where it ends: commands may follow. */
    aof_log_found (*load_rdb)(void *arg, const char *path, uint64_t *ret_bytes);
    void *rdb_arg;
    _Atomic uint64_t *loaded_bytes; /* progress over all files, or NULL */
    /* NULL, or asked before each command, on the calling thread; false: AOF_LOG_STOPPED. */
    bool (*go_on)(void *arg);
    void *go_on_arg;
} aof_load_options;

/* What a log was found to be. */
typedef struct aof_end {
    bool has_last;              /* the last incremental file may be appended to: */
    aof_file last;              /* id, sequence of its next batch, and the size that is whole */
    uint64_t next;              /* the sequence of the next batch, whatever file it comes to stand in */
    uint64_t torn_bytes;        /* that were no whole batch at its end */
    uint64_t filler_bytes;      /* behind that, or behind the last batch */
    uint64_t torn_at;           /* where they begin in the last file, which may be no incremental one */
    uint64_t commands;          /* that were carried out */
    uint64_t base_bytes, bytes; /* of the base file, and of all files */
} aof_end;

/* directory/name, into a buffer. False: it is too long. */
bool aof_log_path(const aof_log *log, const char *name, char path[AOF_PATH_MAX]);
/* Reads the manifest. An old log of one file, prefix beside the directory, is first made the base of a new one. 0; -ENOENT: there is no log. */
int aof_log_open(aof_log *log) KV_EXCLUDES(kv_shard_held);
/* For a log that is made anew: what a manifest names that is there, but was not loaded, will be history. 0, or why it cannot be read. */
int aof_log_know(aof_log *log) KV_EXCLUDES(kv_shard_held);
void aof_log_close(aof_log *log);
/* Bytes of all files that are to be loaded. */
uint64_t aof_log_bytes(const aof_log *log);

/* After aof_log_open: loads the files, in order. */
aof_log_found aof_log_load(aof_log *log, const aof_load_options *load, aof_end *ret_end)
    KV_EXCLUDES(kv_shard_held);

/* Opens the file to append to: the last one, its tail cut off; or a new one, which the manifest then names. */
int aof_log_continue(aof_log *log, const aof_end *end, aof_file *file) KV_EXCLUDES(kv_shard_held);
/* A new incremental file, synced, which the manifest does not name yet: aof_log_add does. */
int aof_log_new_file(aof_log *log, uint64_t next, aof_file *file, aof_entry *ret_entry)
    KV_EXCLUDES(kv_shard_held);
int aof_log_add(aof_log *log, const aof_entry *item) KV_EXCLUDES(kv_shard_held);

/* Makes the directory, if it is not there: for a base that comes before any other file. */
int aof_log_make_directory(const aof_log *log) KV_EXCLUDES(kv_shard_held);

/* A new base is in place: the manifest names it and, of the incremental files, `since` and those after it (NULL: none). The
 * others are history, and removed. */
int aof_log_replace(aof_log *log, const aof_entry *base, const aof_entry *since) KV_EXCLUDES(kv_shard_held);

/* For --check-log and --repair: path is a manifest, a directory with one, or a log file by itself. Prints what it finds to
 * say; repair cuts the torn tail of the last file. 0: all is well, or was repaired; 1: not. */
int aof_check(const char *path, bool repair, void (*say)(void *arg, aof_saying how, const char *text),
              void *arg) KV_EXCLUDES(kv_shard_held);

#endif
