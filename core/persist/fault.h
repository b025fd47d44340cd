/* fault.h - the calls that files depend on, and in test builds a plan by which they fail.
 *
 *     fault_plan *plan = fault_plan_new("write:3=ENOSPC fsync:1=EIO stop:rdb-renamed");  // or NULL: nothing fails
 *     n = fault_write(plan, fd, bytes, len);       // as write(2), unless the plan says otherwise
 *     fault_point(plan, "rdb-renamed");            // stops there, if the plan says so
 *
 * A plan is words, separated by blanks:
 *
 *     OP:N=ERROR     the N-th call of OP (open, write, sync, rename, unlink, truncate, mkdir, any: all of them together) fails
 *     OP:N+=ERROR    and so do all later ones
 *     short:N        the N-th write writes half of what it should, and the rest when it is called again
 *     slow:MS        each write and sync takes so much longer
 *     stop:NAME      the process kills itself at that point, as kill -9 would
 *     record:PATH    what is on disk is recorded in a directory that exists (fault_record.h)
 *     halt:NAME      from that point on every call fails: what a crash leaves, without losing the process
 *
 * ERROR is EIO, ENOSPC, EDQUOT, EACCES, EINTR or EOPNOTSUPP. Without KV_FAULTS (release builds) the plan is ignored and these are the
 * bare calls.
 *
 * Threads    Any. Who has a plan hands it down; there is none in the background.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_PERSIST_FAULT_H
#define KV_PERSIST_FAULT_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

typedef struct fault_plan fault_plan;

#ifdef KV_FAULTS

/* NULL: text is NULL or empty, or memory is out. A word that it does not know aborts: it is a test that is wrong. */
fault_plan *fault_plan_new(const char *text);
void fault_plan_free(fault_plan *plan);
/* How many calls there were in all: what a test goes through one by one. */
unsigned long fault_plan_calls(const fault_plan *plan);

int fault_open(fault_plan *plan, const char *path, int flags, mode_t mode);
ssize_t fault_write(fault_plan *plan, int fd, const void *bytes, size_t len);
int fault_fsync(fault_plan *plan, int fd);
int fault_fdatasync(fault_plan *plan, int fd);
int fault_rename(fault_plan *plan, const char *from, const char *to);
int fault_unlink(fault_plan *plan, const char *path);
int fault_ftruncate(fault_plan *plan, int fd, off_t length);
int fault_mkdir(fault_plan *plan, const char *path, mode_t mode);
void fault_point(fault_plan *plan, const char *name);

#else

static inline fault_plan *fault_plan_new(const char *text)
{
    (void)text;
    return NULL;
}

static inline void fault_plan_free(fault_plan *plan)
{
    (void)plan;
}

static inline int fault_open(fault_plan *plan, const char *path, int flags, mode_t mode)
{
    (void)plan;
    return open(path, flags, mode);
}

static inline ssize_t fault_write(fault_plan *plan, int fd, const void *bytes, size_t len)
{
    (void)plan;
    return write(fd, bytes, len);
}

static inline int fault_fsync(fault_plan *plan, int fd)
{
    (void)plan;
    return fsync(fd);
}

static inline int fault_fdatasync(fault_plan *plan, int fd)
{
    (void)plan;
    return fdatasync(fd);
}

static inline int fault_rename(fault_plan *plan, const char *from, const char *to)
{
    (void)plan;
    return rename(from, to);
}

static inline int fault_unlink(fault_plan *plan, const char *path)
{
    (void)plan;
    return unlink(path);
}

static inline int fault_ftruncate(fault_plan *plan, int fd, off_t length)
{
    (void)plan;
    return ftruncate(fd, length);
}

static inline int fault_mkdir(fault_plan *plan, const char *path, mode_t mode)
{
    (void)plan;
    return mkdir(path, mode);
}

static inline void fault_point(fault_plan *plan, const char *name)
{
    (void)plan;
    (void)name;
}

#endif
#endif
