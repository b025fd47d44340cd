/* tls_openssl.c - OpenSSL over our own socket calls.
 *
 * OpenSSL's socket BIO writes with write(2), which raises SIGPIPE on a connection that the server closed; so the BIO here is
 * ours and sends with MSG_NOSIGNAL. It also remembers what the socket said, because OpenSSL's error queue does not tell a closed
 * connection from a broken one.
 *
 * The server's certificate is verified, its name too, unless tls_insecure. No close_notify is sent: RESP knows where a reply
 * ends, and a forked child must be able to close without a word in its parent's name.
 *
 * SPDX-License-Identifier: MIT */
#include "tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "failure.h"

struct kvc_tls {
    SSL_CTX *context;
    BIO_METHOD *socket;
};

struct kvc_tls_session {
    SSL *ssl;
    int fd;
    bool ended;    /* the socket is at its end */
    int sys_errno; /* what it failed with, or 0 */
};

/* ---- the BIO: a socket that raises no signal ---- */

static int socket_write(BIO *bio, const char *data, int len)
{
    kvc_tls_session *session = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    do
        n = send(session->fd, data, (size_t)len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_write(bio);
    else if (n < 0)
        session->sys_errno = errno;
    return (int)n;
}

static int socket_read(BIO *bio, char *data, int size)
{
    kvc_tls_session *session = BIO_get_data(bio);
    ssize_t n;

    BIO_clear_retry_flags(bio);
    do
        n = recv(session->fd, data, (size_t)size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        BIO_set_retry_read(bio);
    else if (n < 0)
        session->sys_errno = errno;
    else if (n == 0)
        session->ended = true;
    return (int)n;
}

static long socket_control(BIO *bio, int command, long number, void *pointer)
{
    const kvc_tls_session *session = BIO_get_data(bio);

    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return session->ended;
    return command == BIO_CTRL_FLUSH;
}

static BIO_METHOD *socket_method(void)
{
    BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "libkvclient");

    if (!method)
        return NULL;
    BIO_meth_set_write(method, socket_write);
    BIO_meth_set_read(method, socket_read);
    BIO_meth_set_ctrl(method, socket_control);
    return method;
}

/* ---- the context ---- */

static kvc_status fail_tls(kvc_error *error, const char *doing)
{
    unsigned long code = ERR_peek_last_error();
    char reason[160] = "unknown error";

    if (ERR_GET_REASON(code) == ERR_R_MALLOC_FAILURE) {
        ERR_clear_error();
        return kvc_fail_nomem(error);
    }
    if (code && ERR_reason_error_string(code))
        strncpy(reason, ERR_reason_error_string(code), sizeof reason - 1);
    ERR_clear_error();
    return kvc_fail(error, KVC_ETLS, "%s: %s", doing, reason);
}

static kvc_status fail_file(kvc_error *error, const char *option, const char *value)
{
    char doing[200];
    size_t used = strlen(option);

    memcpy(doing, option, used);
    doing[used++] = ' ';
    doing[used] = '\0';
    strncat(doing, value, sizeof doing - used - 1);
    return fail_tls(error, doing);
}

static kvc_status load_authorities(SSL_CTX *context, const kvc_options *options, kvc_error *error)
{
    if (!options->tls_ca_file && !options->tls_ca_dir)
        return SSL_CTX_set_default_verify_paths(context) ? KVC_OK
                                                         : fail_tls(error, "the system's certificates");
    if (SSL_CTX_load_verify_locations(context, options->tls_ca_file, options->tls_ca_dir))
        return KVC_OK;
    if (options->tls_ca_file)
        return fail_file(error, "tls_ca_file", options->tls_ca_file);
    return fail_file(error, "tls_ca_dir", options->tls_ca_dir);
}

static kvc_status load_own_certificate(SSL_CTX *context, const kvc_options *options, kvc_error *error)
{
    if (!options->tls_cert_file)
        return KVC_OK;
    if (!SSL_CTX_use_certificate_chain_file(context, options->tls_cert_file))
        return fail_file(error, "tls_cert_file", options->tls_cert_file);
    if (!SSL_CTX_use_PrivateKey_file(context, options->tls_key_file, SSL_FILETYPE_PEM))
        return fail_file(error, "tls_key_file", options->tls_key_file);
    return KVC_OK;
}

static kvc_status set_up(SSL_CTX *context, const kvc_options *options, kvc_error *error)
{
    kvc_status status;

    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_quiet_shutdown(context, 1);
    SSL_CTX_set_verify(context, options->tls_insecure ? SSL_VERIFY_NONE : SSL_VERIFY_PEER, NULL);
    if (options->tls_ciphers && !SSL_CTX_set_cipher_list(context, options->tls_ciphers))
        return fail_file(error, "tls_ciphers", options->tls_ciphers);
    if (options->tls_ciphersuites && !SSL_CTX_set_ciphersuites(context, options->tls_ciphersuites))
        return fail_file(error, "tls_ciphersuites", options->tls_ciphersuites);
    status = load_authorities(context, options, error);
    return status == KVC_OK ? load_own_certificate(context, options, error) : status;
}

kvc_status kvc_tls_new(const kvc_options *options, kvc_tls **ret_tls, kvc_error *error)
{
    kvc_tls *tls;
    kvc_status status;

    *ret_tls = NULL;
    if (!options->tls)
        return KVC_OK;
    tls = calloc(1, sizeof *tls);
    if (!tls)
        return kvc_fail_nomem(error);
    ERR_clear_error();
    tls->context = SSL_CTX_new(TLS_client_method());
    tls->socket = socket_method();
    status = tls->context && tls->socket ? set_up(tls->context, options, error)
                                         : fail_tls(error, "setting up TLS");
    if (status != KVC_OK) {
        kvc_tls_free(tls);
        return status;
    }
    *ret_tls = tls;
    return KVC_OK;
}

void kvc_tls_free(kvc_tls *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    BIO_meth_free(tls->socket);
    free(tls);
}

/* ---- a session ---- */

static bool is_ip_address(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* Whom the server must prove to be, and what it is told that we want. */
static bool set_name(SSL *ssl, const kvc_options *options)
{
    const char *name = options->tls_sni ? options->tls_sni : options->unix_path ? NULL : options->host;

    if (!name)
        return true;
    if (is_ip_address(name))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set1_host(ssl, name) && SSL_set_tlsext_host_name(ssl, name);
}

kvc_status kvc_tls_session_new(kvc_tls *tls, const kvc_options *options, int fd,
                               kvc_tls_session **ret_session, kvc_error *error)
{
    kvc_tls_session *session = calloc(1, sizeof *session);
    BIO *bio = NULL;

    *ret_session = NULL;
    if (!session)
        return kvc_fail_nomem(error);
    ERR_clear_error();
    session->fd = fd;
    session->ssl = SSL_new(tls->context);
    if (session->ssl)
        bio = BIO_new(tls->socket);
    if (!bio)
        goto failed;
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    SSL_set_bio(session->ssl, bio, bio);
    SSL_set_connect_state(session->ssl);
    if (!set_name(session->ssl, options))
        goto failed;
    *ret_session = session;
    return KVC_OK;

failed:
    kvc_tls_session_free(session);
    return fail_tls(error, "setting up TLS");
}

void kvc_tls_session_free(kvc_tls_session *session)
{
    if (!session)
        return;
    SSL_free(session->ssl);
    free(session);
}

static kvc_status fail_handshake(kvc_tls_session *session, kvc_error *error)
{
    long verdict = SSL_get_verify_result(session->ssl);

    if (verdict == X509_V_OK)
        return fail_tls(error, "the TLS handshake");
    ERR_clear_error();
    return kvc_fail(error, KVC_ETLS, "the server's certificate: %s", X509_verify_cert_error_string(verdict));
}

/* What an OpenSSL call that answered result wants or suffers from. */
static kvc_status outcome(kvc_tls_session *session, int result, short *ret_events, const char *doing,
                          kvc_error *error)
{
    switch (SSL_get_error(session->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        *ret_events = POLLIN;
        return KVC_NIL;
    case SSL_ERROR_WANT_WRITE:
        *ret_events = POLLOUT;
        return KVC_NIL;
    default:
        break;
    }
    if (session->sys_errno) {
        ERR_clear_error();
        return kvc_fail_io(error, session->sys_errno, doing);
    }
    if (SSL_in_init(session->ssl) && !session->ended)
        return fail_handshake(session, error);
    if (session->ended || SSL_get_error(session->ssl, result) == SSL_ERROR_ZERO_RETURN) {
        ERR_clear_error();
        return kvc_fail(error, KVC_ECLOSED, "the server closed the connection");
    }
    return fail_tls(error, doing);
}

kvc_status kvc_tls_handshake(kvc_tls_session *session, short *ret_events, kvc_error *error)
{
    int result;

    ERR_clear_error();
    result = SSL_do_handshake(session->ssl);
    return result == 1 ? KVC_OK : outcome(session, result, ret_events, "the TLS handshake", error);
}

kvc_status kvc_tls_read(kvc_tls_session *session, void *data, size_t size, size_t *ret_n, short *ret_events,
                        kvc_error *error)
{
    int result;

    ERR_clear_error();
    result = SSL_read_ex(session->ssl, data, size, ret_n);
    return result == 1 ? KVC_OK : outcome(session, result, ret_events, "reading", error);
}

kvc_status kvc_tls_write(kvc_tls_session *session, const void *data, size_t len, size_t *ret_n,
                         short *ret_events, kvc_error *error)
{
    int result;

    ERR_clear_error();
    result = SSL_write_ex(session->ssl, data, len, ret_n);
    return result == 1 ? KVC_OK : outcome(session, result, ret_events, "writing", error);
}

bool kvc_tls_has_bytes(const kvc_tls_session *session)
{
    return SSL_pending(session->ssl) > 0;
}
