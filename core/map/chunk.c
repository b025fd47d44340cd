/* chunk.c - where chunks come from, and why the thread that inserts does not pay for them.
 *
 * A chunk is 2 MiB, aligned, and asks for a huge page: at ten million entries the walks of the page table
 * are a third of the cost of a cache miss. The price is the first touch: the kernel clears 2 MiB, and on a virtual
 * machine the host may have to find them first, which takes several milliseconds (0.2 ms where it need not). So the
 * domain's helper thread, when there is one, keeps chunks ready that have been touched already, and makes another as
 * soon as one is taken; what nobody takes for a second goes back. When growth outruns it, the taker gets a chunk of small
 * pages, each of which costs some microseconds when it is reached, and the helper makes a huge page of it when growth
 * has come to rest. Without a helper the taker touches its own huge page: that is the same work, in one piece.
 *
 *     region 64 MiB   [ chunks of small pages ->      not used yet      <- huge chunks, made ready ]
 *
 * A taker that had to call mmap would wait while the helper's page fault keeps the kernel's lock of the address space. So
 * with a helper address space is reserved in regions, the next one ahead of need, and a taker makes no system call
 * at all. Each end of a region has pages of one kind, so that the kernel sees two areas.
 *
 * Small domains stay small: they begin with a chunk of 64 KiB, and all this begins with the fifth big chunk. Memory comes
 * from mmap when the domain has no allocator of its own, because aligned_alloc would take twice the address space
 * for each. An allocator of a stranger's pays for alignment, so there all chunks are small.
 * SPDX-License-Identifier: MIT */
#include "chunk.h"

#include <sys/mman.h>
#include <unistd.h>

#include "domain_private.h"

#define HUGE_FROM     4u /* big chunks that a domain has before it asks for huge pages, ready ones or regions */
#define REGION_CHUNKS 32u
#define TWO_READY     256u /* a domain with so many chunks has two ready rather than one */

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25 /* Linux 6.1 */
#endif

#define READY_CHUNKS 2u
#define SMALL_CHUNKS 512u /* of small pages, remembered to be made huge */

/* What the helper keeps for later; made with it. Guarded by the domain's stock_lock. */
struct stock {
    uint32_t ready_count, small_count;
    void *ready[READY_CHUNKS];     /* touched ahead of need; on the account */
    char *region_from, *region_to; /* address space that no chunk was cut from yet */
    char *next_region;             /* a whole one, or NULL */
    void *small_chunks[SMALL_CHUNKS];
};

/* ---- address space ---- */

