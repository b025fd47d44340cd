/* tls_link.h - a client's connection to a server, plain or through TLS, for kvbench tls; and a certificate for the server.
 *
 *     if (!tls_link_available) ...                            // OpenSSL was not found
 *     tls_link_certify(dir, fault);                           // dir/kvbench.crt and dir/kvbench.key
 *     tls_links *t = tls_links_new(fault);
 *     tls_link *l = tls_link_open(t, port, true, NULL, fault);
 *     tls_link_send(l, bytes, len, fault); tls_link_receive(l, bytes, size, &len, fault);
 *
 * Threads    One at a time.
 * Errors     0 or -1 (NULL), with the reason in the fault.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_TLS_LINK_H
#define KVBENCH_TLS_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "fault.h"

typedef struct tls_links tls_links; /* what all links share */
typedef struct tls_link tls_link;

extern const bool tls_link_available;

/* A new key on the curve P-256, and a certificate of its own for 127.0.0.1. */
int tls_link_certify(const char *dir, fault *f);

tls_links *tls_links_new(fault *f);
void tls_links_free(tls_links *t);

/* Connected to 127.0.0.1:port; through TLS when secure. like: a link whose session is taken up; NULL: a full handshake. */
tls_link *tls_link_open(tls_links *t, int port, bool secure, tls_link *like, fault *f);
void tls_link_close(tls_link *l);
/* Whether the server has taken up the session that was offered. */
bool tls_link_resumed(const tls_link *l);

int tls_link_send(tls_link *l, const char *bytes, size_t len, fault *f);
/* What has come, at least a byte. */
int tls_link_receive(tls_link *l, char *bytes, size_t size, size_t *ret_len, fault *f);

#endif
