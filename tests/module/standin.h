/* standin.h - a server of our own, in this process, that loads the module: all that the module asks of a server, and no
 * more. redis-server can load no module that needs a sanitizer's runtime; this can, so that ThreadSanitizer sees
 * the module's threads beside the writes of the main thread, and AddressSanitizer what is lost.
 *
 *     standin_load(path);                                     // as redis-server --loadmodule path
 *     standin_expect("+OK", "KV.SET", "key", "field", "1");
 *     standin_call *read = standin_ask(2, argv);              // may go on in a thread of the module
 *     standin_turn();                                         // timers, clients whose threads are done
 *     reply *r = standin_reply(read);                         // waits for it; yours
 *
 * Threads    All of it belongs to the main thread; what the module's threads may call is called by them.
 * Time       standin_now, in milliseconds; it stands still until the test moves it.
 * Errors     What cannot be is an abort: this is a test.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_STANDIN_H
#define TESTS_STANDIN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "redis_abi.h"
#include "resp.h"

extern _Atomic int64_t standin_now;

/* Loads the module; once. */
void standin_load(const char *path);
/* The same with none of the functions that it can do without. */
void standin_load_as_old(const char *path);
/* SHUTDOWN: the module ends its threads, then all keys are freed. */
void standin_shutdown(void);

/* ---- commands ---- */

typedef struct standin_call standin_call;

/* Runs a command of the module. */
standin_call *standin_ask(size_t argc, const kv_slice argv[]);
/* Its reply, yours; turns until it is there. Ends the call. */
reply *standin_reply(standin_call *call);
/* Whether the reply is there. */
bool standin_answered(const standin_call *call);
/* The client hangs up: nobody waits for the reply any more. Ends the call, whether answered or not. */
void standin_hang_up(standin_call *call);
/* The compact form of the reply, yours. */
char *standin_say_args(const char *const args[]);
#define standin_say(...) standin_say_args((const char *const[]){ __VA_ARGS__, NULL })
/* The reply's compact form is text (or, ending in "...", begins with it); else the test fails. */
#define standin_expect(text, ...) \
    standin_expect_args(__FILE__, __LINE__, text, (const char *const[]){ __VA_ARGS__, NULL })
void standin_expect_args(const char *file, int line, const char *text, const char *const args[]);
/* Timers that are due, and clients whose threads are done. */
void standin_turn(void);
/* What GetContextFlags says from now on, beside RM_IS_PRIMARY: RM_IN_MULTI and the like; RM_IS_REPLICA instead. */
void standin_flags(int flags);
/* Calls visit for each command that the module has made. */
typedef struct standin_command {
    char *name, *flags;
    rm_command_fn *run;
    int arity; /* of its command info */
} standin_command;
void standin_commands(void (*visit)(void *arg, const standin_command *c), void *arg);

/* ---- keys ---- */

bool standin_exists(const char *key);
void standin_delete(const char *key);
void standin_rename(const char *from, const char *to);
void standin_copy(const char *from, const char *to);
/* FLUSHALL; on_thread: the values are freed by another thread, as ASYNC does. */
void standin_flush(bool on_thread);
/* The deadline of the key itself (ms, -1: none) becomes that, and EXPIRE's or PERSIST's event is told. */
void standin_expire(const char *key, int64_t deadline_ms);
void standin_fire(uint64_t event, uint64_t subevent, void *data);

/* ---- what it has told ---- */

/* The commands that were replicated since the last call, in RESP; *ret_len bytes, yours. */
char *standin_replicated(size_t *ret_len);
/* Runs these commands. */
void standin_apply(const char *commands, size_t len);
/* Of all keys. */
uint64_t standin_digest(void);
/* A figure of INFO kv, without the module's name in front. */
unsigned long long standin_info(const char *name);
bool standin_config(const char *name, long long value);
size_t standin_memory_usage(const char *key);
/* Calls visit for each setting and each figure by its full name, as users see it: "kv.port", "kv_keys". */
void standin_names(void (*visit)(void *arg, const char *name), void *arg);

/* ---- persistence ---- */

/* As DUMP: the key as rdb_save writes it, *ret_len bytes, yours. */
char *standin_save(const char *key, size_t *ret_len);
/* As RESTORE; false: refused. */
bool standin_restore(const char *key, const char *payload, size_t len, int encoding);
/* As BGREWRITEAOF without preamble: commands in RESP, yours. */
char *standin_rewrite(const char *key, size_t *ret_len);

/* ---- memory ---- */

/* The module's n-th allocation from now on fails, and all after it, until n is -1. */
void standin_fail_memory(long n);
/* Whether one has. */
bool standin_memory_failed(void);
/* Allocated by the module and not freed: blocks. */
long standin_blocks(void);

#endif
