/* thread.h - what one thread keeps in one domain: its place in the epochs and its free blocks.
 *
 * Private to core/map, but for the inline functions that domain.h offers: entering an epoch and taking a
 * block are a handful of instructions and stand here so that they can be inlined. epoch.c, thread.c
 * and slab.c tell how they work. SPDX-License-Identifier: MIT */
#ifndef KV_MAP_THREAD_H
#define KV_MAP_THREAD_H

#include <stdatomic.h>

#include <string.h>

#include "kvstore/kvstore.h"

#define SLAB_MAX     2048u
#define SLAB_CLASSES 43 /* 31 of 16..256 by 8, 12 up to 2048 */

#if defined(__SANITIZE_THREAD__)
#define KV_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define KV_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define KV_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KV_ASAN 1
#endif
#endif
#ifdef KV_ASAN
#include <sanitizer/asan_interface.h>
#define KV_POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define KV_UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define KV_POISON(p, n)   ((void)(p), (void)(n))
#define KV_UNPOISON(p, n) ((void)(p), (void)(n))
#endif

/* Free blocks of one class, linked through their first word. */
typedef struct magazine {
    void *free;
    uint32_t count;
    uint32_t limit; /* more than this go back to the pool */
} magazine;

#define BAG_ITEMS     126
#define BAG_BYTES_MAX (32u << 10) /* a bag that stands for more is sealed */

/* Blocks that were unlinked together; epoch.c. */
typedef struct bag {
    struct bag *next;
    uint64_t epoch; /* in which it was sealed */
    size_t
        bytes; /* what they stand for; while it is being filled: retired_bytes as it was when it was begun */
    uint32_t count;
    struct {
        uint64_t block; /* its address; of a block of the slab also the class, from bit 48 on */
        void (*release)(kv_domain *domain, void *memory); /* NULL: it is a block of the slab */
    } items[BAG_ITEMS];
} bag;

struct map_hold;

typedef struct domain_thread {
    kv_domain *domain;        /* NULL once the domain has gone */
    _Atomic uint64_t local;   /* the epoch entered; 0: in none. Read by who wants to advance it */
    uint32_t nest;            /* enters not yet left; a registered thread that is online counts one */
    uint32_t registered;      /* kv_thread_register calls */
    _Atomic uint64_t *epoch;  /* the domain's */
    bool heavy;               /* no membarrier(2): this thread must fence itself */
    bool online;              /* registered and not offline */
    bool reclaiming;          /* running release functions */
    struct map_hold *hold;    /* the shards this thread holds for an act of many steps, or NULL */
    bag *bag;                 /* the one being filled */
    bag *limbo, **limbo_tail; /* sealed, oldest first */
    bag *spare;               /* empty ones */
    uint32_t spares;
    uint32_t sealed; /* bags sealed since the last try to advance */
    size_t budget;   /* bytes in them */
    struct domain_thread *next_of_thread, *next_of_domain, *previous_of_domain;
    magazine magazines[SLAB_CLASSES];
    _Atomic size_t retired_bytes, released_bytes; /* in all; written by this thread only */
} domain_thread;

/* A spare bag holds at least so many blocks, and some garbage of the index with them. */
#define EPOCH_RESERVE_ALWAYS 64
int epoch_reserve_more(domain_thread *t, size_t n);

/* The record used last by this thread; a dummy of no domain at first. */
extern _Thread_local domain_thread *domain_self __attribute__((tls_model("initial-exec")));

/* The record of this thread in domain, made when missing; NULL when memory is out. */
domain_thread *domain_thread_find(kv_domain *domain);

static inline domain_thread *domain_thread_self(kv_domain *domain)
{
    domain_thread *t = domain_self;

    return __builtin_expect(t->domain == domain, 1) ? t : domain_thread_find(domain);
}

/* Stores the epoch this thread is in from now on. What it loads later must come after that store in the
 * eyes of who advances the epoch: that one runs membarrier(2) in our stead, or we fence. */
