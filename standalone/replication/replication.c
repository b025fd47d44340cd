/* replication.c - following a primary: the task, and whom it follows.
 *
 *     workers: REPLICAOF --> goal (host, port, number) --poke--> the task, a thread
 *
 *     the task, again and again while the goal stands:
 *         connect -> handshake -> PSYNC --FULLRESYNC--> replication_load: a data set beside ours, exchanged as one act
 *                                       --CONTINUE----> what we have goes on
 *                 -> replication_stream: commands, applied as they come; REPLCONF ACK every second
 *         the link is lost -> a pause -> connect ...
 *
 * Why a thread that waits in poll(2), and not a state machine on a worker's event loop: reading a data set of gigabytes
 * keeps a thread busy for seconds, so it cannot be a worker's; and on a thread of its own the protocol is written down
 * in the order in which it is spoken. It waits nowhere but in poll, by a deadline, and on poke_fd as well, so that
 * it lets go at once when the goal changes. (But for the resolver: a name that does not resolve holds up this thread,
 * and nobody else.)
 *
 * The primary is not trusted: lengths are believed as bytes arrive, lines and commands have limits, and what is no
 * RDB or no command ends the link. Whatever happens to a link, the databases are those of the last data set
 * that was complete and whole, and of the commands after it.
 *
 * Clients. A worker reads server.restrictions once a batch: READ_ONLY refuses commands that write, STALE (with
 * replica-serve-stale-data no, while the link is down) those that read. REPLICAOF sets it, then visits every worker, and only then
 * lets the task begin: no write that was acknowledged is in a batch that still runs. The way back takes goal_lock,
 * under which the task applies: once REPLICAOF NO ONE has replied, nothing of the primary's comes any more.
 *
 * CLIENT PAUSE holds back the primary's commands as it does clients': they are received meanwhile, as much as
 * client-query-buffer-limit, then the primary has to wait; and acknowledged when they have been applied.
 *
 * Invariants
 *   1. Nothing is applied but under goal_lock, with serving == goal.
 *   2. has_history: the databases are the primary's history `id` up to the stream's offset. False from the first moment in
 *      which that may not be so.
 *
 * SPDX-License-Identifier: MIT */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "aof.h"
#include "args.h"
#include "blocking.h"
#include "feed.h"
#include "replication_internal.h"
#include "tls_reload.h"

#define RETRY_FIRST_MS 100
#define RETRY_MOST_MS  1000
#define PAUSE_LOOK_MS  20 /* between two looks whether a pause is over */

/* ---- small things ---- */

/* With goal_lock, under which take_goal drains: a poke that outlived the change it is about would end a link that is none the worse
 * for it. */
static void poke(replication *r)
{
    uint64_t one = 1;
    ssize_t ignored = write(r->poke_fd, &one, sizeof one);

    (void)ignored; /* a full counter is readable, too */
}

static void drain_pokes(replication *r)
{
    uint64_t count;
    ssize_t ignored = read(r->poke_fd, &count, sizeof count);

    (void)ignored;
}

bool replication_is_stale(replication *r)
{
    bool stale;

    pthread_mutex_lock(&r->goal_lock);
    stale = r->goal != r->serving;
    pthread_mutex_unlock(&r->goal_lock);
    return stale;
}

int64_t replication_deadline(const replication *r)
{
    return peer_clock_ms() + config_number(r->server->config, CONFIG_ID_repl_timeout) * 1000;
}

void replication_note_heard(replication *r)
{
    pthread_mutex_lock(&r->figures_lock);
    r->figures.last_heard_ms = peer_clock_ms();
    pthread_mutex_unlock(&r->figures_lock);
}

static void set_state(replication *r, replication_state state)
{
    replication_figures *f = &r->figures;

    pthread_mutex_lock(&r->figures_lock);
    if (state == REPLICATION_CONNECTED || state == REPLICATION_NONE)
        f->down_since_ms = 0;
    else if (f->state == REPLICATION_CONNECTED || !f->down_since_ms)
        f->down_since_ms = peer_clock_ms();
    if (state == REPLICATION_CONNECTED)
        f->error[0] = '\0';
    f->state = state;
    pthread_mutex_unlock(&r->figures_lock);
    replication_apply(r->server);
}

void replication_set_state(replication *r, replication_state state)
{
    pthread_mutex_lock(&r->goal_lock);
    if (r->goal == r->serving)
        set_state(r, state);
    pthread_mutex_unlock(&r->goal_lock);
}

