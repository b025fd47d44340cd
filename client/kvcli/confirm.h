/* confirm.h - a question before a command destroys or stops something. SPDX-License-Identifier: MIT */
#ifndef KVCLI_CONFIRM_H
#define KVCLI_CONFIRM_H

#include "settings.h"

/* Why this command is worth a question; NULL: it is not. */
const char *confirm_reason(size_t argc, const kvc_slice *argv);
/* True: go on. Asks only on a terminal, and not with --yes. */
bool confirm(const settings *s, size_t argc, const kvc_slice *argv);

#endif
