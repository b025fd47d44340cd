/* epoch.c - when a block that was unlinked may be used again.
 *
 * A reader finds an entry without a lock, so a writer that unlinks the entry must not free it while the
 * reader still looks. Epochs answer "who may still look?" for all blocks at once:
 *
 *     domain   epoch ---------> 7
 *     thread A  local = 7         inside, since the epoch was 7
 *     thread B  local = 0         in no epoch: looks at nothing
 *     thread C  local = 6         inside since 6: the epoch cannot go on to 8 before C leaves
 *     A's bags  [5: 126 blocks] [6: 126 blocks]   [being filled]
 *                 free at 7       free at 8
 *
 * 1. A thread stores the epoch in its record when it enters and 0 when it leaves (thread.h).
 * 2. The epoch goes from e to e + 1 only when every thread that is inside entered at e.
 * 3. A bag of unlinked blocks is sealed with the epoch read after the last unlinking, s. Who can see one
 *    of them entered at s or before; by 2 all of those have left when the epoch is s + 2. Then the bag is
 *    emptied.
 *
 * The costly part of 1 is that the store must be visible before the loads that follow, which takes a full
 * fence on every machine. The reader's fence is moved to the rare advance: membarrier(2) makes every running
 * thread of the process pass a fence, so either the advance sees the reader's store, or the reader sees
 * the unlinking. Where the kernel has none, and under ThreadSanitizer, the reader fences itself.
 *
 * Event-loop threads (registered) are inside all the time and only move their epoch forward at their
 * quiescent points: quiescent-state based reclamation, as in liburcu's QSBR. Epochs are Fraser's
 * (Practical lock-freedom, 2004, section 5.2.3); bags and the sealing rule are those of crossbeam-epoch.
 *
 * Bags are recycled per thread: nothing is allocated in the steady state. A thread keeps a spare one, got
 * before anything is unlinked (epoch_reserve), so that retiring never needs memory that is not there. Trying to advance costs one
 * system call, so it is done once per some bags or bytes. A stalled reader is never waited for; it is
 * counted in epoch_stats and memory grows until it moves. A thread that exits leaves its bags to the
 * domain, where whoever advances next empties them. The records themselves are thread.c's.
 * SPDX-License-Identifier: MIT */
#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "domain_private.h"
#include "segment.h"
#include "thread.h"

#define SPARE_BAGS    24         /* kept by a thread for reuse */
#define BAGS_PER_TRY  8          /* seal so many, then try to advance */
#define BAGS_AT_ONCE  32         /* emptied by one call: more than come in between, and no long pause */
#define BYTES_PER_TRY (64 << 10) /* or what stands for so many bytes */
#define BLOCK_ADDRESS (((uint64_t)1 << 48) - 1)
#define ROOM_TRIES    2000 /* to find room for a retired block when memory is out */

/* ---- fences ---- */

static bool membarrier_available(void)
{
#if defined(KV_TSAN)
    return false;
#else
    return syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0;
#endif
}

/* A full fence of this thread. An exchange, because ThreadSanitizer does not know fences. */
static void full_fence(void)
{
    _Atomic int here = 0;

    atomic_exchange_explicit(&here, 1, memory_order_seq_cst);
}

/* A full fence of every thread. */
static void fence_all(kv_domain *domain)
{
    if (!domain->membarrier || syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0)
        full_fence();
}

/* ---- bags ---- */

static bag *bag_new(domain_thread *t)
{
    bag *b = t->spare;

    if (b) {
        t->spare = b->next;
        t->spares--;
    } else {
        b = domain_alloc(t->domain, sizeof *b, 64);
        if (!b)
            return NULL;
    }
    b->next = NULL;
    b->bytes = atomic_load_explicit(&t->retired_bytes, memory_order_relaxed);
    b->count = 0;
    return b;
}

static void bag_keep(domain_thread *t, bag *b)
{
    if (t->spares >= SPARE_BAGS) {
        domain_free(t->domain, b, sizeof *b);
        return;
    }
    b->next = t->spare;
    t->spare = b;
    t->spares++;
}

