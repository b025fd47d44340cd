/* hostile.c - see hostile.h.
 *
 * All on one thread and without an event loop: a round gives each client that has something to do one send and one
 * recv, and a round in which nothing could be done is followed by a millisecond of sleep. What is sent is the same for
 * all clients, so that there is one copy of it.
 *
 * SPDX-License-Identifier: MIT */
#include "hostile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load.h"

#define BODIES_BYTES (64 * 1024) /* repetitions of a short body that are sent at once */
#define OPENED_MAX   256         /* connections of one round */

struct hostile_client {
    int fd; /* -1: not connected */
    bool over;
    uint64_t sent; /* opening and bodies */
};

/* text and filler bytes, with CRLF behind them when there are any; NULL: memory is out. */
static char *compose(const char *text, size_t filler, bool whole, size_t *ret_len)
{
    size_t len = text ? strlen(text) : 0, end = filler && whole ? 2 : 0;
    char *bytes = malloc(len + filler + end + 1);

    if (!bytes)
        return NULL;
    if (len)
        memcpy(bytes, text, len);
    memset(bytes + len, 'x', filler);
    memcpy(bytes + len + filler, "\r\n", end);
    *ret_len = len + filler + end;
    return bytes;
}

/* Several bodies in a row, when one is short. */
static bool repeat_body(hostile *h)
{
    size_t once = h->body_len, times = once ? BODIES_BYTES / once : 0;
    char *bytes;

    h->body_bytes = once * h->plan->repeat;
    if (times < 2)
        return true;
    bytes = realloc(h->body, once * times);
    if (!bytes)
        return false;
    h->body = bytes;
    for (size_t i = 1; i < times; i++)
        memcpy(bytes + i * once, bytes, once);
    h->body_len = once * times;
    return true;
}

int hostile_init(hostile *h, const hostile_plan *plan, int port, double share, fault *f)
{
    *h = (hostile){ .plan = plan, .port = port, .count = (unsigned)(plan->connections * share) };
    h->count += h->count == 0 && plan->connections;
    h->clients = calloc(h->count ? h->count : 1, sizeof *h->clients);
    h->opening = compose(plan->opening, plan->opening_filler, false, &h->opening_len);
    h->body = compose(plan->body, plan->body_filler, true, &h->body_len);
    for (unsigned i = 0; h->clients && i < h->count; i++)
        h->clients[i].fd = -1;
    if (!h->clients || !h->opening || !h->body || !repeat_body(h)) {
        hostile_done(h);
        return fault_set(f, "out of memory");
    }
    return 0;
}

void hostile_done(hostile *h)
{
    for (unsigned i = 0; h->clients && i < h->count; i++)
        if (h->clients[i].fd >= 0)
            close(h->clients[i].fd);
    free(h->clients);
    free(h->opening);
    free(h->body);
    *h = (hostile){ 0 };
}

static void hang_up(hostile *h, hostile_client *c, bool closed)
{
    close(c->fd);
    c->fd = -1;
    c->over = !h->plan->returns;
    h->closed += closed;
}

static void dial(hostile *h, hostile_client *c)
{
    c->fd = load_connect(h->port);
    c->sent = 0;
    if (c->fd < 0) {
        c->over = !h->plan->returns;
        h->closed++;
        return;
    }
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

/* Whether something was sent. */
static bool push(hostile *h, hostile_client *c)
{
    uint64_t done = c->sent - h->opening_len; /* of bodies */
    const char *from;
    size_t len;
    ssize_t n;

    if (c->sent < h->opening_len) {
        from = h->opening + c->sent;
        len = h->opening_len - c->sent;
    } else if (done < h->body_bytes) {
        from = h->body + done % h->body_len;
        len = h->body_len - done % h->body_len;
        len = len < h->body_bytes - done ? len : (size_t)(h->body_bytes - done);
    } else {
        return false;
    }
    n = send(c->fd, from, len, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        hang_up(h, c, true);
    c->sent += n > 0 ? (uint64_t)n : 0;
    return n > 0;
}

/* Whether something came. */
static bool pull(hostile *h, hostile_client *c)
{
    static char buffer[65536];
    ssize_t n = recv(c->fd, buffer, sizeof buffer, 0);

    if (n == 0 || (n < 0 && errno != EAGAIN))
        hang_up(h, c, true);
    else if (n > 0 && h->plan->returns)
        hang_up(h, c, false);
    else if (n > 0 && !h->plan->body)
        c->over = true; /* it idles from here on */
    return n > 0;
}

void hostile_push(hostile *h)
{
    bool some = false;
    unsigned dialled = 0;

    for (unsigned i = 0; i < h->count; i++) {
        hostile_client *c = &h->clients[i];

        if (c->over)
            continue;
        if (c->fd < 0 && dialled++ < OPENED_MAX)
            dial(h, c);
        if (c->fd >= 0)
            some |= push(h, c);
        if (c->fd >= 0 && h->plan->reads)
            some |= pull(h, c);
    }
    if (!some && !dialled)
        nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
}
