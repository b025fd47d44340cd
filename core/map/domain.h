/* domain.h - what stores share: memory, reclamation, and the secret of the hash.
 *
 * A domain owns the blocks that map entries live in (slab), knows when a block that was unlinked may be
 * used again (epochs), and holds the key of the hash, so that one hash of a key serves every store of
 * the domain.
 *
 * Threads    Each thread has a record per domain, made at its first call. A thread is inside an epoch
 *            between epoch_enter and epoch_leave; an event-loop thread (kv_thread_register) is inside all
 *            the time, but for its quiescent points and while it is offline.
 * Errors     0 or KV_E...; allocation failure is KV_ENOMEM or NULL, and changes nothing.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_MAP_DOMAIN_H
#define KV_MAP_DOMAIN_H

#include "account.h"
#include "thread.h"

/* ---- hash: 64 bits, keyed; the same for all maps of the domain ---- */
uint64_t domain_hash(const kv_domain *domain, kv_slice key);

/* ---- epochs ---- */

/* Enters an epoch: what is found in a map from now on stays readable until epoch_leave. Nests. Returns
 * KV_ENOMEM when the thread's record (made once) cannot be had; then nothing was entered, but
 * epoch_leave is called all the same, and does nothing: so the two stay a visible pair. */
static inline int epoch_enter(kv_domain *domain) KV_ACQUIRES(kv_epoch_held);
static inline void epoch_leave(kv_domain *domain) KV_RELEASES(kv_epoch_held);

/* Frees memory, by calling release(domain, memory), once no thread can still read it. Never fails: when
 * memory for remembering it is out, waits a while for room, and in the end rather leaks it (which
 * retired_bytes shows for ever) than frees it under a reader. size_bytes counts towards the budget
 * after which a thread tries to reclaim. Callers are inside an epoch (their record exists). */
typedef void epoch_release_fn(kv_domain *domain, void *memory);
void epoch_retire(kv_domain *domain, void *memory, size_t size_bytes, epoch_release_fn *release)
    KV_EXCLUDES(kv_shard_held);
/* The same for a block of slab_alloc, which needs no function. */
static inline void epoch_retire_block(kv_domain *domain, void *block, size_t size_bytes)
    KV_EXCLUDES(kv_shard_held);

/* Makes sure that n blocks can be retired by this thread, whatever becomes of memory: asked by whoever is about
 * to unlink them, while it can still refuse. KV_ENOMEM. The few segments that a change of one key may
 * replace need not be counted. */
static inline int epoch_reserve(kv_domain *domain, size_t n);

/* Waits until everything retired so far by this thread, and by threads that have exited, was released;
 * for tests and for the end of a store. Callers are in no epoch. */
void epoch_drain(kv_domain *domain) KV_EXCLUDES(kv_shard_held) KV_EXCLUDES(kv_epoch_held);

/* Tries to advance the epoch and frees what has become free, also bags that are not yet full: for the end
 * of a job that unlinked much. */
void epoch_reclaim(kv_domain *domain) KV_EXCLUDES(kv_shard_held);

typedef struct epoch_stats {
    uint64_t epoch;         /* the current one */
    size_t retired_bytes;   /* unlinked, not yet reusable */
    size_t stalled_threads; /* readers that kept the epoch from advancing at the last try */
} epoch_stats;
void epoch_read_stats(kv_domain *domain, epoch_stats *ret_stats);

/* ---- blocks: 16 bytes to SLAB_MAX in classes of 8 bytes (up to 256; wider above), no header each ---- */

/* A block of at least size_bytes (1..SLAB_MAX), 8-byte aligned (64-byte blocks and multiples are line-aligned), or NULL. */
static inline void *slab_alloc(kv_domain *domain, size_t size_bytes);
/* size_bytes: as given to slab_alloc. */
static inline void slab_free(kv_domain *domain, void *block, size_t size_bytes);
/* What slab_alloc really reserves for such a block. */
static inline size_t slab_block_size(size_t size_bytes);

/* ---- everything else: straight from the domain's allocator ---- */
void *domain_alloc(kv_domain *domain, size_t size_bytes, size_t alignment);
void domain_free(kv_domain *domain, void *memory, size_t size_bytes);

/* The domain's account, for what may outlive the domain: kv_bytes. */
account *domain_account(kv_domain *domain);

/* Frees what can be freed, and gives back what this thread keeps for its next blocks: after much was freed that
 * will not be needed again soon. */
void domain_trim(kv_domain *domain) KV_EXCLUDES(kv_shard_held);

/* Bytes had from the allocator and not given back, and the part of them handed out as blocks. */
typedef struct domain_memory {
    size_t allocated_bytes;
    size_t slab_bytes;      /* pages of blocks */
    size_t slab_used_bytes; /* blocks handed out */
} domain_memory;
void domain_read_memory(kv_domain *domain, domain_memory *ret_memory);

/* Runs job(arg) on the domain's helper thread, or at once when it has none. For work that is too long
 * for the calling thread: freeing a huge value, dismantling a cleared map. */
void domain_defer(kv_domain *domain, void (*job)(void *arg), void *arg) KV_EXCLUDES(kv_shard_held);

/* ---- the inline half ---- */

KV_UNCHECKED __attribute__((always_inline)) static inline int epoch_enter(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    if (__builtin_expect(!t, 0))
        return KV_ENOMEM;
    domain_thread_enter(t);
    return 0;
}

KV_UNCHECKED __attribute__((always_inline)) static inline void epoch_leave(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    if (__builtin_expect(t && t->nest > 0, 1)) /* or epoch_enter had failed */
        domain_thread_leave(t);
}

static inline int epoch_reserve(kv_domain *domain, size_t n)
{
    domain_thread *t = domain_thread_self(domain);

    if (__builtin_expect(t && t->spare && n <= EPOCH_RESERVE_ALWAYS, 1))
        return 0;
    return t ? epoch_reserve_more(t, n) : KV_ENOMEM;
}

__attribute__((always_inline)) static inline void *slab_alloc(kv_domain *domain, size_t size_bytes)
{
    domain_thread *t = domain_thread_self(domain);
    unsigned c = slab_class(size_bytes);

    if (__builtin_expect(!t, 0))
        return NULL;
    magazine *m = &t->magazines[c];
    void *block = m->free;

    if (__builtin_expect(!block, 0))
        return slab_refill(t, c);
    KV_UNPOISON(block, slab_block_size(size_bytes));
    memcpy(&m->free, block, sizeof m->free);
    m->count--;
    return block;
}

static inline void slab_free(kv_domain *domain, void *block, size_t size_bytes)
{
    domain_thread *t = domain_thread_self(domain);
    unsigned c = slab_class(size_bytes);

    if (__builtin_expect(!t, 0)) {
        slab_free_slow(domain, block, size_bytes);
        return;
    }
    slab_put(t, block, c);
}

__attribute__((always_inline)) static inline void epoch_retire_block(kv_domain *domain, void *block,
                                                                     size_t size_bytes)
{
    epoch_remember(domain, (uint64_t)(uintptr_t)block | (uint64_t)slab_class(size_bytes) << 48, size_bytes,
                   NULL);
}

static inline size_t slab_block_size(size_t size_bytes)
{
    return slab_class_size(slab_class(size_bytes));
}

#endif
