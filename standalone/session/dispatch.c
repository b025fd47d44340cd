/* dispatch.c - from parsed requests to replies.
 *
 *     prefetch buckets of all -> prefetch entries of all -> run each: row -> checks -> function -> reply
 *
 * What the prefetch learned of a key goes with its request as a hint, which saves the lookup most of its way.
 * Neighbours that are alike (GET, GET, GET) run as one where their row has a form for many calls.
 *
 * The checks of the common case are one comparison of flags: a client that is authenticated and wants its
 * replies, a row with a function, a fitting number of arguments. Everything else goes the long way
 * through dispatch_resolve (dispatch_checks.c), which says what is wrong.
 *
 * What is seldom so for anybody (a pause, a monitor, maxmemory, a replica, loading, a log that cannot be written) is a bit of
 * one word of the server, which is looked at once a batch and is 0 nearly always; only when it is not, or was not at the batch before,
 * is it looked at what that means for the rows and for the connection.
 *
 * A command knows neither connection nor socket: the kv_call is filled once a batch, and per request only
 * what changes. Session commands run here too, in their place in the order; they find the connection in
 * call->host.
 *
 * With --sharing actor, runs of data commands are handed to the state thread (actor_batch.h); session
 * commands stay here and wait for their turn, since the connection is parked meanwhile.
 *
 * Cost (kvbench server --callgrind, 16-byte keys and values, instructions in user space): a GET in a pipeline of
 * 64 takes about 425: parsing 95, the hash 37, reading ahead 78, lookup and command 126, the reply 42,
 * this file 23. A SET takes about 650. Without a pipeline a GET takes 1080, of which libevent's dispatch is
 * about 280. One recv and one send a batch (strace: 1000 batches, 1003 and 1001).
 *
 * SPDX-License-Identifier: MIT */
#include "dispatch.h"

#include <limits.h>

#include "acl_session.h"
#include "actor_batch.h"
#include "aof.h"
#include "blocking.h"
#include "memory.h"
#include "monitor.h"
#include "multi.h"
#include "persistence.h"
#include "pubsub.h"
#include "rest.h"
#include "server.h"
#include "session.h"
#include "slow.h"
#include "tracking.h"

#define SPECIAL                                                                                        \
    (CONNECTION_AUTHENTICATED | CONNECTION_RESTRICTED | CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP | \
     CONNECTION_REPLY_SKIP_NEXT | CONNECTION_MULTI | CONNECTION_PAUSED | CONNECTION_TRACKING |         \
     CONNECTION_MONITOR | CONNECTION_WATCHED | CONNECTION_LIMITED | CONNECTION_SUBSCRIBED)

/* Flags that a batch has, not a connection. */
#define BATCH_FLAGS (CONNECTION_PAUSED | CONNECTION_WATCHED)

void dispatch_prefetch(kv_store *store, const request requests[], int count, uint64_t ret_hashes[],
                       map_hint ret_hints[])
{
    int hashed = 0;

    for (int i = 0; i < count; i++) {
        ret_hashes[i] = requests[i].hash;
        hashed += requests[i].hashed;
    }
    if (hashed)
        store_prefetch(store, (size_t)count, ret_hashes, ret_hints);
}

/* ---- running one ---- */

static void run_row(kv_call *call, const kv_command *row) KV_REQUIRES(kv_epoch_held)
{
    if (row->run)
        row->run(call);
    else
        session_function(row->id)(call);
}

/* Of the short ones, few are timed (stats.h), and none costs a reading of the clock otherwise (slow.c). */
static void run_timed(kv_call *call, const kv_command *row, stats *s) KV_REQUIRES(kv_epoch_held)
{
    const kv_slice *argv = call->argv;
    int argc = call->argc;
    uint64_t timed_before = s->timed_ticks, start = ticks_now(&s->clock), took;

    run_row(call, row);
    took = ticks_now(&s->clock) - start;
    s->timed_ticks = timed_before + took; /* what EXEC has run is in its time */
    stats_time(s, row, 1, took);
    if (__builtin_expect((int64_t)took >= (int64_t)s->slow_ticks, 0))
        slow_command(s, row, argc, argv, took, call->host);
}

