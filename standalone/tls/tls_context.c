/* tls_context.c - certificates, keys and ciphers, from the tls-... directives to what OpenSSL calls a context.
 *
 * Every change makes a new context from all directives, and a context that cannot be made changes nothing: so a wrong
 * file, a key of another certificate, a cipher that does not exist are told with the directive, the file and OpenSSL's
 * reason, and new connections go on with the certificates from before.
 *
 * What is fixed: no compression, no renegotiation, no prompt for a password at the terminal, and records are freed when
 * they are empty. The chain a client may send is limited to CHAIN_MAX. SPDX-License-Identifier: MIT */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "config_internal.h"
#include "tls_internal.h"

#define CHAIN_MAX (32 * 1024)

/* The sentence: what was read or set, and why OpenSSL, or the file system, refused it. The first of OpenSSL's errors is the
 * cause, those after it tell who passed it on. */
static int fail_with(config_error *error, enum config_id id, const char *value)
{
    unsigned long code = ERR_get_error();
    const char *reason = "OpenSSL refuses it";

    if (code && ERR_GET_LIB(code) == ERR_LIB_SYS)
        reason = strerror((int)ERR_GET_REASON(code));
    else if (code && ERR_reason_error_string(code))
        reason = ERR_reason_error_string(code);
    ERR_clear_error();
    return config_fail(error, "%s '%.300s': %s", config_directives[id].name, value, reason);
}

/* Calls use with the text of a directive that is not empty. 0, or -1 after the sentence. */
static int with_text(config *c, enum config_id id, bool (*use)(SSL_CTX *ssl, const char *text), SSL_CTX *ssl,
                     config_error *error)
{
    char *text = config_text(c, id);
    int result = 0;

    ERR_clear_error();
    if (!text)
        result = config_fail(error, "out of memory");
    else if (*text && !use(ssl, text))
        result = fail_with(error, id, text);
    free(text);
    return result;
}

/* ---- one directive each ---- */

static bool use_certificate(SSL_CTX *ssl, const char *path)
{
    return SSL_CTX_use_certificate_chain_file(ssl, path) == 1;
}

static bool use_key(SSL_CTX *ssl, const char *path)
{
    return SSL_CTX_use_PrivateKey_file(ssl, path, SSL_FILETYPE_PEM) == 1;
}

static bool use_authority_file(SSL_CTX *ssl, const char *path)
{
    STACK_OF(X509_NAME) * names;

    if (SSL_CTX_load_verify_file(ssl, path) != 1)
        return false;
    names = SSL_load_client_CA_file(path); /* clients choose a certificate by these */
    if (names)
        SSL_CTX_set_client_CA_list(ssl, names);
    return true;
}

static bool use_authority_directory(SSL_CTX *ssl, const char *path)
{
    return SSL_CTX_load_verify_dir(ssl, path) == 1;
}

static bool use_ciphers(SSL_CTX *ssl, const char *list)
{
    return SSL_CTX_set_cipher_list(ssl, list) == 1;
}

static bool use_ciphersuites(SSL_CTX *ssl, const char *list)
{
    return SSL_CTX_set_ciphersuites(ssl, list) == 1;
}

static bool use_dh_parameters(SSL_CTX *ssl, const char *path)
{
    BIO *file = BIO_new_file(path, "r");
    EVP_PKEY *parameters = file ? PEM_read_bio_Parameters(file, NULL) : NULL;

    BIO_free(file);
    if (parameters && SSL_CTX_set0_tmp_dh_pkey(ssl, parameters) == 1)
        return true;
    EVP_PKEY_free(parameters);
    return false;
}

static bool use_protocols(SSL_CTX *ssl, const char *words)
{
    static const struct {
        const char *word;
        uint64_t off;
    } protocols[] = {
        { "TLSv1", SSL_OP_NO_TLSv1 },
        { "TLSv1.1", SSL_OP_NO_TLSv1_1 },
        { "TLSv1.2", SSL_OP_NO_TLSv1_2 },
        { "TLSv1.3", SSL_OP_NO_TLSv1_3 },
    };
    uint64_t off = 0;

    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        size_t len = strlen(protocols[i].word);
        bool named = false;

        for (const char *p = words; *(p += strspn(p, " ")); p += strcspn(p, " "))
            named |= strcspn(p, " ") == len && strncasecmp(p, protocols[i].word, len) == 0;
        off |= named ? 0 : protocols[i].off;
    }
    SSL_CTX_set_min_proto_version(ssl, 0);
    SSL_CTX_set_options(ssl, off);
    return true;
}

