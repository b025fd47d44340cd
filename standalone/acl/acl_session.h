/* acl_session.h - the user that a connection acts for, and what becomes of it when users change.
 *
 * Threads    The connection's owner. session commands change users, then let acl_session_spread tell all workers; a client
 *            whose command changed users has its reply when every worker goes by the change.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_ACL_SESSION_H
#define KV_STANDALONE_ACL_SESSION_H

#include "acl_log.h"
#include "connection.h"

/* Of a new connection, and RESET: it acts for "default", and is authenticated when that needs no password. */
void acl_session_begin(connection *c);
void acl_session_end(connection *c);
/* AUTH: whether the pair is right; then c acts for that user. Else it is logged and counted. name: of the command, as it
 * was given. */
bool acl_session_authenticate(connection *c, kv_slice command, kv_slice user, kv_slice password);
/* Whether c has no user yet, and must say who it is first. */
bool acl_session_must_authenticate(connection *c);

/* Whether c may run the command; that it may not is logged and counted, and text says why. exec: the command was queued, and
 * is about to run. */
#define ACL_REASON_MAX 256
bool acl_session_allows(connection *c, const kv_command *row, int argc, const kv_slice argv[], bool exec,
                        char text[ACL_REASON_MAX]);
/* The same for a command of c that the state thread refused to run for u. */
acl_verdict acl_session_check(connection *c, const acl_user *u, const kv_command *row, int argc,
                              const kv_slice argv[]);
/* The text of an error, which is written to text. Any thread. */
const char *acl_session_reason(acl_verdict verdict, const kv_command *row, bool exec,
                               char text[ACL_REASON_MAX]);
/* The same without any trace, for a user who is limited. */
bool acl_session_permits(const connection *c, const kv_command *row, int argc, const kv_slice argv[]);

/* Replies integer, or OK when it is negative, once all connections go by the users as they are now: those of deleted users are
 * closed, and those that listen to what they may not listen to any more. */
void acl_session_spread(kv_call *call, int64_t integer);
/* The same for the connections of one worker, on its thread, when no client has asked for it. */
void acl_session_refresh(worker *w);

#endif