void dispatch_run_row(kv_call *call, const kv_command *row, stats *s)
{
    if (stats_call(s, row->id))
        run_timed(call, row, s);
    else
        run_row(call, row);
}

/* Inlined into the loop over a batch: its set-up costs as much as its work. plain: c's flags have been looked at, and
 * nothing about it is special. */
__attribute__((always_inline)) static inline void run_request(connection *c, const request *r,
                                                              const map_hint *hint, bool plain)
    KV_REQUIRES(kv_epoch_held)
{
    worker *w = c->owner;
    kv_call *call = &w->call;
    const kv_command *row = r->row;

    if (!r->direct || !plain || (row->flags & w->examined)) {
        row = dispatch_resolve(c, r);
        if (!row)
            return;
    }
    if (!plain && (c->flags & CONNECTION_TRACKING))
        tracking_before(c, row, r->argc, r->argv);
    call->command = row;
    call->argv = r->argv;
    call->argc = r->argc;
    call->key_hash = r->hash;
    call->key_hashed = r->hashed;
    call->key_hint = hint;
    c->last_command = row;
    if (__builtin_expect(stats_call(&w->stats, row->id), 0))
        run_timed(call, row, &w->stats);
    else
        run_row(call, row);
}

/* How many requests from r on are alike, and may run as one: same row, same number of arguments, one after the
 * other in memory. */
static int alike(const request *r, const request *end)
{
    const request *next = r + 1;

    while (next < end && next->row == r->row && next->argc == r->argc &&
           next->argv == next[-1].argv + r->argc)
        next++;
    return (int)(next - r);
}

/* Whether EXEC comes in the same batch, so that what is queued till then need not be copied. */
static bool exec_follows(const request *r, const request *end)
{
    while (r < end && !(r->row && r->row->id == KV_COMMAND_exec))
        r++;
    return r < end;
}

/* A request after MULTI, and when it is one to be queued those up to end that are like it. Returns how many. */
static int queue_requests(connection *c, const request *r, const request *end, const map_hint *hint)
    KV_REQUIRES(kv_epoch_held)
{
    bool known = r->direct && !dispatch_refuses(c->owner, r->row) &&
                 (c->flags & (CONNECTION_AUTHENTICATED | CONNECTION_RESTRICTED | CONNECTION_LIMITED)) ==
                     CONNECTION_AUTHENTICATED;
    const kv_command *row = known ? r->row : dispatch_resolve(c, r);

    if (known && !(row->flags & KV_CMD_NO_MULTI) && row->run && !c->owner->refuse_memory) {
        int n = alike(r, end);

        if (c->multi->count == 0)
            c->multi->borrows = exec_follows(r + n, end);
        transaction_queue(c, row, r, n);
        return n;
    }
    /* Without memory nothing is queued, whatever it would do. */
    if (row && c->owner->refuse_memory && transaction_queues(row))
        row = dispatch_reject(c, row, KV_STR("OOM command not allowed when used memory > 'maxmemory'."));
    if (!row && (c->flags & CONNECTION_MULTI)) { /* an EXEC that is refused ends it */
        c->multi->failed = true;
    } else if (row && transaction_queues(row)) {
        multi_keep(c); /* it may wait for others */
        transaction_queue(c, row, r, 1);
    } else if (row) {
        run_request(c, r, hint, known && !(c->flags & CONNECTION_TRACKING));
    }
    return 1;
}