static inline void domain_thread_pin(domain_thread *t)
{
    /* Pairs with the exchange in epoch.c:advance: seeing epoch e, we see what was unlinked before e. */
    uint64_t epoch = atomic_load_explicit(t->epoch, memory_order_acquire);

#ifdef KV_TSAN
    atomic_exchange_explicit(&t->local, epoch, memory_order_seq_cst);
#else
    atomic_store_explicit(&t->local, epoch, memory_order_relaxed);
    if (__builtin_expect(t->heavy, 0))
        atomic_thread_fence(memory_order_seq_cst);
    else
        atomic_signal_fence(memory_order_seq_cst);
#endif
}

static inline void domain_thread_enter(domain_thread *t)
{
    if (t->nest++ == 0)
        domain_thread_pin(t);
}

static inline void domain_thread_leave(domain_thread *t)
{
    if (--t->nest == 0) /* pairs with the acquire in epoch.c:advance: our reads are over */
        atomic_store_explicit(&t->local, 0, memory_order_release);
}

/* Enters an epoch for as long as a lock is waited for, so that what it stands in is not freed; nests, and works
 * without a record, too. */
domain_thread *epoch_hold(kv_domain *domain);
void epoch_let_go(kv_domain *domain, domain_thread *held);

/* ---- size classes ---- */

static inline unsigned slab_class(size_t size_bytes)
{
    if (size_bytes <= 256)
        return size_bytes <= 16 ? 0 : (unsigned)((size_bytes + 7) / 8 - 2);
    if (size_bytes <= 512)
        return (unsigned)((size_bytes + 63) / 64 + 26);
    if (size_bytes <= 1024)
        return (unsigned)((size_bytes + 127) / 128 + 30);
    return (unsigned)((size_bytes + 255) / 256 + 34);
}

static inline size_t slab_class_size(unsigned c)
{
    if (c <= 30)
        return 16 + (size_t)c * 8;
    if (c <= 34)
        return ((size_t)c - 26) * 64;
    return c <= 38 ? ((size_t)c - 30) * 128 : ((size_t)c - 34) * 256;
}

/* Puts a block into the magazine of its class. */
static inline void slab_put(domain_thread *t, void *block, unsigned c);
/* Fills the thread's magazine of a class and takes a block of it; NULL when memory is out. */
void *slab_refill(domain_thread *t, unsigned class_index);
/* Gives a part of a magazine back to the pool. */
void slab_spill(domain_thread *t, unsigned class_index);
/* For a thread that could not have a record. */
void slab_free_slow(kv_domain *domain, void *block, size_t size_bytes);

__attribute__((always_inline)) static inline void slab_put(domain_thread *t, void *block, unsigned c)
{
    magazine *m = &t->magazines[c];

    memcpy(block, &m->free, sizeof m->free);
    m->free = block;
    KV_POISON(block, slab_class_size(c));
    if (__builtin_expect(++m->count > m->limit, 0))
        slab_spill(t, c);
}

/* ---- retiring ---- */

/* A bag for one more item, or NULL: there is none, and the block of that size was leaked, and counted. */
bag *epoch_bag(kv_domain *domain, size_t size_bytes);
/* The bag being filled stands for enough. */
void epoch_seal(domain_thread *t);

__attribute__((always_inline)) static inline void
epoch_remember(kv_domain *domain, uint64_t block, size_t size_bytes,
               void (*release)(kv_domain *domain, void *memory))
{
    domain_thread *t = domain_self;
    bag *b = t->domain == domain ? t->bag : NULL;
    size_t retired;

    if (__builtin_expect(!b || b->count == BAG_ITEMS, 0)) {
        b = epoch_bag(domain, size_bytes);
        if (!b)
            return;
        t = domain_thread_self(domain);
    }
    b->items[b->count].block = block;
    b->items[b->count].release = release;
    b->count++;
    retired = atomic_load_explicit(&t->retired_bytes, memory_order_relaxed) + size_bytes;
    atomic_store_explicit(&t->retired_bytes, retired, memory_order_relaxed);
    if (__builtin_expect(retired - b->bytes > BAG_BYTES_MAX, 0))
        epoch_seal(t);
}

#endif
