/* feed.c - see feed.h.
 *
 *     stores --change record, under the shard's lock--> buffer         (core/persist/aof_buffer.h, as the log's)
 *     end of a worker's turn: buffer --take--> backlog: chunk chunk chunk chunk
 *                                                        ^a reader         ^ another, which has everything
 *
 * The order. Records enter a buffer under the locks of their shards, as those of the log do: of one key the order of its changes,
 * and an act (MULTI, MSET, RENAME) as one piece between MULTI and EXEC. All replicas are sent the same bytes.
 *
 * The moment of a data set parts the stream: while all shards of all databases are held, the buffer is sealed; what had entered
 * is in the data set, what enters later is not. The replica of that data set joins at that offset.
 *
 * Bounds. There is one backlog, shared: repl-backlog-size of it is kept for those that come again, and as much more as the slowest
 * needs, up to client-output-buffer-limit of replicas, beyond which that one is closed. The same limit bounds what has entered the
 * buffer and was not yet taken. A value of 16 KiB and more is the store's own, by reference.
 *
 * A replica passes on what its primary sends instead: see feed_relay.c.
 *
 * While nobody follows nothing is told and a write costs nothing more; that begins with the first replica, and ends when there was none
 * for repl-backlog-ttl. Each time, and whenever something was lost (memory, the limit, an exchange of the databases), the history
 * gets a new name: nobody goes on in one that has a gap.
 *
 * Replication is not waited for: a write is acknowledged before a replica has it, but for who says WAIT.
 *
 * Locks: feed->lock before the buffer's and the mailboxes of workers; never under a shard's. notify_apply is called outside of it.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "connection.h"
#include "decimal.h"
#include "feed_internal.h"
#include "peer.h"
#include "random_hex.h"

/* ---- telling: under the lock of a shard ---- */

static uint64_t appended(const feed *f)
{
    return aof_buffer_appended(&f->buffer);
}

static int index_of(const server *s, const void *tag)
{
    return (int)((kv_store *const *)tag - s->databases.stores);
}

/* Whether what has entered may wait. */
static bool has_room(feed *f)
{
    int64_t most = atomic_load_explicit(&f->most_bytes, memory_order_relaxed);

    if (atomic_load_explicit(&f->crowded, memory_order_relaxed))
        return false;
    if (!most || appended(f) - atomic_load_explicit(&f->taken, memory_order_relaxed) <= (uint64_t)most)
        return true;
    atomic_store_explicit(&f->crowded, true, memory_order_relaxed);
    return false;
}

void feed_note(server *s, aof_writer *writer, const kv_change *change)
{
    feed *f = s->feed;
    unsigned age = atomic_load_explicit(&f->age, memory_order_acquire);

    if (writer->age != age) { /* it may have begun an act of whose end nobody was told */
        aof_writer_restart(writer);
        writer->age = age;
    }
    if (has_room(f))
        aof_buffer_note(&f->buffer, writer, change, index_of(s, change->tag),
                        change->kind == KV_CHANGE_SWAP ? index_of(s, change->other_tag) : 0);
}

/* ---- readers: lock is held ---- */

static void post(feed_reader *r)
{
    if (!r->posted)
        worker_post(r->c->owner, &r->look);
    r->posted = true;
}

void feed_lose(feed_reader *r, const char *why)
{
    if (!r->lost)
        r->lost = why;
    r->at = NULL;
    post(r);
}

void feed_lose_all(feed *f, const char *why)
{
    for (feed_reader *r = f->readers; r; r = r->next)
        feed_lose(r, why);
}

/* Those for whom there is something. */
static void wake_readers(feed *f)
{
    for (feed_reader *r = f->readers; r; r = r->next)
        if (r->state == FEED_ONLINE && r->at)
            post(r);
}

/* ---- the backlog: lock is held ---- */

static void drop_first(feed *f)
{
    feed_chunk *first = f->first;

    f->start += (int64_t)first->bytes.len;
    f->first = first->next;
    if (!f->first)
        f->last = NULL;
    kv_bytes_unref(first->owner);
    free(first);
}

/* Where the slowest is that has joined. */
static int64_t slowest(const feed *f)
{
    int64_t offset = f->end;

    for (const feed_reader *r = f->readers; r; r = r->next)
        if (r->joined && !r->lost && r->offset < offset)
            offset = r->offset;
    return offset;
}

