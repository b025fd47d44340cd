/* print.h - replies on stdout: formatted, on a terminal paged when they are long. SPDX-License-Identifier: MIT */
#ifndef KVCLI_PRINT_H
#define KVCLI_PRINT_H

#include "settings.h"

/* Of the command argv; an error goes to stderr when the settings say so. Gives what the reply means for the exit status. */
exit_status print_reply(const settings *s, size_t argc, const kvc_slice *argv, const kvc_reply *reply);
/* Text of kvcli's own, through the pager where one is wanted and the text is long. */
void print_text(const settings *s, kvc_slice text);
/* EXIT_FINE, or EXIT_SERVER and EXIT_AUTH for an error. */
exit_status print_status_of(const kvc_reply *reply);
/* Writes out what stdout holds; complains when that fails. */
exit_status print_flush(void);

#endif
