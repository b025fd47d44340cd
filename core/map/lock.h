/* lock.h - a lock of four bytes for critical sections of a few dozen instructions.
 *
 * Three states, after Drepper, "Futexes Are Tricky" (2011), section 6: free, held, held with sleepers. An
 * uncontended pair costs two atomic exchanges and no system call. A waiter spins for about a hundred looks
 * and then parks in the kernel. A fourth state says that the holder had to wait and notes the time (contention.c):
 * it, too, is one that only the slow half of the release looks at. SPDX-License-Identifier: MIT */
#ifndef KV_MAP_LOCK_H
#define KV_MAP_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>

#include "kvstore/capability.h"

typedef struct KV_CAPABILITY("lock") kv_lock {
    _Atomic int state; /* 0 free, 1 held, 2 held and somebody may sleep, 3 held after a wait that is timed */
} kv_lock;

/* Takes the lock after waiting for it; the second in a state by which its release calls contention_released. */
void lock_wait(kv_lock *lock);
void lock_wait_timed(kv_lock *lock);
/* After a release from a state that was not 1. */
void lock_released(kv_lock *lock, int state);
/* contention.c: counts how long this thread has held it, if it had to wait for it. */
void contention_released(const kv_lock *lock);

/* What no lock is free of: the analysis cannot look into the atomics, so these three vouch. */
static inline void lock_acquire(kv_lock *lock) KV_ACQUIRES(lock);
static inline void lock_release(kv_lock *lock) KV_RELEASES(lock);

KV_UNCHECKED static inline void lock_acquire(kv_lock *lock)
{
    int free_state = 0;

    if (!atomic_compare_exchange_strong_explicit(&lock->state, &free_state, 1, memory_order_acquire,
                                                 memory_order_relaxed))
        lock_wait(lock);
}

/* After the exchange nothing of *lock is touched but by address: the memory may be gone by then. */
KV_UNCHECKED static inline void lock_release(kv_lock *lock)
{
    int state = atomic_exchange_explicit(&lock->state, 0, memory_order_release);

    if (state != 1)
        lock_released(lock, state);
}

/* For who must not wait: whether it was taken. */
static inline bool lock_try(kv_lock *lock) KV_ATTRIBUTE(try_acquire_capability(true, lock));

KV_UNCHECKED static inline bool lock_try(kv_lock *lock)
{
    int free_state = 0;

    return atomic_compare_exchange_strong_explicit(&lock->state, &free_state, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

#endif