static void read_limit(server *s)
{
    atomic_store_explicit(&s->feed->most_bytes, config_client_limit(s->config, CONFIG_REPLICA).hard_bytes,
                          memory_order_relaxed);
}

/* What everybody has goes, but for repl-backlog-size bytes; who is too far behind is closed. */
static void trim(server *s, feed *f)
{
    int64_t keep = config_number(s->config, CONFIG_ID_repl_backlog_size), most, least;

    read_limit(s);
    most = atomic_load_explicit(&f->most_bytes, memory_order_relaxed);
    for (feed_reader *r = f->readers; r; r = r->next)
        if (most && r->joined && f->end - r->offset > most)
            feed_lose(r, "it is behind by more than client-output-buffer-limit allows");
    least = slowest(f);
    while (f->first && f->start + (int64_t)f->first->bytes.len <= least &&
           f->end - f->start - (int64_t)f->first->bytes.len >= keep)
        drop_first(f);
}

void feed_appended(server *s)
{
    trim(s, s->feed);
    wake_readers(s->feed);
}

bool feed_append(feed *f, kv_bytes *owner, kv_slice bytes)
{
    feed_chunk *chunk = owner ? malloc(sizeof *chunk) : NULL;

    if (!chunk) {
        kv_bytes_unref(owner);
        return false;
    }
    *chunk = (feed_chunk){ .owner = owner, .bytes = bytes };
    if (f->last)
        f->last->next = chunk;
    else
        f->first = chunk;
    f->last = chunk;
    f->end += (int64_t)bytes.len;
    for (feed_reader *r = f->readers; r; r = r->next)
        if (r->joined && !r->lost && !r->at) {
            r->at = chunk;
            r->skip = 0;
        }
    return true;
}

static bool append_queue(feed *f, aof_queue *queue)
{
    bool whole = true;

    for (aof_chunk *c = queue->first; c && whole; c = c->next) {
        kv_slice bytes = kv_slice_of(c->data, c->len);
        kv_bytes *owner = c->owner ? kv_bytes_ref(c->owner) : kv_bytes_new(bytes);

        if (c->len == 0)
            kv_bytes_unref(owner);
        else
            whole = feed_append(f, owner, c->owner || !owner ? bytes : kv_bytes_slice(owner));
    }
    aof_buffer_give_back(&f->buffer, queue);
    return whole;
}

/* Whether there is a history. */
static bool is_open(server *s)
{
    return feed_listens(s) || atomic_load(&s->feed->relays);
}

bool feed_end_history(server *s, const char *why)
{
    feed *f = s->feed;

    if (!is_open(s))
        return false;
    atomic_store(&s->feed_open, false);
    atomic_store(&f->relays, false);
    f->old_id[0] = '\0';
    feed_lose_all(f, why);
    while (f->first)
        drop_first(f);
    random_hex(f->id, FEED_ID_LEN);
    return true;
}

void feed_listen(server *s)
{
    feed *f = s->feed;
    uint64_t position;

    aof_buffer_clear(&f->buffer);
    aof_buffer_forget_db(&f->buffer);
    position = appended(f); /* what a thread enters that was late is told twice, and ends this history */
    random_hex(f->id, FEED_ID_LEN);
    atomic_store(&f->base, f->end - (int64_t)position);
    read_limit(s);
    f->pinged_ms = f->idle_since_ms = peer_clock_ms();
    atomic_store(&f->taken, position);
    atomic_store(&f->crowded, false);
    atomic_fetch_add_explicit(&f->age, 1, memory_order_release);
    atomic_store(&f->relays, false);
    atomic_store(&s->feed_open, true);
}

/* Lock is held. What was taken up to this position goes to the backlog. As feed_end_history. */
static bool take_in(server *s, aof_queue *queue, uint64_t position, aof_taken taken)
{
    feed *f = s->feed;
    bool whole = taken == AOF_TAKEN && !atomic_load(&f->crowded) && append_queue(f, queue);

    aof_queue_clear(queue);
    atomic_store_explicit(&f->taken, position, memory_order_relaxed);
    if (whole && f->end == atomic_load(&f->base) + (int64_t)position) {
        feed_appended(s);
        return false;
    }
    return feed_end_history(s, "a part of what was changed was lost to it, for want of memory");
}

