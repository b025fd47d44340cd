/* tls.h - TLS on a connected socket, by OpenSSL; every function answers KVC_ENOTSUP in a build without.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_TLS_H
#define KVC_TLS_H

#include "kvclient.h"

/* What all connections of a client share: certificates, ciphers. Any thread may use it. */
typedef struct kvc_tls kvc_tls;
/* One connection's. */
typedef struct kvc_tls_session kvc_tls_session;

/* Reads the files that options name. Options without tls: KVC_OK and NULL. */
kvc_status kvc_tls_new(const kvc_options *options, kvc_tls **ret_tls, kvc_error *error);
void kvc_tls_free(kvc_tls *tls);

/* The session verifies options' tls_sni, or else host, and must end before tls. fd stays the caller's. */
kvc_status kvc_tls_session_new(kvc_tls *tls, const kvc_options *options, int fd,
                               kvc_tls_session **ret_session, kvc_error *error);
void kvc_tls_session_free(kvc_tls_session *session);
/* All three: KVC_NIL means that the socket must first become ready for *ret_events (of poll). */
kvc_status kvc_tls_handshake(kvc_tls_session *session, short *ret_events, kvc_error *error);
kvc_status kvc_tls_read(kvc_tls_session *session, void *data, size_t size, size_t *ret_n, short *ret_events,
                        kvc_error *error);
kvc_status kvc_tls_write(kvc_tls_session *session, const void *data, size_t len, size_t *ret_n,
                         short *ret_events, kvc_error *error);
/* Bytes are decrypted already, which poll cannot see. */
bool kvc_tls_has_bytes(const kvc_tls_session *session);

#endif
