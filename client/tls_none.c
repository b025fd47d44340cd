/* tls_none.c - tls.h in a build without OpenSSL: says so.
 *
 * SPDX-License-Identifier: MIT */
#include "tls.h"

#include "failure.h"

kvc_status kvc_tls_new(const kvc_options *options, kvc_tls **ret_tls, kvc_error *error)
{
    *ret_tls = NULL;
    return options->tls ? kvc_fail(error, KVC_ENOTSUP, "this libkvclient was built without TLS") : KVC_OK;
}

void kvc_tls_free(kvc_tls *tls)
{
    (void)tls;
}

static kvc_status no_tls(kvc_error *error)
{
    return kvc_fail(error, KVC_ENOTSUP, "this libkvclient was built without TLS");
}

kvc_status kvc_tls_session_new(kvc_tls *tls, const kvc_options *options, int fd,
                               kvc_tls_session **ret_session, kvc_error *error)
{
    (void)tls;
    (void)options;
    (void)fd;
    *ret_session = NULL;
    return no_tls(error);
}

void kvc_tls_session_free(kvc_tls_session *session)
{
    (void)session;
}

kvc_status kvc_tls_handshake(kvc_tls_session *session, short *ret_events, kvc_error *error)
{
    (void)session;
    (void)ret_events;
    return no_tls(error);
}

kvc_status kvc_tls_read(kvc_tls_session *session, void *data, size_t size, size_t *ret_n, short *ret_events,
                        kvc_error *error)
{
    (void)session;
    (void)data;
    (void)size;
    (void)ret_n;
    (void)ret_events;
    return no_tls(error);
}

kvc_status kvc_tls_write(kvc_tls_session *session, const void *data, size_t len, size_t *ret_n,
                         short *ret_events, kvc_error *error)
{
    (void)session;
    (void)data;
    (void)len;
    (void)ret_n;
    (void)ret_events;
    return no_tls(error);
}

bool kvc_tls_has_bytes(const kvc_tls_session *session)
{
    (void)session;
    return false;
}
