/* worker.c - the loop of one thread.
 *
 * A turn is one event_base_loop(EVLOOP_ONCE): wait, run what is ready; then the runnable connections, then the end
 * of the turn: closed connections are freed, and the domain hears that this thread holds nothing it has
 * read (it goes offline, and online again when the next turn has something to do). So an idle worker holds up
 * no reclamation, and a busy one is quiescent once per turn without any cost per request.
 *
 * The clock is looked at by the first callback of a turn, and again for each batch of requests after it was received: so no request
 * is run by a time long before it was sent, which a key's deadline would show; half a millisecond it may be behind, for as long as
 * the processor's counter, which is cheaper to read, says so. Workers go by the newest time that any of them has
 * read: a key that one has found expired is not there for another whose clock was read before.
 *
 * libevent is used without its locking: a base is touched by its own thread only. What others want comes
 * through the mailbox and an eventfd.
 *
 * Invariants
 *   1. A connection is freed here and nowhere else: after the turn, when nothing refers to it: no message
 *      that will come back, no list.
 *   2. Messages run in the order in which they were posted.
 *   3. draining ends the loop when the last connection of all workers has gone.
 *
 * SPDX-License-Identifier: MIT */
#include "worker.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include "actor_batch.h"
#include "aof_internal.h"
#include "blocking.h"
#include "connection.h"
#include "dispatch.h"
#include "feed.h"
#include "latency.h"
#include "local_keys.h"
#include "memory.h"
#include "multi.h"
#include "pubsub.h"
#include "replica.h"
#include "rest.h"
#include "server.h"
#include "tracking.h"

#define CLOCK_FRESH_NS  500000
#define EXPIRE_SLICE_MS 1
#define EXPIRE_SEGMENTS 4 /* of the index, in one step */
#define DOOMED_AT_ONCE  500
#define AGE_MS          1000
#define AGE_SHARE       16384 /* of all entries, at once */

/* ---- the mailbox ---- */

void worker_wake(worker *w)
{
    uint64_t one = 1;
    ssize_t ignored = write(w->wakeup_fd, &one, sizeof one);

    (void)ignored; /* a full counter means that it is awake */
}

void worker_post(worker *w, worker_message *message)
{
    bool was_empty;

    message->next = NULL;
    pthread_mutex_lock(&w->mailbox_lock);
    was_empty = w->mailbox == NULL;
    *w->mailbox_tail = message;
    w->mailbox_tail = &message->next;
    pthread_mutex_unlock(&w->mailbox_lock);
    if (was_empty)
        worker_wake(w);
}

/* A message that calls one function on a worker's thread. */
typedef struct errand {
    worker_message message;
    void (*run)(worker *w);
} errand;

static void run_errand(worker *w, worker_message *message)
{
    errand *e = (errand *)message;

    e->run(w);
    free(e);
}

int worker_call(worker *w, void (*run)(worker *w))
{
    errand *e = malloc(sizeof *e);

    if (!e)
        return -1;
    *e = (errand){ .message.run = run_errand, .run = run };
    worker_post(w, &e->message);
    return 0;
}

static worker_message *take_mail(worker *w)
{
    worker_message *mail;

    pthread_mutex_lock(&w->mailbox_lock);
    mail = w->mailbox;
    w->mailbox = NULL;
    w->mailbox_tail = &w->mailbox;
    pthread_mutex_unlock(&w->mailbox_lock);
    return mail;
}

void worker_run_mail(worker *w)
{
    for (worker_message *mail = take_mail(w); mail;) {
        worker_message *message = mail;

        mail = mail->next;
        message->run(w, message);
    }
}

static void on_wakeup(evutil_socket_t fd, short what, void *arg)
{
    worker *w = arg;
    uint64_t count;
    ssize_t ignored = read(fd, &count, sizeof count);

    (void)ignored;
    (void)what;
    worker_begin(w);
    worker_run_mail(w);
    pubsub_send(w);
}

/* ---- ticks ---- */

/* Looks after a tenth of the connections, so each is seen about once a second. */
static void sweep_connections(worker *w)
{
    int count = atomic_load_explicit(&w->connection_count, memory_order_relaxed);
    int n = count / 10 + 5;

    if (!w->sweep)
        w->sweep = w->connections;
    for (; n > 0 && w->sweep; n--) {
        connection *c = w->sweep;

        w->sweep = c->next;
        connection_check_limits(c);
    }
}

