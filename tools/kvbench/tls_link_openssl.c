/* tls_link_openssl.c - see tls_link.h.
 *
 * Blocking sockets: kvbench tls waits for one link at a time, and what it measures is the server's own CPU time.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "load.h"
#include "tls_link.h"

#define PATIENCE_S 20
#define VALID_S    (30L * 24 * 3600)

const bool tls_link_available = true;

struct tls_links {
    SSL_CTX *context;
};

struct tls_link {
    int fd;
    SSL *ssl; /* NULL: plain */
};

static int fail(fault *f, const char *doing)
{
    unsigned long code = ERR_get_error();
    char reason[256] = "the connection is lost";

    if (code)
        ERR_error_string_n(code, reason, sizeof reason);
    ERR_clear_error();
    return fault_set(f, "%s: %s", doing, reason);
}

/* ---- the certificate ---- */

static bool describe(X509 *certificate, EVP_PKEY *key)
{
    X509_NAME *name = X509_get_subject_name(certificate);

    return ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(certificate), -3600) &&
           X509_gmtime_adj(X509_getm_notAfter(certificate), VALID_S) &&
           X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"127.0.0.1", -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(certificate, name) == 1 && X509_set_pubkey(certificate, key) == 1 &&
           X509_sign(certificate, key, EVP_sha256()) > 0;
}

static bool write_pem(const char *dir, const char *name, X509 *certificate, EVP_PKEY *key)
{
    char path[512];
    FILE *out;
    bool ok;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    out = fopen(path, "we");
    if (!out)
        return false;
    ok = key ? PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1
             : PEM_write_X509(out, certificate) == 1;
    return fclose(out) == 0 && ok;
}

int tls_link_certify(const char *dir, fault *f)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    int err = 0;

    if (!key || !certificate || !describe(certificate, key))
        err = fail(f, "cannot make a certificate");
    else if (!write_pem(dir, "kvbench.crt", certificate, NULL) || !write_pem(dir, "kvbench.key", NULL, key))
        err = fault_set(f, "cannot write a certificate into %s: %s", dir, strerror(errno));
    X509_free(certificate);
    EVP_PKEY_free(key);
    return err;
}

/* ---- links ---- */

tls_links *tls_links_new(fault *f)
{
    tls_links *t = calloc(1, sizeof *t);

    if (t)
        t->context = SSL_CTX_new(TLS_client_method());
    if (t && t->context)
        return t;
    free(t);
    fault_set(f, "out of memory");
    return NULL;
}

void tls_links_free(tls_links *t)
{
    if (t)
        SSL_CTX_free(t->context);
    free(t);
}

static int shake_hands(tls_links *t, tls_link *l, tls_link *like, fault *f)
{
    l->ssl = SSL_new(t->context);
    if (!l->ssl || SSL_set_fd(l->ssl, l->fd) != 1)
        return fault_set(f, "out of memory");
    if (like && SSL_set_session(l->ssl, SSL_get0_session(like->ssl)) != 1)
        return fail(f, "cannot take up a session");
    return SSL_connect(l->ssl) == 1 ? 0 : fail(f, "the handshake fails");
}

tls_link *tls_link_open(tls_links *t, int port, bool secure, tls_link *like, fault *f)
{
    struct timeval patience = { .tv_sec = PATIENCE_S };
    tls_link *l = calloc(1, sizeof *l);

    if (!l) {
        fault_set(f, "out of memory");
        return NULL;
    }
    l->fd = load_connect(port);
    if (l->fd < 0) {
        fault_set(f, "cannot connect to 127.0.0.1:%d: %s", port, strerror(errno));
        free(l);
        return NULL;
    }
    setsockopt(l->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(l->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (secure && shake_hands(t, l, like, f)) {
        tls_link_close(l);
        return NULL;
    }
    return l;
}

void tls_link_close(tls_link *l)
{
    if (!l)
        return;
    SSL_free(l->ssl);
    close(l->fd);
    free(l);
}

bool tls_link_resumed(const tls_link *l)
{
    return SSL_session_reused(l->ssl) == 1;
}

int tls_link_send(tls_link *l, const char *bytes, size_t len, fault *f)
{
    size_t done = 0;

    if (l->ssl)
        return SSL_write_ex(l->ssl, bytes, len, &done) == 1 && done == len ? 0 : fail(f, "cannot send");
    while (done < len) {
        ssize_t n = send(l->fd, bytes + done, len - done, MSG_NOSIGNAL);

        if (n <= 0)
            return fault_set(f, "cannot send: %s", strerror(errno));
        done += (size_t)n;
    }
    return 0;
}

int tls_link_receive(tls_link *l, char *bytes, size_t size, size_t *ret_len, fault *f)
{
    ssize_t n;

    if (l->ssl)
        return SSL_read_ex(l->ssl, bytes, size, ret_len) == 1 ? 0 : fail(f, "no answer");
    n = recv(l->fd, bytes, size, 0);
    if (n <= 0)
        return fault_set(f, "no answer: %s", n ? strerror(errno) : "the connection is closed");
    *ret_len = (size_t)n;
    return 0;
}
