/* crash.h - a report in the log when the process dies of a fault.
 *
 *     crash_watch(s)              once, before there are threads
 *     crash_thread(&w->crash)     on each worker's thread: a stack of its own for the report, so that one that has run out of
 *                                 stack can still write it
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_CRASH_H
#define KV_STANDALONE_CRASH_H

#include <signal.h>

struct server;

/* Installs the handlers. */
void crash_watch(struct server *s);
/* *ret_stack: NULL when memory is out, and then the report needs the thread's own. */
void crash_thread(void **ret_stack);
/* On the same thread, or when it has ended: frees the stack. */
void crash_thread_done(void **stack);
/* Takes the signals that report out of set, so that they are not blocked: a fault whose signal is blocked ends without
 * a word. */
void crash_unblock(sigset_t *set);

#endif
