/* account.c - see account.h.
 *
 * The sum of bytes is also the count of references: whoever books out the last ones frees the account. So a
 * kv_bytes costs no more than an addition and a subtraction.
 *
 * To give a block of some hundred megabytes back to the kernel takes it as many milliseconds, and whoever drops the last
 * reference to a value is mostly a thread that others wait for. So a large block goes to the helper of the domain while there
 * is one; what is known of it stands in its own first bytes. SPDX-License-Identifier: MIT */
#include "account.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "domain.h"
#include "lock.h"

#define LARGE_BYTES ((size_t)4 << 20) /* blocks that are not freed by who gives them back */

struct account {
    _Atomic size_t bytes; /* had and not given back, this struct included */
    kv_allocator allocator;
    kv_lock lock;     /* guards the following; a leaf but for the helper's mutex */
    kv_domain *frees; /* its helper frees large blocks; NULL: who gives them back does */
};

static void *libc_alloc(void *arg, size_t size_bytes, size_t alignment)
{
    (void)arg;
    if (alignment <= _Alignof(max_align_t))
        return malloc(size_bytes);
    if (size_bytes > SIZE_MAX - alignment)
        return NULL;
    return aligned_alloc(alignment, (size_bytes + alignment - 1) & ~(alignment - 1));
}

static void libc_free(void *arg, void *memory, size_t size_bytes)
{
    (void)arg;
    (void)size_bytes;
    free(memory);
}

const kv_allocator account_libc = { libc_alloc, libc_free, NULL };

account *account_new(const kv_allocator *allocator, size_t first_bytes)
{
    account *a = allocator->alloc(allocator->arg, sizeof *a, 16);

    if (!a)
        return NULL;
    *a = (account){ .allocator = *allocator };
    atomic_init(&a->bytes, sizeof *a + first_bytes);
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

/* ---- giving back ---- */

typedef struct large {
    account *from;
    size_t size_bytes;
} large;

static void give_back(account *a, void *memory, size_t size_bytes)
{
    a->allocator.free(a->allocator.arg, memory, size_bytes);
    account_remove(a, size_bytes);
}

static void give_back_large(void *memory)
{
    large block = *(large *)memory;

    give_back(block.from, memory, block.size_bytes);
}

/* Hands memory to the helper; false: there is none. */
static bool leave_to_helper(account *a, void *memory, size_t size_bytes)
{
    bool left;

    lock_acquire(&a->lock);
    left = a->frees != NULL;
    if (left) { /* its own memory is on the account, which so stays at least as long as the lock is held */
        *(large *)memory = (large){ a, size_bytes };
        domain_defer(a->frees, give_back_large, memory);
    }
    lock_release(&a->lock);
    return left;
}

void account_free(account *a, void *memory, size_t size_bytes)
{
    if (!a)
        free(memory);
    else if (size_bytes < LARGE_BYTES || !leave_to_helper(a, memory, size_bytes))
        give_back(a, memory, size_bytes);
}

void account_leave_to(account *a, kv_domain *domain)
{
    lock_acquire(&a->lock);
    a->frees = domain;
    lock_release(&a->lock);
}

void *account_resize(account *a, void *memory, size_t old_bytes, size_t new_bytes)
{
    void *moved;

    if (!a)
        return realloc(memory, new_bytes);
    if (a->allocator.alloc == libc_alloc) {
        moved = realloc(memory, new_bytes);
        if (moved)
            account_add(a, new_bytes - old_bytes); /* less is more, modulo 2^64 */
        return moved;
    }
    moved = account_alloc(a, new_bytes, _Alignof(max_align_t));
    if (!moved)
        return NULL;
    memcpy(moved, memory, old_bytes < new_bytes ? old_bytes : new_bytes);
    account_free(a, memory, old_bytes);
    return moved;
}

/* ---- the sum ---- */

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
