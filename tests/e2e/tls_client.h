/* tls_client.h - a client that speaks RESP through TLS, for the tests: it waits for everything.
 *
 *     tls_client *c = tls_client_open(port, directory, "client");   // with client.crt and client.key
 *     tls_says(c, "+PONG", "PING");
 *     tls_client_close(c);
 *
 * Everything here fails the running test when it does not succeed. SPDX-License-Identifier: MIT */
#ifndef TESTS_TLS_CLIENT_H
#define TESTS_TLS_CLIENT_H

#include <openssl/ssl.h>

#include "e2e.h"

typedef struct tls_client tls_client;

/* The handshake is done. name NULL: without a certificate. The server's is to be the authority's in directory. */
tls_client *tls_client_open(int port, const char *directory, const char *name);
/* NULL where the server refuses, be it at the first reply. */
tls_client *tls_client_try(int port, const char *directory, const char *name);
/* Another one, with what like has: no certificate is read or checked again, and its session is taken up. */
tls_client *tls_client_open_like(tls_client *like, int port);
/* Closes the socket without a word. */
void tls_client_close(tls_client *c);
/* Nothing more is said to it: only its connection is left, and costs next to nothing. */
void tls_client_forget(tls_client *c);
SSL *tls_client_ssl(tls_client *c);

void tls_client_send(tls_client *c, kv_slice data);
/* Until the server has ended the connection: all bytes, a NUL behind them; yours. */
char *tls_client_read_all(tls_client *c, size_t *ret_len);
/* The next reply in the compact form, yours; NULL at the end. */
char *tls_client_reply(tls_client *c);

/* The reply's compact form begins with text. */
#define tls_says(c, text, ...) \
    tls_client_says(c, __FILE__, __LINE__, text, (const char *const[]){ __VA_ARGS__, NULL })
void tls_client_says(tls_client *c, const char *file, int line, const char *text, const char *const args[]);
/* The next reply's compact form begins with text. */
#define tls_next_is(c, text) tls_client_next_is(c, __FILE__, __LINE__, text)
void tls_client_next_is(tls_client *c, const char *file, int line, const char *text);

#endif
