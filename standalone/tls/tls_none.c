/* tls_none.c - a build without OpenSSL: no context can be had, so that nobody gets to the rest.
 * SPDX-License-Identifier: MIT */
#include <errno.h>

#include "config_internal.h"
#include "tls.h"

const bool tls_available = false;

const char *tls_library(void)
{
    return "none";
}

bool tls_is_wanted(config *c)
{
    return config_number(c, CONFIG_ID_tls_port) || config_number(c, CONFIG_ID_tls_replication) ||
           config_number(c, CONFIG_ID_tls_cluster);
}

int tls_context_new(config *c, tls_context **ret_context, config_error *ret_error)
{
    (void)c;
    *ret_context = NULL;
    return config_fail(ret_error, "this kvserver was built without TLS, since OpenSSL was not found");
}

tls_context *tls_context_ref(tls_context *context)
{
    return context;
}

void tls_context_unref(tls_context *context)
{
    (void)context;
}

tls_session *tls_session_new(tls_context *context, int fd)
{
    (void)context;
    (void)fd;
    return NULL;
}

tls_session *tls_session_to(tls_context *context, int fd)
{
    return tls_session_new(context, fd);
}

void tls_session_free(tls_session *session)
{
    (void)session;
}

tls_progress tls_handshake(tls_session *session, const char **ret_reason)
{
    (void)session;
    *ret_reason = "there is no TLS";
    return TLS_FAILED;
}

ssize_t tls_receive(tls_session *session, void *data, size_t size)
{
    (void)session;
    (void)data;
    (void)size;
    errno = ECONNRESET;
    return -1;
}

ssize_t tls_send(void *arg, const char *data, size_t len)
{
    (void)arg;
    (void)data;
    (void)len;
    errno = ECONNRESET;
    return -1;
}

bool tls_has_input(const tls_session *session)
{
    (void)session;
    return false;
}

bool tls_reading_wants_write(const tls_session *session)
{
    (void)session;
    return false;
}

void tls_end(tls_session *session)
{
    (void)session;
}

size_t tls_session_memory(const tls_session *session)
{
    (void)session;
    return 0;
}
