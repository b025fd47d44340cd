/* aof_task.c - writing and syncing the log.
 *
 *     workers: commands --changes--> buffer                             held connections
 *                                      |  take                            ^ released
 *     task (or, but for always, a worker at the end of its turn):         |
 *                                    batch --write--> file --sync--> written, synced
 *
 * Group commit. The task takes everything that has been told, by whatever worker, writes it as one batch, syncs once, and
 * tells each worker up to which of its turns the replies may go. While it syncs, the next batch gathers; with always it then waits a
 * little for those whom it has just released (aof_group.h).
 *
 * What must be waited for. A reader takes no lock: it may have seen a value that its writer has published and not yet told. So "all that
 * was told is on disk" is not enough to release a reply. Writers mark the span from before they publish to after
 * they have told (store_set_spans); the task, after it has seen that a reply waits, lets each span that it meets end before it
 * takes from the buffer: what the reader saw was then told. A span is a few hundred instructions; nobody waits for one
 * but the task, and a worker that would write itself, and that only for threads which run.
 *
 * With always the file is prepared aof-prepare-bytes ahead: a sync of bytes that overwrite others takes about half as long (measured
 * on ext4: 130 us for 220, and 1.2 times the acknowledged writes). One sync in some hundred takes that much longer, in return.
 *
 * When nothing happens, the task says at the end of the file that all of it is on disk (a mark): a last batch that is bad then was
 * damaged, and not torn.
 *
 * With everysec and no, a reply waits only for write(2), which is as quick as the memory is: a worker does that itself at the end of
 * its turn, for everything that is there, instead of asking the task; not when that is a great deal, with a huge value in it. The task
 * then syncs once a second.
 *
 * Failures. A write that fails leaves the file as it was (aof_file.c) and may be tried again. A sync that fails may not: the
 * system may have dropped the pages, and a second call that succeeds would tell nothing (Rebello et al., "Can Applications
 * Recover from fsync Failures?", ATC 2020). Either way nothing more is acknowledged; by aof-error-action the server exits, or
 * refuses writes, and closes the connections that waited, whose clients cannot know what became of their writes.
 *
 * Locks: file_lock before `lock`; the buffer's is a leaf.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "aof_internal.h"
#include "latency.h"
#include "persistence.h"
#include "steady_cond.h"

#define AOF_WORKERS_MAX 128        /* that --threads allows */
#define SPINS           64         /* looks at a span before the thread is given up */
#define SOON            400        /* looks of a worker, which has others to serve */
#define SYNC_MS         1000       /* between two syncs, with everysec */
#define LOCK_TRIES      200        /* of a worker that would write itself */
#define WORKER_BYTES    (8u << 20) /* the most that a worker writes itself */

/* ---- spans ---- */

static uint64_t span_of(const aof_writer *writer)
{
    /* Pairs with the release of its end (store_on_span). */
    return atomic_load_explicit(&((aof_writer *)writer)->spans, memory_order_acquire);
}

static const aof_writer *writer_at(const aof *a, int i)
{
    const server *s = a->server;

    if (i < s->worker_count)
        return &s->workers[i].writer;
    return i == s->worker_count ? &s->actor_writer : &s->guests[i - s->worker_count - 1];
}

/* A guest that comes later publishes later than what was seen. */
static int writer_count(const aof *a)
{
    return a->server->worker_count + 1 + atomic_load_explicit(&a->server->guests_used, memory_order_acquire);
}

static bool any_span(const aof *a)
{
    for (int i = 0; i < writer_count(a); i++)
        if (span_of(writer_at(a, i)) & 1)
            return true;
    return false;
}

/* The same, but only waits for threads that run: whether all have. */
static bool spans_end_soon(const aof *a)
{
    for (int i = 0; i < writer_count(a); i++) {
        const aof_writer *writer = writer_at(a, i);
        uint64_t span = span_of(writer);

        for (int looks = 0; (span & 1) && span_of(writer) == span; looks++)
            if (looks >= SOON)
                return false;
    }
    return true;
}

