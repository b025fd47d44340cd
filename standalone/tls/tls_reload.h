/* tls_reload.h - which certificates new connections get, and how those change while the server runs.
 *
 * A change is prepared, which reads all files and may fail, and then adopted, which may not, and can be taken back: so
 * CONFIG SET of several directives is all or nothing.
 *
 * Threads    Any. prepare, adopt and now: one at a time, under the server's config_lock (now takes it).
 * Ownership  prepare gives a context away, adopt takes it, and gives away the one from before.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_TLS_RELOAD_H
#define KV_STANDALONE_TLS_RELOAD_H

#include "tls.h"

struct server;

/* Whether a change of this directive asks for new certificates to be read. */
bool tls_reload_concerns(enum config_id id);
/* What the directives say now; NULL while none of them asks for TLS. */
int tls_reload_prepare(struct server *s, tls_context **ret_fresh, config_error *ret_error)
    KV_EXCLUDES(kv_shard_held);
/* New connections are made with fresh from now on; those that exist keep what they have. */
tls_context *tls_reload_adopt(struct server *s, tls_context *fresh) KV_EXCLUDES(kv_shard_held);
/* Reads the files again, after a signal; the log says how that went. */
void tls_reload_now(struct server *s) KV_EXCLUDES(kv_shard_held);

/* What connections are made with now, a reference that is yours; NULL: there is no TLS. */
tls_context *tls_reload_context(struct server *s) KV_EXCLUDES(kv_shard_held);
/* A session for a connection that was accepted on tls-port; NULL when there is no memory for it. */
tls_session *tls_reload_session(struct server *s, int fd) KV_EXCLUDES(kv_shard_held);

#endif