/* Shows a request that has run to the monitors. EXEC on its way to the state thread is shown when it is back. */
static void show(connection *c, const request *r)
{
    if (c->last_command->id == KV_COMMAND_exec && (c->flags & CONNECTION_PARKED) && c->owner->server->actor)
        return;
    if (monitor_show(c, c->last_command, r->argc, r->argv) &&
        !(c->flags & (CONNECTION_PARKED | CONNECTION_BLOCKED | CONNECTION_CLOSING | CONNECTION_UNFINISHED)))
        pubsub_wait(c);
}

/* Publishes what the batch has changed. Who changes more than can be delivered waits. */
static void tell_changes(connection *c)
{
    worker *w = c->owner;

    if (notify_flush(w->server, w, &w->notices) && !(c->flags & (CONNECTION_PARKED | CONNECTION_CLOSING)))
        pubsub_wait(c);
}

/* Whether Redis replies before it tells what has happened: where it says what was there, and where a deadline is set (one that has
 * passed deletes the key, and that is told before). */
static bool replies_first(const request *r, int64_t now_ms)
{
    int64_t time;

    switch (r->row->id) {
    case KV_COMMAND_expire:
    case KV_COMMAND_pexpire:
        return r->argc > 2 && kv_parse_int(r->argv[2], &time) && time > 0;
    case KV_COMMAND_expireat:
        return r->argc > 2 && kv_parse_int(r->argv[2], &time) && time > now_ms / 1000;
    case KV_COMMAND_pexpireat:
        return r->argc > 2 && kv_parse_int(r->argv[2], &time) && time > now_ms;
    case KV_COMMAND_getdel:
    case KV_COMMAND_getex:
    case KV_COMMAND_getset:
        return true;
    case KV_COMMAND_set:
        for (int i = 3; i < r->argc; i++)
            if (kv_word_is(r->argv[i], "get"))
                return true;
        return false;
    default:
        return false;
    }
}

/* Whether events of what r does come before its reply, as in Redis, where the client is told of each as it happens. (Not those
 * of EXEC, which would stand between the elements of its reply: they follow it.) */
static bool hears_itself(const connection *c, const request *r)
{
    return (c->flags & (CONNECTION_SUBSCRIBED | CONNECTION_MULTI)) == CONNECTION_SUBSCRIBED && r->row &&
           r->row->run &&
           atomic_load_explicit(&c->owner->server->notify_classes, memory_order_relaxed) != 0 &&
           !replies_first(r, c->owner->now_ms);
}

/* Tells of the changes of one request: to its own client in this place, between what was and what will be in its output. */
static void tell_at_once(connection *c)
{
    if (!c->owner->notices.some)
        return;
    tell_changes(c);
    pubsub_deliver(c->owner, c);
}

/* The reply to a request of a client that listens stands in aside, or in out already. Puts around it what it is to hear
 * of its own act: events before, keys that are stale in its cache after. */
static void end_heard(connection *c, output *out, output *aside)
{
    worker *w = c->owner;
    bool at_once = (c->flags & CONNECTION_SUBSCRIBED) || !(tracking_mode_of(c) & TRACKING_BCAST);

    if (at_once)
        tell_at_once(c);
    if (w->reply.out == aside) {
        output_move(out, aside);
        w->reply.out = out;
    }
    output_done(aside);
    if (at_once && (c->flags & CONNECTION_TRACKING))
        pubsub_deliver_notes(w, c);
}

/* Runs a request of a client that has not authenticated, has begun a transaction, or does not want the reply to this or
 * the next one (CLIENT REPLY). */
