/* domain.c - a domain's life, its allocator, and its references. SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sys/random.h>

#include "chunk.h"
#include "domain_private.h"
#include "span.h"
#include "thread.h"

#define GRACE_PERIOD 3 /* times that the epoch has to advance before what was retired is free */

struct kv_role kv_shard_held;
struct kv_role kv_epoch_held;
struct kv_role kv_hold_held;

/* All of the secret from the kernel's generator; blocks only early in boot. */
static int draw_secret(unsigned char *secret)
{
    size_t done = 0;

    while (done < SECRET_SIZE) {
        ssize_t n = getrandom(secret + done, SECRET_SIZE - done, 0);

        if (n < 0 && errno != EINTR)
            return KV_EINVAL;
        if (n > 0)
            done += (size_t)n;
    }
    return 0;
}

kv_domain *kv_domain_new(const kv_domain_options *options)
{
    static const kv_domain_options defaults;

    options = options ? options : &defaults;
    const kv_allocator *allocator = options->allocator ? options->allocator : &account_libc;
    kv_domain *domain = allocator->alloc(allocator->arg, sizeof *domain, 64);

    if (!domain)
        return NULL;
    memset(domain, 0, sizeof *domain);
    domain->account = account_new(allocator, sizeof *domain);
    domain->default_allocator = !options->allocator;
    domain->chunk_bytes = domain->default_allocator ? CHUNK_BIG : CHUNK_SMALL;
    domain->siphash = options->siphash;
    atomic_init(&domain->references, 1);
    if (!domain->account)
        goto fail;
    if (options->secret)
        memcpy(domain->secret, options->secret, SECRET_SIZE);
    else if (draw_secret(domain->secret))
        goto fail;
    epoch_start(domain);
    if (options->helper && helper_start(domain))
        goto fail;
    return domain;
fail:
    chunk_done(domain);
    if (domain->account)
        account_free(domain->account, domain, sizeof *domain);
    else
        allocator->free(allocator->arg, domain, sizeof *domain);
    return NULL;
}

kv_domain *kv_domain_ref(kv_domain *domain)
{
    if (domain)
        atomic_fetch_add_explicit(&domain->references, 1, memory_order_relaxed);
    return domain;
}

void kv_domain_unref(kv_domain *domain)
{
    /* Pairs with the other owners' release: what they did with the domain comes before its end. */
    if (!domain || atomic_fetch_sub_explicit(&domain->references, 1, memory_order_acq_rel) != 1)
        return;
    helper_stop(domain);
    threads_done(domain);
    slab_done(domain);
    span_done(domain);
    contention_done(domain);
    chunk_done(domain);
    account_free(domain->account, domain, sizeof *domain);
}

void *domain_alloc(kv_domain *domain, size_t size_bytes, size_t alignment)
{
    return account_alloc(domain->account, size_bytes, alignment);
}

void domain_free(kv_domain *domain, void *memory, size_t size_bytes)
{
    if (memory)
        account_free(domain->account, memory, size_bytes);
}

account *domain_account(kv_domain *domain)
{
    return domain->account;
}

void domain_trim(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    for (int i = 0; i < GRACE_PERIOD; i++)
        epoch_reclaim(domain);
    if (t)
        slab_return_magazines(t);
    slab_trim(domain);
    span_trim(domain);
}

void domain_read_memory(kv_domain *domain, domain_memory *ret_memory)
{
    ret_memory->allocated_bytes = account_bytes(domain->account);
    ret_memory->slab_bytes = atomic_load_explicit(&domain->slab_bytes, memory_order_relaxed);
    ret_memory->slab_used_bytes = atomic_load_explicit(&domain->slab_used_bytes, memory_order_relaxed);
}
