/* handle.h - what a client of the read port (port.h) calls a key by: KV.ATTACH key gives it, to who may read the key.
 *
 * A handle is a number and 128 random bits, so that it proves by itself that its owner was given it. It means the very
 * store that the key held, not a name: it ends (-STALE) when the key is deleted, renamed, moved, evicted, flushed, when its
 * databases are swapped, when the key's own deadline passes, and when the server becomes a replica or a primary.
 *
 * Threads    handle_find from any thread, handle_forget from who frees the key; the others are the main thread's.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MODULE_HANDLE_H
#define KV_MODULE_HANDLE_H

#include "keyed.h"

#define HANDLE_SECRET_SIZE 33 /* 128 bits as hexadecimal digits, and a NUL */

/* Whether the server has the functions that handles need. */
bool handle_supported(void);
/* Listens to what ends handles. */
void handle_start(rm_ctx *ctx);
/* To be called some times a second: learns the deadlines of keys that have handles, where the server does not tell of
 * them. */
void handle_refresh(rm_ctx *ctx);

/* The store that text is a handle of, retained; NULL: there is none any more, or never was. */
kv_store *handle_find(kv_slice text, int64_t now_ms);
/* The handle of k ends, if it has one. */
void handle_forget(keyed *k);
/* Those of a database end; db -1: all. */
void handle_forget_db(int db);
size_t handle_count(void);

/* 128 random bits. False: the system gives none. */
bool handle_secret(char ret_secret[HANDLE_SECRET_SIZE]);
/* Whether they are equal, in a time that does not tell where they differ. */
bool handle_secrets_equal(const char secret[HANDLE_SECRET_SIZE], kv_slice text);

/* KV.ATTACH key, KV.DETACH key */
rm_command_fn handle_attach, handle_detach;

#endif