static void run_special(connection *c, const request *r, const map_hint *hint) KV_REQUIRES(kv_epoch_held)
{
    worker *w = c->owner;
    output *out = connection_output(c), aside = { 0 };
    output_mark_at mark;

    if (w->notices.some && (c->flags & (CONNECTION_SUBSCRIBED | CONNECTION_TRACKING)))
        end_heard(c, out, &aside); /* what was evicted to make room for this request comes before it */
    aside.limit = w->output_limit;
    if (hears_itself(c, r))
        w->reply.out = &aside;
    mark = output_mark(w->reply.out);
    if (c->flags & CONNECTION_REPLY_SKIP_NEXT) {
        c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP_NEXT;
        c->flags |= CONNECTION_REPLY_SKIP;
    }
    c->owner->call.command = NULL;
    if (c->flags & CONNECTION_MULTI)
        queue_requests(c, r, r + 1, hint);
    else
        run_request(c, r, hint, false);
    if ((c->flags & CONNECTION_WATCHED) && c->owner->call.command)
        show(c, r);
    if ((c->flags & (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP | CONNECTION_REPLY_SKIP_NEXT)) &&
        !dispatch_replies_by_push(c->owner->call.command))
        output_rewind(w->reply.out, mark);
    if (c->flags & (CONNECTION_SUBSCRIBED | CONNECTION_TRACKING))
        end_heard(c, out, &aside);
    else
        w->reply.out = out;
    if (c->flags & CONNECTION_TRACKING)
        tracking_after(c, c->owner->call.command);
    if (!(c->flags & (CONNECTION_PARKED | CONNECTION_BLOCKED | CONNECTION_UNFINISHED)))
        c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
}

size_t dispatch_run_many(kv_call *call, size_t n, const uint64_t hashes[], const map_hint hints[], stats *s)
{
    const kv_command *row = call->command;
    bool timed = stats_times_many(s, row->id, n);
    uint64_t start = timed ? ticks_now(&s->clock) : 0;
    size_t ran;

    call->key_hashed = true;
    ran = row->run_many(call, n, hashes, hints);
    stats_add(&s->calls[row->id], ran);
    if (timed)
        stats_time(s, row, ran, ticks_now(&s->clock) - start);
    else
        stats_skip(s, row->id, ran);
    return ran;
}

/* Runs up to n requests that are alike, by the form of their command for many calls; returns how many. */
static int run_many(connection *c, const request *r, int n, const uint64_t hashes[], const map_hint hints[])
    KV_REQUIRES(kv_epoch_held)
{
    kv_call *call = &c->owner->call;

    call->command = r->row;
    call->argv = r->argv;
    call->argc = r->argc;
    c->last_command = r->row;
    return (int)dispatch_run_many(call, (size_t)n, hashes, hints, &c->owner->stats);
}

/* Nothing is special about c but that its user is limited. */
static inline bool is_just_limited(const connection *c)
{
    return (c->flags & SPECIAL) == (CONNECTION_AUTHENTICATED | CONNECTION_LIMITED);
}

/* How many of n requests from r on the user may run. The first is 1 anyhow: it is looked at again. */
static int count_permitted(const connection *c, const request *r, int n)
{
    int permitted = 0;

    while (permitted < n && acl_session_permits(c, r[permitted].row, r[permitted].argc, r[permitted].argv))
        permitted++;
    return permitted ? permitted : 1;
}

/* Whether a limited user's request may run at once, since nothing else is special about it. */
static inline bool is_permitted(const connection *c, const request *r)
{
    return is_just_limited(c) && r->direct && !(r->row->flags & c->owner->examined) &&
           acl_session_permits(c, r->row, r->argc, r->argv);
}

/* ---- running a batch ---- */

static inline bool must_stop(const connection *c, const output *out)
{
    return (c->flags & (CONNECTION_CLOSING | CONNECTION_CLOSE_AFTER | CONNECTION_PARKED | CONNECTION_BLOCKED |
                        CONNECTION_UNFINISHED)) ||
           out->failed || output_unsent(out) >= OUTPUT_ENOUGH;
}

bool dispatch_must_stop(connection *c)
{
    return must_stop(c, connection_output(c));
}

