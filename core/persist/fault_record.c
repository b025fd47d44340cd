/* fault_record.c - see fault_record.h. Nothing of this is in a release build. SPDX-License-Identifier: MIT */
#include "fault_record.h"

#ifndef KV_FAULTS

typedef int fault_record_nothing; /* a file is not empty */

#else

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct fault_record {
    int fd;
    char directory[PATH_MAX - 32];
};

fault_record *fault_record_new(const char *directory)
{
    fault_record *record = calloc(1, sizeof *record);
    char path[PATH_MAX];

    if (!record || strlen(directory) >= sizeof record->directory)
        abort();
    strcpy(record->directory, directory);
    snprintf(path, sizeof path, "%s/record", directory);
    record->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (record->fd < 0)
        abort();
    return record;
}

void fault_record_free(fault_record *record)
{
    if (record)
        close(record->fd);
    free(record);
}

/* One call of write(2) each: lines of several threads, and of several records of one directory, do not mix. */
__attribute__((format(printf, 2, 3))) static void add(const fault_record *record, const char *format, ...)
{
    char line[2 * PATH_MAX + 64];
    va_list args;
    int len;

    va_start(args, format);
    len = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (len >= (int)sizeof line || write(record->fd, line, (size_t)len) != len)
        abort();
}

off_t fault_record_size(const fault_record *record, int fd)
{
    struct stat status;

    return record && fstat(fd, &status) == 0 ? status.st_size : 0;
}

off_t fault_record_position(const fault_record *record, int fd)
{
    off_t size = fault_record_size(record, fd), at = record ? lseek(fd, 0, SEEK_CUR) : 0;

    return at >= 0 && at < size ? at : size;
}

void fault_record_sync(fault_record *record, int fd, off_t size)
{
    char link[64], path[PATH_MAX];
    struct stat status;
    ssize_t len;

    if (!record || fstat(fd, &status) != 0)
        return;
    if (!S_ISDIR(status.st_mode)) {
        add(record, "sync %llu %lld\n", (unsigned long long)status.st_ino, (long long)size);
        return;
    }
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    len = readlink(link, path, sizeof path - 1);
    if (len > 0)
        add(record, "directory %.*s\n", (int)len, path);
}

/* Whole, so that who reads it need not know where the process was. */
static void resolve(const char *path, char whole[PATH_MAX])
{
    char here[PATH_MAX / 2];

    if (path[0] == '/' || !getcwd(here, sizeof here))
        here[0] = '\0';
    snprintf(whole, PATH_MAX, "%s%s%.2000s", here, here[0] ? "/" : "", path);
}

void fault_record_create(fault_record *record, const char *path)
{
    char whole[PATH_MAX];

    if (!record || access(path, F_OK) == 0)
        return;
    resolve(path, whole);
    add(record, "create %s\n", whole);
}

/* Keeps a file by a link; its number as text. */
static void keep(const fault_record *record, const char *path, char number[16])
{
    char kept[PATH_MAX];
    int err;

    for (int n = 0;; n++) {
        snprintf(kept, sizeof kept, "%s/%d", record->directory, n);
        snprintf(number, 16, "%d", n);
        err = link(path, kept) == 0 ? 0 : errno;
        if (err != EEXIST)
            break;
    }
    if (err)
        strcpy(number, "-");
}

void fault_record_rename(fault_record *record, const char *from, const char *to)
{
    char number[16], whole_from[PATH_MAX], whole_to[PATH_MAX];

    if (!record)
        return;
    keep(record, to, number);
    resolve(from, whole_from);
    resolve(to, whole_to);
    add(record, "rename %s %s %s\n", number, whole_from, whole_to);
}

void fault_record_unlink(fault_record *record, const char *path)
{
    char number[16], whole[PATH_MAX];

    if (!record)
        return;
    keep(record, path, number);
    resolve(path, whole);
    add(record, "unlink %s %s\n", number, whole);
}

#endif