/* Returns when each span that had begun has ended. */
static void wait_for_spans(const aof *a)
{
    for (int i = 0; i < writer_count(a); i++) {
        const aof_writer *writer = writer_at(a, i);
        uint64_t span = span_of(writer);

        for (int looks = 0; (span & 1) && span_of(writer) == span; looks++)
            if (looks >= SPINS)
                sched_yield();
    }
}

/* ---- what is safe ---- */

static uint64_t appended(const aof *a)
{
    return aof_buffer_appended(&a->buffer);
}

static bool all_is(const aof *a, const _Atomic uint64_t *position)
{
    return appended(a) <= atomic_load_explicit((_Atomic uint64_t *)position, memory_order_acquire);
}

bool aof_is_safe(aof *a, const aof_writer *writer)
{
    const _Atomic uint64_t *position = aof_syncs_always(a) ? &a->synced : &a->written;

    if (atomic_load_explicit(&a->deaf, memory_order_acquire)) /* what was published since is told to nobody */
        return false;
    if (aof_writer_waits(writer)) /* and the others are not looked at, whose lines are theirs */
        return false;
    /* The common case of a server that is written to comes first; what counts is the order of the last two. */
    return all_is(a, position) && !any_span(a) && all_is(a, position);
}

/* For a worker: file_lock, unless somebody keeps it for long. */
static bool lock_soon(aof *a)
{
    for (int tries = 0; tries < LOCK_TRIES; tries++) {
        if (pthread_mutex_trylock(&a->file_lock) == 0)
            return true;
        sched_yield();
    }
    return false;
}

/* Whether writing what has been told takes longer than a worker should be away: that is for the task. */
static bool is_much(const aof *a)
{
    uint64_t before = atomic_load_explicit(&((aof *)a)->written, memory_order_acquire);

    return appended(a) - before > WORKER_BYTES;
}

bool aof_make_safe(aof *a)
{
    int err;

    if (aof_syncs_always(a) || is_much(a) || !spans_end_soon(a) || !lock_soon(a))
        return false;
    err = a->retry || a->spoilt ? -EIO : aof_commit(a);
    pthread_mutex_unlock(&a->file_lock);
    return err == 0;
}

/* ---- those who wait ---- */

/* Up to which of its turns each worker asks. */
static void collect(const aof *a, uint64_t asked[])
{
    for (int i = 0; i < a->server->worker_count; i++)
        /* Pairs with the store in aof_turn_ends: what was seen in those turns was published before. */
        asked[i] = atomic_load(&a->server->workers[i].hold_asked);
}

static void release(const aof *a, const uint64_t asked[])
{
    for (int i = 0; i < a->server->worker_count; i++) {
        worker *w = &a->server->workers[i];

        if (asked[i] > atomic_load_explicit(&w->hold_released, memory_order_relaxed))
            aof_post_release(w, asked[i]);
    }
}

/* Whoever waits learns that something has happened: that all is safe, or that nothing will come. */
static void release_all(const aof *a)
{
    uint64_t asked[AOF_WORKERS_MAX];

    collect(a, asked);
    release(a, asked);
}

void aof_tell_waiting(const aof *a)
{
    atomic_thread_fence(
        memory_order_seq_cst); /* pairs with that of wait_for_aof: one of the two sees the other */
    for (int i = 0; i < a->server->worker_count; i++) {
        worker *w = &a->server->workers[i];

        if (atomic_load_explicit(&w->blocked_count, memory_order_relaxed))
            aof_post_release(w, atomic_load(&w->hold_released));
    }
}

/* ---- failures ---- */

static bool exits(const aof *a)
{
    int action = atomic_load_explicit(&((aof *)a)->action, memory_order_relaxed);

    return action == AOF_ERROR_EXIT || (action == AOF_ERROR_AUTO && aof_syncs_always(a));
}

