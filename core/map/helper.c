/* helper.c - a domain's background thread: work that is too long for the thread that caused it.
 *
 * It touches memory ahead of need and tidies it up (chunk.c), and has one queue of jobs, run in order. A domain that
 * is freed first finishes its jobs. Without a helper, or when a job cannot be queued, the caller runs it at once:
 * later is an optimisation, never a promise.
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "chunk.h"
#include "domain_private.h"

typedef struct job {
    struct job *next;
    void (*run)(void *arg);
    void *arg;
} job;

struct helper {
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the fields below */
    pthread_cond_t wake;
    job *first, **last;
    bool stop, prepare; /* a chunk is wanted */
    bool tidying;       /* in the middle of it; the helper's own */
};

#define TIDY_AFTER_MS      100 /* without work */
#define TIDY_PAUSE_MS      2
#define GIVE_BACK_AFTER_MS 1000

/* Called and returns with the mutex held. */
static void prepare_chunks(kv_domain *domain, struct helper *helper)
{
    helper->prepare = false;
    pthread_mutex_unlock(&helper->mutex);
    while (chunk_wanted(domain) && chunk_prepare(domain))
        ;
    pthread_mutex_lock(&helper->mutex);
}

/* Whether there was nothing to do for so long. Called and returns with the mutex held. */
static bool idle_for(struct helper *helper, long ms)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += ms % 1000 * 1000000;
    until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    return pthread_cond_timedwait(&helper->wake, &helper->mutex, &until) == ETIMEDOUT;
}

/* Waits for work. When growth has come to rest, chunks of small pages become huge ones, with pauses in which others
 * get at the kernel's lock; then what was made ready and is not wanted goes back, one chunk at a time. Called
 * and returns with the mutex held. */
static void wait_for_work(kv_domain *domain, struct helper *helper)
{
    bool untidy = chunk_untidy(domain);

    if (!untidy && !chunk_ready(domain)) {
        pthread_cond_wait(&helper->wake, &helper->mutex);
        return;
    }
    if (!idle_for(helper, !untidy ? GIVE_BACK_AFTER_MS : helper->tidying ? TIDY_PAUSE_MS : TIDY_AFTER_MS)) {
        helper->tidying = false;
        return;
    }
    helper->tidying = untidy;
    pthread_mutex_unlock(&helper->mutex);
    if (untidy)
        chunk_tidy(domain);
    else
        chunk_give_back(domain);
    pthread_mutex_lock(&helper->mutex);
}

static void *helper_main(void *arg)
{
    kv_domain *domain = arg;
    struct helper *helper = domain->helper;

    pthread_mutex_lock(&helper->mutex);
    for (;;) {
        while (!helper->first && !helper->stop && !helper->prepare)
            wait_for_work(domain, helper);
        if (helper->prepare && !helper->stop) {
            prepare_chunks(domain, helper);
            continue;
        }
        job *next = helper->first;

        if (!next)
            break;
        helper->first = next->next;
        if (!helper->first)
            helper->last = &helper->first;
        pthread_mutex_unlock(&helper->mutex);
        next->run(next->arg);
        domain_free(domain, next, sizeof *next);
        epoch_reclaim(domain);
        pthread_mutex_lock(&helper->mutex);
    }
    pthread_mutex_unlock(&helper->mutex);
    return NULL;
}

int helper_start(kv_domain *domain)
{
    struct helper *helper = chunk_stock(domain) ? NULL : domain_alloc(domain, sizeof *helper, 8);
    pthread_condattr_t monotonic;
    sigset_t all, before;

    if (!helper)
        return KV_ENOMEM;
    memset(helper, 0, sizeof *helper);
    helper->last = &helper->first;
    pthread_mutex_init(&helper->mutex, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&helper->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    domain->helper = helper;
    /* Signals are for the threads of the host. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&helper->thread, NULL, helper_main, domain);

    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!failed) {
        account_leave_to(domain->account, domain);
        return 0;
    }
    domain->helper = NULL;
    domain_free(domain, helper, sizeof *helper);
    return KV_ENOMEM;
}

void helper_stop(kv_domain *domain)
{
    struct helper *helper = domain->helper;

    if (!helper)
        return;
    account_leave_to(domain->account, NULL);
    pthread_mutex_lock(&helper->mutex);
    helper->stop = true;
    pthread_cond_signal(&helper->wake);
    pthread_mutex_unlock(&helper->mutex);
    pthread_join(helper->thread, NULL);
    domain->helper = NULL;
    pthread_cond_destroy(&helper->wake);
    pthread_mutex_destroy(&helper->mutex);
    domain_free(domain, helper, sizeof *helper);
}

void domain_defer(kv_domain *domain, void (*run)(void *arg), void *arg)
{
    struct helper *helper = domain->helper;
    job *added = helper ? domain_alloc(domain, sizeof *added, 8) : NULL;

    if (!added) {
        run(arg);
        return;
    }
    added->next = NULL;
    added->run = run;
    added->arg = arg;
    pthread_mutex_lock(&helper->mutex);
    *helper->last = added;
    helper->last = &added->next;
    pthread_cond_signal(&helper->wake);
    pthread_mutex_unlock(&helper->mutex);
}

/* Called under the locks of slab and spans: the mutex is innermost, and held for moments only. */
void helper_wake(kv_domain *domain)
{
    struct helper *helper = domain->helper;

    pthread_mutex_lock(&helper->mutex);
    helper->prepare = true;
    pthread_cond_signal(&helper->wake);
    pthread_mutex_unlock(&helper->mutex);
}