static void free_spares(domain_thread *t)
{
    while (t->spare)
        domain_free(t->domain, bag_new(t), sizeof(bag));
}

static inline void *item_block(const bag *b, uint32_t i)
{
    return (void *)(uintptr_t)(b->items[i].block & BLOCK_ADDRESS);
}

static void bag_empty(kv_domain *domain, bag *b)
{
    domain_thread *t = domain_thread_self(domain);

    for (uint32_t i = 0; i < b->count; i++) {
        void *block = item_block(b, i);
        unsigned class_index = (unsigned)(b->items[i].block >> 48);

        if (i + 4 < b->count) /* to release is to write to it */
            __builtin_prefetch(item_block(b, i + 4), 1);
        if (b->items[i].release)
            b->items[i].release(domain, (void *)(uintptr_t)b->items[i].block);
        else if (__builtin_expect(t != NULL, 1))
            slab_put(t, block, class_index);
        else
            slab_free_slow(domain, block, slab_class_size(class_index));
    }
}

/* Closes the bag being filled. The fence orders the unlinking of its blocks before the reading of the
 * epoch (invariant 3). */
static void seal(domain_thread *t)
{
    bag *b = t->bag;

    if (!b || b->count == 0)
        return;
    full_fence();
    b->epoch = atomic_load_explicit(t->epoch, memory_order_acquire);
    b->bytes = atomic_load_explicit(&t->retired_bytes, memory_order_relaxed) - b->bytes;
    *t->limbo_tail = b;
    t->limbo_tail = &b->next;
    t->bag = NULL;
    t->sealed++;
    t->budget += b->bytes;
}

void epoch_collect(domain_thread *t)
{
    /* Pairs with the release in advance: the readers that left did so before we free. */
    uint64_t epoch = atomic_load_explicit(t->epoch, memory_order_acquire);

    if (t->reclaiming)
        return;
    t->reclaiming = true;
    for (int i = 0; i < BAGS_AT_ONCE && t->limbo && t->limbo->epoch + 2 <= epoch; i++) {
        bag *b = t->limbo;

        t->limbo = b->next;
        if (!t->limbo)
            t->limbo_tail = &t->limbo;
        bag_empty(t->domain, b);
        atomic_store_explicit(&t->released_bytes,
                              atomic_load_explicit(&t->released_bytes, memory_order_relaxed) + b->bytes,
                              memory_order_relaxed);
        bag_keep(t, b);
    }
    t->reclaiming = false;
}

/* ---- the epoch goes on ---- */

/* Whether all threads that are inside entered in this epoch. */
static bool all_seen(kv_domain *domain, uint64_t epoch) KV_REQUIRES(domain->threads_lock)
{
    size_t stalled = atomic_load_explicit(&domain->anonymous, memory_order_acquire);

    for (domain_thread *t = domain->threads; t; t = t->next_of_domain) {
        /* Pairs with the release in domain_thread_leave. */
        uint64_t local = atomic_load_explicit(&t->local, memory_order_acquire);

        if (local != 0 && local != epoch)
            stalled++;
    }
    atomic_store_explicit(&domain->stalled, stalled, memory_order_relaxed);
    return stalled == 0;
}

/* Orphaned bags that may be emptied at this epoch. */
static bag *take_orphans(kv_domain *domain, uint64_t epoch) KV_REQUIRES(domain->threads_lock)
{
    bag *taken = NULL, **link = &domain->orphans;

    while (*link) {
        bag *b = *link;

        if (b->epoch + 2 <= epoch) {
            *link = b->next;
            b->next = taken;
            taken = b;
        } else {
            link = &b->next;
        }
    }
    domain->orphans_tail = link;
    return taken;
}

