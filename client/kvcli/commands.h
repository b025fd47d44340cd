/* commands.h - runs commands: the one of the command line, or those of a file, or what the prompt reads.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_COMMANDS_H
#define KVCLI_COMMANDS_H

#include "conversation.h"

/* Sends one command and prints what comes of it; of SUBSCRIBE and MONITOR until Ctrl-C, or when they have ended. *ret_error tells a
 * failure of the connection (its status is KVC_OK when there was none): nothing was said about it yet. */
exit_status command_run(conversation *c, size_t argc, const kvc_slice *argv, kvc_error *ret_error);
/* What kvcli has on its command line, as often as it says. */
exit_status commands_run_given(conversation *c);
/* A line with one command, perhaps with a number of times before it; false: the line holds none, and *ret_status says whether that
 * was wrong. The words are the caller's. */
bool commands_read_line(kvc_slice line, words *ret_words, long *ret_times, exit_status *ret_status);
/* The lines of stdin, each a command. Stops only when the connection is lost. */
exit_status commands_run_stdin(conversation *c);

/* The whole of stdin. */
exit_status read_all_stdin(text *out);

#endif