int replication_fail(replication *r, const char *format, ...)
{
    char text[sizeof r->said];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    pthread_mutex_lock(&r->figures_lock);
    memcpy(r->figures.error, text, sizeof text);
    pthread_mutex_unlock(&r->figures_lock);
    log_write(&r->server->log, strcmp(text, r->said) ? CONFIG_LOG_WARNING : CONFIG_LOG_VERBOSE,
              "Replication of %s:%d: %s", r->to_host, r->to_port, text);
    memcpy(r->said, text, sizeof text);
    return -1;
}

int replication_fail_link(replication *r, const char *doing)
{
    if (replication_is_stale(r))
        return -1;
    return replication_fail(r, "%s: %s", doing, r->link.error);
}

/* ---- the stream ---- */

static void publish_offsets(replication *r)
{
    pthread_mutex_lock(&r->figures_lock);
    r->figures.offset = stream_offset(r->stream);
    r->figures.received_offset = stream_received(r->stream) + (int64_t)r->link.len;
    pthread_mutex_unlock(&r->figures_lock);
}

/* A pause, or DEBUG RELOAD, holds back what has come. 1, or -1: the goal has changed. */
static int hold_back(replication *r)
{
    publish_offsets(r);
    replication_note_link(r);
    return replication_is_stale(r) ? -1 : 1;
}

/* With goal_lock. */
static stream_status apply_some(replication *r, size_t *ret_used)
{
    char *bytes = r->link.data + r->link.start;
    int64_t before = stream_offset(r->stream);
    stream_status status = stream_apply(r->stream, bytes, r->link.len, ret_used);

    replication_relay(r, bytes, *ret_used, (size_t)(stream_offset(r->stream) - before));
    return status;
}

/* Applies what has come; 1: a pause holds back the rest. -1: that cannot go on. */
static int apply_received(replication *r)
{
    stream_status status = STREAM_AGAIN;

    while (status == STREAM_AGAIN) {
        size_t used = 0;
        bool stale, loads;

        if (blocking_pause(r->server, clock_ms()) != PAUSE_NONE)
            return hold_back(r);
        pthread_mutex_lock(&r->goal_lock);
        stale = r->goal != r->serving;
        loads = atomic_load(&r->server->restrictions) & SERVER_LOADING;
        if (!stale && !loads)
            status = apply_some(r, &used);
        pthread_mutex_unlock(&r->goal_lock);
        if (stale || loads)
            return stale ? -1 : hold_back(r);
        peer_take(&r->link, used);
        publish_offsets(r);
        replication_note_link(r);
        aof_task_wrote(r->server);
        feed_turn_ends(r->server);
        if (stream_take_question(r->stream) && replication_answer(r) != 0)
            return -1;
    }
    if (status == STREAM_NOMEM)
        r->has_history = false;
    return status == STREAM_MORE ? 0 : replication_fail(r, "its commands: %s", stream_error(r->stream));
}

/* Receives something more; 1: it is time for other things. */
static int receive_some(replication *r, int64_t until_ms, int64_t lost_ms)
{
    size_t most = (size_t)config_number(r->server->config, CONFIG_ID_client_query_buffer_limit);
    peer_status status = peer_receive(&r->link, most, until_ms < lost_ms ? until_ms : lost_ms);

    if (status == PEER_TIMEOUT && peer_clock_ms() < lost_ms)
        return 1;
    return status == PEER_OK ? 0 : replication_fail_link(r, "the link is lost");
}

/* The same while a pause holds back what was received. When that is as much as may be the primary waits, which is no silence of its. */
static int receive_in_pause(replication *r, int64_t lost_ms)
{
    struct pollfd fd = { .fd = r->poke_fd, .events = POLLIN };

    if (r->link.len < (size_t)config_number(r->server->config, CONFIG_ID_client_query_buffer_limit))
        return receive_some(r, peer_clock_ms() + PAUSE_LOOK_MS, lost_ms);
    poll(&fd, 1, PAUSE_LOOK_MS);
    return 0;
}

static void follow_stream(replication *r)
{
    int64_t ack_ms, lost_ms = replication_deadline(r);
    int received = 0, held;

    replication_begin_acks(r);
    while (received >= 0) {
        held = r->link.len ? apply_received(r) : 0;
        if (held < 0 || replication_acknowledge(r, &ack_ms) != 0)
            return;
        received = held ? receive_in_pause(r, lost_ms) : receive_some(r, ack_ms, lost_ms);
        if (received == 0) {
            lost_ms = replication_deadline(r);
            replication_note_heard(r);
        }
    }
}

/* ---- the task ---- */

