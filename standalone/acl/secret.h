/* secret.h - which arguments of a command are nobody's business: passwords, and the rules of users.
 *
 * Whoever shows or keeps a request that it does not serve (SLOWLOG, MONITOR, the log, a crash report) asks this of each
 * argument, and shows SECRET_SHOWN instead.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SECRET_H
#define KV_STANDALONE_SECRET_H

#include "command.h"

#define SECRET_SHOWN "(redacted)"

/* Whether argv[index] is secret. row: the one that argv runs, the subcommand's where the command is a container. */
bool secret_argument(const kv_command *row, int argc, const kv_slice argv[], int index);

/* Forgets size bytes: the compiler may not leave that out. */
void secret_wipe(void *bytes, size_t size);
/* Forgets an argument that has served its purpose. Its request is not needed any more, and the bytes are its own: they would lie
 * in an input buffer until others come over them, and in a core dump meanwhile. */
void secret_wipe_argument(kv_slice argument);
/* Whether both hold the same bytes, in time that depends on size only. */
bool secret_equal(const void *a, const void *b, size_t size);

#endif
