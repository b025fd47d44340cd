/* tls_client.c - see tls_client.h. SPDX-License-Identifier: MIT */
#include "tls_client.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "certificates.h"

struct tls_client {
    int fd;
    SSL_CTX *context;
    SSL *ssl;
    char *data; /* read, and not yet a reply */
    size_t len, size;
};

static int connect_to_port(int port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                   .sin_port = htons((uint16_t)port) };
    struct timeval patience = { .tv_sec = conn_patience_ms / 1000 };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static SSL_CTX *make_context(const char *directory, const char *name)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    char file[64];

    assert_non_null(context);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    assert_int_equal(SSL_CTX_load_verify_file(context, certificate_path(directory, "ca.crt")), 1);
    if (name) {
        snprintf(file, sizeof file, "%s.crt", name);
        assert_int_equal(SSL_CTX_use_certificate_chain_file(context, certificate_path(directory, file)), 1);
        snprintf(file, sizeof file, "%s.key", name);
        assert_int_equal(
            SSL_CTX_use_PrivateKey_file(context, certificate_path(directory, file), SSL_FILETYPE_PEM), 1);
    }
    return context;
}

/* Takes the context. */
static tls_client *open_with(int port, SSL_CTX *context, SSL_SESSION *session)
{
    tls_client *c = calloc(1, sizeof *c);
    char *pong;

    assert_non_null(c);
    c->fd = connect_to_port(port);
    c->context = context;
    c->ssl = SSL_new(c->context);
    assert_non_null(c->ssl);
    SSL_set_fd(c->ssl, c->fd);
    if (session)
        SSL_set_session(c->ssl, session);
    if (SSL_connect(c->ssl) == 1) {
        /* With TLS 1.3 a refusal of our certificate comes after our side is done. */
        if (SSL_write(c->ssl, "PING\r\n", 6) == 6 && (pong = tls_client_reply(c))) {
            free(pong);
            return c;
        }
    }
    tls_client_close(c);
    return NULL;
}

tls_client *tls_client_try(int port, const char *directory, const char *name)
{
    return open_with(port, make_context(directory, name), NULL);
}

tls_client *tls_client_open_like(tls_client *like, int port)
{
    tls_client *c;

    SSL_CTX_up_ref(like->context);
    c = open_with(port, like->context, SSL_get0_session(like->ssl));
    assert_non_null(c);
    return c;
}

tls_client *tls_client_open(int port, const char *directory, const char *name)
{
    tls_client *c = tls_client_try(port, directory, name);

    assert_non_null(c);
    return c;
}

void tls_client_forget(tls_client *c)
{
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    free(c->data);
    *c = (tls_client){ .fd = c->fd };
}

void tls_client_close(tls_client *c)
{
    if (!c)
        return;
    SSL_free(c->ssl);
    SSL_CTX_free(c->context);
    close(c->fd);
    free(c->data);
    free(c);
}

SSL *tls_client_ssl(tls_client *c)
{
    return c->ssl;
}

void tls_client_send(tls_client *c, kv_slice data)
{
    size_t n;

    assert_int_equal(SSL_write_ex(c->ssl, data.data, data.len, &n), 1);
    assert_int_equal(n, data.len);
}

/* False: the server has ended the connection. */
static bool read_some(tls_client *c)
{
    int n;

    if (c->size - c->len < 65536) {
        c->size = c->size * 2 + 65536;
        c->data = realloc(c->data, c->size + 1);
        assert_non_null(c->data);
    }
    n = SSL_read(c->ssl, c->data + c->len, 65536);
    if (n <= 0)
        return false;
    c->len += (size_t)n;
    return true;
}

char *tls_client_read_all(tls_client *c, size_t *ret_len)
{
    char *data;

    while (read_some(c))
        ;
    data = c->data;
    data[c->len] = '\0';
    *ret_len = c->len;
    c->data = NULL;
    c->len = c->size = 0;
    return data;
}

char *tls_client_reply(tls_client *c)
{
    for (;;) {
        reply *r = NULL;
        size_t used = 0;
        const char *why = "";
        char *text;

        switch (c->len ? reply_parse(kv_slice_of(c->data, c->len), &r, &used, &why) : REPLY_PARTIAL) {
        case REPLY_WHOLE:
            memmove(c->data, c->data + used, c->len - used);
            c->len -= used;
            text = reply_text(r);
            reply_free(r);
            return text;
        case REPLY_MALFORMED:
            fail_msg("%s", why);
            return NULL;
        default:
            if (!read_some(c))
                return NULL;
        }
    }
}

void tls_client_next_is(tls_client *c, const char *file, int line, const char *text)
{
    char *got = tls_client_reply(c);

    if (!got || strncmp(got, text, strlen(text)) != 0) {
        print_error("%s:%d: expected %s\n  got %.1000s\n", file, line, text, got ? got : "the end");
        free(got);
        _fail(file, line);
    }
    free(got);
}

void tls_client_says(tls_client *c, const char *file, int line, const char *text, const char *const args[])
{
    kv_slice argv[16];
    size_t argc = 0, len;
    char *bytes;

    for (; args[argc]; argc++)
        argv[argc] = kv_str(args[argc]);
    bytes = request_bytes(argc, argv, &len);
    tls_client_send(c, kv_slice_of(bytes, len));
    free(bytes);
    tls_client_next_is(c, file, line, text);
}
