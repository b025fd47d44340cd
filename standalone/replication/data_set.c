/* data_set.c - see data_set.h.
 *
 *     thread: claim --moment--> snapshot --> RDB bytes --chunk--> worker of c: pending --> socket
 *                                              ^                    |
 *                                              '---- drained -------'
 *
 * The snapshot is that of BGSAVE (core/persist/snapshot.h): nobody waits while it is read, and what is overwritten meanwhile is
 * kept for it. Its bytes are made on a thread of their own, as fast as the client takes them and snapshot-max-rate allows, and
 * sent by the worker to whom the connection belongs: so TLS, CLIENT LIST, CLIENT KILL and the log's hold on what is not yet safe
 * are as for every other output.
 *
 * Bounds. There are two chunks of a data set at a time, one that is sent and one that is made, whatever its size. A client that takes
 * nothing for repl-timeout is closed, and so is one that takes less than repl-sync-min-rate a second while repl-timeout is spent
 * waiting for it: the snapshot is not its own for ever. Until then it keeps the snapshot, whose memory has a bound of its own: with
 * more than twice snapshot-keep-bytes of overwritten entries it ends. One data set is made at a time: the domain has one snapshot, and who
 * asks meanwhile, or while BGSAVE or a rewrite of the log runs, waits, and is sent an empty line now and then. Writers are never slowed for it.
 *
 * Rejected: a file that is made first and then sent, as redis-server does without repl-diskless-sync. It needs the space, and
 * delays the first byte; its advantage, that a slow reader lets go of the snapshot early, matters more for a fork than for
 * a snapshot whose memory is bounded.
 *
 * Locks: all->lock is a leaf but for the mailboxes of workers.
 *
 * SPDX-License-Identifier: MIT */
#include "data_set.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "feed.h"
#include "peer.h"
#include "persistence.h"
#include "replica.h"
#include "server.h"

#define CHUNK_BYTES ((size_t)256 * 1024)
#define MARK_LEN    40
#define LOOK_MS     20   /* between two looks at what nobody signals */
#define NEWLINE_MS  1000 /* between two signs of life */

/* Of the chunk that is on its way. */
enum chunk_state { CHUNK_NONE, CHUNK_POSTED, CHUNK_PENDING };

struct transfer {
    worker_message message; /* first */
    transfer *next;         /* that waits */
    data_sets *all;
    connection *c; /* the worker's */
    worker *w;
    uint64_t id; /* of c */
    bool psync;
    feed_reader *reader; /* of c, or NULL */

    /* Guarded by all->lock. */
    kv_bytes *chunk;
    enum chunk_state state;
    bool posted, gone, ended, whole;
};

struct data_sets {
    server *server;
    pthread_mutex_t lock; /* guards the next seven */
    pthread_cond_t changed;
    transfer *first, **last; /* those that wait */
    int64_t newline_ms;      /* when they are told next that they do */
    bool started, ending, cancelled;
    pthread_t thread;
};

/* What the thread is at. */
typedef struct sending {
    transfer *t;
    persistence_copy copy;
    char *buffer; /* CHUNK_BYTES */
    size_t len;
    uint64_t sent;
    int64_t waited_ms; /* for the client, since it had taken */
    uint64_t counted;  /* of sent */
    int64_t offset;    /* of the moment, in the stream of changes */
    bool begun;        /* the head was sent */
    const char *why;   /* it has failed */
    char mark[MARK_LEN + 1], id[FEED_ID_LEN + 1];
} sending;

/* ---- to the worker ---- */

/* lock is held. */
static void post(transfer *t)
{
    if (!t->posted)
        worker_post(t->w, &t->message);
    t->posted = true;
}

/* The transfer is over, for c as well. */
static void finish(transfer *t, connection *c, bool whole)
{
    c->in_flight--;
    if (!(c->flags & CONNECTION_CLOSING))
        replica_ended(c, whole);
    free(t);
}

