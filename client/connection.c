/* connection.c - the blocking driver of a session: poll(2) with absolute deadlines.
 *
 * Writing may have to read: a server that cannot get rid of its replies stops reading commands, and a client that insists on
 * writing all of a long pipeline first would wait for it for ever. So what arrives during a flush is read, and kept in the
 * order of its arrival (early) until somebody asks for it.
 *
 * A wake comes through an eventfd that every wait polls beside the socket: writing to it is all that kvc_connection_wake does,
 * which a signal handler may do, too.
 *
 * After an error in the middle of a command or reply the position in the stream is not known any more: the connection is broken,
 * closed at once, and answers with the same error from then on. Running out of time while waiting for a reply's first byte
 * or the next of its bytes breaks nothing by itself; kvc_connection_call gives the connection up then, because its caller
 * will not wait for that reply again.
 *
 * SPDX-License-Identifier: MIT */
#include "connection.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "clock.h"
#include "failure.h"
#include "pool.h"

typedef struct early_reply {
    kvc_reply *reply;
    kvc_link_kind kind;
} early_reply;

struct kvc_connection {
    struct kvc_pool *pool;
    const kvc_options *options; /* borrowed */
    kvc_session *session;
    int wake_fd;
    atomic_bool woken; /* since it was leased: something may be left in wake_fd */
    bool broken;
    kvc_error failure; /* broken: why */

    early_reply *early; /* a queue: early_n of them from early_first on */
    size_t early_first, early_n, early_capacity;
    size_t early_answers; /* of them that are no messages */

    kvc_idle idle;
};

/* ---- opening and closing ---- */

static kvc_status broken(kvc_connection *c, const kvc_error *failure, kvc_error *error)
{
    const kvc_error *told = failure;

    if (!c->broken) {
        c->broken = true;
        c->failure = *failure;
        c->failure.sent = false; /* as for all that is asked from now on */
        kvc_session_disconnect(c->session);
    } else {
        told = &c->failure;
    }
    if (error)
        *error = *told;
    return told->status;
}

static void drain_wake(kvc_connection *c)
{
    uint64_t count;

    while (read(c->wake_fd, &count, sizeof count) < 0 && errno == EINTR)
        ;
}

/* KVC_OK: fd is ready. KVC_ETIMEOUT without a message; KVC_ESTATE: woken. */
static kvc_status wait_for(kvc_connection *c, int fd, short events, int64_t deadline_ms, kvc_error *error)
{
    struct pollfd fds[] = { { .fd = fd, .events = events }, { .fd = c->wake_fd, .events = POLLIN } };
    int n;

    do
        n = poll(fds, 2, kvc_poll_timeout(deadline_ms));
    while ((n < 0 && errno == EINTR) || (n == 0 && kvc_now_ms() < deadline_ms));
    if (n < 0)
        return kvc_fail_errno(error, KVC_EIO, errno, "poll");
    if (n == 0)
        return KVC_ETIMEOUT;
    if (fds[1].revents) {
        drain_wake(c);
        return kvc_fail(error, KVC_ESTATE, "woken by kvc_connection_wake");
    }
    return KVC_OK;
}

void kvc_connection_forget_wake(kvc_connection *c)
{
    if (atomic_exchange_explicit(&c->woken, false, memory_order_relaxed)) /* whoever wakes has done so */
        drain_wake(c);
}

static kvc_status establish(kvc_connection *c, int64_t deadline_ms, kvc_error *error)
{
    kvc_dial_wait wait;
    kvc_status status = kvc_session_connect(c->session, deadline_ms, error);

    while (status == KVC_OK) {
        status = kvc_session_step(c->session, kvc_now_ms(), &wait, error);
        if (status != KVC_NIL)
            return status;
        status = wait_for(c, wait.fd, wait.events, wait.until_ms, error);
        if (status == KVC_ETIMEOUT)
            status = KVC_OK; /* the next step knows what that means */
    }
    return status;
}

kvc_status kvc_connection_open(struct kvc_pool *pool, const kvc_options *options, kvc_tls *tls,
                               int64_t deadline_ms, kvc_connection **ret_connection, kvc_error *error)
{
    kvc_connection *c = calloc(1, sizeof *c);
    kvc_status status;

    *ret_connection = NULL;
    if (!c)
        return kvc_fail_nomem(error);
    c->pool = pool;
    c->options = options;
    c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->wake_fd < 0)
        status = kvc_fail_errno(error, KVC_ECONNECT, errno, "eventfd");
    else
        status = kvc_session_new(options, tls, &c->session, error);
    if (status == KVC_OK)
        status = establish(c, deadline_ms, error);
    if (status != KVC_OK) {
        kvc_connection_close(c);
        return status;
    }
    *ret_connection = c;
    return KVC_OK;
}

