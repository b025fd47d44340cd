/* contention.h - who waits for locks in kvserver: LOCKSTAT, read twice. SPDX-License-Identifier: MIT */
#ifndef KVCLI_CONTENTION_H
#define KVCLI_CONTENTION_H

#include "conversation.h"

typedef struct contention {
    kvc_reply *report;               /* NULL: the server has no LOCKSTAT, or measures nothing */
    double waits, waited_ns;         /* since the server began to count */
    double new_waits, new_waited_ns; /* since the reading before */
} contention;

/* KVC_OK also when the server has none. */
kvc_status contention_read(contention *x, conversation *c, kvc_error *error);
void contention_done(contention *x);
/* What stands in kvcli top: a line of sums, the shards and keys waited for; nothing when there is no report. */
void contention_print(const contention *x, double seconds, text *out);

#endif
