/* leaf_lock_leaked.c - a plain lock is not given back.
 *
 * REJECT: is still held at the end of function
 *
 * SPDX-License-Identifier: MIT */
#include "lock.h"

typedef struct counter {
    kv_lock lock;
    long value;
} counter;

long next(counter *c);

long next(counter *c)
{
    long value;

    lock_acquire(&c->lock);
    value = ++c->value;
#ifdef FIXED
    lock_release(&c->lock);
#endif
    return value;
}