static bool collect(server *s)
{
    feed *f = s->feed;
    aof_queue queue = { 0 };
    uint64_t position = 0;
    aof_taken taken;

    if (!feed_listens(s))
        return false;
    taken = aof_buffer_take(&f->buffer, &queue, &position);
    return taken != AOF_SEALED && take_in(s, &queue, position, taken);
}

/* ---- those that tell ---- */

void feed_turn_ends(server *s)
{
    feed *f = s->feed;
    bool apply;

    if (!feed_listens(s) || appended(f) == atomic_load_explicit(&f->taken, memory_order_relaxed))
        return;
    pthread_mutex_lock(&f->lock);
    apply = collect(s);
    pthread_mutex_unlock(&f->lock);
    if (apply)
        notify_apply(s);
}

void feed_tell(server *s, int argc, const kv_slice argv[])
{
    aof_queue queue = { 0 };
    char head[DECIMAL_MAX + 8];
    bool whole;

    if (!feed_listens(s) || !has_room(s->feed))
        return;
    whole = aof_queue_copy(&queue, kv_slice_of(head, (size_t)snprintf(head, sizeof head, "*%d\r\n", argc)));
    for (int i = 0; i < argc && whole; i++)
        whole =
            aof_queue_copy(&queue,
                           kv_slice_of(head, (size_t)snprintf(head, sizeof head, "$%zu\r\n", argv[i].len))) &&
            aof_queue_copy(&queue, argv[i]) && aof_queue_copy(&queue, KV_STR("\r\n"));
    if (whole)
        aof_buffer_put(&s->feed->buffer, &queue);
    aof_queue_clear(&queue);
}

void feed_break(server *s, const char *why)
{
    bool apply;

    pthread_mutex_lock(&s->feed->lock);
    apply = feed_end_history(s, why);
    pthread_mutex_unlock(&s->feed->lock);
    if (apply)
        notify_apply(s);
}

/* Lock is held. Who is silent, or behind for too long, is closed. */
static void look_at(server *s, feed_reader *r, int64_t now_ms)
{
    config_output_limit limit = config_client_limit(s->config, CONFIG_REPLICA);
    int64_t behind = r->joined ? s->feed->end - r->offset : 0;

    if (!limit.soft_bytes || behind <= limit.soft_bytes)
        r->behind_since_ms = 0;
    else if (!r->behind_since_ms)
        r->behind_since_ms = now_ms;
    else if (now_ms - r->behind_since_ms > limit.soft_seconds * 1000)
        feed_lose(r, "it is behind by more than client-output-buffer-limit allows, for too long");
    if (r->state >= FEED_LOADED && !r->mute &&
        now_ms - r->heard_ms > config_number(s->config, CONFIG_ID_repl_timeout) * 1000)
        feed_lose(r, "it has said nothing for repl-timeout");
}

/* Lock is held. As feed_end_history. */
static bool tick(server *s, int64_t now_ms)
{
    feed *f = s->feed;
    int64_t ttl_ms = config_number(s->config, CONFIG_ID_repl_backlog_ttl) * 1000;

    if (f->readers)
        f->idle_since_ms = now_ms;
    else if (ttl_ms && feed_listens(s) && now_ms - f->idle_since_ms > ttl_ms)
        return feed_end_history(s, "");
    for (feed_reader *r = f->readers; r; r = r->next)
        look_at(s, r, now_ms);
    return collect(s);
}

void feed_tick(server *s)
{
    feed *f = s->feed;
    int64_t now_ms = peer_clock_ms();
    kv_slice word = KV_STR("PING");
    bool ping, apply;

    if (!is_open(s))
        return;
    pthread_mutex_lock(&f->lock);
    ping = f->readers &&
           now_ms - f->pinged_ms >= config_number(s->config, CONFIG_ID_repl_ping_replica_period) * 1000;
    if (ping || !f->readers)
        f->pinged_ms = now_ms;
    pthread_mutex_unlock(&f->lock);
    if (ping)
        feed_tell(s, 1, &word);
    pthread_mutex_lock(&f->lock);
    apply = tick(s, now_ms);
    pthread_mutex_unlock(&f->lock);
    if (apply)
        notify_apply(s);
}