/* One link, from its beginning to its end. */
static void serve_link(replication *r)
{
    server *s = r->server;
    char *source = config_text(s->config, CONFIG_ID_bind_source_addr);

    peer_init(&r->link, r->poke_fd);
    if (config_number(s->config, CONFIG_ID_tls_replication))
        peer_encrypt(&r->link, tls_reload_context(s));
    replication_set_state(r, REPLICATION_CONNECTING);
    log_write(&s->log, CONFIG_LOG_VERBOSE, "Connecting to the primary %s:%d", r->to_host, r->to_port);
    if (peer_connect(&r->link, r->to_host, r->to_port, source && *source ? source : NULL,
                     replication_deadline(r)) != PEER_OK) {
        replication_fail_link(r, "no connection");
    } else if (replication_synchronize(r) == 0) {
        replication_show_link(r);
        replication_set_state(r, REPLICATION_CONNECTED);
        r->retry_ms = RETRY_FIRST_MS;
        r->said[0] = '\0';
        follow_stream(r);
        replication_hide_link(r);
        stream_rewind(r->stream);
        replication_drop_held(r);
    }
    peer_done(&r->link);
    free(source);
}

/* Waits until the goal changes; longer from time to time. */
static void pause_before_retry(replication *r)
{
    struct pollfd fd = { .fd = r->poke_fd, .events = POLLIN };

    poll(&fd, 1, (int)r->retry_ms);
    r->retry_ms = r->retry_ms * 2 < RETRY_MOST_MS ? r->retry_ms * 2 : RETRY_MOST_MS;
}

/* Takes note of the goal. False: the task is to end. */
static bool take_goal(replication *r, bool *ret_work)
{
    bool ending;

    pthread_mutex_lock(&r->goal_lock);
    drain_pokes(r);
    if (r->serving != r->goal)
        r->retry_ms = RETRY_FIRST_MS;
    if (r->was_primary)
        r->has_history = false; /* a primary's databases have a history of their own */
    r->was_primary = false;
    r->serving = r->goal;
    memcpy(r->to_host, r->host, sizeof r->host);
    r->to_port = r->port;
    *ret_work = r->host[0] && r->begun;
    ending = r->ending;
    pthread_mutex_unlock(&r->goal_lock);
    return !ending;
}

static void wait_for_poke(replication *r)
{
    struct pollfd fd = { .fd = r->poke_fd, .events = POLLIN };

    poll(&fd, 1, -1);
}

static void *run(void *arg)
{
    replication *r = arg;
    bool work;

    while (take_goal(r, &work)) {
        if (!work) {
            wait_for_poke(r);
            continue;
        }
        serve_link(r);
        if (!replication_is_stale(r)) {
            replication_set_state(r, REPLICATION_CONNECT);
            pause_before_retry(r);
        }
    }
    return NULL;
}

/* ---- the goal ---- */

void replication_apply(server *s)
{
    replication *r = s->replication;
    unsigned restrictions = 0;

    notify_apply(s); /* these two before clients may write */
    replication_look_at_relay(s);
    pthread_mutex_lock(&r->figures_lock);
    if (r->figures.state != REPLICATION_NONE) {
        restrictions = SERVER_REPLICA;
        if (config_number(s->config, CONFIG_ID_replica_read_only))
            restrictions |= SERVER_READ_ONLY;
        if (r->figures.state != REPLICATION_CONNECTED &&
            !config_number(s->config, CONFIG_ID_replica_serve_stale_data))
            restrictions |= SERVER_STALE;
        if (config_number(s->config, CONFIG_ID_replica_ignore_maxmemory))
            restrictions |= SERVER_IGNORES_MEMORY;
    }
    server_restrict(s, SERVER_REPLICA | SERVER_READ_ONLY | SERVER_STALE | SERVER_IGNORES_MEMORY,
                    restrictions);
    pthread_mutex_unlock(&r->figures_lock);
    pthread_mutex_lock(&s->pause_lock);
    blocking_apply_reaping(s);
    pthread_mutex_unlock(&s->pause_lock);
    atomic_store_explicit(&s->log.role, restrictions & SERVER_REPLICA ? 'S' : 'M', memory_order_relaxed);
}

/* Makes CONFIG GET and REWRITE say whom we follow. */
static void remember(server *s, kv_slice host, int port)
{
    char number[16];
    kv_slice words[2] = { host };
    config_error ignored;

    words[1] = kv_slice_of(number, (size_t)snprintf(number, sizeof number, "%d", port));
    if (host.len)
        config_set(s->config, CONFIG_ID_replicaof, 2, words, true, &ignored);
    else
        config_restore(s->config, CONFIG_ID_replicaof, KV_STR(""));
}

static void show_goal(replication *r, kv_slice host, int port)
{
    replication_figures *f = &r->figures;

    pthread_mutex_lock(&r->figures_lock);
    if (host.len)
        memcpy(f->host, host.data, host.len);
    f->host[host.len] = '\0';
    f->port = port;
    f->down_since_ms = 0;
    f->last_heard_ms = 0;
    f->error[0] = '\0';
    pthread_mutex_unlock(&r->figures_lock);
    remember(r->server, host, port);
    set_state(r, host.len ? REPLICATION_CONNECT : REPLICATION_NONE);
}

