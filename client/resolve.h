/* resolve.h - addresses of a host name, without waiting for them.
 *
 *     kvc_resolution *r;
 *     kvc_resolve(host, port, &r, &error);
 *     if (kvc_resolution_fd(r) >= 0)
 *         poll for it to become readable;
 *     kvc_resolution_take(r, &list, &error);   // freeaddrinfo(list)
 *     kvc_resolution_free(r);                  // whether it has come to an end or not
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_RESOLVE_H
#define KVC_RESOLVE_H

#include <netdb.h>

#include "kvclient.h"

typedef struct kvc_resolution kvc_resolution;

kvc_status kvc_resolve(const char *host, int port, kvc_resolution **ret_resolution, kvc_error *error);
/* Readable when the answer is there; -1: it is there already. */
int kvc_resolution_fd(const kvc_resolution *resolution);
/* KVC_OK: *ret_list is the caller's. KVC_NIL: not there yet. KVC_ERESOLVE, KVC_ENOMEM. Once. */
kvc_status kvc_resolution_take(kvc_resolution *resolution, struct addrinfo **ret_list, kvc_error *error);
void kvc_resolution_free(kvc_resolution *resolution);

#endif