void dispatch_begin_turn(worker *w)
{
    server *s = w->server;

    slow_ask(&w->stats, atomic_load_explicit(&s->slow_version, memory_order_relaxed), w->now_ms);
    w->guarded = aof_listens(s);
    w->call.now_ms = w->now_ms;
    w->access = server_access(s, w->now_ms);
    w->call.on_miss =
        atomic_load_explicit(&s->notify_classes, memory_order_relaxed) & NOTIFY_MISS ? notify_miss : NULL;
    w->call.value_max = (size_t)config_number(s->config, CONFIG_ID_proto_max_bulk_len);
    w->output_limit = (size_t)config_client_limit(s->config, CONFIG_NORMAL).hard_bytes;
}

/* Takes over what is not as usual in the server: what the rows of a batch with so many requests are looked at for. */
static void take_restrictions(worker *w, unsigned restrictions, size_t input_bytes, int count)
{
    w->restrictions = restrictions;
    w->refuse_memory =
        (restrictions & (SERVER_MEMORY_LIMITED | SERVER_IGNORES_MEMORY)) == SERVER_MEMORY_LIMITED &&
        memory_short(w, input_bytes, (size_t)count);
    w->examined = w->refuse_memory || (restrictions & SERVER_REFUSES) ? UINT_MAX
                  : restrictions & SERVER_NO_WRITES                   ? KV_CMD_WRITE
                                                                      : 0;
}

static unsigned restrictions_of(const server *s)
{
    /* Pairs with the release in server_restrict. */
    return atomic_load_explicit(&((server *)s)->restrictions, memory_order_acquire);
}

void dispatch_settings_changed(worker *w)
{
    dispatch_begin_turn(w);
    take_restrictions(w, restrictions_of(w->server), 0, 0);
}

/* A batch that is not as usual, or the first that is again. Returns when it begins, without what making room took. */
__attribute__((noinline)) static uint64_t begin_restricted(connection *c, unsigned restrictions,
                                                           size_t input_bytes, int count)
{
    worker *w = c->owner;

    if (restrictions & SERVER_PRESSED)
        persistence_wait_for_room(w->server->persistence);
    take_restrictions(w, restrictions, input_bytes, count);
    c->flags &= ~(unsigned)BATCH_FLAGS;
    c->flags |= (restrictions & SERVER_PAUSED ? CONNECTION_PAUSED : 0) |
                (restrictions & SERVER_MONITORED ? CONNECTION_WATCHED : 0);
    return ticks_now(&w->stats.clock);
}

/* What stays the same for all requests of a batch. Returns when it began (slow.c). */
__attribute__((always_inline)) static inline uint64_t begin_batch(connection *c, size_t input_bytes,
                                                                  int count)
{
    worker *w = c->owner;
    server *s = w->server;
    kv_call *call = &w->call;
    uint64_t start = worker_read_clock(w);
    unsigned restrictions = restrictions_of(s);

    call->now_ms = w->now_ms;
    call->host = c;
    w->notices.client_id = c->id;
    call->owned = c->input ? &c->input->parser.owned : NULL;
    call->db = c->db;
    call->store = s->databases.stores[c->db];
    call->access = c->flags & CONNECTION_NO_TOUCH ? KV_NO_TOUCH : w->access;
    w->reply.out = connection_output(c);
    w->reply.out->limit = w->output_limit;
    if (w->reply.base.protocol != c->protocol)
        resp_reply_set_protocol(&w->reply, c->protocol);
    if (__builtin_expect(restrictions | w->restrictions | (c->flags & BATCH_FLAGS), 0))
        start = begin_restricted(c, restrictions, input_bytes, count);
    return start;
}

bool dispatch_is_postponed(connection *c, const request *r)
{
    return (c->flags & CONNECTION_PAUSED) && blocking_postpones(c, r);
}

/* Whether the batch most likely does nothing but to queue: EXEC looks ahead itself. */
static bool is_queued(const connection *c, const request *first)
{
    return (c->flags & CONNECTION_MULTI) || (first->row && first->row->id == KV_COMMAND_multi);
}

