/* feed_relay.c - what a replica tells: its primary's own stream, passed on byte for byte, so that one history goes through all of them.
 *
 *     primary P ---stream of P---> replica A ---the same bytes, at the same offsets---> its replicas
 *          '----stream of P------> replica B
 *
 *     P dies. REPLICAOF NO ONE to A:   A: a new name; of P's only up to here; what changes here comes behind
 *             REPLICAOF A to B:        B: PSYNC P's-name offset --> +CONTINUE A's-name, and what B had not received of P
 *
 * From a data set on a replica keeps the end of the stream that it applies (repl-backlog-size of it, or more for a replica of its own
 * that is behind), whether or not somebody follows. Offsets and name are the primary's, and so a history is the same wherever it is
 * read: who has followed P up to some byte can go on at that byte with P, with A, or with a replica of A. Nothing is told of the changes
 * that applying it makes.
 *
 * Promotion gives the history a second name, as Redis does (PSYNC2): what came before is P's, and A's; what comes from now on is A's
 * alone. The old name is good up to that offset: who has received more of P than A has cannot go on, and fetches everything, since A lacks
 * what that one has. Those that are connected are closed, and learn the name when they come again. A primary that says
 * +CONTINUE with another name was promoted itself, or its primary was: the same is done here.
 *
 * Not continued
 *   - A replica that is not exactly what its primary is: commands, types or databases of the primary were passed over or have failed,
 *     a transaction was too large to be one act, clients may write to it (replica-read-only no) or keys may be evicted
 *     (replica-ignore-maxmemory no). Then what is passed on would be applied to other data than those it was made for. So it
 *     tells its own changes, in a history of its own, until the next data set; and promoted it has no old name.
 *   - A history across a restart: neither names nor offsets are saved. And a primary that becomes a replica fetches everything: what it
 *     has may have been written by its clients only.
 *
 * Invariant  while it relays: end is the stream's offset, and the databases are the primary's at end, whenever goal_lock is free. A
 *            data set is begun with goal_lock held (replication_pause), and its replica joins at end.
 *
 * Locks: feed->lock, after goal_lock.
 *
 * SPDX-License-Identifier: MIT */
#include "feed_internal.h"

#include "notify.h"

#define PIECE_BYTES ((size_t)64 * 1024) /* a long command is dropped in parts */

bool feed_relays(const server *s)
{
    return atomic_load(&s->feed->relays);
}

void feed_relay_begin(server *s, const char id[FEED_ID_LEN + 1], int64_t offset)
{
    feed *f = s->feed;
    bool apply;

    pthread_mutex_lock(&f->lock);
    apply = feed_end_history(s, "the databases were exchanged for those of the primary");
    memcpy(f->id, id, sizeof f->id);
    f->start = f->end = offset;
    atomic_store(&f->relays, true);
    pthread_mutex_unlock(&f->lock);
    if (apply)
        notify_apply(s);
}

void feed_relay(server *s, kv_slice bytes)
{
    feed *f = s->feed;
    bool whole = true;

    pthread_mutex_lock(&f->lock);
    while (atomic_load(&f->relays) && whole && bytes.len) {
        size_t n = bytes.len < PIECE_BYTES ? bytes.len : PIECE_BYTES;
        kv_bytes *owner = kv_bytes_new(kv_slice_of(bytes.data, n));

        whole = feed_append(f, owner, owner ? kv_bytes_slice(owner) : bytes);
        bytes = kv_slice_of(bytes.data + n, bytes.len - n);
        feed_appended(s);
    }
    if (!whole)
        feed_end_history(s, "a part of the primary's stream was lost to it, for want of memory");
    pthread_mutex_unlock(&f->lock);
}

/* Lock is held. What was told up to here has this name. */
static void name_old(feed *f, const char *why)
{
    memcpy(f->old_id, f->id, sizeof f->old_id);
    f->old_end = f->end;
    feed_lose_all(f, why);
}

void feed_relay_rename(server *s, const char id[FEED_ID_LEN + 1])
{
    feed *f = s->feed;

    pthread_mutex_lock(&f->lock);
    if (atomic_load(&f->relays) && memcmp(f->id, id, sizeof f->id) != 0) {
        name_old(f, "the history of the primary has another name");
        memcpy(f->id, id, sizeof f->id);
    }
    pthread_mutex_unlock(&f->lock);
}

void feed_relay_break(server *s, const char *why)
{
    pthread_mutex_lock(&s->feed->lock);
    if (atomic_load(&s->feed->relays))
        feed_end_history(s, why);
    pthread_mutex_unlock(&s->feed->lock);
}

void feed_promote(server *s)
{
    feed *f = s->feed;
    bool relayed;

    pthread_mutex_lock(&f->lock);
    relayed = atomic_load(&f->relays);
    if (relayed) {
        name_old(f, "this server is a primary now, and its history has another name");
        feed_listen(s);
    }
    pthread_mutex_unlock(&f->lock);
    if (relayed)
        notify_apply(s);
}