/* Takes the epoch one step on if nobody is left behind, and empties orphaned bags. */
static void advance(kv_domain *domain, domain_thread *self)
{
    uint64_t epoch = atomic_load_explicit(&domain->epoch, memory_order_relaxed);
    uint64_t local = self ? atomic_load_explicit(&self->local, memory_order_relaxed) : 0;
    bag *orphans = NULL;

    if ((local != 0 && local != epoch) || !lock_try(&domain->threads_lock))
        return;
    epoch = atomic_load_explicit(&domain->epoch, memory_order_relaxed);
    /* Alone, we need not make others visible; a new thread comes by the lock that we hold. */
    if (domain->thread_count > 1 || !self || domain->threads != self ||
        atomic_load_explicit(&domain->anonymous, memory_order_relaxed))
        fence_all(domain);
    if (all_seen(domain, epoch)) {
        epoch++;
        atomic_store_explicit(&domain->epoch, epoch, memory_order_release);
    }
    if (domain->orphans)
        orphans = take_orphans(domain, epoch);
    lock_release(&domain->threads_lock);
    while (orphans) {
        bag *next = orphans->next;

        bag_empty(domain, orphans);
        atomic_fetch_sub_explicit(&domain->orphan_bytes, orphans->bytes, memory_order_relaxed);
        domain_free(domain, orphans, sizeof *orphans);
        orphans = next;
    }
}

static void try_now(domain_thread *t)
{
    t->sealed = 0;
    t->budget = 0;
    advance(t->domain, t);
    epoch_collect(t);
}

/* ---- without a record ---- */

/* For a thread that cannot have a record now: one that is counted here holds every epoch. */
static void enter_anonymous(kv_domain *domain)
{
    /* Pairs with the load in all_seen; a full fence, like a heavy pin. */
    atomic_fetch_add_explicit(&domain->anonymous, 1, memory_order_seq_cst);
}

domain_thread *epoch_hold(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    if (t)
        domain_thread_enter(t);
    else
        enter_anonymous(domain);
    return t;
}

void epoch_let_go(kv_domain *domain, domain_thread *held)
{
    if (held)
        domain_thread_leave(held);
    else
        atomic_fetch_sub_explicit(&domain->anonymous, 1, memory_order_release);
}

/* ---- retiring ---- */

int epoch_reserve_more(domain_thread *t, size_t n)
{
    size_t bags = 1 + n / (BAG_ITEMS - 1);

    if (t->spares < bags)
        epoch_collect(t);
    while (t->spares < bags) {
        bag *b = domain_alloc(t->domain, sizeof *b, 64);

        if (!b)
            return KV_ENOMEM;
        b->next = t->spare;
        t->spare = b;
        t->spares++;
    }
    return 0;
}

/* A bag with room, by all means but waiting for ever. */
static bag *bag_with_room(domain_thread *t)
{
    bag *b = t->bag;

    if (b && b->count < BAG_ITEMS)
        return b;
    seal(t);
    if (t->sealed >= BAGS_PER_TRY)
        try_now(t);
    else
        epoch_collect(t);
    b = bag_new(t);
    for (int i = 0; !b && i < ROOM_TRIES; i++) {
        try_now(t);
        sched_yield();
        b = bag_new(t);
    }
    t->bag = b;
    return b;
}

__attribute__((noinline)) bag *epoch_bag(kv_domain *domain, size_t size_bytes)
{
    domain_thread *t = domain_thread_self(domain);
    bag *b = t ? bag_with_room(t) : NULL;

    if (!b)
        atomic_fetch_add_explicit(&domain->leaked_bytes, size_bytes, memory_order_relaxed);
    return b;
}

__attribute__((noinline)) void epoch_seal(domain_thread *t)
{
    seal(t);
    if (t->budget > BYTES_PER_TRY || t->sealed >= BAGS_PER_TRY)
        try_now(t);
}

void epoch_retire(kv_domain *domain, void *memory, size_t size_bytes, epoch_release_fn *release)
{
    epoch_remember(domain, (uint64_t)(uintptr_t)memory, size_bytes, release);
}

