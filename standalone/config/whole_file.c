/* whole_file.c - see whole_file.h. SPDX-License-Identifier: MIT */
#include "whole_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int whole_file_read(int fd, size_t max, char **ret_text, size_t *ret_len)
{
    size_t len = 0, size = 0;
    char *text = NULL;

    for (;;) {
        ssize_t n;

        if (len == size) {
            char *bigger = size < max ? realloc(text, size = size ? size * 2 : 4096) : NULL;

            if (!bigger) {
                free(text);
                errno = size >= max ? EFBIG : ENOMEM;
                return -1;
            }
            text = bigger;
        }
        n = read(fd, text + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            *ret_text = text;
            *ret_len = len;
            if (n < 0)
                free(text);
            return n < 0 ? -1 : 0;
        }
        len += (size_t)n;
    }
}

/* What a rename has changed is on disk only when the directory is. */
static int sync_directory(const char *path)
{
    char directory[PATH_MAX];
    char *slash;
    int fd, result;

    snprintf(directory, sizeof directory, "%s", path);
    slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = '\0';
    else
        strcpy(directory, ".");
    fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    result = fsync(fd);
    close(fd);
    return result;
}

int whole_file_replace(const char *path, mode_t mode, const char *text, size_t len)
{
    char temporary[PATH_MAX];
    int fd, saved;
    ssize_t n;

    if (snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary) {
        errno = ENAMETOOLONG;
        return -1;
    }
    fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return -1;
    for (size_t done = 0; done < len; done += (size_t)n) {
        n = write(fd, text + done, len - done);
        if (n < 0 && errno != EINTR)
            goto fail;
        n = n < 0 ? 0 : n;
    }
    if (fchmod(fd, mode) != 0 || fsync(fd) != 0 || rename(temporary, path) != 0)
        goto fail;
    close(fd);
    return sync_directory(path);
fail:
    saved = errno;
    close(fd);
    unlink(temporary);
    errno = saved;
    return -1;
}
