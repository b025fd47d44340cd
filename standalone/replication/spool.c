/* spool.c - see spool.h.
 *
 * Where a file system knows O_TMPFILE the file never has a name, so that a crash leaves nothing; elsewhere (NFS, for one) it has a
 * name nobody can guess until it is unlinked, at once.
 *
 * SPDX-License-Identifier: MIT */
#include "spool.h"

#include <errno.h>
#include <stdlib.h>

static int open_named(void)
{
    char name[] = "temp-XXXXXX";
    int fd = mkostemp(name, O_CLOEXEC);

    if (fd < 0)
        return -errno;
    unlink(name);
    return fd;
}

int spool_open(fault_plan *faults)
{
    int fd = fault_open(faults, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    if (fd >= 0)
        return fd;
    return errno == EOPNOTSUPP || errno == EISDIR ? open_named() : -errno;
}

int spool_write(fault_plan *faults, int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = fault_write(faults, fd, bytes, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

ssize_t spool_read(int fd, void *into, size_t max)
{
    ssize_t n;

    do
        n = read(fd, into, max);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}