/* ---- all of them ---- */

/* OpenSSL asks for the password of a key. Without this function it would ask at the terminal. */
static int give_password(char *text, int size, int writing, void *arg)
{
    const kv_slice *password = arg;

    (void)writing;
    if (!password || size < 0 || password->len > (size_t)size)
        return -1;
    memcpy(text, password->data, password->len);
    return (int)password->len;
}

/* Which directives name a certificate, and what belongs to it. */
typedef struct certificate_ids {
    enum config_id certificate, key, password;
} certificate_ids;

static int load_own_certificate(SSL_CTX *ssl, config *c, const certificate_ids *ids, config_error *error)
{
    size_t len = 0;
    char *password = config_copy(c, ids->password, &len);
    kv_slice given = kv_slice_of(password, len);
    int result = -1;

    SSL_CTX_set_default_passwd_cb(ssl, give_password);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, &given);
    if (!password)
        config_fail(error, "out of memory");
    else if (config_text_empty(c, ids->certificate))
        config_fail(error, "No %s configured!", config_directives[ids->certificate].name);
    else if (config_text_empty(c, ids->key))
        config_fail(error, "No %s configured!", config_directives[ids->key].name);
    else if (with_text(c, ids->certificate, use_certificate, ssl, error) == 0)
        result = with_text(c, ids->key, use_key, ssl, error);
    SSL_CTX_set_default_passwd_cb_userdata(ssl, NULL);
    if (password)
        OPENSSL_cleanse(password, len);
    free(password);
    return result;
}

static int load_authorities(SSL_CTX *ssl, config *c, config_error *error)
{
    if (with_text(c, CONFIG_ID_tls_ca_cert_file, use_authority_file, ssl, error) != 0)
        return -1;
    return with_text(c, CONFIG_ID_tls_ca_cert_dir, use_authority_directory, ssl, error);
}

/* Whether this server is a client of others, behind TLS. */
static bool goes_out(config *c)
{
    return config_number(c, CONFIG_ID_tls_replication) || config_number(c, CONFIG_ID_tls_cluster);
}

bool tls_is_wanted(config *c)
{
    return config_number(c, CONFIG_ID_tls_port) || goes_out(c);
}

/* How a server looks at certificates of clients. */
static int set_clients(SSL_CTX *ssl, config *c, config_error *error)
{
    static const int modes[] = {
        [CONFIG_TLS_CLIENTS_NO] = SSL_VERIFY_NONE,
        [CONFIG_TLS_CLIENTS_YES] = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
        [CONFIG_TLS_CLIENTS_OPTIONAL] = SSL_VERIFY_PEER,
    };
    int64_t clients = config_number(c, CONFIG_ID_tls_auth_clients);

    SSL_CTX_set_verify(ssl, modes[clients], NULL);
    SSL_CTX_set_max_cert_list(ssl, CHAIN_MAX);
    if ((clients != CONFIG_TLS_CLIENTS_NO || goes_out(c)) &&
        config_text_empty(c, CONFIG_ID_tls_ca_cert_file) && config_text_empty(c, CONFIG_ID_tls_ca_cert_dir))
        return config_fail(error, "Either tls-ca-cert-file or tls-ca-cert-dir must be specified when "
                                  "tls-cluster, tls-replication or tls-auth-clients are enabled!");
    return load_authorities(ssl, c, error);
}

