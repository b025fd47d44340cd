/* latency.h - kvcli --latency and --latency-history: the time of round trips. SPDX-License-Identifier: MIT */
#ifndef KVCLI_LATENCY_H
#define KVCLI_LATENCY_H

#include "conversation.h"
#include "histogram.h"

exit_status latency_run(conversation *c);
/* PING, a hundred times a second, for this long or until Ctrl-C. */
kvc_status latency_sample(conversation *c, double seconds, histogram *h, kvc_error *error);

#endif
