/* slab.c - blocks for entries: size classes, a magazine per thread, pages in big aligned chunks.
 *
 *     chunk 2 MiB (64 KiB: the first one of a domain; see chunk.h), aligned to its size
 *       [ header | a record per page ][ page 0's rest ][ page 1 ] ... [ page 127 ]
 *     page 16 KiB (4 KiB in the small chunk): blocks of one class; nothing but blocks
 *     thread: a magazine per class, blocks linked through their first word
 *
 * A block has no header: its chunk is found by masking its address, its page by shifting, and the page's
 * record says the class. The records stand together at the start of the chunk, not at the start of each
 * page: page starts would all fall into the same few sets of the caches, and blocks of 64 bytes would
 * waste one in 256.
 *
 * A thread takes and gives blocks in batches, under the one lock of the pool; in between it works on its
 * magazines alone. An empty page goes back to its chunk, an empty chunk back to the allocator, so a
 * keyspace that expires gives its memory back; and where pages of a chunk are free while others are not, the kernel may
 * have their memory. (Pages with a few blocks left stay: nothing moves entries together.)
 *
 * Invariants: a page is on its class's list exactly when it has a block to give; page->used counts the
 * blocks that are not on the page's own free list (in use, or in a magazine); a chunk is on the list of
 * chunks exactly when a page of it is free.
 *
 * Rejected: one chunk size (a small domain would cost 2 MiB); sizes in powers of two (a third of the
 * memory of short entries would be air). After Bonwick, "Magazines and Vmem", USENIX 2001, and mimalloc's
 * way of finding a page from an address. SPDX-License-Identifier: MIT */
#include <assert.h>

#include "chunk.h"
#include "domain_private.h"
#include "thread.h"

#define SMALL_SHIFT  12
#define BIG_SHIFT    14
#define PURGE_PAGES  16      /* free, but known to the kernel as used: from so many on they go back to it */
#define MAGAZINE_MAX 131072u /* bytes that a magazine may hold: what the epochs free at once fits twice */

typedef struct page {
    struct page *next, **link; /* on the list of its class; link is NULL when on none */
    void *free;                /* blocks that came back */
    uint32_t start;            /* of the first block, from the chunk */
    uint32_t block_size;
    uint16_t used, capacity;
    uint16_t fresh; /* blocks from here on were never handed out */
    uint16_t class_index;
} page;

typedef struct chunk {
    struct chunk *next, **link; /* on the list of those with free pages */
    struct chunk *next_of_all, **link_of_all;
    size_t size;
    unsigned shift, pages, free_pages;
    uint64_t free_map[2]; /* a set bit: the page is free */
    uint64_t used_map[2]; /* and here: it has been handed out since the kernel had it */
    page page[];
} chunk;

struct slab {
    page *pages[SLAB_CLASSES]; /* with a block to give */
    chunk *chunks;             /* with a free page */
    chunk *all;
    chunk *small; /* the first one, of 64 KiB */
    size_t big_chunks, empty_chunks;
    size_t chunk_bytes; /* of all but the first */
};

/* ---- chunks ---- */

static void chunk_link(struct slab *slab, chunk *c)
{
    c->next = slab->chunks;
    if (c->next)
        c->next->link = &c->next;
    c->link = &slab->chunks;
    slab->chunks = c;
}

static void chunk_unlink(chunk *c)
{
    *c->link = c->next;
    if (c->next)
        c->next->link = c->link;
    c->link = NULL;
}

static chunk *chunk_new(kv_domain *domain, struct slab *slab)
{
    bool small = !slab->small;
    size_t size = small ? CHUNK_SMALL : slab->chunk_bytes;
    unsigned shift = small ? SMALL_SHIFT : BIG_SHIFT;
    chunk *c = chunk_acquire(domain, size);

    if (!c)
        return NULL;
    c->size = size;
    c->shift = shift;
    c->pages = c->free_pages = (unsigned)(size >> shift);
    memset(c->page, 0, c->pages * sizeof(page));
    c->free_map[0] = c->pages < 64 ? ((uint64_t)1 << c->pages) - 1 : UINT64_MAX;
    c->free_map[1] = c->pages > 64 ? UINT64_MAX : 0;
    c->used_map[0] = c->used_map[1] = 0;
    if (small)
        slab->small = c;
    else
        slab->big_chunks++;
    slab->empty_chunks++;
    chunk_link(slab, c);
    c->next_of_all = slab->all;
    if (c->next_of_all)
        c->next_of_all->link_of_all = &c->next_of_all;
    c->link_of_all = &slab->all;
    slab->all = c;
    return c;
}

static void chunk_delete(kv_domain *domain, struct slab *slab, chunk *c)
{
    chunk_unlink(c);
    *c->link_of_all = c->next_of_all;
    if (c->next_of_all)
        c->next_of_all->link_of_all = c->link_of_all;
    slab->empty_chunks--;
    if (c == slab->small)
        slab->small = NULL;
    else
        slab->big_chunks--;
    chunk_release(domain, c, c->size);
}