int dispatch_batch(connection *c, const batch *b)
{
    worker *w = c->owner;
    uint64_t start;
    int ran = 0;

    if (b->count == 0)
        return 0;
    start = begin_batch(c, b->used + (c->input ? resp_own_bytes(&c->input->parser) : 0), b->count);
    if (__builtin_expect(w->guarded, 0) && !aof_admits(c))
        return 0;
    if (w->server->actor)
        return actor_batch_dispatch(c, b);
    w->stats.timed_ticks = 0;
    if (epoch_enter(w->server->domain) == 0) {
        const output *out = w->reply.out;
        uint64_t hashes[BATCH_REQUESTS];
        map_hint hints[BATCH_REQUESTS];

        bool ahead = b->count > 1 && !is_queued(c, b->requests);

        if (ahead)
            dispatch_prefetch(w->call.store, b->requests, b->count, hashes, hints);
        do {
            const request *r = &b->requests[ran];
            const map_hint *hint = ahead ? &hints[ran] : NULL;
            bool plain = (c->flags & SPECIAL) == CONNECTION_AUTHENTICATED;
            int many = 1;

            if (hint && (plain || is_just_limited(c)) && r->direct && r->row->run_many &&
                !(r->row->flags & w->examined) && !w->stats.each)
                many = alike(r, b->requests + b->count);
            if (many > 1 && !plain)
                many = count_permitted(c, r, many);
            if (many > 1)
                ran += run_many(c, r, many, &hashes[ran], hint);
            else if (__builtin_expect(plain, 1))
                run_request(c, &b->requests[ran++], hint, true);
            else if ((c->flags & SPECIAL) == (CONNECTION_AUTHENTICATED | CONNECTION_MULTI))
                ran += queue_requests(c, r, b->requests + b->count, hint);
            else if (is_permitted(c, r))
                run_request(c, &b->requests[ran++], hint, true);
            else if (dispatch_is_postponed(c, r))
                break;
            else
                run_special(c, &b->requests[ran++], hint);
        } while (ran < b->count && !must_stop(c, out));
        if (__builtin_expect(c->multi && c->multi->borrows, 0))
            multi_keep(c);
    } else
        connection_close(c);
    epoch_leave(w->server->domain);
    dispatch_time_end(&w->stats, start, b->requests, ran, c);
    if (w->notices.some)
        tell_changes(c);
    stats_add(&w->stats.commands, (uint64_t)ran);
    return ran;
}

bool dispatch_one(connection *c, const request *r, size_t input_bytes, const map_hint *hint)
{
    worker *w = c->owner;
    uint64_t start = begin_batch(c, input_bytes, 1);

    if ((__builtin_expect(w->guarded, 0) && !aof_admits(c)) ||
        !((c->flags & SPECIAL) == CONNECTION_AUTHENTICATED || is_permitted(c, r)))
        return false;
    w->stats.timed_ticks = 0;
    run_request(c, r, hint, true);
    dispatch_time_end(&w->stats, start, r, 1, c);
    if (w->notices.some)
        tell_changes(c);
    stats_add(&w->stats.commands, 1);
    return true;
}

void dispatch_go_on(connection *c)
{
    begin_batch(c, 0, 0);
    if (epoch_enter(c->owner->server->domain) != 0)
        connection_close(c);
    else if (c->rest)
        rest_go_on(c);
    else
        transaction_go_on(c);
    epoch_leave(c->owner->server->domain);
    if (c->owner->notices.some)
        tell_changes(c);
}

void dispatch_session(connection *c, const request *r)
{
    worker *w = c->owner;
    uint64_t start = dispatch_time_begin(&w->stats);

    if (epoch_enter(w->server->domain) == 0)
        run_special(c, r, NULL);
    else
        connection_close(c);
    epoch_leave(w->server->domain);
    dispatch_time_end(&w->stats, start, r, 1, c);
}
