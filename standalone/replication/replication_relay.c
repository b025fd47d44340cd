/* replication_relay.c - what a replica applies, handed on to feed_relay.c: whole commands, and no part of a transaction.
 *
 * A link delivers bytes in pieces of any length, and stream_apply is done with them when it has read them; but a transaction is applied
 * at its EXEC, and only then may a data set begin in which it is contained, or somebody go on behind it. What was read and is not applied
 * is held until it is. That is bounded as the transaction is, by client-query-buffer-limit, beyond which it is no longer one act.
 *
 * Threads: the task's, with goal_lock. SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "feed.h"
#include "replication_internal.h"

/* Why the databases of a replica may be others than its primary's; NULL: they are not. */
static const char *difference(server *s)
{
    if (!config_number(s->config, CONFIG_ID_replica_read_only))
        return "clients may write to this replica";
    if (!config_number(s->config, CONFIG_ID_replica_ignore_maxmemory))
        return "this replica may evict keys";
    return NULL;
}

void replication_look_at_relay(server *s)
{
    const char *why = difference(s);

    if (why)
        feed_relay_break(s, why);
}

void replication_begin_relay(replication *r, int64_t offset, bool whole)
{
    r->held.len = 0;
    if (r->id[0] && whole && !difference(r->server))
        feed_relay_begin(r->server, r->id, offset);
}

void replication_drop_held(replication *r)
{
    r->held.len = 0;
}

void replication_end_relay(replication *r)
{
    free(r->held.bytes);
    r->held = (held_bytes){ 0 };
}

/* False: memory is out. */
static bool hold(held_bytes *h, const char *bytes, size_t len)
{
    size_t needed = h->len + len, capacity = h->capacity ? h->capacity : 1024;
    char *wider;

    while (capacity < needed)
        capacity *= 2;
    wider = capacity == h->capacity ? h->bytes : realloc(h->bytes, capacity);
    if (!wider)
        return false;
    h->bytes = wider;
    h->capacity = capacity;
    memcpy(h->bytes + h->len, bytes, len);
    h->len = needed;
    return true;
}

/* Hands on the first n bytes of what is held. */
static void let_go(replication *r, size_t n)
{
    held_bytes *h = &r->held;

    feed_relay(r->server, kv_slice_of(h->bytes, n));
    h->len -= n;
    if (h->len)
        memmove(h->bytes, h->bytes + n, h->len);
    else
        replication_end_relay(r); /* a transaction may have been large */
}

void replication_relay(replication *r, const char *bytes, size_t read, size_t applied)
{
    if (!feed_relays(r->server)) {
        replication_end_relay(r);
        return;
    }
    if (!stream_is_exact(r->stream)) {
        feed_relay_break(r->server, "a command of the primary could not be passed on as it was applied here");
        return;
    }
    if (r->held.len == 0 && applied) {
        feed_relay(r->server, kv_slice_of(bytes, applied));
        bytes += applied;
        read -= applied;
        applied = 0;
    }
    if (read && !hold(&r->held, bytes, read))
        feed_relay_break(r->server, "memory is out for a transaction of the primary");
    else if (applied)
        let_go(r, applied);
}

/* ---- the moment of a data set ---- */

void replication_pause(server *s)
{
    pthread_mutex_lock(&s->replication->goal_lock);
}

int replication_paused_db(server *s)
{
    return feed_relays(s) ? stream_db(s->replication->stream) : -1;
}

void replication_resume(server *s)
{
    pthread_mutex_unlock(&s->replication->goal_lock);
}