/* size bytes aligned to CHUNK_BIG, or NULL. */
static char *map_aligned(size_t size)
{
    char *base = mmap(NULL, size + CHUNK_BIG, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (base == MAP_FAILED)
        return NULL;
    size_t before = (size_t)(-(uintptr_t)base & (CHUNK_BIG - 1));

    if (before)
        munmap(base, before);
    munmap(base + before + size, CHUNK_BIG - before);
    return base + before;
}

/* Reserves a region, for when the one in use has come to its end. */
static void reserve(kv_domain *domain)
{
    lock_acquire(&domain->stock_lock);
    bool wanted = !domain->stock->next_region;
    lock_release(&domain->stock_lock);
    char *region = wanted ? map_aligned(REGION_CHUNKS * CHUNK_BIG) : NULL;

    if (!region)
        return;
    lock_acquire(&domain->stock_lock);
    if (!domain->stock->next_region) {
        domain->stock->next_region = region;
        region = NULL;
    }
    lock_release(&domain->stock_lock);
    if (region)
        munmap(region, REGION_CHUNKS * CHUNK_BIG);
}

/* A chunk out of the region in use, or NULL: there is none left. */
static char *cut(kv_domain *domain, bool at_the_end)
{
    char *chunk = NULL;

    lock_acquire(&domain->stock_lock);
    if (domain->stock->region_from == domain->stock->region_to && domain->stock->next_region) {
        domain->stock->region_from = domain->stock->next_region;
        domain->stock->region_to = domain->stock->next_region + REGION_CHUNKS * CHUNK_BIG;
        domain->stock->next_region = NULL;
    }
    if (domain->stock->region_from != domain->stock->region_to) {
        chunk = at_the_end ? domain->stock->region_to - CHUNK_BIG : domain->stock->region_from;
        if (at_the_end)
            domain->stock->region_to = chunk;
        else
            domain->stock->region_from = chunk + CHUNK_BIG;
    }
    lock_release(&domain->stock_lock);
    return chunk;
}

/* Address space for a chunk: nothing of it was touched. */
static char *new_space(kv_domain *domain, bool at_the_end)
{
    char *chunk = cut(domain, at_the_end);

    if (!chunk) {
        reserve(domain);
        chunk = cut(domain, at_the_end);
    }
    return chunk;
}

/* ---- chunks of small pages that are to become huge ---- */

static void remember_small(kv_domain *domain, void *chunk)
{
    lock_acquire(&domain->stock_lock);
    if (domain->stock->small_count < SMALL_CHUNKS) /* else it stays as it is */
        domain->stock->small_chunks[domain->stock->small_count++] = chunk;
    lock_release(&domain->stock_lock);
}

static void forget_small(kv_domain *domain, const void *chunk)
{
    if (!domain->stock)
        return;
    lock_acquire(&domain->stock_lock);
    for (uint32_t i = 0; i < domain->stock->small_count; i++)
        if (domain->stock->small_chunks[i] == chunk) {
            domain->stock->small_chunks[i] = domain->stock->small_chunks[--domain->stock->small_count];
            break;
        }
    lock_release(&domain->stock_lock);
}

bool chunk_untidy(kv_domain *domain)
{
    lock_acquire(&domain->stock_lock);
    bool untidy = domain->stock->small_count > 0;
    lock_release(&domain->stock_lock);
    return untidy;
}

void chunk_tidy(kv_domain *domain)
{
    void *chunk = NULL;

    lock_acquire(&domain->stock_lock);
    if (domain->stock->small_count)
        chunk = domain->stock->small_chunks[--domain->stock->small_count];
    lock_release(&domain->stock_lock);
    /* Wishes, both; harmless, too, when the chunk has just been given back. */
    if (chunk && madvise(chunk, CHUNK_BIG, MADV_COLLAPSE))
        madvise(chunk, CHUNK_BIG, MADV_HUGEPAGE);
}

/* ---- taking and giving back ---- */

static void *take_ready(kv_domain *domain)
{
    void *memory = NULL;

    if (!domain->stock)
        return NULL;
    lock_acquire(&domain->stock_lock);
    if (domain->stock->ready_count)
        memory = domain->stock->ready[--domain->stock->ready_count];
    lock_release(&domain->stock_lock);
    return memory;
}

static bool is_large(const kv_domain *domain)
{
    return atomic_load_explicit(&domain->big_chunks, memory_order_relaxed) >= HUGE_FROM;
}

/* A chunk that is one huge page, if the kernel has one: it is made at the first touch. */
static void *new_huge(char *space)
{
    if (space)
        madvise(space, CHUNK_BIG, MADV_HUGEPAGE);
    return space;
}

static void *new_mapped(kv_domain *domain)
{
    char *memory = NULL;

    if (is_large(domain) && domain->stock) {
        memory = new_space(domain, false);
        if (memory)
            remember_small(domain, memory);
    }
    if (!memory)
        memory =
            is_large(domain) && !domain->stock ? new_huge(map_aligned(CHUNK_BIG)) : map_aligned(CHUNK_BIG);
    return memory;
}

static bool is_mapped(const kv_domain *domain, size_t size)
{
    return domain->default_allocator && size == CHUNK_BIG;
}

void *chunk_acquire(kv_domain *domain, size_t size)
{
    void *memory = size != CHUNK_SMALL ? take_ready(domain) : NULL; /* which is on the account already */

    if (!memory && !is_mapped(domain, size)) {
        memory = domain_alloc(domain, size, size);
    } else if (!memory) {
        memory = new_mapped(domain);
        if (memory)
            account_add(domain->account, size);
    }
    if (memory && size != CHUNK_SMALL) {
        atomic_fetch_add_explicit(&domain->big_chunks, 1, memory_order_relaxed);
        if (domain->stock && chunk_wanted(domain))
            helper_wake(domain);
    }
    return memory;
}

static void give_back(kv_domain *domain, void *memory, size_t size)
{
    KV_UNPOISON(memory, size);
    if (!is_mapped(domain, size)) {
        domain_free(domain, memory, size);
        return;
    }
    forget_small(domain, memory);
    munmap(memory, size);
    account_remove(domain->account, size);
}

void chunk_release(kv_domain *domain, void *memory, size_t size)
{
    if (size != CHUNK_SMALL)
        atomic_fetch_sub_explicit(&domain->big_chunks, 1, memory_order_relaxed);
    give_back(domain, memory, size);
}

void chunk_purge(kv_domain *domain, void *part, size_t size)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)part + page - 1) & ~(page - 1), to = ((uintptr_t)part + size) & ~(page - 1);

    char *chunk = (char *)((uintptr_t)part & ~(uintptr_t)(CHUNK_BIG - 1));

    if (!is_mapped(domain, domain->chunk_bytes) || from >= to)
        return;
    /* Neither our helper nor the kernel's khugepaged may make the chunk a huge page again: the holes would be filled. */
    forget_small(domain, chunk);
    madvise(chunk, CHUNK_BIG, MADV_NOHUGEPAGE);
    madvise((void *)from, to - from, MADV_DONTNEED);
}

