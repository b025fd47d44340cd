/* data_set.c - see data_set.h.
 *
 *     thread: claim --moment--> snapshot --> RDB bytes --chunk--> worker of c --> socket        (data_set_transfer.c)
 *                                             |           ^
 *                                             '-> file ---' for who must know the length first
 *
 * The snapshot is that of BGSAVE (core/persist/snapshot.h): nobody waits while it is read, and what is overwritten meanwhile is
 * kept for it. Its bytes are made on a thread of their own, as fast as the client takes them and snapshot-max-rate allows, and
 * sent by the worker to whom the connection belongs: so TLS, CLIENT LIST, CLIENT KILL and the log's hold on what is not yet safe
 * are as for every other output.
 *
 * Two forms. Who has said REPLCONF capa eof is sent a data set while it is made, between "$EOF:" with a mark and that mark. Who has not
 * (a bare SYNC) reads "$length" first: it is made into a file without a name in `dir` and sent from there. The snapshot is let go as
 * soon as the file is complete, and the file is sent by a thread of its own, while the next data set is made: who reads slowly keeps
 * nobody waiting. With SENDERS_MAX of them under way the next one is sent by the thread that made it. The space is bounded by the
 * disk: when that is full the client is told so, and closed.
 *
 * Bounds. There are two chunks of a data set at a time, one that is sent and one that is made, whatever its size. A client that takes
 * nothing for repl-timeout is closed, and so is one that takes less than repl-sync-min-rate a second while repl-timeout is spent
 * waiting for it: the snapshot is not its own for ever. Until then it keeps the snapshot, whose memory has a bound of its own: with
 * more than twice snapshot-keep-bytes of overwritten entries it ends. One data set is made at a time: the domain has one snapshot, and who
 * asks meanwhile, or while BGSAVE or a rewrite of the log runs, waits, and is sent an empty line now and then. Writers are never slowed for it.
 *
 * Rejected: a file for everybody, as redis-server does without repl-diskless-sync. It needs the space, and
 * delays the first byte; its advantage, that a slow reader lets go of the snapshot early, matters more for a fork than for
 * a snapshot whose memory is bounded. And counting the bytes in a first pass over the snapshot instead of a file: the second may
 * differ, since keys expire and are used meanwhile.
 *
 * SPDX-License-Identifier: MIT */
#include "data_set_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "feed.h"
#include "peer.h"
#include "random_hex.h"
#include "replication.h"
#include "server.h"
#include "spool.h"
#include "steady_cond.h"

#define SENDERS_MAX 16 /* files that are sent at a time, besides one */

/* ---- the data set ---- */

static int fail_file(sending *s, int err)
{
    snprintf(s->failure, sizeof s->failure, "a file for it, in 'dir': %s", strerror(err));
    return err;
}

static int keep(sending *s)
{
    int err = spool_write(s->t->all->server->faults, s->file, s->buffer, s->len);

    if (err)
        return fail_file(s, err);
    s->kept += s->len;
    return sending_stay(s, false);
}

