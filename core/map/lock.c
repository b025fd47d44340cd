/* lock.c - the slow half of kv_lock: spin a little, then sleep in the kernel.
 *
 * The critical sections here are shorter than a context switch, so a waiter first looks about a hundred
 * times. On a machine with fewer cores than threads the holder may have lost its core; then the waiter
 * sleeps, and marks the lock so that the holder knows to wake it. A thread that has slept takes the lock in
 * the state 2, because it cannot know whether others sleep too; at worst that costs one vain wake-up.
 * SPDX-License-Identifier: MIT */
#include "lock.h"

#include <limits.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SPINS 100

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Takes the lock in a state: 1, or 3. */
KV_UNCHECKED static void wait_for(kv_lock *lock, int state)
{
    for (int spin = 0; spin < SPINS; spin++) {
        int free_state = 0;

        if (atomic_load_explicit(&lock->state, memory_order_relaxed) == 0 &&
            atomic_compare_exchange_strong_explicit(&lock->state, &free_state, state, memory_order_acquire,
                                                    memory_order_relaxed))
            return;
        relax();
    }
    while (atomic_exchange_explicit(&lock->state, 2, memory_order_acquire) != 0)
        syscall(SYS_futex, &lock->state, FUTEX_WAIT_PRIVATE, 2, NULL, NULL, 0);
}

void lock_wait(kv_lock *lock)
{
    wait_for(lock, 1);
}

void lock_wait_timed(kv_lock *lock)
{
    wait_for(lock, 3);
}

void lock_released(kv_lock *lock, int state)
{
    if (state == 2)
        syscall(SYS_futex, &lock->state, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    contention_released(lock);
}
