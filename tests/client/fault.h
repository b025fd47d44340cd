/* fault.h - allocations that fail when a test wants them to.
 *
 *     for (long n = 1; ...; n++) {
 *         fault_arm(n, false);          // the n-th allocation of this thread from here on fails
 *         status = do_something();
 *         reached = fault_disarm();     // whether it came to that
 *     }
 *
 * The linker puts the functions of fault.c in front of malloc and its kin: a test that uses this is linked with
 * --wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup.
 *
 * Threads    Each has faults of its own.
 *
 * SPDX-License-Identifier: MIT */
#ifndef TESTS_FAULT_H
#define TESTS_FAULT_H

#include <stdbool.h>

/* stay_failed: all that follow fail, too, until fault_disarm. */
void fault_arm(long n, bool stay_failed);
/* True: the allocation that was to fail was asked for. */
bool fault_disarm(void);
/* The same, and nothing changes. */
bool fault_struck(void);

#endif
