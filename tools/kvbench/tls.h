/* tls.h - kvbench tls: what TLS costs a server, for each request and for each handshake.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVBENCH_TLS_H
#define KVBENCH_TLS_H

#include "options.h"
#include "report.h"

int tls_bench(options *o, report *r, fault *f);

#endif