void aof_break(aof *a, const char *what, int err)
{
    server *s = a->server;

    pthread_mutex_lock(&a->reason_lock);
    snprintf(a->reason, sizeof a->reason, "%s: %s", what, strerror(-err));
    pthread_mutex_unlock(&a->reason_lock);
    atomic_store(&a->write_ok, false);
    if (exits(a)) {
        log_write(&s->log, CONFIG_LOG_WARNING,
                  "%s the log of changes: %s. What was not acknowledged may be lost. Exiting.", what,
                  strerror(-err));
        _exit(1);
    }
    /* In this order: see aof_hold. */
    server_restrict(s, SERVER_LOG_BROKEN, SERVER_LOG_BROKEN);
    if (atomic_exchange(&a->state, AOF_BROKEN) == AOF_BROKEN)
        return;
    log_write(&s->log, CONFIG_LOG_WARNING,
              "%s the log of changes: %s. Writes are refused until it is well again.", what, strerror(-err));
    release_all(a);
}

void aof_mend(aof *a)
{
    if (atomic_load(&a->state) != AOF_BROKEN)
        return;
    atomic_store(&a->write_ok, true);
    atomic_store(&a->state, AOF_ON);
    server_restrict(a->server, SERVER_LOG_BROKEN, 0);
    log_write(&a->server->log, CONFIG_LOG_WARNING,
              "The log of changes can be written again: writes are no longer refused.");
    aof_tell_waiting(a);
}

void aof_spoil(aof *a)
{
    a->spoilt = true;
    a->retry = false;
    atomic_store(&a->deaf, true);
    aof_queue_clear(&a->batch);
    aof_buffer_clear(&a->buffer);
}

/* ---- writing ---- */

static void note_file(aof *a)
{
    atomic_store_explicit(&a->file_bytes, a->file.size, memory_order_relaxed);
    atomic_store_explicit(&a->sequence, a->file.sequence - 1, memory_order_relaxed);
}

/* Tells LATENCY how long something took that began at start_ns; 0: nobody asks. */
static void note_latency(aof *a, const char *event, uint64_t start_ns)
{
    if (start_ns)
        latency_add(a->server->latency, event, (int64_t)((clock_ns() - start_ns) / 1000000), clock_ms());
}

static uint64_t latency_start(const aof *a)
{
    return latency_asked(a->server->latency) ? clock_ns() : 0;
}

/* As redis-server calls it: a write beside a sync of the same file, beside a snapshot or a rewrite, or by itself. */
static const char *kind_of_write(const aof *a)
{
    if (atomic_load_explicit(&((aof *)a)->syncing, memory_order_relaxed))
        return "aof-write-pending-fsync";
    return atomic_load_explicit(&((aof *)a)->rewriting, memory_order_relaxed) ||
                   persistence_is_saving(a->server->persistence)
               ? "aof-write-active-child"
               : "aof-write-alone";
}

/* So that a sync writes nothing but the batch. */
static void prepare_file(aof *a)
{
    uint64_t step = aof_syncs_always(a) ? atomic_load_explicit(&a->prepare_bytes, memory_order_relaxed) : 0;
    int err = aof_file_prepare(&a->file, a->batch.bytes, step);

    if (err)
        log_write(&a->server->log, CONFIG_LOG_WARNING,
                  "Can't prepare the log of changes for what is to come: %s. Syncs of it will take longer.",
                  strerror(-err));
}

static int write_file(aof *a)
{
    uint64_t start_ns = a->batch.bytes ? latency_start(a) : 0;
    const char *kind = start_ns ? kind_of_write(a) : NULL;
    int err;

    prepare_file(a);
    err = aof_file_write(&a->file, &a->batch);
    if (kind) {
        note_latency(a, kind, start_ns);
        note_latency(a, "aof-write", start_ns);
    }
    return err;
}

/* Writes the batch that was taken. */
static int write_batch(aof *a)
{
    int err = write_file(a);

    a->retry = err != 0;
    if (err) {
        aof_break(a, "Can't write", err);
        return err;
    }
    if (a->batch.bytes)
        atomic_fetch_add_explicit(&a->batches, 1, memory_order_relaxed);
    aof_buffer_give_back(&a->buffer, &a->batch);
    note_file(a);
    atomic_store_explicit(&a->written, a->batch_end, memory_order_release);
    return 0;
}

int aof_commit(aof *a)
{
    switch (aof_buffer_take(&a->buffer, &a->batch, &a->batch_end)) {
    case AOF_SEALED:
        return -EAGAIN;
    case AOF_LOST:
        aof_spoil(a);
        aof_break(a, "Can't keep", -ENOMEM);
        return -ENOMEM;
    default:
        return write_batch(a);
    }
}

