/* lockstat.h - LOCKSTAT and INFO contention: who waited for the locks of shards. For people, for kvcli top and for kvbench
 * contention, which read what stands here; fields may be added, in any place, but keep their names and units.
 *
 * Everything is counted since the start or the last LOCKSTAT RESET, for all databases together. What is measured, and
 * that it costs nothing where nobody waits, stands in core/map/contention.h. With --sharing actor there are no locks to wait
 * for; with --sharing mutex all of a database is shard 0; with "lockstat no" everything stays 0. Times are nanoseconds;
 * percentiles are exact to a quarter.
 *
 *     LOCKSTAT [TOP n] [RESET]     the report, with at most n (10) shards and keys; RESET: then counts from zero
 *     LOCKSTAT RESET               only that: +OK
 *     LOCKSTAT HELP
 *
 * The report is a map:
 *     sharing              "sharded", "mutex", "actor"
 *     measured             1, or 0: nothing is (lockstat no, or actor)
 *     since-ms             milliseconds since counting began
 *     wait, hold           how long locks were waited for, and how long those were then held that had been waited for:
 *                          a map of count, total-ns, max-ns, p50-ns, p90-ns, p99-ns, p999-ns, and histogram: an array of
 *                          pairs: the least time of a bucket, and how many times fell into it; empty buckets are left out
 *     shards-waited-for    how many
 *     unlisted-waits       for shards that found no place in the list of 1024 (0: the list is complete)
 *     shards               those waited for longest first: maps of db, shard, waits, wait-ns, wait-max-ns, holds, hold-ns,
 *                          hold-max-ns
 *     keys                 those waited for most often first, out of lockstat-max-keys that are counted: maps of db, key
 *                          (null: it is not there any more), waits, error: waits is too high by at most error; a part of
 *                          the waits is not told apart by keys (changes of several keys, and samples left out)
 *
 * INFO contention has the same sums, one a line: lock_measured, lock_since_ms, lock_waits, lock_wait_total_ns,
 * lock_wait_max_ns, lock_wait_p50_ns, lock_wait_p99_ns, lock_wait_p999_ns, lock_holds, lock_hold_total_ns, lock_hold_max_ns,
 * lock_hold_p50_ns, lock_hold_p99_ns, lock_hold_p999_ns, lock_shards_waited_for, lock_unlisted_waits, and for the three
 * shards waited for longest lock_shard_0:db=,shard=,waits=,wait_ns=,wait_max_ns=,holds=,hold_ns=,hold_max_ns=
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_LOCKSTAT_H
#define KV_STANDALONE_LOCKSTAT_H

#include <stdio.h>

#include "server.h"

/* Begins to measure, as the configuration says. 0, or -1: memory is out. */
int lockstat_start(server *s);
/* Writes the lines of INFO contention. */
void lockstat_write_info(server *s, FILE *out);

#endif