/* On the worker's thread: there is a chunk, or the end. */
static void hear(worker *w, worker_message *message)
{
    transfer *t = (transfer *)message;
    connection *c = t->c;
    kv_bytes *chunk = NULL;
    bool ended, whole;

    (void)w;
    pthread_mutex_lock(&t->all->lock);
    t->posted = false;
    ended = t->ended;
    whole = t->whole;
    if (t->state == CHUNK_POSTED) {
        t->state = CHUNK_PENDING;
        chunk = t->chunk;
        t->chunk = NULL;
    }
    pthread_mutex_unlock(&t->all->lock);
    if (chunk && !(c->flags & CONNECTION_CLOSING))
        connection_send_bytes(c, chunk, kv_bytes_slice(chunk));
    kv_bytes_unref(chunk);
    if (ended)
        finish(t, c, whole);
}

void transfer_drained(transfer *t)
{
    pthread_mutex_lock(&t->all->lock);
    if (t->state == CHUNK_PENDING) {
        t->state = CHUNK_NONE;
        pthread_cond_broadcast(&t->all->changed);
    }
    pthread_mutex_unlock(&t->all->lock);
}

void transfer_forget(transfer *t)
{
    pthread_mutex_lock(&t->all->lock);
    t->gone = true;
    pthread_cond_broadcast(&t->all->changed);
    pthread_mutex_unlock(&t->all->lock);
}

/* ---- those that wait: lock is held ---- */

static void end(transfer *t, bool whole)
{
    kv_bytes_unref(t->chunk); /* c has gone, or is about to be closed */
    t->chunk = NULL;
    t->state = CHUNK_NONE;
    t->ended = true;
    t->whole = whole;
    post(t);
}

static void give(transfer *t, kv_bytes *chunk)
{
    t->chunk = chunk;
    t->state = CHUNK_POSTED;
    post(t);
}

/* The first of them, which waits no longer; NULL: nobody does. */
static transfer *take_first(data_sets *all)
{
    transfer *t = all->first;

    if (!t)
        return NULL;
    all->first = t->next;
    if (!all->first)
        all->last = &all->first;
    return t;
}

/* Sends those that wait a sign of life, if it is time, and lets those go that have left. */
static void look_after_waiting(data_sets *all)
{
    transfer *list = all->first, *next;

    if (!list || peer_clock_ms() < all->newline_ms)
        return;
    all->newline_ms = peer_clock_ms() + NEWLINE_MS;
    all->first = NULL;
    all->last = &all->first;
    for (transfer *t = list; t; t = next) {
        kv_bytes *newline = t->state == CHUNK_NONE && !t->gone ? kv_bytes_new(KV_STR("\n")) : NULL;

        next = t->next;
        t->next = NULL;
        if (newline)
            give(t, newline);
        if (t->gone) {
            end(t, false);
        } else {
            *all->last = t;
            all->last = &t->next;
        }
    }
}

/* ---- waiting, on the thread ---- */

/* lock is held. */
static void wait_a_little(data_sets *all)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_MS * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&all->changed, &all->lock, &until);
    look_after_waiting(all);
}

/* Why it is of no use to go on; NULL: it is. lock is held. */
static const char *reason_to_end(const sending *s)
{
    const transfer *t = s->t;

    if (t->gone)
        return "the client has gone";
    if (t->all->cancelled || t->all->ending)
        return "the server stops";
    if (atomic_load_explicit(&s->copy.save.cancel, memory_order_relaxed))
        return "another snapshot comes first";
    if (s->copy.snap && snapshot_failed(s->copy.snap))
        return rdb_save_error(EOVERFLOW);
    return NULL;
}

/* Whether the client has taken enough in the time that was spent waiting for it. */
static bool is_quick_enough(sending *s, int64_t timeout_ms)
{
    int64_t rate = config_number(s->t->all->server->config, CONFIG_ID_repl_sync_min_rate);
    uint64_t taken = s->sent - s->counted;

    if (s->waited_ms < timeout_ms)
        return true;
    if (taken / (uint64_t)s->waited_ms * 1000 +
            taken % (uint64_t)s->waited_ms * 1000 / (uint64_t)s->waited_ms <
        (uint64_t)rate)
        return false;
    s->waited_ms = 0;
    s->counted = s->sent;
    return true;
}

