/* async_watch.c - two events: one for the socket, which stays while nothing changes, and one for the time.
 *
 * The socket's event is taken out of the loop before the socket is closed: with epoll, a number that is used again would
 * else be mistaken for the old socket.
 *
 * SPDX-License-Identifier: MIT */
#include "async_watch.h"

#include <event2/event.h>
#include <poll.h>

#include "clock.h"

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    kvc_watch *watch = arg;

    (void)fd;
    (void)what;
    watch->fn(watch->arg);
}

static void on_time(evutil_socket_t fd, short what, void *arg)
{
    kvc_watch *watch = arg;

    (void)fd;
    (void)what;
    watch->until_ms = KVC_NEVER;
    watch->again = false;
    watch->fn(watch->arg);
}

bool kvc_watch_init(kvc_watch *watch, struct event_base *base, kvc_watch_fn *fn, void *arg)
{
    *watch = (kvc_watch){ .fd = -1, .until_ms = KVC_NEVER, .fn = fn, .arg = arg };
    watch->io = event_new(base, -1, 0, on_event, watch);
    watch->timer = evtimer_new(base, on_time, watch);
    return watch->io && watch->timer;
}

void kvc_watch_done(kvc_watch *watch)
{
    if (watch->io)
        event_free(watch->io);
    if (watch->timer)
        event_free(watch->timer);
    watch->io = watch->timer = NULL;
}

void kvc_watch_release(kvc_watch *watch)
{
    if (watch->io && watch->fd >= 0)
        event_del(watch->io);
    watch->fd = -1;
    watch->events = 0;
}

static bool set_time(kvc_watch *watch, int64_t until_ms)
{
    int64_t wait_ms = until_ms - kvc_now_ms();
    struct timeval tv;
    bool set;

    if (until_ms == watch->until_ms)
        return true;
    watch->until_ms = until_ms;
    if (wait_ms < 0)
        wait_ms = 0;
    tv = (struct timeval){ .tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000 };
    set = (until_ms == KVC_NEVER ? evtimer_del(watch->timer) : evtimer_add(watch->timer, &tv)) == 0;
    if (watch
            ->again) /* libevent takes an event that is to be run out of its queue when its time is changed */
        event_active(watch->timer, EV_TIMEOUT, 0);
    return set;
}

bool kvc_watch_set(kvc_watch *watch, const kvc_dial_wait *wait)
{
    short what = EV_PERSIST;

    if (!set_time(watch, wait->until_ms))
        return false;
    if (wait->fd == watch->fd && wait->events == watch->events)
        return true;
    kvc_watch_release(watch);
    if (wait->fd < 0)
        return true;
    if (wait->events & POLLIN)
        what |= EV_READ;
    if (wait->events & POLLOUT)
        what |= EV_WRITE;
    if (event_assign(watch->io, event_get_base(watch->io), wait->fd, what, on_event, watch) != 0 ||
        event_add(watch->io, NULL) != 0)
        return false;
    watch->fd = wait->fd;
    watch->events = wait->events;
    return true;
}

void kvc_watch_again(kvc_watch *watch)
{
    watch->again = true;
    event_active(watch->timer, EV_TIMEOUT, 0);
}
