/* repl.h - kvcli's interactive mode. SPDX-License-Identifier: MIT */
#ifndef KVCLI_REPL_H
#define KVCLI_REPL_H

#include "conversation.h"

/* Until quit or the end of input. The conversation may be without a connection: the prompt says so and each command tries anew. */
exit_status repl_run(conversation *c);

#endif
