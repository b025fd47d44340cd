/* rdb_load.h - an RDB file into stores, on several threads.
 *
 * Threads    The calling thread reads and checks; others insert. Any thread may read progress. Nobody should be served what
 *            is in the stores before it has ended well: the checksum stands at the end of the file.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_RDB_LOAD_H
#define KV_PERSIST_RDB_LOAD_H

#include <stdatomic.h>

#include "rdb.h"
#include "store.h"

typedef struct rdb_load {
    kv_store *const *stores; /* databases 0..count-1, of one domain */
    int count;
    int threads; /* that insert, at least 1 */
    rdb_read_options options;
    int64_t used_ms; /* when keys were used of which the file does not say that; 0: now_ms */
    int64_t now_ms;  /* keys whose deadline is not later are left out; INT64_MIN: none */
    /* NULL, or asked before each record, on the calling thread; false: RDB_ESTOPPED. */
    bool (*go_on)(void *arg);
    void *arg;

    _Atomic uint64_t bytes_total, bytes_done, keys_loaded, keys_expired, keys_passed; /* progress */
    uint64_t keys_announced;
    char passed[160]; /* what was passed over: types, one of each */
    char reason[400]; /* after a failure: file, offset and reason */
} rdb_load;

/* Reads a file. 0; 1: there is no such file; or RDB_E... with load->reason. *ret_end (may be NULL): where the RDB part ends. */
int rdb_load_file(rdb_load *load, const char *path, uint64_t *ret_end) KV_EXCLUDES(kv_shard_held);

#endif