static chunk *chunk_of(const struct slab *slab, const void *block)
{
    if ((uintptr_t)block - (uintptr_t)slab->small < CHUNK_SMALL)
        return slab->small;
    return (chunk *)((uintptr_t)block & ~(slab->chunk_bytes - 1));
}

/* ---- pages ---- */

static void page_link(struct slab *slab, page *p)
{
    page **list = &slab->pages[p->class_index];

    p->next = *list;
    if (p->next)
        p->next->link = &p->next;
    p->link = list;
    *list = p;
}

static void page_unlink(page *p)
{
    *p->link = p->next;
    if (p->next)
        p->next->link = p->link;
    p->link = NULL;
}

/* Bytes at the start of a chunk that are no page's. */
static size_t header_size(const chunk *c)
{
    return (sizeof *c + c->pages * sizeof(page) + 63) & ~(size_t)63;
}

static page *page_new(kv_domain *domain, struct slab *slab, unsigned class_index)
{
    chunk *c = slab->chunks ? slab->chunks : chunk_new(domain, slab);

    if (!c)
        return NULL;
    unsigned word = c->free_map[0] ? 0 : 1;
    unsigned index = word * 64 + (unsigned)__builtin_ctzll(c->free_map[word]);
    size_t start = (size_t)index << c->shift, end = start + ((size_t)1 << c->shift);
    page *p = &c->page[index];

    if (start < header_size(c))
        start = header_size(c);
    p->class_index = (uint16_t)class_index;
    p->block_size = (uint32_t)slab_class_size(class_index);
    p->start = (uint32_t)start;
    p->capacity = (uint16_t)((end - start) / p->block_size); /* a header leaves room for the largest block */
    p->used = p->fresh = 0;
    p->free = NULL;
    c->free_map[word] &= c->free_map[word] - 1;
    c->used_map[word] |= (uint64_t)1 << (index & 63);
    if (c->free_pages-- == c->pages)
        slab->empty_chunks--;
    if (c->free_pages == 0)
        chunk_unlink(c);
    KV_POISON((char *)c + start, end - start);
    page_link(slab, p);
    atomic_fetch_add_explicit(&domain->slab_bytes, (size_t)1 << c->shift, memory_order_relaxed);
    return p;
}

/* Lets the kernel have the free pages of a chunk, when they are many, although others are in use. */
static void purge(kv_domain *domain, chunk *c)
{
    uint64_t idle[2] = { c->free_map[0] & c->used_map[0], c->free_map[1] & c->used_map[1] };

    if (__builtin_popcountll(idle[0]) + __builtin_popcountll(idle[1]) < PURGE_PAGES)
        return;
    for (unsigned i = 0; i < c->pages; i++) {
        size_t from = (size_t)i << c->shift;

        if (!(idle[i / 64] >> (i & 63) & 1))
            continue;
        while (i + 1 < c->pages && (idle[(i + 1) / 64] >> ((i + 1) & 63) & 1))
            i++;
        from = from < header_size(c) ? header_size(c) : from;
        chunk_purge(domain, (char *)c + from, ((size_t)(i + 1) << c->shift) - from);
    }
    c->used_map[0] &= ~idle[0];
    c->used_map[1] &= ~idle[1];
}

static void page_delete(kv_domain *domain, struct slab *slab, chunk *c, page *p)
{
    unsigned index = (unsigned)(p - c->page);

    page_unlink(p);
    c->free_map[index / 64] |= (uint64_t)1 << (index & 63);
    if (c->free_pages++ == 0)
        chunk_link(slab, c);
    atomic_fetch_sub_explicit(&domain->slab_bytes, (size_t)1 << c->shift, memory_order_relaxed);
    if (c->free_pages == c->pages) {
        slab->empty_chunks++;
        /* One empty chunk is kept by a domain that has many, so that its edge does not cost a mmap each time. */
        if (slab->empty_chunks > (slab->big_chunks > SPARE_CHUNK_FROM ? 1 : 0))
            chunk_delete(domain, slab, c);
    } else {
        purge(domain, c);
    }
}

/* ---- blocks, under the pool's lock ---- */

static void *block_take(kv_domain *domain, struct slab *slab, unsigned class_index)
{
    page *p = slab->pages[class_index];

    if (!p)
        p = page_new(domain, slab, class_index);
    if (!p)
        return NULL;
    void *block = p->free;

    if (block) {
        KV_UNPOISON(block, sizeof block);
        memcpy(&p->free, block, sizeof p->free);
    } else {
        chunk *c = chunk_of(slab, p);

        block = (char *)c + p->start + (size_t)p->fresh++ * p->block_size;
    }
    if (++p->used == p->capacity)
        page_unlink(p);
    return block;
}