/* ---- ahead of need ---- */

/* How many chunks should be ready. */
static uint32_t ready_target(const kv_domain *domain)
{
    uint32_t chunks = atomic_load_explicit(&domain->big_chunks, memory_order_relaxed);

    if (!is_mapped(domain, domain->chunk_bytes) || chunks < HUGE_FROM)
        return 0;
    return chunks < TWO_READY ? 1 : READY_CHUNKS;
}

bool chunk_wanted(kv_domain *domain)
{
    lock_acquire(&domain->stock_lock);
    bool wanted = domain->stock->ready_count < ready_target(domain);
    lock_release(&domain->stock_lock);
    return wanted;
}

bool chunk_prepare(kv_domain *domain)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *memory = new_huge(new_space(domain, true));

    reserve(domain);
    if (!memory)
        return false;
    /* Page by page, and not by MADV_POPULATE_WRITE: a fault locks this area only, where the kernel can do that. */
    for (size_t i = 0; i < CHUNK_BIG; i += page)
        *(volatile char *)(memory + i) = 0;
    account_add(domain->account, CHUNK_BIG);
    lock_acquire(&domain->stock_lock);
    bool room = domain->stock->ready_count < READY_CHUNKS;

    if (room)
        domain->stock->ready[domain->stock->ready_count++] = memory;
    lock_release(&domain->stock_lock);
    if (!room)
        give_back(domain, memory, CHUNK_BIG);
    return true;
}

bool chunk_ready(kv_domain *domain)
{
    lock_acquire(&domain->stock_lock);
    bool ready = domain->stock->ready_count > 0;
    lock_release(&domain->stock_lock);
    return ready;
}

void chunk_give_back(kv_domain *domain)
{
    void *memory = take_ready(domain);

    if (memory)
        give_back(domain, memory, CHUNK_BIG);
}

int chunk_stock(kv_domain *domain)
{
    domain->stock = domain_alloc(domain, sizeof *domain->stock, 8);
    if (!domain->stock)
        return KV_ENOMEM;
    memset(domain->stock, 0, sizeof *domain->stock);
    return 0;
}

void chunk_done(kv_domain *domain)
{
    struct stock *stock = domain->stock;

    if (!stock)
        return;
    while (chunk_ready(domain))
        chunk_give_back(domain);
    if (stock->region_from != stock->region_to)
        munmap(stock->region_from, (size_t)(stock->region_to - stock->region_from));
    if (stock->next_region)
        munmap(stock->next_region, REGION_CHUNKS * CHUNK_BIG);
    domain_free(domain, stock, sizeof *stock);
    domain->stock = NULL;
}