/* Sessions are resumed by tickets, which cost the server nothing; older clients need the cache. */
static void set_sessions(SSL_CTX *ssl, config *c)
{
    bool cached = config_number(c, CONFIG_ID_tls_session_caching) != 0;

    if (!cached) {
        SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_options(ssl, SSL_OP_NO_TICKET);
        SSL_CTX_set_num_tickets(ssl, 0);
        return;
    }
    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_SERVER);
    SSL_CTX_sess_set_cache_size(ssl, config_number(c, CONFIG_ID_tls_session_cache_size));
    SSL_CTX_set_timeout(ssl, config_number(c, CONFIG_ID_tls_session_cache_timeout));
    SSL_CTX_set_session_id_context(ssl, (const unsigned char *)"kvserver", 8);
    SSL_CTX_set_num_tickets(ssl, 1);
}

static void set_modes(SSL_CTX *ssl, config *c)
{
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(ssl, 1);
    SSL_CTX_set_options(ssl, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF |
                                 SSL_OP_SINGLE_DH_USE | SSL_OP_SINGLE_ECDH_USE);
    if (config_number(c, CONFIG_ID_tls_prefer_server_ciphers))
        SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_min_proto_version(ssl, TLS1_2_VERSION); /* unless tls-protocols says otherwise */
}

static int set_algorithms(SSL_CTX *ssl, config *c, config_error *error)
{
    set_modes(ssl, c);
    if (with_text(c, CONFIG_ID_tls_protocols, use_protocols, ssl, error) != 0 ||
        with_text(c, CONFIG_ID_tls_ciphers, use_ciphers, ssl, error) != 0)
        return -1;
    return with_text(c, CONFIG_ID_tls_ciphersuites, use_ciphersuites, ssl, error);
}

static int set_up(SSL_CTX *ssl, config *c, config_error *error)
{
    static const certificate_ids own = { CONFIG_ID_tls_cert_file, CONFIG_ID_tls_key_file,
                                         CONFIG_ID_tls_key_file_pass };

    set_sessions(ssl, c);
    if (load_own_certificate(ssl, c, &own, error) != 0 || set_clients(ssl, c, error) != 0 ||
        set_algorithms(ssl, c, error) != 0)
        return -1;
    return with_text(c, CONFIG_ID_tls_dh_params_file, use_dh_parameters, ssl, error);
}

/* The certificate for others is the server's own, unless there is one for that. */
static int set_up_outgoing(SSL_CTX *ssl, config *c, config_error *error)
{
    static const certificate_ids own = { CONFIG_ID_tls_cert_file, CONFIG_ID_tls_key_file,
                                         CONFIG_ID_tls_key_file_pass },
                                 other = { CONFIG_ID_tls_client_cert_file, CONFIG_ID_tls_client_key_file,
                                           CONFIG_ID_tls_client_key_file_pass };
    bool has_other = !config_text_empty(c, CONFIG_ID_tls_client_cert_file);

    SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_max_cert_list(ssl, CHAIN_MAX);
    if (load_own_certificate(ssl, c, has_other ? &other : &own, error) != 0 ||
        load_authorities(ssl, c, error) != 0)
        return -1;
    return set_algorithms(ssl, c, error);
}

int tls_context_new(config *c, tls_context **ret_context, config_error *ret_error)
{
    tls_context *context = calloc(1, sizeof *context);

    *ret_context = NULL;
    if (!context)
        return config_fail(ret_error, "out of memory");
    atomic_init(&context->references, 1);
    context->ssl = SSL_CTX_new(TLS_server_method());
    context->outgoing = goes_out(c) ? SSL_CTX_new(TLS_client_method()) : NULL;
    context->socket = tls_socket_method();
    if (!context->ssl || !context->socket || (goes_out(c) && !context->outgoing)) {
        config_fail(ret_error, "OpenSSL can't be set up: out of memory");
    } else if (set_up(context->ssl, c, ret_error) == 0 &&
               (!context->outgoing || set_up_outgoing(context->outgoing, c, ret_error) == 0)) {
        *ret_context = context;
        return 0;
    }
    ERR_clear_error();
    tls_context_unref(context);
    return -1;
}

tls_context *tls_context_ref(tls_context *context)
{
    if (context)
        atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
    return context;
}

void tls_context_unref(tls_context *context)
{
    /* acq_rel: who frees sees what all others did */
    if (!context || atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(context->ssl);
    SSL_CTX_free(context->outgoing);
    BIO_meth_free(context->socket);
    free(context);
}