int aof_write_sealed(aof *a)
{
    int err;

    if (aof_buffer_take_sealed(&a->buffer, &a->batch, &a->batch_end) == AOF_LOST) {
        aof_spoil(a);
        aof_break(a, "Can't keep", -ENOMEM);
        return -ENOMEM;
    }
    err = write_batch(a);
    if (!err)
        err = aof_sync(a);
    return err;
}

static int sync_file(aof *a)
{
    uint64_t end = atomic_load_explicit(&a->written, memory_order_acquire);
    int err;

    atomic_store_explicit(&a->syncing, true, memory_order_relaxed);
    err = aof_file_sync(&a->file);
    atomic_store_explicit(&a->syncing, false, memory_order_relaxed);
    if (err)
        return err;
    atomic_fetch_add_explicit(&a->syncs, 1, memory_order_relaxed);
    atomic_store_explicit(&a->synced, end, memory_order_release);
    aof_tell_waiting(a);
    return 0;
}

/* First nothing more is told to these files, then the failure is known: a rewrite that it provokes begins after that, and
 * what is told from its moment on is kept. file_lock is held. */
static int sync_failed(aof *a, int err)
{
    aof_spoil(a);
    aof_break(a, "Can't sync", err);
    return err;
}

int aof_sync(aof *a)
{
    uint64_t start_ns = aof_syncs_always(a) ? latency_start(a) : 0;
    int err = sync_file(a);

    note_latency(a, "aof-fsync-always", start_ns);
    return err ? sync_failed(a, err) : 0;
}

/* ---- the task ---- */

/* Whether a second has passed since the last sync, and what happened since is to be synced. */
static bool sync_is_due(const aof *a, uint64_t now_ns, uint64_t last_ns)
{
    if (atomic_load_explicit(&((aof *)a)->no_sync_while_rewriting, memory_order_relaxed) &&
        atomic_load_explicit(&((aof *)a)->rewriting, memory_order_relaxed))
        return false;
    return atomic_load_explicit(&((aof *)a)->policy, memory_order_relaxed) == AOF_SYNC_EVERYSEC &&
           now_ns - last_ns >= (uint64_t)SYNC_MS * 1000000 && !all_is(a, &a->synced);
}

/* Writes what there is; syncs it when each batch is to be. file_lock is held. */
static int write_and_sync(aof *a)
{
    int err;

    if (atomic_load_explicit(&a->buffer.sealed, memory_order_acquire) && (err = aof_rotate(a)) != 0)
        return err;
    if (a->spoilt || a->file.fd < 0)
        return -EIO;
    err = aof_commit(a);
    if (!err && aof_syncs_always(a) && !all_is(a, &a->synced))
        err = aof_sync(a);
    if (!err && !atomic_load(&a->apart))
        aof_mend(a);
    return err;
}

uint64_t aof_kept_in_all(const aof *a)
{
    uint64_t sum = 0;

    for (int i = 0; i < a->server->worker_count; i++)
        sum += atomic_load(&a->server->workers[i].kept_told);
    return sum;
}

/* Lets those come back whom the last sync has released. */
static void wait_for_company(aof *a)
{
    uint64_t kept = aof_kept_in_all(a), start_ns = clock_ns(),
             patience_ns = aof_group_patience(&a->group, kept);
    struct timespec until = steady_after(patience_ns);
    bool over = false;

    if (patience_ns == 0)
        return;
    atomic_store(&a->enough, a->group.expected);
    pthread_mutex_lock(&a->lock);
    while (!over && !a->stopping && !a->ending && aof_kept_in_all(a) < a->group.expected) {
        a->asked = false; /* so that the next one who asks wakes this thread */
        over = pthread_cond_timedwait(&a->wake, &a->lock, &until) != 0;
    }
    pthread_mutex_unlock(&a->lock);
    atomic_store(&a->enough, 0);
    aof_group_waited(&a->group, kept, aof_kept_in_all(a), clock_ns() - start_ns);
}

