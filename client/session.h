/* session.h - a connection from the first name lookup to the last byte, in steps that never wait.
 *
 *     kvc_session_new(options, tls, &session, &error);
 *     kvc_session_connect(session, deadline_ms, &error);
 *     while ((status = kvc_session_step(session, kvc_now_ms(), &wait, &error)) == KVC_NIL)
 *         poll(wait.fd, wait.events, until wait.until_ms);
 *     link = kvc_session_link(session);                 // KVC_OK: commands may be appended
 *     kvc_session_send(session, &events, &error);       // as far as the socket takes it
 *     kvc_session_receive(session, &events, &error);    // one read; then kvc_link_next until KVC_NIL
 *
 * The drivers (connection.c with poll, kvc_async with an event loop) put their way of waiting around it.
 *
 * Threads    One at a time.
 * Errors     KVC_NIL: wait. A negative status ended the connection: kvc_session_disconnect, then connect again or free.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_SESSION_H
#define KVC_SESSION_H

#include "dial.h"
#include "link.h"

typedef struct kvc_session kvc_session;

/* options and tls (NULL: no TLS) are borrowed for the session's life. */
kvc_status kvc_session_new(const kvc_options *options, kvc_tls *tls, kvc_session **ret_session,
                           kvc_error *error);
void kvc_session_free(kvc_session *session);

/* Begins: name, address, TLS, handshake are all to be over by deadline_ms (of kvc_now_ms's clock). */
kvc_status kvc_session_connect(kvc_session *session, int64_t deadline_ms, kvc_error *error);
/* KVC_OK: ready. KVC_NIL: step again when *ret_wait says. Every error of connecting, KVC_EAUTH, KVC_ETIMEOUT. */
kvc_status kvc_session_step(kvc_session *session, int64_t now_ms, kvc_dial_wait *ret_wait, kvc_error *error);
/* Closes, at once; the session may connect again. */
void kvc_session_disconnect(kvc_session *session);

kvc_link *kvc_session_link(const kvc_session *session);
/* The socket, or -1. */
int kvc_session_fd(const kvc_session *session);

/* Writes the link's output. KVC_OK: all of it; KVC_NIL: the socket must first become ready for *ret_events. */
kvc_status kvc_session_send(kvc_session *session, short *ret_events, kvc_error *error);
/* Reads once and feeds the link. KVC_OK: bytes came; KVC_NIL: the socket must first become ready for *ret_events. */
kvc_status kvc_session_receive(kvc_session *session, short *ret_events, kvc_error *error);
/* The same past the link: into data, for an answer that is no RESP. */
kvc_status kvc_session_read(kvc_session *session, void *data, size_t size, size_t *ret_n, short *ret_events,
                            kvc_error *error);
/* receive will bring bytes although poll sees none (TLS). */
bool kvc_session_has_bytes(const kvc_session *session);

#endif
