/* peek.h - kvcli peek KEY: a key of any type, at a glance. SPDX-License-Identifier: MIT */
#ifndef KVCLI_PEEK_H
#define KVCLI_PEEK_H

#include "conversation.h"

/* Prints its type, size, deadline, memory, and the beginning of what it holds; without moving much of a large key. */
exit_status peek_show(conversation *c, kvc_slice key);

#endif