/* Serves those who asked. */
static void serve(aof *a)
{
    uint64_t asked[AOF_WORKERS_MAX], taken_at, start_ns;
    int err;

    if (aof_syncs_always(a))
        wait_for_company(a);
    collect(a, asked);
    taken_at = aof_kept_in_all(a);
    start_ns = clock_ns();
    wait_for_spans(a);
    pthread_mutex_lock(&a->file_lock);
    err = write_and_sync(a);
    pthread_mutex_unlock(&a->file_lock);
    if (!err)
        release(a, asked);
    else
        release_all(a);
    aof_group_released(&a->group, taken_at, aof_kept_in_all(a), clock_ns() - start_ns);
}

static void sync_now(aof *a, uint64_t *last_ns)
{
    uint64_t start_ns = clock_ns();
    /* Others write meanwhile: what they write is in the next one. */
    int err = sync_file(a);

    if (err) {
        pthread_mutex_lock(&a->file_lock);
        sync_failed(a, err);
        pthread_mutex_unlock(&a->file_lock);
    }
    *last_ns = clock_ns();
    if (*last_ns - start_ns > (uint64_t)SYNC_MS * 1000000)
        atomic_fetch_add_explicit(&a->delayed_syncs, 1, memory_order_relaxed);
}

/* Whoever reads the file later can know that all of it was on disk, the last batch, too. */
static void mark(aof *a)
{
    pthread_mutex_lock(&a->file_lock);
    if (a->file.fd >= 0 && !a->spoilt && !a->retry && atomic_load(&a->state) == AOF_ON &&
        aof_file_mark(&a->file) == 0)
        note_file(a);
    pthread_mutex_unlock(&a->file_lock);
}

/* appendonly was set to no: what was told is on disk, the file is closed. */
static void end_if_wanted(aof *a)
{
    bool ending;

    pthread_mutex_lock(&a->lock);
    ending = a->ending;
    a->ending = false;
    pthread_mutex_unlock(&a->lock);
    if (!ending)
        return;
    aof_rewrite_stop(a);
    atomic_store(&a->stop_rewriting, false);
    pthread_mutex_lock(&a->file_lock);
    if (a->file.fd >= 0 && write_and_sync(a) == 0 && aof_sync(a) == 0)
        aof_file_mark(&a->file);
    aof_file_close(&a->file);
    atomic_store(&a->state, AOF_OFF);
    pthread_mutex_unlock(&a->file_lock);
    release_all(a);
    log_write(&a->server->log, CONFIG_LOG_NOTICE, "The log of changes is off");
}

/* Sleeps until somebody asks, or for a part of a second. Returns what to do. */
static bool wait_for_work(aof *a, bool *ret_stopping)
{
    struct timespec until = steady_after(100 * 1000000);
    bool asked;

    pthread_mutex_lock(&a->lock);
    while (!a->asked && !a->stopping && pthread_cond_timedwait(&a->wake, &a->lock, &until) == 0)
        ;
    asked = a->asked;
    a->asked = false;
    *ret_stopping = a->stopping;
    pthread_mutex_unlock(&a->lock);
    return asked;
}

void aof_ask(aof *a)
{
    bool asleep;

    pthread_mutex_lock(&a->lock);
    asleep = !a->asked;
    a->asked = true;
    pthread_mutex_unlock(&a->lock);
    if (asleep)
        pthread_cond_signal(&a->wake);
}

void *aof_task(void *arg)
{
    aof *a = arg;
    uint64_t last_ns = clock_ns();
    bool stopping = false;

    while (!stopping) {
        bool asked = wait_for_work(a, &stopping);
        int state = atomic_load(&a->state);

        if (state == AOF_OFF) {
            release_all(a);
            continue;
        }
        /* What nobody waits for (keys that expired), and what could not be done the last time: a rewrite waits for the seal. */
        if (asked || stopping || !all_is(a, &a->written) ||
            atomic_load_explicit(&a->buffer.sealed, memory_order_acquire))
            serve(a);
        if (a->file.fd >= 0 && !a->spoilt && (stopping || sync_is_due(a, clock_ns(), last_ns)))
            sync_now(a, &last_ns);
        if (!asked || stopping)
            mark(a);
        end_if_wanted(a);
    }
    return NULL;
}
