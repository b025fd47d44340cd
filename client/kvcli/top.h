/* top.h - kvcli top: what the server does now. SPDX-License-Identifier: MIT */
#ifndef KVCLI_TOP_H
#define KVCLI_TOP_H

#include "conversation.h"

/* On a terminal a screen that is drawn again and again until Ctrl-C; elsewhere a line for each interval. --count ends both. */
exit_status top_run(conversation *c);

#endif