static int flush(sending *s)
{
    int err = 0;

    if (s->len)
        err = s->to_file ? keep(s) : sending_chunk(s, kv_slice_of(s->buffer, s->len));
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

/* Where in the stream it is. */
static void note_moment(sending *s)
{
    server *of = s->t->all->server;
    feed_figures figures;

    feed_read_figures(of, &figures);
    s->offset = s->t->reader ? feed_join(of, s->t->reader) : figures.offset;
    memcpy(s->id, figures.id, sizeof s->id);
    s->copy.save.stream_db = (unsigned)(replication_paused_db(of) + 1);
}

/* The moment is near. */
static void before_moment(void *arg)
{
    sending *s = arg;

    replication_pause(s->t->all->server);
}

/* The moment has passed, or does not come. */
static void after_moment(void *arg, bool has_come)
{
    sending *s = arg;

    if (has_come)
        note_moment(s);
    replication_resume(s->t->all->server);
}

static int put_head(sending *s)
{
    char head[160];
    size_t len = 0;

    s->begun = true;
    if (s->t->psync)
        len += (size_t)snprintf(head, sizeof head, "+FULLRESYNC %s %lld\r\n", s->id, (long long)s->offset);
    if (s->t->mark)
        len += (size_t)snprintf(head + len, sizeof head - len, "$EOF:%s\r\n", s->mark);
    else
        len += (size_t)snprintf(head + len, sizeof head - len, "$%llu\r\n", (unsigned long long)s->kept);
    return put(s, head, len);
}

static int take_bytes(void *arg, const void *bytes, size_t len)
{
    sending *s = arg;
    int err = s->begun || s->to_file ? 0 : put_head(s);

    return err ? err : put(s, bytes, len);
}

/* Waits for its turn, then makes all of it: it is sent, or kept, meanwhile. */
static int make_in_turn(sending *s)
{
    int err;

    while ((err = persistence_make_copy(s->t->all->server->persistence, &s->copy)) == EBUSY)
        if ((err = sending_stay(s, true)) != 0)
            return err;
    return err;
}

static int send_made(sending *s)
{
    int err = make_in_turn(s);

    return err ? err : put(s, s->mark, MARK_LEN);
}

static int make_file(sending *s)
{
    int err;

    s->file = spool_open(s->t->all->server->faults);
    if (s->file < 0)
        return fail_file(s, -s->file);
    s->to_file = true;
    err = make_in_turn(s);
    if (!err)
        err = flush(s);
    s->to_file = false;
    if (!err && lseek(s->file, 0, SEEK_SET) != 0)
        err = fail_file(s, errno);
    return err;
}

/* What it has announced. */
static int send_file(sending *s)
{
    int err = put_head(s);

    for (uint64_t left = s->kept; left > 0 && !err;) {
        size_t room = CHUNK_BYTES - s->len;
        ssize_t n = spool_read(s->file, s->buffer + s->len, left < room ? (size_t)left : room);

        if (n <= 0)
            return fail_file(s, n < 0 ? (int)-n : EIO);
        s->len += (size_t)n;
        left -= (uint64_t)n;
        if (s->len == CHUNK_BYTES)
            err = flush(s);
    }
    return err;
}

/* It can still be said in words. */
static void send_error(sending *s, const char *why)
{
    char line[256];
    size_t len = (size_t)snprintf(line, sizeof line, "-ERR The data set cannot be sent: %s\r\n", why);

    if (sending_chunk(s, kv_slice_of(line, len)) == 0)
        sending_wait(s);
}

static void tell_log(const sending *s, const char *why)
{
    log_write(&s->t->all->server->log, why ? CONFIG_LOG_WARNING : CONFIG_LOG_NOTICE,
              "The data set for client id=%llu: %llu bytes sent%s%s", (unsigned long long)s->t->id,
              (unsigned long long)s->sent, why ? ", not all of it: " : "", why ? why : "");
}

static void begin(sending *s, transfer *t)
{
    *s = (sending){ .t = t,
                    .file = -1,
                    .newline_ms = peer_clock_ms() + NEWLINE_MS,
                    .copy = { .sink = take_bytes,
                              .before_moment = before_moment,
                              .at_moment = at_moment,
                              .after_moment = after_moment,
                              .arg = s },
                    .buffer = malloc(CHUNK_BYTES) };
    random_hex(s->mark, MARK_LEN);
}

static void release(sending *s)
{
    if (s->file >= 0)
        close(s->file);
    free(s->buffer);
    free(s);
}

static const char *reason_of(const sending *s, int err)
{
    if (s->why)
        return s->why;
    return s->failure[0] ? s->failure : rdb_save_error(err);
}

static void end_transfer(transfer *t, bool whole)
{
    data_sets *all = t->all;

    pthread_mutex_lock(&all->lock);
    transfer_end(t, whole);
    pthread_mutex_unlock(&all->lock);
}

/* err: of what was done so far. Waits until all of it was taken, and lets s go. */
static void conclude(sending *s, int err)
{
    transfer *t = s->t;

    if (!err)
        err = flush(s);
    if (!err)
        err = sending_wait(s);
    tell_log(s, err ? reason_of(s, err) : NULL);
    if (err && !s->begun && !s->why)
        send_error(s, reason_of(s, err));
    release(s);
    end_transfer(t, err == 0);
}

/* ---- those that send files ---- */

static void *run_sender(void *arg)
{
    sender *x = arg;
    data_sets *all = x->sending->t->all;

    conclude(x->sending, send_file(x->sending));
    pthread_mutex_lock(&all->lock);
    x->done = true;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

/* lock is held. Takes one out that has ended, or with any just one; NULL: there is none. */
static sender *take_sender(data_sets *all, bool any)
{
    sender **link = &all->senders, *x;

    while (*link && !any && !(*link)->done)
        link = &(*link)->next;
    x = *link;
    if (x)
        *link = x->next;
    return x;
}

/* Joins those that have ended, or all of them. lock is held, and let go meanwhile. */
static void join_senders(data_sets *all, bool any)
{
    sender *x;

    while ((x = take_sender(all, any)) != NULL) {
        pthread_mutex_unlock(&all->lock);
        pthread_join(x->thread, NULL);
        free(x);
        pthread_mutex_lock(&all->lock);
    }
}

static int count_senders(const data_sets *all)
{
    int count = 0;

    for (const sender *x = all->senders; x; x = x->next)
        count++;
    return count;
}

/* The file is complete: gives s to a thread of its own. False: there are too many, or none can be had. */
static bool hand_over(data_sets *all, sending *s)
{
    sender *x = calloc(1, sizeof *x);
    bool started = false;

    if (!x)
        return false;
    x->sending = s;
    pthread_mutex_lock(&all->lock);
    join_senders(all, false);
    if (count_senders(all) < SENDERS_MAX)
        started = pthread_create(&x->thread, NULL, run_sender, x) == 0;
    if (started) {
        x->next = all->senders;
        all->senders = x;
    }
    pthread_mutex_unlock(&all->lock);
    if (!started)
        free(x);
    return started;
}

/* ---- the thread ---- */

static void serve(transfer *t)
{
    data_sets *all = t->all;
    sending *s = calloc(1, sizeof *s);
    int err = ENOMEM;

    if (!s) {
        end_transfer(t, false);
        return;
    }
    begin(s, t);
    if (s->buffer)
        err = t->mark ? send_made(s) : make_file(s);
    if (!err && !t->mark && hand_over(all, s))
        return;
    if (!err && !t->mark)
        err = send_file(s);
    conclude(s, err);
}

/* NULL: there is none, and there will be none. */
static transfer *take_next(data_sets *all)
{
    transfer *t;

    pthread_mutex_lock(&all->lock);
    while (!all->first && !all->ending) {
        join_senders(all, false);
        if (!all->first && !all->ending)
            pthread_cond_wait(&all->changed, &all->lock);
    }
    t = transfer_take_first(all);
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

transfer *data_sets_send(data_sets *all, connection *c, unsigned how, feed_reader *reader)
{
    transfer *t = calloc(1, sizeof *t);

    if (!t)
        return NULL;
    *t = (transfer){ .message.run = transfer_hear,
                     .all = all,
                     .c = c,
                     .w = c->owner,
                     .id = c->id,
                     .psync = how & DATA_SET_PSYNC,
                     .mark = how & DATA_SET_MARK,
                     .reader = reader };
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

    if (!all)
        return NULL;
    all->server = s;
    all->last = &all->first;
    pthread_mutex_init(&all->lock, NULL);
    steady_cond_init(&all->changed);
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
    pthread_mutex_lock(&all->lock);
    join_senders(all, true);
    pthread_mutex_unlock(&all->lock);
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
