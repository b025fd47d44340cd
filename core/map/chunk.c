/* chunk.c - where chunks come from, and why the thread that inserts does not pay for them.
 *
 * A chunk is 2 MiB, aligned, and asks for a huge page: at ten million entries the walks of the page table
 * are a third of the cost of a cache miss. The price is the first touch: the kernel clears 2 MiB, and on a virtual
 * machine the host may have to find them first, which takes several milliseconds. So the domain's helper
 * thread, when there is one, keeps chunks ready that have been touched already, and makes another as soon
 * as one is taken; what nobody takes for a second goes back. When growth outruns it, the taker gets a chunk of small pages, each of which costs some
 * microseconds when it is reached; the kernel joins them later. Without a helper the taker touches its own
 * huge page: that is the same work, in one piece.
 *
 * Small domains stay small: they begin with a chunk of 64 KiB, and ask for huge pages only from the fifth
 * big chunk on. Memory comes from mmap when the domain has no allocator of its own, because aligned_alloc
 * would take twice the address space for each. An allocator of a stranger's pays for alignment, so
 * there all chunks are small.
 * SPDX-License-Identifier: MIT */
#include "chunk.h"

#include <sys/mman.h>
#include <unistd.h>

#include "domain_private.h"

#define HUGE_FROM  4u /* big chunks that a domain has before it asks for huge pages */
#define READY_FROM 4u /* and before chunks are made ready ahead */

static void *map_aligned(size_t size)
{
    /* Twice the size, and then without the ends. */
    char *base =
        mmap(NULL, size * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED)
        return NULL;
    size_t before = (size_t)(-(uintptr_t)base & (size - 1));

    if (before)
        munmap(base, before);
    if (size - before)
        munmap(base + before + size, size - before);
    return base + before;
}

/* How the pages of a chunk come to be. */
typedef enum paging {
    SMALL_PAGES,
    SMALL_PAGES_FIRST, /* to be joined by the kernel at its leisure */
    HUGE_PAGE,
} paging;

static void *chunk_new(kv_domain *domain, size_t size, paging how)
{
    if (!domain->default_allocator || size < CHUNK_BIG)
        return domain_alloc(domain, size, size);
    void *memory = map_aligned(size);

    if (!memory)
        return NULL;
    if (how == SMALL_PAGES_FIRST)
        *(volatile char *)memory = 0; /* once one small page is there, the rest will be small, too */
    if (how != SMALL_PAGES)
        madvise(memory, size, MADV_HUGEPAGE); /* a wish: failing it changes nothing */
    account_add(domain->account, size);
    return memory;
}

static void chunk_delete(kv_domain *domain, void *memory, size_t size)
{
    KV_UNPOISON(memory, size);
    if (!domain->default_allocator || size < CHUNK_BIG) {
        domain_free(domain, memory, size);
        return;
    }
    munmap(memory, size);
    account_remove(domain->account, size);
}

static void *take_ready(kv_domain *domain)
{
    void *memory = NULL;

    lock_acquire(&domain->ready_lock);
    if (domain->ready_count)
        memory = domain->ready[--domain->ready_count];
    lock_release(&domain->ready_lock);
    return memory;
}

static paging paging_of(const kv_domain *domain)
{
    if (atomic_load_explicit(&domain->big_chunks, memory_order_relaxed) < HUGE_FROM)
        return SMALL_PAGES;
    return domain->helper ? SMALL_PAGES_FIRST : HUGE_PAGE;
}

void *chunk_acquire(kv_domain *domain, size_t size)
{
    void *memory = size != CHUNK_SMALL ? take_ready(domain) : NULL;

    if (!memory)
        memory = chunk_new(domain, size, paging_of(domain));
    if (memory && size != CHUNK_SMALL) {
        atomic_fetch_add_explicit(&domain->big_chunks, 1, memory_order_relaxed);
        if (domain->helper && chunk_wanted(domain))
            helper_wake(domain);
    }
    return memory;
}

void chunk_release(kv_domain *domain, void *memory, size_t size)
{
    if (size != CHUNK_SMALL)
        atomic_fetch_sub_explicit(&domain->big_chunks, 1, memory_order_relaxed);
    chunk_delete(domain, memory, size);
}

bool chunk_wanted(kv_domain *domain)
{
    if (atomic_load_explicit(&domain->big_chunks, memory_order_relaxed) < READY_FROM)
        return false;
    lock_acquire(&domain->ready_lock);
    bool wanted = domain->ready_count < READY_CHUNKS;
    lock_release(&domain->ready_lock);
    return wanted;
}

/* Writes to every page: there is no other way on kernels before 5.14. */
static void touch(char *memory, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

#ifdef MADV_POPULATE_WRITE
    if (madvise(memory, size, MADV_POPULATE_WRITE) == 0)
        return;
#endif
    for (size_t i = 0; i < size; i += page)
        *(volatile char *)(memory + i) = 0;
}

void chunk_prepare(kv_domain *domain)
{
    void *memory = chunk_new(domain, domain->chunk_bytes, HUGE_PAGE);

    if (!memory)
        return;
    touch(memory, domain->chunk_bytes);
    lock_acquire(&domain->ready_lock);
    bool room = domain->ready_count < READY_CHUNKS;

    if (room)
        domain->ready[domain->ready_count++] = memory;
    lock_release(&domain->ready_lock);
    if (!room)
        chunk_delete(domain, memory, domain->chunk_bytes);
}

bool chunk_ready(kv_domain *domain)
{
    lock_acquire(&domain->ready_lock);
    bool ready = domain->ready_count > 0;
    lock_release(&domain->ready_lock);
    return ready;
}

void chunk_give_back(kv_domain *domain)
{
    void *memory = take_ready(domain);

    if (memory)
        chunk_delete(domain, memory, domain->chunk_bytes);
}

void chunk_done(kv_domain *domain)
{
    while (chunk_ready(domain))
        chunk_give_back(domain);
}
