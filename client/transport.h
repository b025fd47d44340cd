/* transport.h - a stream to the server: a socket, perhaps with TLS on it, that never blocks.
 *
 * Threads    One at a time.
 * Errors     KVC_NIL is "not now": the socket must first become ready for *ret_events (of poll). A negative status is final.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_TRANSPORT_H
#define KVC_TRANSPORT_H

#include <sys/socket.h>

#include "kvclient.h"
#include "tls.h"

typedef struct kvc_transport kvc_transport;

/* Begins to connect to one address. options and tls (NULL: no TLS) are borrowed for the transport's life. */
kvc_status kvc_transport_open(const struct sockaddr *address, socklen_t address_len,
                              const kvc_options *options, kvc_tls *tls, kvc_transport **ret_transport,
                              kvc_error *error);
/* Goes on with connecting and the TLS handshake: KVC_OK when both are over. */
kvc_status kvc_transport_establish(kvc_transport *transport, short *ret_events, kvc_error *error);
/* KVC_ECLOSED: the server closed. */
kvc_status kvc_transport_read(kvc_transport *transport, void *data, size_t size, size_t *ret_n,
                              short *ret_events, kvc_error *error);
kvc_status kvc_transport_write(kvc_transport *transport, const void *data, size_t len, size_t *ret_n,
                               short *ret_events, kvc_error *error);
/* read will bring bytes although poll sees none. */
bool kvc_transport_has_bytes(const kvc_transport *transport);
int kvc_transport_fd(const kvc_transport *transport);
/* Closes at once, without a word to the server: also in a process that inherited the socket. */
void kvc_transport_close(kvc_transport *transport);

#endif
