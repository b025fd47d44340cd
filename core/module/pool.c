/* pool.c - see pool.h.
 *
 * A list of jobs behind one lock, and a handful of threads that wait for it. The threads block all signals, which are
 * the server's. A forked child has none of them and never looks at the list, so that it does not matter what the lock
 * was at the fork.
 *
 * SPDX-License-Identifier: MIT */
#include "pool.h"

#include <signal.h>

#include "module.h"

#define THREADS_MAX 64u

typedef struct job {
    struct job *next;
    pool_fn *fn;
    void *arg;
} job;

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    job *first, **last;
    pthread_t threads[THREADS_MAX];
    unsigned count, idle;
    bool stopping;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .last = &pool.first };

/* Waits for a job; NULL: the pool ends. */
static job *pool_take(void)
{
    job *taken;

    pthread_mutex_lock(&pool.lock);
    pool.idle++;
    while (!pool.first && !pool.stopping)
        pthread_cond_wait(&pool.wake, &pool.lock);
    pool.idle--;
    taken = pool.first;
    if (taken) {
        pool.first = taken->next;
        if (!pool.first)
            pool.last = &pool.first;
    }
    pthread_mutex_unlock(&pool.lock);
    return taken;
}

static void *pool_run(void *arg)
{
    job *j;

    (void)arg;
    while ((j = pool_take()) != NULL) {
        j->fn(j->arg);
        rm.Free(j);
    }
    return NULL;
}

bool pool_thread(pthread_t *ret_thread, void *(*run)(void *arg), void *arg)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(ret_thread, NULL, run, arg);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err == 0;
}

/* With the lock held. */
static bool pool_grow(void)
{
    bool grown = pool_thread(&pool.threads[pool.count], pool_run, NULL);

    pool.count += grown;
    return grown;
}

bool pool_submit(pool_fn *fn, void *arg, unsigned threads)
{
    job *j = rm_alloc(sizeof *j);
    bool taken;

    if (!j)
        return false;
    *j = (job){ NULL, fn, arg };
    pthread_mutex_lock(&pool.lock);
    taken =
        pool.idle > 0 || (pool.count < threads && pool.count < THREADS_MAX && pool_grow()) || pool.count > 0;
    if (taken) {
        *pool.last = j;
        pool.last = &j->next;
        pthread_cond_signal(&pool.wake);
    }
    pthread_mutex_unlock(&pool.lock);
    if (!taken)
        rm.Free(j);
    return taken;
}

void pool_stop(void)
{
    pthread_mutex_lock(&pool.lock);
    pool.stopping = true;
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.lock);
    for (unsigned i = 0; i < pool.count; i++)
        pthread_join(pool.threads[i], NULL);
    pool.count = 0;
    pool.stopping = false;
}