/* A part of an expire cycle as a message to the thread that owns the state. */
typedef struct expire_message {
    actor_message message;
    kv_store *store;
    int64_t now_ms;
    bool more;
} expire_message;

static void run_expire(actor_message *message)
{
    expire_message *m = (expire_message *)message;

    store_expire_cycle(m->store, m->now_ms, EXPIRE_SEGMENTS, &m->more);
}

/* Returns whether there is more to look at. */
static bool expire_some(worker *w, kv_store *store)
{
    expire_message m = { .message.run = run_expire, .store = store, .now_ms = w->now_ms };

    if (w->server->actor)
        actor_call(w->server->actor, &m.message);
    else
        run_expire(&m.message);
    return m.more;
}

/* Goes round this worker's databases for EXPIRE_SLICE_MS, a small step in each, and again in the next turn as long
 * as they have not been looked through, up to a quarter of the time. */
static void expire_keys(worker *w)
{
    server *s = w->server;
    int64_t start_ms = clock_ms(), took_ms;
    uint64_t start_ticks = ticks_now(&s->ticks);
    bool more;

    w->expiring = false;
    if (blocking_pause(s, w->now_ms)) /* a pause of writes is one of these, too */
        return;
    if (atomic_load_explicit(&s->no_active_expire, memory_order_relaxed) || !atomic_load(&s->complete))
        return;
    if (atomic_load_explicit(&s->restrictions, memory_order_relaxed) & SERVER_LOADING)
        return;
    if (w->index == 0)
        local_keys_expire(s->local_keys, w->now_ms);
    if (atomic_load_explicit(&s->restrictions, memory_order_relaxed) & SERVER_REPLICA)
        return; /* the primary says DEL */
    do {
        more = false;
        for (int db = w->index; db < s->databases.count; db += s->worker_count)
            more |= expire_some(w, s->databases.stores[db]);
        took_ms = clock_ms() - start_ms;
    } while (more && took_ms < EXPIRE_SLICE_MS);
    latency_add(s->latency, "expire-cycle", took_ms, w->now_ms);
    stats_add(&w->stats.expire_us, ticks_to_ns(&s->ticks, ticks_now(&s->ticks) - start_ticks) / 1000);
    stats_add(&w->stats.expire_caps, more);
    w->expire_budget_ms -= took_ms < EXPIRE_SLICE_MS ? EXPIRE_SLICE_MS : (int)took_ms;
    w->expiring = more && w->expire_budget_ms > 0;
}

/* Looks at some entries of this worker's databases once a second, at all of them some five times a day. */
static void age_keys(worker *w)
{
    server *s = w->server;

    if (w->now_ms - w->aged_ms < AGE_MS && w->now_ms >= w->aged_ms)
        return;
    w->aged_ms = w->now_ms;
    for (int db = w->index; db < s->databases.count; db += s->worker_count) {
        kv_store *store = s->databases.stores[db];
        size_t keys = store_count(store);

        if (keys == 0)
            continue;
        if (epoch_enter(s->domain) == 0)
            store_age_some(store, keys / AGE_SHARE + 1, w->now_ms);
        epoch_leave(s->domain);
    }
}

/* Publishes what expiry and eviction have removed; with --sharing actor that was done by another thread. */
static void tell_changes(worker *w)
{
    if (w->notices.some || w->server->actor)
        notify_flush(w->server, w, &w->notices);
}

static void close_all(worker *w)
{
    while (w->connections)
        connection_close(w->connections);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    worker *w = arg;

    (void)fd;
    (void)what;
    worker_begin(w);
    atomic_store_explicit(&w->ticked_ms, (int64_t)(clock_ns() / 1000000), memory_order_relaxed);
    w->expire_budget_ms = 250 / (w->hz ? w->hz : 1);
    expire_keys(w);
    age_keys(w);
    sweep_connections(w);
    memory_tick(w);
    tell_changes(w);
    actor_batch_retry(w);
    if (w->index == 0)
        server_tick(w->server);
    if (w->draining && w->now_ms >= w->drain_until_ms)
        close_all(w);
}

/* ---- the turn ---- */

/* Tells the other workers what time it is, and takes theirs when it is later. The clock of the machine may have been set
 * back: then it is right; but not because this thread was stopped for long between reading it and saying so. */
