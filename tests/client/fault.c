/* fault.c - see fault.h. The linker's hooks take no argument, so their state is global; it is each thread's own, so that
 * the servers of a test are spared.
 *
 * SPDX-License-Identifier: MIT */
#include "fault.h"

#include <stddef.h>

static _Thread_local struct {
    long countdown; /* allocations until the one that fails; 0: none is to fail */
    bool stay_failed;
    bool struck;
} fault;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *block, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *block, size_t size);
char *__wrap_strdup(const char *text);

static bool fault_strikes(void)
{
    if (fault.countdown == 0)
        return false;
    if (fault.countdown > 1) {
        fault.countdown--;
        return false;
    }
    if (!fault.stay_failed)
        fault.countdown = 0;
    fault.struck = true;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fault_strikes() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fault_strikes() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fault_strikes() ? NULL : __real_realloc(block, size);
}

char *__wrap_strdup(const char *text)
{
    return fault_strikes() ? NULL : __real_strdup(text);
}

void fault_arm(long n, bool stay_failed)
{
    fault.countdown = n;
    fault.stay_failed = stay_failed;
    fault.struck = false;
}

bool fault_disarm(void)
{
    fault.countdown = 0;
    return fault.struck;
}

bool fault_struck(void)
{
    return fault.struck;
}
