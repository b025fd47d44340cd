/* rdb.h - RDB, Redis's format of snapshots: writing it to a sink, and reading it from a source.
 *
 *     rdb_writer *w = rdb_writer_new(&options, sink, arg);           rdb_reader *r = rdb_reader_new(&options, source, arg);
 *     rdb_write_db(w, 0, keys, with_deadline);                       while ((err = rdb_read(r, &item)) > 0)
 *     rdb_write_string(w, &record);  ...                                 if (item.kind == RDB_STRING) ...
 *     err = rdb_write_end(w);                                        if (err) puts(rdb_reader_reason(r));
 *
 * What is written is version 10, which redis-server 7.0 and all later ones read. What is read are versions 1 to
 * RDB_VERSION_READ: strings in every encoding, with expiry, idle time and frequency. Lists, hashes, sets, sorted sets,
 * streams, values of modules and functions are understood well enough to name them and to pass over them.
 *
 * Threads    One at a time.
 * Ownership  What an item points to is the reader's, until the next rdb_read.
 * Errors     Writers: 0, or the errno of the sink (ENOMEM among them); the first one stays, and nothing is written
 *            after it. Readers: RDB_E...; after one the reader reads no more.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_RDB_H
#define KV_PERSIST_RDB_H

#include "kvstore/kvstore.h"

#include <sys/types.h>

#define RDB_VERSION      10 /* of what is written */
#define RDB_VERSION_READ 12 /* the newest that is read */

#define RDB_IDLE_NONE (-1)
#define RDB_FREQ_NONE (-1)

/* A string with its key. */
typedef struct rdb_record {
    unsigned db;
    kv_slice key, value;
    int64_t deadline_ms; /* or KV_FOREVER */
    int64_t idle_s;      /* seconds since its last use, or RDB_IDLE_NONE */
    int freq;            /* LFU counter 0..255, or RDB_FREQ_NONE */
} rdb_record;

/* ---- writing ---- */

typedef struct rdb_writer rdb_writer;

/* Takes len bytes, all of them; 0, or an errno. */
typedef int rdb_sink_fn(void *arg, const void *bytes, size_t len);

typedef struct rdb_write_options {
    bool compress;    /* strings of more than 20 bytes, by LZF, where that saves something */
    bool no_checksum; /* the footer is 0, which readers take for "none" */
} rdb_write_options;

/* NULL: memory is out. */
rdb_writer *rdb_writer_new(const rdb_write_options *options, rdb_sink_fn *sink, void *arg);
void rdb_writer_free(rdb_writer *w);

/* A fact about the file: redis-ver, ctime, used-mem, ... */
int rdb_write_aux(rdb_writer *w, kv_slice name, kv_slice value);
int rdb_write_aux_int(rdb_writer *w, kv_slice name, int64_t value);
/* What follows is of this database; so many keys are to come, so that a reader can make room (0: nothing is known). */
int rdb_write_db(rdb_writer *w, unsigned db, uint64_t keys, uint64_t with_deadline);
/* record->db is not looked at: it is the one of rdb_write_db. */
int rdb_write_string(rdb_writer *w, const rdb_record *record);
/* Writes the footer and hands everything to the sink. */
int rdb_write_end(rdb_writer *w);
/* Hands what was written so far to the sink. */
int rdb_write_flush(rdb_writer *w);
/* The bytes of the file so far, those not yet handed on included. */
uint64_t rdb_writer_bytes(const rdb_writer *w);

/* ---- reading ---- */

typedef struct rdb_reader rdb_reader;

/* Gives up to max bytes; returns how many, 0 at the end, or a negative errno. */
typedef ssize_t rdb_source_fn(void *arg, void *into, size_t max);

enum rdb_error {
    RDB_EIO = -1001,          /* the source failed */
    RDB_EDAMAGED = -1002,     /* it is no RDB file, or not a whole one, or its checksum is wrong */
    RDB_EUNSUPPORTED = -1003, /* a version, or a type, that is not supported */
    RDB_ENOMEM = -1004,
    RDB_ESTOPPED = -1005, /* whoever loads it wants no more of it */
};

typedef enum rdb_kind {
    RDB_STRING, /* record: a key */
    RDB_DB,     /* record.db: what follows is of it; keys, with_deadline: how many, as was announced, or 0 */
    RDB_AUX,    /* record.key, record.value: a fact about the file */
    RDB_PASSED, /* with pass_unsupported: something was passed over: type, record.key (empty: it has none) */
} rdb_kind;

typedef struct rdb_item {
    rdb_kind kind;
    rdb_record record;
    uint64_t keys, with_deadline;
    const char *type; /* PASSED: "list", "hash", "function", ... */
} rdb_item;

typedef struct rdb_read_options {
    bool pass_unsupported; /* over what is not supported, instead of failing with RDB_EUNSUPPORTED */
    bool no_checksum;      /* whatever the footer says */
} rdb_read_options;

/* NULL: memory is out. options NULL: the defaults. */
rdb_reader *rdb_reader_new(const rdb_read_options *options, rdb_source_fn *source, void *arg);
void rdb_reader_free(rdb_reader *r);
/* 1: *ret_item; 0: the end was reached, and the checksum is right; or RDB_E... */
int rdb_read(rdb_reader *r, rdb_item *ret_item);
/* After an error: what is wrong, without the offset; never NULL. */
const char *rdb_reader_reason(const rdb_reader *r);
/* Of the first byte that was not yet understood. */
uint64_t rdb_reader_offset(const rdb_reader *r);
/* After the end: what the source gave behind it (a replication stream goes on there). */
kv_slice rdb_reader_rest(const rdb_reader *r);

/* An rdb_source_fn that reads a file descriptor: arg points to an int. */
ssize_t rdb_source_fd(void *arg, void *into, size_t max);
/* And one that reads a slice, which it shortens: arg points to a kv_slice. */
ssize_t rdb_source_slice(void *arg, void *into, size_t max);

#endif