static int64_t agreed_time(server *s)
{
    int64_t now_ms = clock_ms();
    int64_t latest_ms = atomic_load_explicit(&s->latest_ms, memory_order_acquire);
    bool set_back = false;

    while (latest_ms < now_ms || latest_ms - now_ms >= WORKER_CLOCKS_MS) {
        if (latest_ms > now_ms && !set_back) {
            set_back = true;
            now_ms = clock_ms();
            continue;
        }
        /* Pairs with the load above, of other threads. */
        if (atomic_compare_exchange_weak_explicit(&s->latest_ms, &latest_ms, now_ms, memory_order_acq_rel,
                                                  memory_order_acquire))
            return now_ms;
    }
    return latest_ms;
}

void worker_read_clock_anew(worker *w, uint64_t ticks)
{
    w->now_ms = agreed_time(w->server);
    w->clock_ticks = ticks;
}

void worker_begin(worker *w)
{
    if (w->in_turn)
        return;
    w->in_turn = true;
    worker_read_clock(w);
    w->turn_ms = w->now_ms;
    dispatch_begin_turn(w);
    kv_thread_online(w->server->domain);
}

/* Those that become runnable meanwhile have their turn in the next. */
static void run_runnable(worker *w)
{
    connection *list = w->runnable;

    if (!list)
        return;
    w->runnable = NULL;
    w->runnable_tail = &w->runnable;
    worker_begin(w);
    while (list) {
        connection *c = list;

        list = c->next_runnable;
        c->flags &= ~(unsigned)CONNECTION_RUNNABLE;
        connection_resume(c);
    }
}

static void free_doomed(worker *w)
{
    connection **link = &w->doomed;
    int left = DOOMED_AT_ONCE;

    while (*link && left > 0) {
        connection *c = *link;

        if (c->in_flight || (c->flags & (CONNECTION_RUNNABLE | CONNECTION_ACTOR_WAITING))) {
            link = &c->next_doomed;
        } else {
            *link = c->next_doomed;
            connection_free(c);
            left--;
        }
    }
    w->dooming = *link != NULL;
}

static void end_turn(worker *w)
{
    if (!w->in_turn)
        return;
    if (w->doomed)
        free_doomed(w);
    w->in_turn = false;
    kv_thread_quiesce(w->server->domain);
    kv_thread_offline(w->server->domain);
}

/* A worker without connections stays until the others have none either: they may have questions to it. */
static bool is_finished(worker *w)
{
    server *s = w->server;

    if (!w->draining || w->connections || w->doomed)
        return false;
    if (!w->drained) {
        w->drained = true;
        if (atomic_fetch_add(&s->drained_workers, 1) + 1 == s->worker_count)
            for (int i = 0; i < s->worker_count; i++)
                worker_wake(&s->workers[i]);
    }
    return atomic_load(&s->drained_workers) == s->worker_count;
}

void worker_run(worker *w)
{
    kv_thread_offline(w->server->domain);
    while (!is_finished(w)) {
        event_base_loop(w->base,
                        EVLOOP_ONCE | (w->runnable || w->expiring || w->dooming ? EVLOOP_NONBLOCK : 0));
        if (w->gathering.count)
            gather_run(w);
        run_runnable(w);
        if (w->dooming)
            worker_begin(w);
        if (w->expiring) {
            worker_begin(w);
            expire_keys(w);
            tell_changes(w);
        }
        if (w->has_posts)
            pubsub_send(w);
        if (feed_listens(w->server))
            feed_turn_ends(w->server);
        if (w->holds)
            aof_turn_ends(w);
        end_turn(w);
    }
    kv_thread_online(w->server->domain);
}

void worker_drain(worker *w, int64_t until_ms)
{
    gather_run(w);
    w->draining = true;
    w->drain_until_ms = until_ms;
    for (connection *c = w->connections, *next; c; c = next) {
        next = c->next;
        c->flags |= CONNECTION_DRAINING;
        if (replica_is_served(c)) {
            replica_drain(c);
            continue;
        }
        if ((c->flags & CONNECTION_BLOCKED) ||
            (!c->pending && !c->in_flight &&
             !(c->flags & (CONNECTION_READY | CONNECTION_ACTOR_WAITING | CONNECTION_UNFINISHED))))
            connection_close(c);
    }
}

/* ---- life ---- */

/* An error that the current call has replied. Rejected requests have no call. */
static void count_error(void *arg, kv_slice text)
{
    worker *w = arg;

    stats_error(&w->stats, text);
    if (w->call.command)
        stats_add(&w->stats.failed_calls[w->call.command->id], 1);
}

