/* map_snapshot.h - what some maps of one domain held at one moment, gone through while they are written to.
 *
 *     map_snapshot *snap = map_snapshot_new(domain, n, maps, keep_bytes);
 *     err = map_snapshot_begin(snap, at_moment, arg);         // the moment
 *     while (map_snapshot_step(snap, visit, arg) > 0)         // some hundred entries each
 *         ... write what visit has copied ...
 *     map_snapshot_free(snap);
 *
 * Threads    One at a time uses a snapshot; the maps are anybody's meanwhile. A domain has one snapshot at a time.
 *            The maps outlive it.
 * Errors     0 or KV_E...
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MAP_MAP_SNAPSHOT_H
#define KV_MAP_MAP_SNAPSHOT_H

#include "map.h"

typedef struct map_snapshot map_snapshot;

/* keep_bytes: how much may be kept of what is overwritten before it is visited. Writers should wait when there is more
 * (map_snapshot_pressed); with twice as much the snapshot fails. NULL: memory is out. */
map_snapshot *map_snapshot_new(kv_domain *domain, size_t n, map *const maps[], size_t keep_bytes);
/* Ends it, wherever it is. Callers are in no epoch. NULL is nothing. */
void map_snapshot_free(map_snapshot *snap) KV_EXCLUDES(kv_shard_held);

/* Locks all shards of all maps, notes where they stand, runs at_moment(arg) (may be NULL), and unlocks. KV_ENOMEM. */
int map_snapshot_begin(map_snapshot *snap, void (*at_moment)(void *arg), void *arg)
    KV_EXCLUDES(kv_shard_held);

/* Sees an entry of maps[index] as it was at the moment; inside an epoch: it may copy, not wait. */
typedef void map_snapshot_visit_fn(void *arg, size_t index, const entry *e);
/* Visits some entries, each of the moment's once in all, kept ones first. 1: there may be more; 0: that was all;
 * KV_ENOMEM, KV_ETOOBIG: something that was overwritten could not be kept, so that there will be no whole. */
int map_snapshot_step(map_snapshot *snap, map_snapshot_visit_fn *visit, void *arg) KV_EXCLUDES(kv_shard_held);

/* What maps[index] held at the moment. */
typedef struct map_snapshot_count {
    size_t entries, with_deadline;
} map_snapshot_count;
map_snapshot_count map_snapshot_counted(const map_snapshot *snap, size_t index);

/* Any thread: the bytes that are kept, and whether writers should wait. */
size_t map_snapshot_kept(const map_snapshot *snap);
bool map_snapshot_pressed(const map_snapshot *snap);
/* Whether the next step will fail. Any thread. */
bool map_snapshot_failed(const map_snapshot *snap);

/* ---- for the files of core/map: under the shard's lock ---- */

/* An entry is about to go from the map: keeps a copy, if the snapshot has not been there yet. */
void snapshot_keep(map_shard *shard, const entry *e) KV_REQUIRES(kv_shard_held);
/* Whether an entry published with that version would look as if it had been there at the moment. */
bool snapshot_covers(const map_shard *shard, uint64_t version) KV_REQUIRES(kv_shard_held);

#endif
