/* spool.h - a file for a data set on its way: one that nobody else sees, and that is gone with the process.
 *
 *     int fd = spool_open(faults);                     // in the working directory, which is `dir`
 *     err = spool_write(faults, fd, bytes, len);       // as often as there is something
 *     lseek(fd, 0, SEEK_SET);
 *     n = spool_read(fd, into, max);                   // until it is 0
 *     close(fd);
 *
 * Threads    Any; a file is used by one at a time.
 * Errors     Errnos: positive where the result is 0 otherwise, negative where it is a number.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_STANDALONE_SPOOL_H
#define KV_STANDALONE_SPOOL_H

#include "fault.h"

/* Without a name, and 0600 from its beginning. A descriptor, yours, or -errno. */
int spool_open(fault_plan *faults);
/* All of it: 0, or the errno; ENOSPC above all. */
int spool_write(fault_plan *faults, int fd, const char *bytes, size_t len);
/* What there is, at most max bytes: how many; 0: it is at its end; -errno. */
ssize_t spool_read(int fd, void *into, size_t max);

#endif
