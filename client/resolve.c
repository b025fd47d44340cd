/* resolve.c - getaddrinfo in a helper thread.
 *
 * getaddrinfo(3) knows hosts files, mDNS and whatever else a machine is configured with; but it blocks, for as long as
 * resolv.conf says, and nothing ends it. So a thread of its own calls it, and both sides hold a reference: who gives up
 * earlier leaves the other to finish. A stuck name server thus costs a thread until the resolver's own timeout (5 to 30
 * seconds), not the caller's deadline. An address that is a number needs neither thread nor waiting.
 *
 * getaddrinfo_a(3) does the same, but cannot cancel a running request either, and then still writes to the caller's
 * memory; and its end is not told through a descriptor.
 *
 * SPDX-License-Identifier: MIT */
#include "resolve.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "failure.h"

struct kvc_resolution {
    atomic_int references; /* the caller's, and the thread's */
    atomic_bool finished;  /* released after result, error and list were written */
    int fd;
    int result;    /* of getaddrinfo */
    int sys_errno; /* when result is EAI_SYSTEM */
    struct addrinfo *list;
    char port[8];
    char host[];
};

static const struct addrinfo hints = { .ai_family = AF_UNSPEC,
                                       .ai_socktype = SOCK_STREAM,
                                       .ai_flags = AI_NUMERICSERV };

static void unref(kvc_resolution *r)
{
    if (atomic_fetch_sub_explicit(&r->references, 1, memory_order_acq_rel) != 1)
        return;
    if (r->list)
        freeaddrinfo(r->list);
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}

static void *resolve(void *arg)
{
    kvc_resolution *r = arg;
    const uint64_t one = 1;

    r->result = getaddrinfo(r->host, r->port, &hints, &r->list);
    r->sys_errno = errno;
    /* pairs with the acquire in kvc_resolution_take */
    atomic_store_explicit(&r->finished, true, memory_order_release);
    while (write(r->fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    unref(r);
    return NULL;
}

/* A detached thread that no signal is delivered to: they are the program's business. */
static int start_thread(kvc_resolution *r)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    pthread_t thread;
    int err = pthread_attr_init(&attributes);

    if (err)
        return err;
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&thread, &attributes, resolve, r);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return err;
}

static bool resolve_number(kvc_resolution *r)
{
    struct addrinfo numeric = hints;

    numeric.ai_flags |= AI_NUMERICHOST;
    r->result = getaddrinfo(r->host, r->port, &numeric, &r->list);
    return r->result == 0;
}

kvc_status kvc_resolve(const char *host, int port, kvc_resolution **ret_resolution, kvc_error *error)
{
    size_t len = strlen(host);
    kvc_resolution *r = calloc(1, sizeof *r + len + 1);
    int err;

    *ret_resolution = NULL;
    if (!r)
        return kvc_fail_nomem(error);
    memcpy(r->host, host, len + 1);
    snprintf(r->port, sizeof r->port, "%d", port);
    r->fd = -1;
    atomic_init(&r->references, 1);
    atomic_init(&r->finished, false);
    if (resolve_number(r)) {
        atomic_store_explicit(&r->finished, true, memory_order_relaxed);
        *ret_resolution = r;
        return KVC_OK;
    }
    r->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (r->fd < 0) {
        err = errno;
        unref(r);
        return kvc_fail_errno(error, KVC_ERESOLVE, err, "eventfd");
    }
    atomic_store_explicit(&r->references, 2, memory_order_relaxed);
    err = start_thread(r);
    if (err) {
        atomic_store_explicit(&r->references, 1, memory_order_relaxed);
        unref(r);
        return kvc_fail_errno(error, KVC_ERESOLVE, err, "no thread to resolve %s", host);
    }
    *ret_resolution = r;
    return KVC_OK;
}

int kvc_resolution_fd(const kvc_resolution *r)
{
    return r->fd;
}

kvc_status kvc_resolution_take(kvc_resolution *r, struct addrinfo **ret_list, kvc_error *error)
{
    *ret_list = NULL;
    /* pairs with the release in resolve */
    if (!atomic_load_explicit(&r->finished, memory_order_acquire))
        return KVC_NIL;
    if (r->result == EAI_SYSTEM)
        return kvc_fail_errno(error, KVC_ERESOLVE, r->sys_errno, "resolving %s", r->host);
    if (r->result == EAI_MEMORY)
        return kvc_fail_nomem(error);
    if (r->result)
        return kvc_fail(error, KVC_ERESOLVE, "resolving %s: %s", r->host, gai_strerror(r->result));
    *ret_list = r->list;
    r->list = NULL;
    return KVC_OK;
}

void kvc_resolution_free(kvc_resolution *r)
{
    if (r)
        unref(r);
}
