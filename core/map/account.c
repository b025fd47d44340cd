/* account.c - see account.h.
 *
 * The sum of bytes is also the count of references: whoever books out the last ones frees the account. So a
 * kv_bytes costs no more than an addition and a subtraction. SPDX-License-Identifier: MIT */
#include "account.h"

#include <stdatomic.h>
#include <stdlib.h>

struct account {
    _Atomic size_t bytes; /* had and not given back, this struct included */
    kv_allocator allocator;
};

account *account_new(const kv_allocator *allocator, size_t first_bytes)
{
    account *a = allocator->alloc(allocator->arg, sizeof *a, 16);

    if (!a)
        return NULL;
    atomic_init(&a->bytes, sizeof *a + first_bytes);
    a->allocator = *allocator;
    return a;
}

void *account_alloc(account *a, size_t size_bytes, size_t alignment)
{
    if (!a)
        return malloc(size_bytes);
    void *memory = a->allocator.alloc(a->allocator.arg, size_bytes, alignment);

    if (memory)
        account_add(a, size_bytes);
    return memory;
}

void account_free(account *a, void *memory, size_t size_bytes)
{
    if (!a) {
        free(memory);
        return;
    }
    a->allocator.free(a->allocator.arg, memory, size_bytes);
    account_remove(a, size_bytes);
}

void account_add(account *a, size_t size_bytes)
{
    atomic_fetch_add_explicit(&a->bytes, size_bytes, memory_order_relaxed);
}

void account_remove(account *a, size_t size_bytes)
{
    /* Pairs with the same of the others: what they did with the account comes before its end. */
    size_t before = atomic_fetch_sub_explicit(&a->bytes, size_bytes, memory_order_acq_rel);

    if (before == size_bytes + sizeof *a)
        a->allocator.free(a->allocator.arg, a, sizeof *a);
}

size_t account_bytes(const account *a)
{
    return atomic_load_explicit(&((account *)a)->bytes, memory_order_relaxed);
}
