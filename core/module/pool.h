/* pool.h - threads that read stores while the server's main thread goes on.
 *
 * Threads    pool_start, pool_submit, pool_stop: the server's main thread. Jobs run on the pool's.
 * Errors     pool_submit: false when no thread could be started, or memory is out; then the caller does it itself.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_POOL_H
#define KV_MODULE_POOL_H

#include <pthread.h>
#include <stdbool.h>

typedef void pool_fn(void *arg);

/* Starts a thread of its own, which is sent no signal: those are the server's. */
bool pool_thread(pthread_t *ret_thread, void *(*run)(void *arg), void *arg);

/* Runs fn(arg) on a thread of the pool, which has up to threads of them, started when they are first needed. */
bool pool_submit(pool_fn *fn, void *arg, unsigned threads);
/* Ends the threads; jobs that are running are waited for, the others run first. */
void pool_stop(void);

#endif
