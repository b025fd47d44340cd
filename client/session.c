/* session.c - dial, transport and link, tied together.
 *
 *     connect        step ...         step ...           step: KVC_OK      send, receive
 *     ------------>  dial: name,  --> link: handshake -> ready ----------> until one of them fails
 *                    address, TLS
 *
 * SPDX-License-Identifier: MIT */
#include "session.h"

#include <poll.h>
#include <stdlib.h>

#include "failure.h"
#include "options.h"

struct kvc_session {
    const kvc_options *options; /* borrowed */
    kvc_tls *tls;               /* borrowed, or NULL */
    kvc_link *link;
    kvc_dial *dial;           /* while connecting */
    kvc_transport *transport; /* afterwards */
    int64_t deadline_ms;      /* of connecting */
    char input[kvc_link_feed_max];
};

kvc_status kvc_session_new(const kvc_options *options, kvc_tls *tls, kvc_session **ret_session,
                           kvc_error *error)
{
    char address[kvc_address_size];
    kvc_session *session = malloc(sizeof *session);

    *ret_session = NULL;
    if (!session)
        return kvc_fail_nomem(error);
    kvc_options_address(options, address);
    session->options = options;
    session->tls = tls;
    session->dial = NULL;
    session->transport = NULL;
    session->link = kvc_link_new(options, address);
    if (!session->link) {
        free(session);
        return kvc_fail_nomem(error);
    }
    *ret_session = session;
    return KVC_OK;
}

void kvc_session_free(kvc_session *session)
{
    if (!session)
        return;
    kvc_session_disconnect(session);
    kvc_link_free(session->link);
    free(session);
}

void kvc_session_disconnect(kvc_session *session)
{
    kvc_dial_free(session->dial);
    kvc_transport_close(session->transport);
    session->dial = NULL;
    session->transport = NULL;
}

kvc_status kvc_session_connect(kvc_session *session, int64_t deadline_ms, kvc_error *error)
{
    kvc_session_disconnect(session);
    session->deadline_ms = deadline_ms;
    return kvc_dial_begin(session->options, session->tls, deadline_ms, &session->dial, error);
}

kvc_link *kvc_session_link(const kvc_session *session)
{
    return session->link;
}

int kvc_session_fd(const kvc_session *session)
{
    return session->transport ? kvc_transport_fd(session->transport) : -1;
}

bool kvc_session_has_bytes(const kvc_session *session)
{
    return session->transport && kvc_transport_has_bytes(session->transport);
}

/* ---- connecting ---- */

static kvc_status step_dial(kvc_session *session, int64_t now_ms, kvc_dial_wait *ret_wait, kvc_error *error)
{
    kvc_status status = kvc_dial_step(session->dial, now_ms, ret_wait, error);

    if (status != KVC_OK)
        return status;
    session->transport = kvc_dial_take(session->dial);
    kvc_dial_free(session->dial);
    session->dial = NULL;
    return kvc_link_begin(session->link, error);
}

/* KVC_NIL: *ret_events. */
static kvc_status step_handshake(kvc_session *session, short *ret_events, kvc_error *error)
{
    kvc_link_kind kind;
    kvc_reply *unexpected;
    kvc_status status;

    for (;;) {
        status = kvc_session_send(session, ret_events, error);
        if (status != KVC_OK)
            return status;
        status = kvc_session_receive(session, ret_events, error);
        if (status != KVC_OK)
            return status;
        status = kvc_link_next(session->link, &kind, &unexpected, error);
        kvc_reply_free(unexpected); /* a message, before anything was asked */
        if (status < 0 || kvc_link_ready(session->link))
            return status < 0 ? status : KVC_OK;
    }
}

kvc_status kvc_session_step(kvc_session *session, int64_t now_ms, kvc_dial_wait *ret_wait, kvc_error *error)
{
    short events = POLLIN;
    kvc_status status;

    if (session->dial) {
        status = step_dial(session, now_ms, ret_wait, error);
        if (status != KVC_OK)
            return status;
    }
    if (!session->transport)
        return kvc_fail(error, KVC_ESTATE, "not connected to %s", kvc_link_address(session->link));
    if (kvc_link_ready(session->link))
        return KVC_OK;
    status = step_handshake(session, &events, error);
    if (status == KVC_NIL && now_ms >= session->deadline_ms)
        return kvc_fail(error, KVC_ETIMEOUT, "%s did not answer the handshake within %u ms",
                        kvc_link_address(session->link), session->options->connect_timeout_ms);
    *ret_wait =
        (kvc_dial_wait){ .fd = kvc_session_fd(session), .events = events, .until_ms = session->deadline_ms };
    return status;
}

/* ---- moving bytes ---- */

/* Says whom a failure of the transport is about. */
static kvc_status failed(const kvc_session *session, const kvc_error *failure, kvc_error *error)
{
    kvc_fail(error, failure->status, "%s: %s", kvc_link_address(session->link), failure->message);
    if (error)
        error->sys_errno = failure->sys_errno;
    return failure->status;
}

kvc_status kvc_session_send(kvc_session *session, short *ret_events, kvc_error *error)
{
    for (;;) {
        kvc_slice out = kvc_link_output(session->link);
        kvc_error failure;
        kvc_status status;
        size_t n;

        if (out.len == 0)
            return KVC_OK;
        status = kvc_transport_write(session->transport, out.data, out.len, &n, ret_events, &failure);
        kvc_link_sent(session->link, n);
        if (status < 0)
            return failed(session, &failure, error);
        if (status != KVC_OK)
            return status;
    }
}

kvc_status kvc_session_receive(kvc_session *session, short *ret_events, kvc_error *error)
{
    kvc_error failure;
    size_t n;
    kvc_status status = kvc_transport_read(session->transport, session->input, sizeof session->input, &n,
                                           ret_events, &failure);

    if (status < 0)
        return failed(session, &failure, error);
    if (status != KVC_OK)
        return status;
    return kvc_link_feed(session->link, session->input, n, error);
}

kvc_status kvc_session_read(kvc_session *session, void *data, size_t size, size_t *ret_n, short *ret_events,
                            kvc_error *error)
{
    kvc_error failure;
    kvc_status status = kvc_transport_read(session->transport, data, size, ret_n, ret_events, &failure);

    return status < 0 ? failed(session, &failure, error) : status;
}
