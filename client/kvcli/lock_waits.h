/* lock_waits.h - who waits for locks in kvserver: LOCKSTAT, read twice. SPDX-License-Identifier: MIT */
#ifndef KVCLI_LOCK_WAITS_H
#define KVCLI_LOCK_WAITS_H

#include "conversation.h"

typedef struct lock_waits {
    kvc_reply *report;               /* NULL: the server has no LOCKSTAT, or measures nothing */
    double waits, waited_ns;         /* since the server began to count */
    double new_waits, new_waited_ns; /* since the reading before */
} lock_waits;

/* KVC_OK also when the server has none. */
kvc_status lock_waits_read(lock_waits *x, conversation *c, kvc_error *error);
void lock_waits_done(lock_waits *x);
/* What stands in kvcli top: a line of sums, the shards and keys waited for; nothing when there is no report. */
void lock_waits_print(const lock_waits *x, double seconds, text *out);

#endif
