/* lane.c - see lane.h.
 *
 *     closed --open--> connecting --writable--> open --end of file, error--> closed, and again after a while
 *
 * A readable lane is read once per turn, all its replies are given to those who asked, and then it is filled up again
 * (worker.c) and written: so what a reply led to is called after that reply returned, as the clock tells.
 *
 * A server that closes connections is not wrong: what was under way is of unknown outcome, and the lane connects
 * again. It has failed when no connection can be had for as long as options->timeout_s, or when it closes every
 * one without an answer.
 *
 * SPDX-License-Identifier: MIT */
#include "lane.h"

#include <event2/event.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "parts.h"

#define IN_SIZE      (64u << 10)
#define REOPEN_NS    (20 * NS_PER_MS)
#define FAILURES_MAX 100u /* connections closed without one reply */

static void fail(lane *l, const char *format, const char *detail)
{
    fault f;

    fault_set(&f, format, l->worker->run->target.name, detail);
    run_fail(l->worker->run, &f);
}

/* ---- opening and closing ---------------------------------------------------------------- */

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);

int lane_init(lane *l, worker *w, unsigned depth)
{
    memset(l, 0, sizeof *l);
    l->worker = w;
    l->fd = -1;
    l->depth = depth;
    for (l->ring_size = 64; l->ring_size < 2 * depth + 32;)
        l->ring_size *= 2;
    l->ring = malloc(l->ring_size * sizeof *l->ring);
    return l->ring ? 0 : -1;
}

void lane_done(lane *l)
{
    if (l->readable)
        event_free(l->readable);
    if (l->writable)
        event_free(l->writable);
    if (l->fd >= 0)
        close(l->fd);
    if (l->reader.codec)
        reply_reader_done(&l->reader);
    wire_done(&l->out);
    free(l->ring);
}

static void retry_later(lane *l)
{
    if (l->readable)
        event_free(l->readable);
    if (l->writable)
        event_free(l->writable);
    l->readable = l->writable = NULL;
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
    l->state = LANE_CLOSED;
    l->reopen_at = clock_ns() + REOPEN_NS;
}

static void greet(lane *l)
{
    const options *o = l->worker->run->options;

    if (o->pass) {
        worker_tidy(l);
        wire_command(&l->out, o->user ? 3 : 2);
        wire_text(&l->out, "AUTH");
        if (o->user)
            wire_text(&l->out, o->user);
        wire_text(&l->out, o->pass);
    }
    if (o->db) {
        worker_tidy(l);
        wire_command(&l->out, 2);
        wire_text(&l->out, "SELECT");
        wire_number(&l->out, (int64_t)o->db);
    }
    worker_tidy(l); /* a first answer, for clock_after */
    wire_command(&l->out, 1);
    wire_text(&l->out, "PING");
}

static void opened(lane *l)
{
    run *r = l->worker->run;

    if (reply_reader_init(&l->reader)) {
        fail(l, "%s: %s", "out of memory");
        retry_later(l);
        return;
    }
    l->state = LANE_OPEN;
    memset(l->published, 0, sizeof l->published);
    l->process = atomic_fetch_add(&r->next_process, 1) + 1;
    l->watching = l->retiring = l->blocked = false;
    l->out.len = l->out.sent = 0;
    l->clock_after = 0;
    l->worker->tally.opened++;
    event_add(l->readable, NULL);
    greet(l);
    worker_opened(l);
    worker_fill(l);
}

void lane_open(lane *l)
{
    bool done = false;

    l->fd = target_connect(&l->worker->run->target, &done);
    if (l->fd < 0) {
        l->failures++;
        retry_later(l);
        return;
    }
    l->readable = event_new(l->worker->base, l->fd, EV_READ | EV_PERSIST, on_readable, l);
    l->writable = event_new(l->worker->base, l->fd, EV_WRITE, on_writable, l);
    if (!l->readable || !l->writable) {
        fail(l, "%s: %s", "out of memory");
        retry_later(l);
        return;
    }
    l->state = LANE_CONNECTING;
    if (done)
        opened(l);
    else
        event_add(l->writable, NULL);
}

void lane_close(lane *l)
{
    bool was_open = l->state == LANE_OPEN;

    retry_later(l);
    if (!was_open)
        return;
    reply_reader_done(&l->reader);
    while (l->head != l->tail) {
        call c = l->ring[l->head++ & (l->ring_size - 1)];

        l->worker->open_calls--;
        l->worker->tally.unknown++;
        c.done(l, &c, NULL);
    }
}