/* Waits until c has taken the chunk before. 0, or an errno with s->why. lock is held. */
static int wait_for_reader(sending *s)
{
    data_sets *all = s->t->all;
    int64_t timeout_ms = config_number(all->server->config, CONFIG_ID_repl_timeout) * 1000,
            from_ms = peer_clock_ms(), until_ms = from_ms + timeout_ms;

    while (s->t->state != CHUNK_NONE && !s->why) {
        s->why = reason_to_end(s);
        if (!s->why && peer_clock_ms() >= until_ms)
            s->why = "the client has taken nothing for repl-timeout";
        if (!s->why)
            wait_a_little(all);
    }
    s->waited_ms += peer_clock_ms() - from_ms;
    if (!s->why && !is_quick_enough(s, timeout_ms))
        s->why = "the client takes less than repl-sync-min-rate";
    return s->why ? ECANCELED : 0;
}

static int send_chunk(sending *s, kv_slice bytes)
{
    data_sets *all = s->t->all;
    kv_bytes *chunk = kv_bytes_new(bytes);
    int err = chunk ? 0 : ENOMEM;

    pthread_mutex_lock(&all->lock);
    if (!err)
        err = wait_for_reader(s);
    if (!err)
        give(s->t, chunk);
    look_after_waiting(all);
    pthread_mutex_unlock(&all->lock);
    if (err)
        kv_bytes_unref(chunk);
    else
        s->sent += bytes.len;
    return err;
}

/* ---- the data set ---- */

static int flush(sending *s)
{
    int err = s->len ? send_chunk(s, kv_slice_of(s->buffer, s->len)) : 0;

    s->len = 0;
    return err;
}

/* Gathers chunks. */
static int put(sending *s, const char *bytes, size_t len)
{
    int err = 0;

    while (len > 0 && !err) {
        size_t n = CHUNK_BYTES - s->len < len ? CHUNK_BYTES - s->len : len;

        memcpy(s->buffer + s->len, bytes, n);
        s->len += n;
        bytes += n;
        len -= n;
        if (s->len == CHUNK_BYTES)
            err = flush(s);
    }
    return err;
}

/* All is locked. */
static void at_moment(void *arg)
{
    sending *s = arg;

    if (s->t->reader)
        feed_seal(s->t->all->server);
}

/* The moment has passed. */
static void begun(void *arg)
{
    sending *s = arg;
    server *of = s->t->all->server;
    feed_figures figures;

    feed_read_figures(of, &figures);
    s->offset = s->t->reader ? feed_join(of, s->t->reader) : figures.offset;
    memcpy(s->id, figures.id, sizeof s->id);
}

static int put_head(sending *s)
{
    char head[160];
    size_t len = 0;

    s->begun = true;
    if (s->t->psync)
        len += (size_t)snprintf(head, sizeof head, "+FULLRESYNC %s %lld\r\n", s->id, (long long)s->offset);
    len += (size_t)snprintf(head + len, sizeof head - len, "$EOF:%s\r\n", s->mark);
    return put(s, head, len);
}

static int take_bytes(void *arg, const void *bytes, size_t len)
{
    sending *s = arg;
    int err = s->begun ? 0 : put_head(s);

    return err ? err : put(s, bytes, len);
}

static void make_mark(char mark[MARK_LEN + 1])
{
    unsigned char bytes[MARK_LEN / 2] = { 0 };
    ssize_t ignored = getrandom(bytes, sizeof bytes, 0);

    (void)ignored;
    for (size_t i = 0; i < sizeof bytes; i++)
        snprintf(mark + 2 * i, 3, "%02x", bytes[i]);
}

/* The snapshot is another's: 0, or an errno with s->why, after a little while. */
static int wait_for_snapshot(sending *s, int64_t *newline_ms)
{
    pthread_mutex_lock(&s->t->all->lock);
    s->why = reason_to_end(s);
    if (!s->why)
        wait_a_little(s->t->all);
    pthread_mutex_unlock(&s->t->all->lock);
    if (s->why)
        return ECANCELED;
    if (peer_clock_ms() < *newline_ms)
        return 0;
    *newline_ms = peer_clock_ms() + NEWLINE_MS;
    return send_chunk(s, KV_STR("\n"));
}

/* Waits for its turn, then sends all of it. */
static int send_in_turn(sending *s)
{
    int64_t newline_ms = peer_clock_ms() + NEWLINE_MS;
    int err;

    while ((err = persistence_make_copy(s->t->all->server->persistence, &s->copy)) == EBUSY)
        if ((err = wait_for_snapshot(s, &newline_ms)) != 0)
            return err;
    return err;
}