/* ---- those that follow ---- */

void feed_enter(server *s, feed_reader *r)
{
    feed *f = s->feed;
    bool apply;

    r->c->in_flight++;
    r->entered = true;
    pthread_mutex_lock(&f->lock);
    apply = !is_open(s);
    if (apply) {
        f->start = f->end;
        feed_listen(s);
    }
    r->next = f->readers;
    if (r->next)
        r->next->link = &r->next;
    r->link = &f->readers;
    f->readers = r;
    f->reader_count++;
    r->heard_ms = peer_clock_ms();
    r->durable = -1;
    pthread_mutex_unlock(&f->lock);
    if (apply)
        notify_apply(s);
}

void feed_leave(server *s, feed_reader *r)
{
    feed *f = s->feed;
    bool posted;

    if (!r->entered)
        return;
    r->entered = false;
    pthread_mutex_lock(&f->lock);
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    r->link = NULL;
    f->reader_count--;
    posted = r->posted;
    pthread_mutex_unlock(&f->lock);
    if (!posted)
        r->c->in_flight--;
}

const char *feed_hear(server *s, feed_reader *r)
{
    const char *lost;

    pthread_mutex_lock(&s->feed->lock);
    r->posted = false;
    lost = r->lost;
    pthread_mutex_unlock(&s->feed->lock);
    return lost;
}

/* Lock is held. Makes r go on at offset, which is in the backlog or at its end. */
static void place(feed *f, feed_reader *r, int64_t offset)
{
    int64_t at = f->start;

    r->at = f->first;
    while (r->at && at + (int64_t)r->at->bytes.len <= offset) {
        at += (int64_t)r->at->bytes.len;
        r->at = r->at->next;
    }
    r->skip = r->at ? (size_t)(offset - at) : 0;
    r->offset = offset;
    r->joined = true;
}

/* Lock is held. Whether id was the history's name up to offset. */
static bool is_name(const feed *f, kv_slice id, int64_t offset)
{
    return kv_slice_equal(id, kv_str(f->id)) ||
           (f->old_id[0] && offset <= f->old_end && kv_slice_equal(id, kv_str(f->old_id)));
}

bool feed_resume(server *s, feed_reader *r, kv_slice id, int64_t offset)
{
    feed *f = s->feed;
    bool known;

    pthread_mutex_lock(&f->lock);
    known = is_open(s) && !r->lost && is_name(f, id, offset) && offset >= f->start && offset <= f->end;
    f->resumed += known;
    f->full += !known;
    f->refused += !known && offset >= 0;
    if (known) {
        place(f, r, offset);
        r->acknowledged = offset;
        r->state = FEED_ONLINE;
        post(r);
    }
    pthread_mutex_unlock(&f->lock);
    return known;
}

void feed_seal(server *s)
{
    aof_buffer_seal(&s->feed->buffer);
}

int64_t feed_join(server *s, feed_reader *r)
{
    feed *f = s->feed;
    aof_queue queue = { 0 };
    uint64_t position = 0;
    int64_t offset;
    bool apply = false;

    pthread_mutex_lock(&f->lock);
    if (feed_listens(s)) {
        aof_taken taken = aof_buffer_take_sealed(&f->buffer, &queue, &position);

        apply = take_in(s, &queue, position, taken);
    }
    offset = f->end;
    aof_buffer_open(&f->buffer);
    if (r && r->link && !r->lost) {
        place(f, r, offset);
        r->state = FEED_LOADS;
    }
    pthread_mutex_unlock(&f->lock);
    if (apply)
        notify_apply(s);
    return offset;
}

void feed_heard(server *s, feed_reader *r)
{
    pthread_mutex_lock(&s->feed->lock);
    r->heard_ms = peer_clock_ms();
    pthread_mutex_unlock(&s->feed->lock);
}

void feed_loaded(server *s, feed_reader *r, bool online)
{
    pthread_mutex_lock(&s->feed->lock);
    online |= r->answers;
    r->state = online ? FEED_ONLINE : FEED_LOADED;
    r->heard_ms = peer_clock_ms();
    if (online)
        post(r);
    pthread_mutex_unlock(&s->feed->lock);
}