/* goal_lock is held. */
static void set_goal(replication *r, kv_slice host, int port)
{
    if (host.len)
        memcpy(r->host, host.data, host.len);
    r->host[host.len] = '\0';
    r->port = port;
    r->was_primary |= !host.len;
    r->begun = false;
    r->goal++;
    show_goal(r, host, port);
    poke(r);
}

int replication_follow(server *s, kv_slice host, int port)
{
    replication *r = s->replication;
    int result = 0;

    if (host.len == 0 || host.len >= REPLICATION_HOST_MAX || memchr(host.data, '\0', host.len))
        return KV_EINVAL;
    pthread_mutex_lock(&r->goal_lock);
    if (r->port == port && kv_slice_equal(kv_str(r->host), host))
        result = 1;
    else if (!r->started && pthread_create(&r->thread, NULL, run, r) != 0)
        result = KV_ENOMEM;
    if (result == 0) {
        r->started = true;
        set_goal(r, host, port);
        log_write(&s->log, CONFIG_LOG_NOTICE, "This server is a replica of %s:%d now", r->host, port);
    }
    pthread_mutex_unlock(&r->goal_lock);
    return result;
}

void replication_begin(server *s)
{
    replication *r = s->replication;

    pthread_mutex_lock(&r->goal_lock);
    r->begun = true;
    poke(r);
    pthread_mutex_unlock(&r->goal_lock);
}

bool replication_leave(server *s)
{
    replication *r = s->replication;
    bool was_replica;

    pthread_mutex_lock(&r->goal_lock);
    was_replica = r->host[0] != '\0';
    if (was_replica) {
        feed_promote(s); /* before clients may write */
        set_goal(r, KV_STR(""), 0);
    }
    pthread_mutex_unlock(&r->goal_lock);
    if (was_replica)
        log_write(&s->log, CONFIG_LOG_NOTICE, "This server is a primary now, with the data that it has");
    return was_replica;
}

void replication_read_figures(server *s, replication_figures *ret_figures)
{
    replication *r = s->replication;

    pthread_mutex_lock(&r->figures_lock);
    *ret_figures = r->figures;
    pthread_mutex_unlock(&r->figures_lock);
    stream_read_gaps(r->stream, &ret_figures->gaps);
}

void replication_sum_stats(server *s, stats_sums *sums)
{
    stats_sum(stream_stats(s->replication->stream), sums);
}

/* ---- life ---- */

int replication_start(server *s)
{
    char *text = config_text(s->config, CONFIG_ID_replicaof);
    kv_slice words[3];
    int64_t port;
    int n = text ? resp_split_line(text, strlen(text), words, 3) : -1, result = -1;

    if (n == 0) {
        result = 0;
    } else if (n != 2 || !kv_parse_int(words[1], &port) || port < 0 || port > 65535) {
        log_write(&s->log, CONFIG_LOG_WARNING, "replicaof takes a host and a port");
    } else if (replication_follow(s, words[0], (int)port) < 0) {
        log_write(&s->log, CONFIG_LOG_WARNING, "Can't become a replica: no such host, or no thread for it");
    } else {
        replication_begin(s);
        result = 0;
    }
    free(text);
    return result;
}

replication *replication_new(server *s)
{
    replication *r = calloc(1, sizeof *r);

    if (!r)
        return NULL;
    r->server = s;
    r->poke_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r->stream = stream_new(s);
    r->figures.offset = -1;
    pthread_mutex_init(&r->goal_lock, NULL);
    pthread_mutex_init(&r->figures_lock, NULL);
    peer_init(&r->link, r->poke_fd);
    if (r->poke_fd < 0 || !r->stream) {
        replication_free(r);
        return NULL;
    }
    return r;
}

void replication_stop(replication *r)
{
    if (!r || !r->started)
        return;
    pthread_mutex_lock(&r->goal_lock);
    r->ending = true;
    r->goal++;
    poke(r);
    pthread_mutex_unlock(&r->goal_lock);
    pthread_join(r->thread, NULL);
    r->started = false;
}

void replication_free(replication *r)
{
    if (!r)
        return;
    replication_stop(r);
    for (int i = 0; r->spare && i < r->server->databases.count; i++)
        kv_store_unref(r->spare[i]);
    free(r->spare);
    if (r->poke_fd >= 0)
        close(r->poke_fd);
    stream_free(r->stream);
    replication_end_relay(r);
    pthread_mutex_destroy(&r->goal_lock);
    pthread_mutex_destroy(&r->figures_lock);
    free(r);
}