/* Until all of it was taken. */
static int send_end(sending *s)
{
    int err = put(s, s->mark, MARK_LEN);

    if (!err)
        err = flush(s);
    if (err)
        return err;
    pthread_mutex_lock(&s->t->all->lock);
    err = wait_for_reader(s);
    pthread_mutex_unlock(&s->t->all->lock);
    return err;
}

/* It can still be said in words. */
static void send_error(sending *s, const char *why)
{
    char line[256];
    size_t len = (size_t)snprintf(line, sizeof line, "-ERR The data set cannot be sent: %s\r\n", why);

    s->len = 0;
    if (send_chunk(s, kv_slice_of(line, len)) != 0)
        return;
    pthread_mutex_lock(&s->t->all->lock);
    wait_for_reader(s);
    pthread_mutex_unlock(&s->t->all->lock);
}

static void tell_log(const sending *s, const char *why)
{
    log_write(&s->t->all->server->log, why ? CONFIG_LOG_WARNING : CONFIG_LOG_NOTICE,
              "The data set for client id=%llu: %llu bytes sent%s%s", (unsigned long long)s->t->id,
              (unsigned long long)s->sent, why ? ", not all of it: " : "", why ? why : "");
}

static void serve(transfer *t)
{
    data_sets *all = t->all;
    sending *s = calloc(1, sizeof *s);
    int err = ENOMEM;

    if (s) {
        s->t = t;
        s->copy.sink = take_bytes;
        s->copy.at_moment = at_moment;
        s->copy.begun = begun;
        s->copy.arg = s;
        make_mark(s->mark);
        s->buffer = malloc(CHUNK_BYTES);
        if (s->buffer)
            err = send_in_turn(s);
        if (!err)
            err = send_end(s);
        tell_log(s, err ? s->why ? s->why : rdb_save_error(err) : NULL);
        if (err && !s->begun && !s->why)
            send_error(s, rdb_save_error(err));
        free(s->buffer);
    }
    free(s);
    pthread_mutex_lock(&all->lock);
    end(t, err == 0);
    pthread_mutex_unlock(&all->lock);
}

/* NULL: there is none, and there will be none. */
static transfer *take_next(data_sets *all)
{
    transfer *t;

    pthread_mutex_lock(&all->lock);
    while (!all->first && !all->ending)
        pthread_cond_wait(&all->changed, &all->lock);
    t = take_first(all);
    pthread_mutex_unlock(&all->lock);
    return t;
}

static void *run(void *arg)
{
    transfer *t;

    while ((t = take_next(arg)) != NULL)
        serve(t);
    return NULL;
}

/* ---- requests ---- */

/* lock is held. */
static bool start_thread(data_sets *all)
{
    sigset_t every, before;

    if (all->started)
        return true;
    sigfillset(&every);
    pthread_sigmask(SIG_SETMASK, &every, &before);
    all->started = pthread_create(&all->thread, NULL, run, all) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return all->started;
}

transfer *data_sets_send(data_sets *all, connection *c, bool psync, feed_reader *reader)
{
    transfer *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    *t = (transfer){
        .message.run = hear, .all = all, .c = c, .w = c->owner, .id = c->id, .psync = psync, .reader = reader
    };
    pthread_mutex_lock(&all->lock);
    if (all->ending || !start_thread(all)) {
        pthread_mutex_unlock(&all->lock);
        free(t);
        return NULL;
    }
    c->in_flight++;
    *all->last = t;
    all->last = &t->next;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    return t;
}

/* ---- life ---- */

data_sets *data_sets_new(server *s)
{
    data_sets *all = calloc(1, sizeof *all);
    pthread_condattr_t clock;

    if (!all)
        return NULL;
    all->server = s;
    all->last = &all->first;
    pthread_mutex_init(&all->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&all->changed, &clock);
    pthread_condattr_destroy(&clock);
    return all;
}

void data_sets_cancel(data_sets *all)
{
    pthread_mutex_lock(&all->lock);
    all->cancelled = true;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

void data_sets_stop(data_sets *all)
{
    bool started;

    if (!all)
        return;
    pthread_mutex_lock(&all->lock);
    started = all->started;
    all->ending = true;
    all->started = false;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    if (started)
        pthread_join(all->thread, NULL);
}

void data_sets_free(data_sets *all)
{
    if (!all)
        return;
    data_sets_stop(all);
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    free(all);
}
