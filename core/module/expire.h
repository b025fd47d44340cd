/* expire.h - fields whose deadline has passed leave within a second, on the primary, and replicas are told.
 *
 * A queue holds every key that has a field with a deadline, the one that is due first in front. A timer of the
 * server looks at it ten times a second.
 *
 * Threads    expire_forget from any thread, the others from the server's main thread.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_EXPIRE_H
#define KV_MODULE_EXPIRE_H

#include "keyed.h"

/* Starts the timer. */
void expire_start(rm_ctx *ctx);
/* A field of k, which is at that name in that database, is due at deadline_ms. Forgets nothing when memory is out: the
 * field is then removed when it is next written. */
void expire_watch(keyed *k, int db, kv_slice name, int64_t deadline_ms);
/* k is renamed, moved, or its databases were swapped: watched under a new name. */
void expire_moved(keyed *k, int db, kv_slice name);
void expire_swapped(int first_db, int second_db);
/* k ends. */
void expire_forget(keyed *k);

#endif