void epoch_leave_behind(kv_domain *domain, garbage *g)
{
    lock_acquire(&domain->threads_lock);
    g->next = domain->left_behind;
    domain->left_behind = g;
    lock_release(&domain->threads_lock);
}

static void release_left_behind(kv_domain *domain)
{
    while (domain->left_behind) {
        garbage *g = domain->left_behind;

        domain->left_behind = g->next;
        g->release(domain, g);
    }
}

void epoch_reclaim(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    if (!t)
        return;
    seal(t);
    if (t->limbo || atomic_load_explicit(&domain->orphan_bytes, memory_order_relaxed))
        try_now(t);
}

static bool orphans_left(kv_domain *domain)
{
    lock_acquire(&domain->threads_lock);
    bool left = domain->orphans != NULL;
    lock_release(&domain->threads_lock);
    return left;
}

void epoch_drain(kv_domain *domain)
{
    const struct timespec moment = { 0, 50 * 1000 };
    domain_thread *t = domain_thread_self(domain);

    if (!t)
        return;
    for (int i = 0;; i++) {
        if (t->online)
            kv_thread_quiesce(domain);
        seal(t);
        try_now(t);
        if (!t->limbo && !t->bag && !orphans_left(domain))
            return;
        if (i > 8)
            nanosleep(&moment, NULL);
    }
}

/* Retired by a thread, and not yet released. */
static size_t retired_by(const domain_thread *t)
{
    domain_thread *from = (domain_thread *)t;
    size_t released = atomic_load_explicit(&from->released_bytes, memory_order_relaxed);
    size_t retired = atomic_load_explicit(&from->retired_bytes, memory_order_relaxed);

    return retired > released ? retired - released : 0; /* two loads: it may have gone on in between */
}

void epoch_read_stats(kv_domain *domain, epoch_stats *ret_stats)
{
    size_t bytes = atomic_load_explicit(&domain->orphan_bytes, memory_order_relaxed) +
                   atomic_load_explicit(&domain->leaked_bytes, memory_order_relaxed);

    lock_acquire(&domain->threads_lock);
    for (domain_thread *t = domain->threads; t; t = t->next_of_domain)
        bytes += retired_by(t);
    lock_release(&domain->threads_lock);
    ret_stats->epoch = atomic_load_explicit(&domain->epoch, memory_order_relaxed);
    ret_stats->retired_bytes = bytes;
    ret_stats->stalled_threads = atomic_load_explicit(&domain->stalled, memory_order_relaxed);
}

/* ---- the beginning and the end ---- */

void epoch_start(kv_domain *domain)
{
    atomic_init(&domain->epoch, 1);
    domain->membarrier = membarrier_available();
    domain->orphans_tail = &domain->orphans;
}

static void empty_all(kv_domain *domain, bag *b)
{
    while (b) {
        bag *next = b->next;

        bag_empty(domain, b);
        domain_free(domain, b, sizeof *b);
        b = next;
    }
}

/* Empties what a thread has, and frees the bags. */
static void release_bags(domain_thread *t)
{
    seal(t);
    empty_all(t->domain, t->limbo);
    free_spares(t);
}

void epoch_release_all(kv_domain *domain)
{
    for (domain_thread *t = domain->threads; t; t = t->next_of_domain)
        release_bags(t);
    empty_all(domain, domain->orphans);
    release_left_behind(domain);
}

void epoch_leave_bags(domain_thread *t)
{
    kv_domain *domain = t->domain;

    seal(t);
    free_spares(t);
    if (!t->limbo)
        return;
    lock_acquire(&domain->threads_lock);
    atomic_fetch_add_explicit(&domain->orphan_bytes, retired_by(t), memory_order_relaxed);
    atomic_store_explicit(&t->released_bytes, atomic_load_explicit(&t->retired_bytes, memory_order_relaxed),
                          memory_order_relaxed);
    *domain->orphans_tail = t->limbo;
    domain->orphans_tail = t->limbo_tail;
    t->limbo = NULL;
    t->limbo_tail = &t->limbo;
    lock_release(&domain->threads_lock);
}
