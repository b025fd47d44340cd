/* tls_internal.h - what the two files about OpenSSL share. SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_TLS_INTERNAL_H
#define KV_STANDALONE_TLS_INTERNAL_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "tls.h"

struct tls_context {
    _Atomic int references;
    SSL_CTX *ssl;       /* of a server */
    SSL_CTX *outgoing;  /* of a client of others; NULL: the directives do not ask for one */
    BIO_METHOD *socket; /* how a session reads and writes */
};

/* tls_session.c: the method of a context, NULL when memory is out. */
BIO_METHOD *tls_socket_method(void);

#endif
