/* watch.h - kvcli watch COMMAND: what it answers, again and again, with what changed marked. SPDX-License-Identifier: MIT */
#ifndef KVCLI_WATCH_H
#define KVCLI_WATCH_H

#include "conversation.h"

exit_status watch_run(conversation *c);

/* now, with the words of each line that differ from before's in reverse letters. */
void watch_mark(kvc_slice before, kvc_slice now, text *out);

#endif