void kvc_connection_close(kvc_connection *c)
{
    if (!c)
        return;
    while (c->early_n--)
        kvc_reply_free(c->early[c->early_first++].reply);
    free(c->early);
    kvc_session_free(c->session);
    if (c->wake_fd >= 0)
        close(c->wake_fd);
    free(c);
}

struct kvc_pool *kvc_connection_pool(const kvc_connection *c)
{
    return c->pool;
}

kvc_idle *kvc_connection_idle(kvc_connection *c)
{
    return &c->idle;
}

kvc_link *kvc_connection_link(const kvc_connection *c)
{
    return kvc_session_link(c->session);
}

bool kvc_connection_reusable(const kvc_connection *c)
{
    return !c->broken && c->early_n == 0 && !kvc_link_dirty(kvc_connection_link(c));
}

bool kvc_connection_alive(const kvc_connection *c)
{
    struct pollfd socket = { .fd = kvc_session_fd(c->session), .events = POLLIN };

    return !c->broken && !kvc_session_has_bytes(c->session) && poll(&socket, 1, 0) == 0;
}

/* ---- what arrived before anybody asked ---- */

static bool keep_early(kvc_connection *c, kvc_link_kind kind, kvc_reply *reply)
{
    if (c->early_first + c->early_n == c->early_capacity && c->early_first > c->early_capacity / 2) {
        memmove(c->early, c->early + c->early_first, c->early_n * sizeof *c->early);
        c->early_first = 0;
    }
    if (c->early_first + c->early_n == c->early_capacity) {
        size_t capacity = c->early_capacity ? c->early_capacity * 2 : 16;
        early_reply *early = realloc(c->early, capacity * sizeof *early);

        if (!early)
            return false;
        c->early = early;
        c->early_capacity = capacity;
    }
    c->early[c->early_first + c->early_n++] = (early_reply){ .reply = reply, .kind = kind };
    c->early_answers += kind != KVC_LINK_MESSAGE;
    return true;
}

static kvc_reply *take_early(kvc_connection *c)
{
    early_reply *front;

    if (c->early_n == 0)
        return NULL;
    front = &c->early[c->early_first++];
    c->early_answers -= front->kind != KVC_LINK_MESSAGE;
    if (--c->early_n == 0)
        c->early_first = 0;
    return front->reply;
}

/* ---- moving bytes ---- */

/* Reads what is there, without waiting, and keeps the replies. */
static kvc_status read_early(kvc_connection *c, kvc_error *error)
{
    kvc_link_kind kind;
    kvc_reply *reply;
    kvc_status status;
    short events;

    while ((status = kvc_session_receive(c->session, &events, error)) == KVC_OK) {
        while ((status = kvc_link_next(kvc_connection_link(c), &kind, &reply, error)) == KVC_OK) {
            if (!keep_early(c, kind, reply)) {
                kvc_reply_free(reply);
                return kvc_fail_nomem(error);
            }
        }
        if (status < 0)
            return status;
    }
    return status < 0 ? status : KVC_OK;
}

/* Sends everything that is queued. */
static kvc_status send_all(kvc_connection *c, int64_t deadline_ms, kvc_error *error)
{
    for (;;) {
        short events = 0;
        kvc_status status = kvc_session_send(c->session, &events, error);

        if (status != KVC_NIL)
            return status;
        status = wait_for(c, kvc_session_fd(c->session), events | POLLIN, deadline_ms, error);
        if (status == KVC_OK)
            status = read_early(c, error);
        if (status != KVC_OK)
            return status;
    }
}

/* The next reply or message off the stream. */
static kvc_status receive(kvc_connection *c, int64_t deadline_ms, kvc_link_kind *ret_kind,
                          kvc_reply **ret_reply, kvc_error *error)
{
    for (;;) {
        short events = POLLIN;
        kvc_status status = kvc_link_next(kvc_connection_link(c), ret_kind, ret_reply, error);

        while (status == KVC_NIL) {
            status = KVC_OK;
            if (!kvc_session_has_bytes(c->session))
                status = wait_for(c, kvc_session_fd(c->session), events, deadline_ms, error);
            if (status == KVC_OK)
                status = kvc_session_receive(c->session, &events, error);
            if (status == KVC_OK)
                break;
        }
        if (status != KVC_OK || *ret_reply)
            return status;
    }
}

