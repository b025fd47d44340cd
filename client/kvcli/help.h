/* help.h - what kvcli knows of itself and of the commands, as text for people. SPDX-License-Identifier: MIT */
#ifndef KVCLI_HELP_H
#define KVCLI_HELP_H

#include <stdio.h>

#include "text.h"

/* kvcli --help. */
void help_print_usage(FILE *out);
/* HELP in the interactive mode; argv: what stands behind it: nothing, @group, or a command and perhaps a subcommand. False: there is no
 * such command or group in the table, and nothing was added. */
bool help_on(size_t argc, const kvc_slice *argv, bool colors, text *out);

#endif
