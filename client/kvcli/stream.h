/* stream.h - what a connection says unasked: messages of SUBSCRIBE, lines of MONITOR. SPDX-License-Identifier: MIT */
#ifndef KVCLI_STREAM_H
#define KVCLI_STREAM_H

#include "conversation.h"

/* Prints messages until nothing is subscribed any more, Ctrl-C (then the connection is gone, or new at the prompt), or, at the
 * prompt, the user begins a line. *error tells a failure of the connection. */
exit_status stream_run(conversation *c, kvc_error *error);

#endif