static void block_give(kv_domain *domain, struct slab *slab, void *block)
{
    chunk *c = chunk_of(slab, block);
    page *p = &c->page[((uintptr_t)block - (uintptr_t)c) >> c->shift];

    KV_UNPOISON(block, sizeof block);
    memcpy(block, &p->free, sizeof p->free);
    KV_POISON(block, p->block_size);
    p->free = block;
    if (p->used-- == p->capacity)
        page_link(slab, p);
    if (p->used == 0)
        page_delete(domain, slab, c, p);
}

/* ---- magazines ---- */

static uint32_t magazine_max(unsigned class_index)
{
    uint32_t blocks = MAGAZINE_MAX / (uint32_t)slab_class_size(class_index);

    return blocks < 32 ? 32 : blocks;
}

static struct slab *slab_of(kv_domain *domain) KV_REQUIRES(domain->slab_lock)
{
    if (!domain->slab) {
        domain->slab = domain_alloc(domain, sizeof *domain->slab, 8);
        if (domain->slab)
            *domain->slab = (struct slab){ .chunk_bytes = domain->chunk_bytes };
    }
    return domain->slab;
}

/* The batch doubles from refill to refill, so that a thread that needs three blocks does not hold fifty. */
void *slab_refill(domain_thread *t, unsigned class_index)
{
    kv_domain *domain = t->domain;
    magazine *m = &t->magazines[class_index];
    uint32_t max = magazine_max(class_index);
    uint32_t want = m->limit ? m->limit : 4, taken = 0;
    size_t size = slab_class_size(class_index);
    void *first = NULL, *last = NULL;

    if (want > max / 4)
        want = max / 4;
    lock_acquire(&domain->slab_lock);
    struct slab *slab = slab_of(domain);

    while (slab && taken < want) {
        void *block = block_take(domain, slab, class_index);

        if (!block)
            break;
        KV_UNPOISON(block, size);
        if (last) {
            memcpy(last, &block, sizeof block);
            KV_POISON(last, size);
        } else {
            first = block;
        }
        last = block;
        taken++;
    }
    lock_release(&domain->slab_lock);
    if (!first)
        return NULL;
    atomic_fetch_add_explicit(&domain->slab_used_bytes, taken * size, memory_order_relaxed);
    memset(last, 0, sizeof(void *));
    if (last != first)
        KV_POISON(last, size);
    KV_UNPOISON(first, size);
    memcpy(&m->free, first, sizeof m->free);
    m->count = taken - 1;
    m->limit = m->limit * 2 < 8 ? 8 : m->limit * 2 > max ? max : m->limit * 2;
    return first;
}

/* Gives back all but keep blocks. */
static void spill(domain_thread *t, unsigned class_index, uint32_t keep)
{
    kv_domain *domain = t->domain;
    magazine *m = &t->magazines[class_index];
    size_t size = slab_class_size(class_index), given = 0;

    lock_acquire(&domain->slab_lock);
    while (m->count > keep) {
        void *block = m->free;

        KV_UNPOISON(block, sizeof block);
        memcpy(&m->free, block, sizeof m->free);
        m->count--;
        given++;
        block_give(domain, domain->slab, block);
    }
    lock_release(&domain->slab_lock);
    atomic_fetch_sub_explicit(&domain->slab_used_bytes, given * size, memory_order_relaxed);
}

void slab_spill(domain_thread *t, unsigned class_index)
{
    magazine *m = &t->magazines[class_index];
    uint32_t max = magazine_max(class_index);

    if (m->limit < max) { /* a thread that only frees learns its limit too */
        m->limit = m->limit < 8 ? 8 : m->limit * 2 > max ? max : m->limit * 2;
        if (m->count <= m->limit)
            return;
    }
    spill(t, class_index, m->limit / 2);
}

void slab_return_magazines(domain_thread *t)
{
    for (unsigned i = 0; i < SLAB_CLASSES; i++)
        if (t->magazines[i].count)
            spill(t, i, 0);
}

void slab_free_slow(kv_domain *domain, void *block, size_t size_bytes)
{
    lock_acquire(&domain->slab_lock);
    block_give(domain, domain->slab, block);
    lock_release(&domain->slab_lock);
    atomic_fetch_sub_explicit(&domain->slab_used_bytes, slab_block_size(size_bytes), memory_order_relaxed);
}

void slab_trim(kv_domain *domain)
{
    lock_acquire(&domain->slab_lock);
    struct slab *slab = domain->slab;

    for (chunk *c = slab ? slab->chunks : NULL, *next; c; c = next) {
        next = c->next;
        if (c->free_pages == c->pages)
            chunk_delete(domain, slab, c);
    }
    lock_release(&domain->slab_lock);
}

/* The blocks go with their chunks, whether they were freed or not. */
void slab_done(kv_domain *domain)
{
    struct slab *slab = domain->slab;

    if (!slab)
        return;
    while (slab->all) {
        chunk *c = slab->all;

        slab->all = c->next_of_all;
        chunk_release(domain, c, c->size);
    }
    domain_free(domain, slab, sizeof *slab);
    domain->slab = NULL;
}