/* The server closed it. */
static void lost(lane *l)
{
    if (atomic_load(&l->worker->run->server_up)) {
        l->worker->tally.lost++;
        if (l->subscriber)
            pubsub_lost(l);
    }
    if (++l->failures > FAILURES_MAX)
        fail(l, "%s: it closes every connection%s", "");
    lane_close(l);
}

/* ---- asking and being answered ---------------------------------------------------------- */

call *lane_call(lane *l, call_done *done)
{
    call *c = &l->ring[l->tail++ & (l->ring_size - 1)];

    memset(c, 0, offsetof(call, items));
    c->done = done;
    c->sent = l->worker->now;
    l->worker->open_calls++;
    return c;
}

void lane_command(lane *l, unsigned words, const char *name, const char *store)
{
    char ours[32];

    if (l->worker->run->options->module == MODULE_NOT) {
        wire_command(&l->out, words);
        wire_text(&l->out, name);
        return;
    }
    snprintf(ours, sizeof ours, "KV.%s", name);
    wire_command(&l->out, words + 1);
    wire_text(&l->out, ours);
    wire_text(&l->out, store);
}

bool lane_watch(lane *l, unsigned keys, const char *store)
{
    bool module = l->worker->run->options->module != MODULE_NOT;

    wire_command(&l->out, module ? 2 : keys + 1);
    wire_text(&l->out, "WATCH");
    if (module)
        wire_text(&l->out, store);
    return !module;
}

void lane_send(lane *l)
{
    while (l->out.sent < l->out.len && !l->blocked) {
        ssize_t n = send(l->fd, l->out.bytes + l->out.sent, l->out.len - l->out.sent, MSG_NOSIGNAL);

        if (n > 0) {
            l->out.sent += (size_t)n;
        } else if (errno == EAGAIN) {
            l->blocked = true;
            event_add(l->writable, NULL);
        } else if (errno != EINTR) {
            break; /* the reading side will tell */
        }
    }
    wire_compact(&l->out);
    if (l->out.failed)
        fail(l, "%s: %s", "out of memory");
}

static void unasked(lane *l, const reply *r)
{
    call c = { .sent = l->worker->now };

    worker_misfit(l, &c, CHECK_FIFO, "(nothing was asked)", r);
}

static void answer(lane *l, const reply *r)
{
    worker *w = l->worker;
    call *first = &l->ring[l->head & (l->ring_size - 1)], c;

    l->failures = 0;
    if (l->subscriber && pubsub_received(l, r))
        return;
    if (l->head == l->tail) {
        unasked(l, r);
        return;
    }
    if (first->steps) {
        first->steps--;
        if (r->type == REPLY_IS_ERROR)
            run_refused(w->run, r->text);
        else if (!reply_is_status(r, "OK") && !reply_is_status(r, "QUEUED"))
            worker_misfit(l, first, CHECK_FIFO, "MULTI ...", r);
        return;
    }
    c = *first;
    l->head++;
    l->clock_after = c.sent;
    w->open_calls--;
    if (r->type == REPLY_IS_ERROR) {
        w->tally.refused++;
        run_refused(w->run, r->text);
    }
    histogram_count(&w->latency, w->now > c.sent ? (uint64_t)(w->now - c.sent) : 0);
    w->waited_ns += w->now - c.sent;
    w->waited++;
    c.done(l, &c, r);
}

static void read_replies(lane *l)
{
    const reply *r;
    int got = 0;

    while (l->state == LANE_OPEN && (got = reply_next(&l->reader, &r)) == 1)
        answer(l, r);
    if (l->state == LANE_OPEN && got < 0)
        fail(l, "%s: it answers nonsense: %s", reply_trouble(&l->reader));
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    lane *l = arg;
    worker *w = l->worker;
    ssize_t n = recv(fd, w->in, IN_SIZE, 0);

    (void)what;
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    w->now = clock_ns();
    if (n <= 0) {
        lost(l);
        return;
    }
    if (reply_feed(&l->reader, w->in, (size_t)n)) {
        fail(l, "%s: %s", "out of memory");
        return;
    }
    read_replies(l);
    if (l->state == LANE_OPEN)
        worker_fill(l);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    lane *l = arg;
    int cause = 0;
    socklen_t len = sizeof cause;

    (void)what;
    if (l->state == LANE_OPEN) {
        l->blocked = false;
        lane_send(l);
        return;
    }
    l->worker->now = clock_ns();
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &cause, &len) || cause) {
        l->failures++;
        retry_later(l);
        return;
    }
    opened(l);
}
