/* flawed_state.c - see flawed.h. SPDX-License-Identifier: MIT */
#include <event2/event.h>

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "flawed.h"

static int64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

int64_t now_ms(void)
{
    return now_us() / 1000;
}

bool shows(server *s, enum flaw flaw)
{
    if (s->flaw != flaw || s->loading)
        return false;
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return (s->random >> 20) % s->rate == 0;
}

void *grown(void *list, size_t count, size_t size)
{
    void *bigger = realloc(list, (count + 1) * size);

    if (!bigger)
        abort();
    return bigger;
}

/* ---- replies ---- */

void say(client *c, const char *line)
{
    evbuffer_add_printf(c->out, "%s\r\n", line);
}

void say_number(client *c, long long number)
{
    evbuffer_add_printf(c->out, ":%lld\r\n", number);
}

void say_bytes(client *c, const char *bytes, size_t len)
{
    if (!bytes) {
        say(c, "$-1");
        return;
    }
    evbuffer_add_printf(c->out, "$%zu\r\n", len);
    evbuffer_add(c->out, bytes, len);
    evbuffer_add(c->out, "\r\n", 2);
}

/* ---- the map ---- */

bool word_is(const request *word, const char *text)
{
    return strcasecmp(word->str, text) == 0;
}

entry *find(client *c, const request *key)
{
    return store_entry(c->own ? c->own : c->server->store, key->str, key->len);
}

static bool is_over(server *s, const content *v)
{
    int64_t late_ms = 0;

    if (!v->bytes || !v->deadline_ms)
        return false;
    if (shows(s, FLAW_expired_served))
        late_ms = 40;
    if (shows(s, FLAW_expired_early))
        late_ms = -30;
    if (now_ms() < v->deadline_ms + late_ms)
        return false;
    return !shows(s, FLAW_expired_rarely);
}

const content *held(client *c, entry *e)
{
    static const content nothing = { .bytes = NULL };

    return is_over(c->server, &e->now) ? &nothing : &e->now;
}

const content *seen(client *c, entry *e)
{
    server *s = c->server;
    int64_t age_us = now_us() - e->changed_us;
    bool old = false;

    if (shows(s, FLAW_stale_read) || (s->flaw == FLAW_stale_newcomer && c->requests < 20 && age_us < 20000))
        old = true;
    if (s->flaw == FLAW_stale_worker && age_us < 300 && e->writer % 2 != c->serial % 2)
        old = true;
    return old && e->version > 1 ? &e->before : held(c, e);
}

static void log_content(client *c, const entry *e)
{
    server *s = c->server;

    if (s->log_fd < 0 || s->loading || shows(s, FLAW_crash_rarely))
        return;
    evbuffer_add_printf(s->log, "%zu %lld %lld\n", e->key_len, e->now.bytes ? (long long)e->now.len : -1LL,
                        (long long)e->now.deadline_ms);
    evbuffer_add(s->log, e->key, e->key_len);
    if (e->now.bytes)
        evbuffer_add(s->log, e->now.bytes, e->now.len);
}

void put(client *c, entry *e, const char *bytes, size_t len, int64_t deadline_ms)
{
    entry_write(e, bytes, len, deadline_ms, c->serial, now_us());
    log_content(c, e);
}

void clear(client *c, entry *e)
{
    entry_clear(e, c->serial, now_us());
    log_content(c, e);
}

/* ---- things that happen later ---- */

typedef struct later {
    entry *entry;
    uint64_t version; /* only if nobody has written meanwhile */
    content content;
} later;

static void do_later(evutil_socket_t fd, short what, void *arg)
{
    later *l = arg;

    (void)fd;
    (void)what;
    if (l->entry->version == l->version) {
        if (l->content.bytes)
            entry_write(l->entry, l->content.bytes, l->content.len, l->content.deadline_ms, 0, now_us());
        else
            entry_clear(l->entry, 0, now_us());
    }
    content_free(&l->content);
    free(l);
}

void later_holds(client *c, entry *e, content holds, long us)
{
    later *l = malloc(sizeof *l);
    struct timeval wait = { .tv_usec = us };

    if (!l)
        abort();
    *l = (later){ e, e->version, holds };
    if (event_base_once(c->server->base, -1, EV_TIMEOUT, do_later, l, &wait))
        abort();
}

void put_off(client *c, entry *e, long us)
{
    content new = content_copy(&e->now), old = content_copy(&e->before);

    if (old.bytes)
        entry_write(e, old.bytes, old.len, old.deadline_ms, c->serial, 0);
    else
        entry_clear(e, c->serial, 0);
    content_free(&old);
    later_holds(c, e, new, us);
}

void take_back(client *c, entry *e)
{
    content old = content_copy(&e->before);

    if (old.bytes)
        entry_write(e, old.bytes, old.len, old.deadline_ms, c->serial, 0);
    else
        entry_clear(e, c->serial, 0);
    content_free(&old);
}