/* ---- errors ---- */

static bool inherited(const kvc_connection *c, kvc_error *error)
{
    if (!kvc_pool_inherited(c->pool))
        return false;
    kvc_fail(error, KVC_ESTATE, "this connection belongs to the process that forked this one");
    return true;
}

/* Can anything be done with it? */
static kvc_status check_usable(kvc_connection *c, kvc_error *error)
{
    if (c->broken)
        return broken(c, NULL, error);
    return inherited(c, error) ? KVC_ESTATE : KVC_OK;
}

static kvc_status timed_out(const kvc_connection *c, const char *doing, kvc_error *error)
{
    return kvc_fail(error, KVC_ETIMEOUT, "%s %s before the deadline",
                    kvc_link_address(kvc_connection_link(c)), doing);
}

/* A failure after which the stream cannot be used. */
static bool breaks(kvc_status status)
{
    return status < 0 && status != KVC_ETIMEOUT && status != KVC_ESTATE && status != KVC_EARG;
}

/* Ends a step: what broke the stream closes the connection. */
static kvc_status end_step(kvc_connection *c, kvc_status status, const kvc_error *failure, kvc_error *error)
{
    if (breaks(status))
        return broken(c, failure, error);
    if (status < 0 && error)
        *error = *failure;
    return status;
}

/* ---- the calls ---- */

kvc_status kvc_connection_append(kvc_connection *c, size_t argc, const kvc_slice *argv, kvc_error *error)
{
    return c->broken ? broken(c, NULL, error) : kvc_link_append(kvc_connection_link(c), argc, argv, error);
}

kvc_status kvc_connection_append_raw(kvc_connection *c, kvc_slice bytes, size_t replies, kvc_error *error)
{
    return c->broken ? broken(c, NULL, error)
                     : kvc_link_append_raw(kvc_connection_link(c), bytes, replies, error);
}

kvc_status kvc_connection_flush_by(kvc_connection *c, int64_t deadline_ms, kvc_error *error)
{
    kvc_error failure;
    kvc_status status = check_usable(c, error);

    if (status != KVC_OK)
        return status;
    status = send_all(c, deadline_ms, &failure);
    if (status == KVC_ETIMEOUT)
        timed_out(c, "did not take what was sent", &failure);
    return end_step(c, status, &failure, error);
}

/* What has arrived already; KVC_NIL: nothing. It costs no system call, which a long pipeline is read by. */
static kvc_status take_ready(kvc_connection *c, kvc_reply **ret_reply, kvc_error *error)
{
    kvc_link_kind kind;
    kvc_error failure;
    kvc_status status;

    *ret_reply = take_early(c);
    if (*ret_reply)
        return KVC_OK;
    if (c->broken)
        return broken(c, NULL, error);
    status = kvc_link_next(kvc_connection_link(c), &kind, ret_reply, &failure);
    return end_step(c, status, &failure, error);
}

static kvc_status wait_for_next(kvc_connection *c, int64_t deadline_ms, kvc_reply **ret_reply,
                                kvc_error *error)
{
    kvc_link_kind kind;
    kvc_error failure;
    kvc_status status = check_usable(c, error);

    if (status != KVC_OK)
        return status;
    status = send_all(c, deadline_ms, &failure);
    *ret_reply = take_early(c);
    if (status == KVC_OK && !*ret_reply)
        status = receive(c, deadline_ms, &kind, ret_reply, &failure);
    if (*ret_reply)
        return KVC_OK;
    if (status == KVC_ETIMEOUT)
        timed_out(c, "did not answer", &failure);
    return end_step(c, status, &failure, error);
}

kvc_status kvc_connection_next_by(kvc_connection *c, int64_t deadline_ms, kvc_reply **ret_reply,
                                  kvc_error *error)
{
    kvc_status status = take_ready(c, ret_reply, error);

    return status == KVC_NIL ? wait_for_next(c, deadline_ms, ret_reply, error) : status;
}

/* Takes the answer to the only command that is outstanding; messages that come before it are kept. NULL: there is none to come. */
static kvc_status take_answer(kvc_connection *c, int64_t deadline_ms, kvc_reply **ret_reply, kvc_error *error)
{
    kvc_link_kind kind;
    kvc_status status;

    while (kvc_link_pending(kvc_connection_link(c)) > 0) {
        status = receive(c, deadline_ms, &kind, ret_reply, error);
        if (status != KVC_OK || kind != KVC_LINK_MESSAGE)
            return status;
        if (!keep_early(c, kind, *ret_reply)) {
            kvc_reply_free(*ret_reply);
            *ret_reply = NULL;
            return kvc_fail_nomem(error);
        }
        *ret_reply = NULL;
    }
    /* It came while the command was being sent, after messages. */
    for (size_t i = c->early_first; i < c->early_first + c->early_n; i++) {
        if (c->early[i].kind == KVC_LINK_MESSAGE)
            continue;
        *ret_reply = c->early[i].reply;
        memmove(&c->early[i], &c->early[i + 1], (c->early_first + --c->early_n - i) * sizeof *c->early);
        c->early_answers--;
        break;
    }
    return KVC_OK;
}

