/* dial.h - from a host name to an established stream: resolving, every address, TLS; without waiting.
 *
 *     kvc_dial *dial;
 *     kvc_dial_begin(options, tls, deadline_ms, &dial, &error);
 *     while ((status = kvc_dial_step(dial, kvc_now_ms(), &wait, &error)) == KVC_NIL)
 *         poll(wait.fd, wait.events, until wait.until_ms);
 *     if (status == KVC_OK)
 *         transport = kvc_dial_take(dial);
 *     kvc_dial_free(dial);
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_DIAL_H
#define KVC_DIAL_H

#include "transport.h"

typedef struct kvc_dial kvc_dial;

/* What the next step waits for. */
typedef struct kvc_dial_wait {
    int fd;
    short events;     /* of poll */
    int64_t until_ms; /* then step again, too; on kvc_now_ms's clock */
} kvc_dial_wait;

/* options and tls (or NULL) are borrowed, also by the transport. */
kvc_status kvc_dial_begin(const kvc_options *options, kvc_tls *tls, int64_t deadline_ms, kvc_dial **ret_dial,
                          kvc_error *error);
/* KVC_OK: established. KVC_NIL: wait. KVC_ERESOLVE, KVC_ECONNECT, KVC_ETLS, KVC_ETIMEOUT: it failed, at every address. */
kvc_status kvc_dial_step(kvc_dial *dial, int64_t now_ms, kvc_dial_wait *ret_wait, kvc_error *error);
/* After KVC_OK: the caller's. */
kvc_transport *kvc_dial_take(kvc_dial *dial);
void kvc_dial_free(kvc_dial *dial);

#endif