void worker_set_tick(worker *w)
{
    int64_t hz = config_number(w->server->config, CONFIG_ID_hz);
    struct timeval period = { 0 };

    hz = hz < 1 ? 1 : hz > 500 ? 500 : hz;
    w->hz = (int)hz;
    period.tv_sec = hz == 1;
    period.tv_usec = hz == 1 ? 0 : 1000000 / hz;
    event_add(&w->tick, &period);
}

static int init_events(worker *w)
{
    struct event_config *options = event_config_new();

    if (!options)
        return -1;
    event_config_set_flag(options, EVENT_BASE_FLAG_NOLOCK);
    w->base = event_base_new_with_config(options);
    event_config_free(options);
    if (!w->base)
        return -1;
    event_assign(&w->wakeup, w->base, w->wakeup_fd, EV_READ | EV_PERSIST, on_wakeup, w);
    event_assign(&w->tick, w->base, -1, EV_PERSIST, on_tick, w);
    worker_set_tick(w);
    return event_add(&w->wakeup, NULL) == 0 && event_pending(&w->tick, EV_TIMEOUT, NULL) ? 0 : -1;
}

static void init_call(worker *w)
{
    resp_reply_init(&w->reply, &w->out, 2);
    w->reply.on_error = count_error;
    w->reply.arg = w;
    w->call.reply = &w->reply.base;
    w->call.databases = &w->server->databases;
    w->call.renames = config_renames(w->server->config);
    w->call.counters = &w->stats.keyspace;
    w->call.rng = &w->rng;
    w->call.put_off = rest_put_off;
    w->notices =
        (notices){ .server = w->server, .call = &w->call, .writer = &w->writer, .feeder = &w->feeder };
}

int worker_init(worker *w, struct server *s, int index)
{
    memset(w, 0, sizeof *w);
    w->server = s;
    w->index = index;
    atomic_init(&w->ticked_ms, (int64_t)(clock_ns() / 1000000));
    pthread_mutex_init(&w->mailbox_lock, NULL);
    w->mailbox_tail = &w->mailbox;
    w->connections_tail = &w->connections;
    w->runnable_tail = &w->runnable;
    w->actor_waiting_tail = &w->actor_waiting;
    w->blocked_tail = &w->blocked;
    w->wakeup_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    w->input = calloc(1, WORKER_INPUT_BYTES + RESP_SLACK);
    if (getrandom(&w->rng, sizeof w->rng, 0) != sizeof w->rng)
        w->rng = (uint64_t)clock_ms() + (uint64_t)index;
    aof_init_worker(w);
    w->shed.run = memory_shed;
    w->fence_down.run = tracking_fence_down;
    w->acknowledged.run = replica_look_at_waits;
    w->shutdown_visit.run = shutdown_hear;
    w->candidates = calloc((size_t)s->databases.count, sizeof *w->candidates);
    w->hands = calloc((size_t)s->databases.count, sizeof *w->hands);
    if (!w->candidates || !w->hands || pubsub_open(w) != 0)
        return -1;
    for (int i = 0; i < s->databases.count; i++)
        w->hands[i] = w->rng * (uint64_t)(2 * i + 1);
    w->hold = store_hold_new(s->domain, (size_t)s->databases.count);
    batch_init(&w->batch, s->direct, config_renames(s->config));
    w->slow.server = s;
    stats_init(&w->stats, &s->ticks, &w->slow, &s->error_words);
    w->fresh_ticks = ticks_of_ns(&s->ticks, CLOCK_FRESH_NS);
    worker_read_clock_anew(w, ticks_now(&s->ticks));
    init_call(w);
    return w->wakeup_fd >= 0 && w->input && w->hold && init_events(w) == 0 ? 0 : -1;
}

void worker_done(worker *w)
{
    close_all(w);
    for (connection *c = w->doomed, *next; c; c = next) {
        next = c->next_doomed;
        connection_free(c);
    }
    w->doomed = NULL;
    multi_free_spare(w);
    store_hold_free(w->hold);
    if (w->base) {
        event_del(&w->wakeup);
        event_del(&w->tick);
        if (event_initialized(&w->pause_over))
            event_del(&w->pause_over);
        event_base_free(w->base);
    }
    if (w->wakeup_fd >= 0)
        close(w->wakeup_fd);
    pubsub_close(w);
    free(w->candidates);
    free(w->hands);
    resp_parser_done(&w->parser);
    output_done(&w->out);
    output_spares_done(&w->spare_outputs);
    stats_done(&w->stats);
    aof_writer_done(&w->writer);
    aof_writer_done(&w->feeder);
    free(w->input);
    pthread_mutex_destroy(&w->mailbox_lock);
}