void feed_acknowledge(server *s, feed_reader *r, int64_t offset, int64_t durable)
{
    pthread_mutex_lock(&s->feed->lock);
    r->heard_ms = peer_clock_ms();
    r->answers = true;
    if (offset > r->acknowledged)
        r->acknowledged = offset;
    r->durable = durable < r->acknowledged ? durable : r->acknowledged;
    if (r->state == FEED_LOADED) {
        r->state = FEED_ONLINE;
        post(r);
    }
    pthread_mutex_unlock(&s->feed->lock);
}

size_t feed_take(server *s, feed_reader *r, feed_piece pieces[], size_t n, size_t max_bytes)
{
    size_t count = 0, bytes = 0;

    pthread_mutex_lock(&s->feed->lock);
    while (r->state == FEED_ONLINE && r->at && count < n && bytes < max_bytes) {
        kv_slice of = r->at->bytes;

        pieces[count++] =
            (feed_piece){ kv_bytes_ref(r->at->owner), kv_slice_of(of.data + r->skip, of.len - r->skip) };
        bytes += of.len - r->skip;
        r->offset += (int64_t)(of.len - r->skip);
        r->skip = 0;
        r->at = r->at->next;
    }
    pthread_mutex_unlock(&s->feed->lock);
    return count;
}

void feed_look_again(server *s, feed_reader *r)
{
    pthread_mutex_lock(&s->feed->lock);
    if (r->at)
        post(r);
    pthread_mutex_unlock(&s->feed->lock);
}

/* ---- figures ---- */

int64_t feed_position(server *s)
{
    return atomic_load(&s->feed->base) + (int64_t)appended(s->feed);
}

void feed_ask(server *s)
{
    const kv_slice question[] = { KV_STR("REPLCONF"), KV_STR("GETACK"), KV_STR("*") };

    feed_tell(s, 3, question);
}

static int64_t count_readers(server *s, int64_t position, bool durable)
{
    int64_t count = 0;

    pthread_mutex_lock(&s->feed->lock);
    for (const feed_reader *r = s->feed->readers; r; r = r->next)
        count += r->state == FEED_ONLINE && !r->lost && (durable ? r->durable : r->acknowledged) >= position;
    pthread_mutex_unlock(&s->feed->lock);
    return count;
}

int64_t feed_count(server *s, int64_t position)
{
    return count_readers(s, position, false);
}

int64_t feed_count_durable(server *s, int64_t position)
{
    return count_readers(s, position, true);
}

void feed_read_figures(server *s, feed_figures *figures)
{
    feed *f = s->feed;

    pthread_mutex_lock(&f->lock);
    *figures = (feed_figures){ .open = is_open(s),
                               .old_end = f->old_end,
                               .offset = feed_listens(s) ? feed_position(s) : f->end,
                               .first_offset = f->start,
                               .readers = f->reader_count,
                               .full = f->full,
                               .resumed = f->resumed,
                               .refused = f->refused,
                               .backlog_bytes = (size_t)(f->end - f->start) };
    memcpy(figures->id, f->id, sizeof f->id);
    memcpy(figures->old_id, f->old_id, sizeof f->old_id);
    pthread_mutex_unlock(&f->lock);
}

size_t feed_backlog_bytes(server *s)
{
    feed_figures figures;

    feed_read_figures(s, &figures);
    return figures.backlog_bytes;
}

void feed_visit(server *s, void (*visit)(void *arg, const feed_reader *r), void *arg)
{
    pthread_mutex_lock(&s->feed->lock);
    for (const feed_reader *r = s->feed->readers; r; r = r->next)
        visit(arg, r);
    pthread_mutex_unlock(&s->feed->lock);
}

/* ---- life ---- */

int feed_new(server *s)
{
    feed *f = calloc(1, sizeof *f);

    if (!f)
        return -1;
    s->feed = f;
    aof_buffer_init(&f->buffer);
    pthread_mutex_init(&f->lock, NULL);
    memcpy(f->id, s->run_id, sizeof f->id);
    return 0;
}

void feed_free(server *s)
{
    feed *f = s->feed;

    if (!f)
        return;
    while (f->first)
        drop_first(f);
    aof_buffer_done(&f->buffer);
    pthread_mutex_destroy(&f->lock);
    free(f);
    s->feed = NULL;
}
