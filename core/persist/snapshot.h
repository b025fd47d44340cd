/* snapshot.h - what some stores held at one moment, record by record, while everybody goes on writing to them.
 *
 *     snapshot *snap = snapshot_new(&options, n, stores);
 *     err = snapshot_begin(snap);                                     // the moment
 *     while ((err = snapshot_next(snap, visit, arg)) > 0)
 *         ;                                                           // visit(arg, record) for each key of the moment
 *     snapshot_free(snap);
 *
 * The records come in no order, and now and then from another store than the one before. Between two of them nothing is
 * held: visit may write files and wait as long as it likes.
 *
 * Threads    One at a time uses a snapshot. A domain has one snapshot at a time: who starts two sees to it that they do
 *            not overlap.
 * Errors     0 or KV_E...: KV_ENOMEM; KV_ETOOBIG: more was overwritten than options allow to keep.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_SNAPSHOT_H
#define KV_PERSIST_SNAPSHOT_H

#include "store.h"

typedef struct snapshot snapshot;

typedef struct snapshot_options {
    size_t
        keep_bytes; /* what overwritten values may take before they are visited; at twice as much it fails */
    /* Runs at the moment, while every shard of every store is held: nothing is being changed, and no change is told to a
     * listener. It may not wait, and not call the stores. NULL: nothing. */
    void (*at_moment)(void *arg);
    void *at_moment_arg;
} snapshot_options;

/* A key as it was at the moment. key and value are valid during the visit. */
typedef struct snapshot_record {
    size_t store; /* its index */
    kv_slice key, value;
    int64_t deadline_ms; /* or KV_FOREVER */
    uint64_t version;
    uint32_t access; /* its access clock, see store.h */
} snapshot_record;

/* The stores are of one domain, and outlive the snapshot. NULL: memory is out. */
snapshot *snapshot_new(const snapshot_options *options, size_t n, kv_store *const stores[]);
/* Also ends one that is under way. NULL is nothing. */
void snapshot_free(snapshot *snap) KV_EXCLUDES(kv_shard_held);
int snapshot_begin(snapshot *snap) KV_EXCLUDES(kv_shard_held);

/* Returns 0 to go on, or anything else, with which snapshot_next returns at once; what was not visited then never is. */
typedef int snapshot_visit_fn(void *arg, const snapshot_record *record);
/* Visits some of the records. 1: there may be more; 0: that was all; KV_E...; or what visit returned. */
int snapshot_next(snapshot *snap, snapshot_visit_fn *visit, void *arg) KV_EXCLUDES(kv_shard_held);

/* How many keys a store had at the moment, and how many of them had a deadline (which may have passed). */
size_t snapshot_keys(const snapshot *snap, size_t store);
size_t snapshot_keys_with_deadline(const snapshot *snap, size_t store);

/* Any thread: the bytes that are kept of what was overwritten, and whether there are more than keep_bytes: then who
 * is about to write should wait a little first. */
size_t snapshot_kept_bytes(const snapshot *snap);
bool snapshot_pressed(const snapshot *snap);
/* Any thread: whether the next snapshot_next will fail, since too much was overwritten: for who waits between two. */
bool snapshot_failed(const snapshot *snap);

#endif