kvc_status kvc_connection_call(kvc_connection *c, int64_t deadline_ms, size_t argc, const kvc_slice *argv,
                               kvc_reply **ret_reply, kvc_error *error)
{
    kvc_link *link = kvc_connection_link(c);
    kvc_error failure;
    kvc_status status;
    uint64_t position;

    *ret_reply = NULL;
    status = check_usable(c, error);
    if (status != KVC_OK)
        return status;
    if (kvc_connection_pending(c))
        return kvc_fail(error, KVC_ESTATE,
                        "replies are outstanding: take them with kvc_connection_next first");
    position = kvc_link_queued(link);
    status = kvc_link_append(link, argc, argv, error);
    if (status != KVC_OK)
        return status;
    status = send_all(c, deadline_ms, &failure);
    if (status == KVC_OK)
        status = take_answer(c, deadline_ms, ret_reply, &failure);
    if (status == KVC_OK)
        return KVC_OK;
    if (status == KVC_ETIMEOUT)
        timed_out(c, "did not answer", &failure);
    failure.sent = kvc_link_sent_total(link) > position;
    return status == KVC_ESTATE ? end_step(c, status, &failure, error) : broken(c, &failure, error);
}

/* ---- the public side ---- */

static int64_t step_deadline(const kvc_connection *c, uint32_t timeout_ms)
{
    return kvc_deadline(timeout_ms ? timeout_ms : c->options->command_timeout_ms);
}

kvc_status kvc_connection_command(kvc_connection *c, size_t argc, const kvc_slice *argv,
                                  kvc_reply **ret_reply, kvc_error *error)
{
    return kvc_connection_call(c, step_deadline(c, 0), argc, argv, ret_reply, error);
}

kvc_status kvc_connection_flush(kvc_connection *c, kvc_error *error)
{
    return kvc_connection_flush_by(c, step_deadline(c, 0), error);
}

kvc_status kvc_connection_next(kvc_connection *c, uint32_t timeout_ms, kvc_reply **ret_reply,
                               kvc_error *error)
{
    kvc_status status = take_ready(c, ret_reply, error);

    return status == KVC_NIL ? wait_for_next(c, step_deadline(c, timeout_ms), ret_reply, error) : status;
}

kvc_status kvc_connection_read(kvc_connection *c, void *buffer, size_t size, uint32_t timeout_ms,
                               size_t *ret_len, kvc_error *error)
{
    int64_t deadline_ms = step_deadline(c, timeout_ms);
    kvc_error failure;
    kvc_status status = check_usable(c, error);
    short events = POLLIN;

    if (status != KVC_OK)
        return status;
    while ((status = kvc_session_read(c->session, buffer, size, ret_len, &events, &failure)) == KVC_NIL) {
        status = wait_for(c, kvc_session_fd(c->session), events, deadline_ms, &failure);
        if (status == KVC_ETIMEOUT)
            timed_out(c, "sent nothing more", &failure);
        if (status != KVC_OK)
            break;
    }
    return end_step(c, status, &failure, error);
}

size_t kvc_connection_pending(const kvc_connection *c)
{
    return kvc_link_pending(kvc_connection_link(c)) + c->early_answers;
}

int kvc_connection_fd(const kvc_connection *c)
{
    return kvc_session_fd(c->session);
}

const char *kvc_connection_address(const kvc_connection *c)
{
    return kvc_link_address(kvc_connection_link(c));
}

int kvc_connection_protocol(const kvc_connection *c)
{
    return kvc_link_protocol(kvc_connection_link(c));
}

const kvc_reply *kvc_connection_hello(const kvc_connection *c)
{
    return kvc_link_hello(kvc_connection_link(c));
}

void kvc_connection_wake(kvc_connection *c)
{
    const uint64_t one = 1;
    int before = errno;

    atomic_store_explicit(&c->woken, true, memory_order_relaxed);
    while (write(c->wake_fd, &one, sizeof one) < 0 && errno == EINTR)
        ;
    errno = before;
}
