/* domain_private.h - what a domain consists of; for the files behind domain.h only.
 * SPDX-License-Identifier: MIT */
#ifndef KV_MAP_DOMAIN_PRIVATE_H
#define KV_MAP_DOMAIN_PRIVATE_H

#include <pthread.h>

#include "domain.h"
#include "lock.h"

#define SECRET_SIZE 192u /* XXH3's default secret has this size */

#define SPARE_CHUNK_FROM 4u /* who has more chunks keeps one empty */

struct slab;
struct spans;
struct helper;
struct contention;
struct stock;

struct kv_domain {
    _Atomic uint64_t epoch; /* read by every thread that enters: a line of its own, nearly */
    account *account;       /* all of the domain's memory comes from it */
    bool default_allocator;
    size_t
        chunk_bytes; /* of all chunks but the first: CHUNK_BIG, or CHUNK_SMALL from an allocator of its own */
    bool siphash;
    bool membarrier; /* the kernel fences readers for us */
    _Atomic uint32_t references;
    struct slab *slab;     /* made at the first block, guarded by slab_lock */
    struct spans *spans;   /* the same, by span_lock */
    struct helper *helper; /* NULL: domain_defer runs jobs at once */
    struct stock *stock;   /* of memory for later, which the helper looks after; NULL: there is no helper */
    struct contention *contention; /* NULL: waits are not measured */
    kv_lock threads_lock;          /* leaf: threads, orphans */
    kv_lock slab_lock;             /* everything behind slab; only stock_lock is taken inside */
    kv_lock span_lock;             /* everything behind spans; only stock_lock is taken inside */
    kv_lock stock_lock;            /* leaf: everything behind stock */
    _Atomic uint32_t big_chunks;
    struct domain_thread *threads;
    uint32_t thread_count;
    bag *orphans, **orphans_tail; /* bags of threads that have exited */
    struct garbage *left_behind;  /* see epoch_leave_behind */
    _Atomic uint32_t anonymous;   /* threads inside an epoch without a record */
    _Atomic size_t slab_bytes;
    _Atomic size_t slab_used_bytes; /* blocks in use or in a thread's magazine */
    _Atomic size_t orphan_bytes, leaked_bytes;
    _Atomic size_t stalled;
    unsigned char secret[SECRET_SIZE] __attribute__((aligned(64)));
};

/* contention.c */
void contention_done(kv_domain *domain);
/* epoch.c */
void epoch_start(kv_domain *domain);
/* Empties the thread's bags whose time has come. */
void epoch_collect(domain_thread *t);
/* Leaves the bags of a thread that ends to its domain. */
void epoch_leave_bags(domain_thread *t);
/* Releases everything retired: nobody is inside any more. */
void epoch_release_all(kv_domain *domain);
/* thread.c: the end of the domain for the epochs and for the records of threads. */
void threads_done(kv_domain *domain);
/* slab.c */
void slab_done(kv_domain *domain);
void slab_return_magazines(struct domain_thread *t);
/* Gives back the empty chunks that are kept for later. */
void slab_trim(kv_domain *domain);
/* helper.c */
int helper_start(kv_domain *domain);
void helper_stop(kv_domain *domain);
void helper_wake(kv_domain *domain);

#endif
