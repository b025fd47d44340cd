/* fault.c - a plan of failures, and the calls that follow it. Nothing of this is in a release build.
 * SPDX-License-Identifier: MIT */
#include "fault.h"

#ifndef KV_FAULTS

typedef int fault_nothing; /* a file is not empty */

#else

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fault_record.h"

enum op { OP_OPEN, OP_WRITE, OP_SYNC, OP_RENAME, OP_UNLINK, OP_TRUNCATE, OP_MKDIR, OP_ANY, OPS };

static const char *const op_names[OPS] = { "open",   "write",    "sync",  "rename",
                                           "unlink", "truncate", "mkdir", "any" };

#define WORDS_MAX 8
#define NAME_MAX_ 48

typedef struct rule {
    enum op op;
    unsigned long at; /* the call that fails, counted from 1; 0: no rule */
    bool for_ever;
    int error;
} rule;

struct fault_plan {
    _Atomic unsigned long calls[OPS];
    rule rules[WORDS_MAX];
    size_t rule_count;
    unsigned long short_write, slow_ms;
    char stop[NAME_MAX_], halt[NAME_MAX_];
    _Atomic bool halted;
    fault_record *record; /* or NULL */
};

static int error_of(const char *name)
{
    static const struct {
        const char *name;
        int error;
    } errors[] = { { "EIO", EIO },       { "ENOSPC", ENOSPC }, { "EDQUOT", EDQUOT },
                   { "EACCES", EACCES }, { "EINTR", EINTR },   { "EOPNOTSUPP", EOPNOTSUPP } };

    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (strcmp(errors[i].name, name) == 0)
            return errors[i].error;
    abort();
}

static void add_rule(fault_plan *plan, const char *op, const char *rest)
{
    rule *r = &plan->rules[plan->rule_count++];
    char *end;

    assert(plan->rule_count <= WORDS_MAX);
    while (r->op < OPS && strcmp(op_names[r->op], op) != 0)
        r->op++;
    r->at = strtoul(rest, &end, 10);
    r->for_ever = *end == '+';
    end += r->for_ever;
    if (r->op == OPS || r->at == 0 || *end != '=')
        abort();
    r->error = error_of(end + 1);
}

static void add_word(fault_plan *plan, char *word)
{
    char *colon = strchr(word, ':');

    if (!colon)
        abort();
    *colon = '\0';
    if (strcmp(word, "record") == 0) {
        plan->record = fault_record_new(colon + 1);
        return;
    }
    if (strlen(colon + 1) >= NAME_MAX_)
        abort();
    if (strcmp(word, "stop") == 0)
        memcpy(plan->stop, colon + 1, strlen(colon + 1) + 1);
    else if (strcmp(word, "halt") == 0)
        memcpy(plan->halt, colon + 1, strlen(colon + 1) + 1);
    else if (strcmp(word, "short") == 0)
        plan->short_write = strtoul(colon + 1, NULL, 10);
    else if (strcmp(word, "slow") == 0)
        plan->slow_ms = strtoul(colon + 1, NULL, 10);
    else
        add_rule(plan, word, colon + 1);
}

fault_plan *fault_plan_new(const char *text)
{
    fault_plan *plan = text && *text ? calloc(1, sizeof *plan) : NULL;
    char *copy = plan ? strdup(text) : NULL, *rest = copy;

    if (!copy) {
        free(plan);
        return NULL;
    }
    for (char *word; (word = strsep(&rest, " ")) != NULL;)
        if (*word)
            add_word(plan, word);
    free(copy);
    return plan;
}

void fault_plan_free(fault_plan *plan)
{
    if (plan)
        fault_record_free(plan->record);
    free(plan);
}

unsigned long fault_plan_calls(const fault_plan *plan)
{
    return atomic_load_explicit(&((fault_plan *)plan)->calls[OP_ANY], memory_order_relaxed);
}

/* Counts a call; true: it fails, and errno says with what. */
static bool fails(fault_plan *plan, enum op op)
{
    if (!plan)
        return false;
    unsigned long nth = atomic_fetch_add_explicit(&plan->calls[op], 1, memory_order_relaxed) + 1;
    unsigned long nth_of_all = atomic_fetch_add_explicit(&plan->calls[OP_ANY], 1, memory_order_relaxed) + 1;

    errno = EIO;
    if (atomic_load_explicit(&plan->halted, memory_order_relaxed))
        return true;
    for (size_t i = 0; i < plan->rule_count; i++) {
        const rule *r = &plan->rules[i];
        unsigned long n = r->op == OP_ANY ? nth_of_all : r->op == op ? nth : 0;

        if (n == r->at || (r->for_ever && n > r->at)) {
            errno = r->error;
            return true;
        }
    }
    return false;
}

static void take_longer(const fault_plan *plan)
{
    unsigned long ms = plan ? plan->slow_ms : 0;

    if (ms)
        nanosleep(&(struct timespec){ (time_t)(ms / 1000), (long)(ms % 1000) * 1000000 }, NULL);
}

static fault_record *record_of(const fault_plan *plan)
{
    return plan ? plan->record : NULL;
}

int fault_open(fault_plan *plan, const char *path, int flags, mode_t mode)
{
    if (fails(plan, OP_OPEN))
        return -1;
    if (flags & O_CREAT)
        fault_record_create(record_of(plan), path);
    return open(path, flags, mode);
}

ssize_t fault_write(fault_plan *plan, int fd, const void *bytes, size_t len)
{
    if (fails(plan, OP_WRITE))
        return -1;
    if (plan && len > 1 &&
        atomic_load_explicit(&plan->calls[OP_WRITE], memory_order_relaxed) == plan->short_write)
        len /= 2;
    take_longer(plan);
    return write(fd, bytes, len);
}

static int sync_by(fault_plan *plan, int fd, off_t size, int (*call)(int fd))
{
    take_longer(plan);
    if (fails(plan, OP_SYNC) || call(fd) != 0)
        return -1;
    fault_record_sync(record_of(plan), fd, size);
    return 0;
}

int fault_fsync(fault_plan *plan, int fd)
{
    return sync_by(plan, fd, fault_record_size(record_of(plan), fd), fsync);
}

int fault_fdatasync(fault_plan *plan, int fd)
{
    return sync_by(plan, fd, fault_record_position(record_of(plan), fd), fdatasync);
}

int fault_rename(fault_plan *plan, const char *from, const char *to)
{
    if (fails(plan, OP_RENAME))
        return -1;
    fault_record_rename(record_of(plan), from, to);
    return rename(from, to);
}

int fault_unlink(fault_plan *plan, const char *path)
{
    if (fails(plan, OP_UNLINK))
        return -1;
    fault_record_unlink(record_of(plan), path);
    return unlink(path);
}

int fault_ftruncate(fault_plan *plan, int fd, off_t length)
{
    return fails(plan, OP_TRUNCATE) ? -1 : ftruncate(fd, length);
}

int fault_mkdir(fault_plan *plan, const char *path, mode_t mode)
{
    if (fails(plan, OP_MKDIR))
        return -1;
    fault_record_create(record_of(plan), path);
    return mkdir(path, mode);
}

void fault_point(fault_plan *plan, const char *name)
{
    if (!plan)
        return;
    if (strcmp(plan->stop, name) == 0)
        raise(SIGKILL);
    if (strcmp(plan->halt, name) == 0)
        atomic_store_explicit(&plan->halted, true, memory_order_relaxed);
}

#endif
