/* exit_status.h - how kvcli ends, and how it complains on the way.
 *
 *     if (!file)
 *         return complain(EXIT_USAGE, "--pass-file %s: %s", path, strerror(errno));
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_EXIT_STATUS_H
#define KVCLI_EXIT_STATUS_H

#include "kvclient.h"

typedef enum exit_status {
    EXIT_FINE = 0,
    EXIT_SERVER = 1, /* the server answered with an error, or a check failed */
    EXIT_USAGE = 2,
    EXIT_CONNECT = 3,
    EXIT_AUTH = 4,
    EXIT_TIMEOUT = 5,
    EXIT_IO = 6, /* reading, writing, memory, or a server that does not speak RESP */
    EXIT_INTERRUPTED = 130,
} exit_status;

/* Prints "kvcli: ..." and a newline on stderr, and gives status back. */
exit_status complain(exit_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* What a failure of the library means to whoever started kvcli. */
exit_status exit_status_of(const kvc_error *error);
/* The more telling of two: the first that is not EXIT_FINE. */
exit_status exit_status_first(exit_status a, exit_status b);

/* What malloc and its kin gave; when that is NULL, complains and ends the process with EXIT_IO. */
void *must_have(void *memory);

#endif
