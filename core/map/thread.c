/* thread.c - the records of threads: from a thread's first use of a domain to the end of either.
 *
 *     thread   domain_self -> the record used last     own_records -> [domain A] -> [domain B]
 *     domain   threads     -> [thread 1] -> [thread 2]
 *
 * A record (thread.h) is made when a thread first needs one, and found again by a look at domain_self. A thread that exits
 * leaves its blocks and its bags to the domain.
 *
 * Records live as long as their thread or their domain, whichever ends later. `exit_lock` is the one global of the engine: it
 * orders the end of a thread against the end of a domain, which are two owners of the same record.
 *
 * Event-loop threads register: they are inside an epoch (epoch.c) from one quiescent point to the next, and leave it only to
 * sleep. SPDX-License-Identifier: MIT */
#include "thread.h"

#include <assert.h>
#include <stdlib.h>

#include "domain_private.h"

static domain_thread nobody;
_Thread_local domain_thread *domain_self __attribute__((tls_model("initial-exec"))) = &nobody;
static _Thread_local domain_thread *own_records __attribute__((tls_model("initial-exec")));

static kv_lock exit_lock;
static pthread_key_t exit_key;
static pthread_once_t exit_once = PTHREAD_ONCE_INIT;
static bool exit_key_made;

/* ---- records ---- */

/* Frees the records of domains that are gone. */
static void sweep_own(void)
{
    domain_thread **link = &own_records;

    while (*link) {
        domain_thread *t = *link;

        if (t->domain) {
            link = &t->next_of_thread;
            continue;
        }
        *link = t->next_of_thread;
        free(t);
    }
}

/* Leaves what the thread still holds to the domain. */
static void detach(domain_thread *t)
{
    kv_domain *domain = t->domain;

    slab_return_magazines(t);
    epoch_leave_bags(t);
    lock_acquire(&domain->threads_lock);
    *(t->previous_of_domain ? &t->previous_of_domain->next_of_domain : &domain->threads) = t->next_of_domain;
    if (t->next_of_domain)
        t->next_of_domain->previous_of_domain = t->previous_of_domain;
    domain->thread_count--;
    lock_release(&domain->threads_lock);
}

/* The end of a thread, called by pthreads. */
static void thread_exit(void *unused)
{
    (void)unused;
    domain_self = &nobody;
    lock_acquire(&exit_lock);
    while (own_records) {
        domain_thread *t = own_records;

        own_records = t->next_of_thread;
        if (t->domain)
            detach(t);
        free(t);
    }
    lock_release(&exit_lock);
}

static void make_exit_key(void)
{
    exit_key_made = pthread_key_create(&exit_key, thread_exit) == 0;
}

static domain_thread *record_new(kv_domain *domain)
{
    pthread_once(&exit_once, make_exit_key);
    size_t size = (sizeof(domain_thread) + 63) & ~(size_t)63;
    domain_thread *t = exit_key_made ? aligned_alloc(64, size) : NULL;

    if (!t)
        return NULL;
    memset(t, 0, size);
    t->domain = domain;
    t->epoch = &domain->epoch;
    t->heavy = !domain->membarrier;
    t->limbo_tail = &t->limbo;
    if (pthread_setspecific(exit_key, t)) { /* any value that is not NULL: the destructor runs */
        free(t);
        return NULL;
    }
    lock_acquire(&domain->threads_lock);
    t->next_of_domain = domain->threads;
    if (t->next_of_domain)
        t->next_of_domain->previous_of_domain = t;
    domain->threads = t;
    domain->thread_count++;
    lock_release(&domain->threads_lock);
    return t;
}

domain_thread *domain_thread_find(kv_domain *domain)
{
    domain_thread *t;

    sweep_own();
    for (t = own_records; t; t = t->next_of_thread) {
        if (t->domain == domain) {
            domain_self = t;
            return t;
        }
    }
    t = record_new(domain);
    if (t) {
        t->next_of_thread = own_records;
        own_records = t;
        domain_self = t;
    }
    return t;
}

/* Nobody is inside any more: everything retired is released, and the records are left to their threads. */
void threads_done(kv_domain *domain)
{
    lock_acquire(&exit_lock);
    epoch_release_all(domain);
    domain_thread *t = domain->threads;

    while (t) {
        domain_thread *next = t->next_of_domain;

        t->domain = NULL; /* after this the record belongs to its thread alone */
        t = next;
    }
    lock_release(&exit_lock);
    if (domain_self->domain == NULL && domain_self != &nobody)
        domain_self = &nobody;
    sweep_own();
}

/* ---- event-loop threads ---- */

int kv_thread_register(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    if (!t)
        return KV_ENOMEM;
    if (t->registered++ == 0) {
        t->online = true;
        domain_thread_enter(t);
    }
    return 0;
}

void kv_thread_unregister(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    if (!t || t->registered == 0 || --t->registered > 0)
        return;
    if (t->online)
        domain_thread_leave(t);
    t->online = false;
    epoch_reclaim(domain);
}

void kv_thread_quiesce(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    if (!t || !t->online)
        return;
    assert(t->nest == 1);
    if (atomic_load_explicit(&t->local, memory_order_relaxed) !=
        atomic_load_explicit(t->epoch, memory_order_relaxed)) {
        atomic_store_explicit(&t->local, 0, memory_order_release);
        domain_thread_pin(t);
    }
    if (t->limbo)
        epoch_collect(t);
}

void kv_thread_offline(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    if (!t || !t->online)
        return;
    t->online = false;
    domain_thread_leave(t);
    if (t->limbo)
        epoch_collect(t);
}

void kv_thread_online(kv_domain *domain)
{
    domain_thread *t = domain_thread_self(domain);

    if (!t || t->online || t->registered == 0)
        return;
    t->online = true;
    domain_thread_enter(t);
}
