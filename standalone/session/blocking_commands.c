/* blocking_commands.c - WAIT WAITAOF, CLIENT PAUSE UNPAUSE UNBLOCK. SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "actor.h"
#include "aof.h"
#include "blocking.h"
#include "feed.h"
#include "round.h"
#include "session.h"

/* A timeout in milliseconds. False: an error was replied. */
static bool parse_timeout(kv_call *call, int index, int64_t *ret_ms)
{
    if (!kv_parse_int(call->argv[index], ret_ms))
        kv_reply_errorf(call->reply, "ERR timeout is not an integer or out of range");
    else if (*ret_ms < 0)
        kv_reply_errorf(call->reply, "ERR timeout is negative");
    else
        return true;
    return false;
}

/* ---- WAIT, WAITAOF ---- */

/* What WAIT waits for. */
typedef struct replica_waiting {
    blocking blocking;
    server *server;
    int64_t position; /* of the stream, to be acknowledged by */
    int64_t replicas;
} replica_waiting;

static void finish_wait(blocking *b, kv_reply *reply, blocking_end why)
{
    const replica_waiting *wait = (replica_waiting *)b;

    if (why != BLOCKING_ERROR)
        kv_reply_int(reply, feed_count(wait->server, wait->position));
}

void wait_look(worker *w)
{
    for (blocking *b = w->blocked, *next; b; b = next) {
        const replica_waiting *wait = (replica_waiting *)b;

        next = b->next;
        if (b->finish == finish_wait && feed_count(w->server, wait->position) >= wait->replicas)
            blocking_finish(b, BLOCKING_DONE);
    }
}

/* All that was written before is to be acknowledged: rather more than this client has. */
static void wait_for_replicas(kv_call *call, int64_t replicas, int64_t timeout_ms)
{
    connection *c = session_connection(call);
    server *s = session_server(call);
    int64_t position = feed_position(s), count = feed_count(s, position);
    replica_waiting *wait;

    if (count >= replicas || !blocking_allowed(c)) {
        kv_reply_int(call->reply, count);
        return;
    }
    wait = (replica_waiting *)blocking_begin(c, sizeof *wait, timeout_ms, finish_wait);
    if (!wait) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    wait->server = s;
    wait->position = position;
    wait->replicas = replicas;
    feed_ask(s);
}

static bool is_replica(kv_call *call)
{
    return atomic_load_explicit(&session_server(call)->restrictions, memory_order_relaxed) & SERVER_REPLICA;
}

/* WAIT numreplicas timeout */
void session_wait(kv_call *call)
{
    int64_t replicas, timeout_ms;

    if (is_replica(call))
        kv_reply_errorf(call->reply, "ERR WAIT cannot be used with replica instances. Please also note that "
                                     "since Redis 4.0 if a replica "
                                     "is configured to be writable (which is not the default) writes to "
                                     "replicas are just local and are "
                                     "not propagated.");
    else if (!kv_parse_int(call->argv[1], &replicas))
        kv_reply_error(call->reply, KV_ENOTINT);
    else if (parse_timeout(call, 2, &timeout_ms))
        wait_for_replicas(call, replicas, timeout_ms);
}

/* What WAITAOF waits for. */
typedef struct aof_waiting {
    blocking blocking;
    server *server;
    uint64_t position;
    bool local;            /* until that is on disk here */
    int64_t feed_position; /* and this */
    int64_t replicas;      /* on so many of them */
} aof_waiting;

static void reply_copies(server *s, kv_reply *reply, const aof_waiting *wait)
{
    kv_reply_array(reply, 2);
    kv_reply_int(reply, aof_listens(s) && aof_is_synced(s, wait->position));
    kv_reply_int(reply, feed_count_durable(s, wait->feed_position));
}

static void finish_waitaof(blocking *b, kv_reply *reply, blocking_end why)
{
    const aof_waiting *wait = (aof_waiting *)b;

    if (why != BLOCKING_ERROR)
        reply_copies(wait->server, reply, wait);
}

static bool has_all(server *s, const aof_waiting *wait)
{
    return (!wait->local || aof_is_synced(s, wait->position)) &&
           (wait->replicas == 0 || feed_count_durable(s, wait->feed_position) >= wait->replicas);
}

void waitaof_look(worker *w)
{
    for (blocking *b = w->blocked, *next; b; b = next) {
        next = b->next;
        if (b->finish == finish_waitaof && has_all(w->server, (aof_waiting *)b))
            blocking_finish(b, BLOCKING_DONE);
    }
}

static void wait_for_aof(kv_call *call, const aof_waiting *wanted, int64_t timeout_ms)
{
    connection *c = session_connection(call);
    server *s = session_server(call);
    aof_waiting *wait;

    if (has_all(s, wanted) || !blocking_allowed(c)) {
        reply_copies(s, call->reply, wanted);
        return;
    }
    wait = (aof_waiting *)blocking_begin(c, sizeof *wait, timeout_ms, finish_waitaof);
    if (!wait) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    wait->server = s;
    wait->position = wanted->position;
    wait->local = wanted->local;
    wait->feed_position = wanted->feed_position;
    wait->replicas = wanted->replicas;
    if (wait->replicas)
        feed_ask(s);
    atomic_thread_fence(memory_order_seq_cst); /* see aof_tell_waiting */
    if (has_all(s, wait))
        aof_look_soon(c->owner);
}

/* WAITAOF numlocal numreplicas timeout */
void session_waitaof(kv_call *call)
{
    server *s = session_server(call);
    aof_waiting wanted = { .position = aof_position(s), .feed_position = feed_position(s) };
    int64_t local, timeout_ms;

    if (!kv_parse_int(call->argv[1], &local) || local < 0 || local > 1)
        kv_reply_errorf(call->reply, "ERR value is out of range, value must between 0 and 1");
    else if (!kv_parse_int(call->argv[2], &wanted.replicas) || wanted.replicas < 0)
        kv_reply_errorf(call->reply, "ERR value is out of range, must be positive");
    else if (!parse_timeout(call, 3, &timeout_ms))
        return;
    else if (is_replica(call))
        kv_reply_errorf(call->reply,
                        "ERR WAITAOF cannot be used with replica instances. Please also note that "
                        "writes to replicas are just local and are not propagated.");
    else if (local && !aof_listens(s))
        kv_reply_errorf(call->reply,
                        "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.");
    else {
        wanted.local = local != 0;
        wait_for_aof(call, &wanted, timeout_ms);
    }
}

/* ---- CLIENT UNBLOCK ---- */

typedef struct unblock_round {
    round round; /* first */
    uint64_t id;
    blocking_end why;
    _Atomic int count;
} unblock_round;

static void end_round(round *r)
{
    free(r);
}

/* Who was postponed by a pause is not meant. */
static void unblock(round *r, worker *w)
{
    unblock_round *u = (unblock_round *)r;

    for (blocking *b = w->blocked; b; b = b->next) {
        if (b->c->id != u->id || b->postponed)
            continue;
        blocking_finish(b, u->why);
        atomic_fetch_add(&u->count, 1);
        return;
    }
}

static void reply_unblocked(round *r, kv_reply *reply)
{
    kv_reply_int(reply, atomic_load(&((unblock_round *)r)->count));
}

/* CLIENT UNBLOCK client-id [TIMEOUT | ERROR] */
void session_client_unblock(kv_call *call)
{
    bool error = call->argc == 4 && kv_word_is(call->argv[3], "error");
    unblock_round *u;
    int64_t id;

    if (call->argc > 4) {
        kv_reply_errorf(
            call->reply,
            "ERR unknown subcommand or wrong number of arguments for 'UNBLOCK'. Try CLIENT HELP.");
        return;
    }
    if (call->argc == 4 && !error && !kv_word_is(call->argv[3], "timeout")) {
        kv_reply_errorf(call->reply, "ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR");
        return;
    }
    if (!kv_parse_int(call->argv[2], &id)) {
        kv_reply_error(call->reply, KV_ENOTINT);
        return;
    }
    u = calloc(1, sizeof *u);
    if (!u) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    *u = (unblock_round){ .round = { .visit = unblock, .answer = reply_unblocked, .end = end_round },
                          .id = (uint64_t)id,
                          .why = error ? BLOCKING_ERROR : BLOCKING_TIMEOUT };
    round_start(&u->round, call);
}

/* ---- CLIENT PAUSE, UNPAUSE ---- */

/* A batch that began before the pause has ended when its worker is visited. */
static void visit_paused(round *r, worker *w)
{
    (void)r;
    (void)w;
}

static void do_nothing(actor_message *message)
{
    (void)message;
}

/* What was sent to the state thread before the pause has been run when this message has. */
static void reply_paused(round *r, kv_reply *reply)
{
    struct actor *state = r->asker->owner->server->actor;
    actor_message last = { .run = do_nothing };

    if (state)
        actor_call(state, &last);
    kv_reply_ok(reply);
}

static void visit_unpaused(round *r, worker *w)
{
    (void)r;
    blocking_end_pause(w);
}

static void start_pause_round(kv_call *call, void (*visit)(round *r, worker *w))
{
    round *r = calloc(1, sizeof *r);

    if (!r) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    *r = (round){ .visit = visit, .answer = reply_paused, .end = end_round };
    round_start(r, call);
}

/* CLIENT PAUSE timeout [WRITE | ALL]: of two pauses the stricter one, until the later end. */
void session_client_pause(kv_call *call)
{
    server *s = session_server(call);
    int pause = PAUSE_ALL;
    int64_t timeout_ms, until_ms;

    if (call->argc > 4) {
        kv_reply_errorf(call->reply,
                        "ERR unknown subcommand or wrong number of arguments for 'PAUSE'. Try CLIENT HELP.");
        return;
    }
    if (call->argc == 4 && kv_word_is(call->argv[3], "write")) {
        pause = PAUSE_WRITE;
    } else if (call->argc == 4 && !kv_word_is(call->argv[3], "all")) {
        kv_reply_errorf(call->reply, "ERR CLIENT PAUSE mode must be WRITE or ALL");
        return;
    }
    if (!parse_timeout(call, 2, &timeout_ms))
        return;
    until_ms = timeout_ms > INT64_MAX - call->now_ms ? INT64_MAX : call->now_ms + timeout_ms;
    blocking_pause(s, call->now_ms);
    pthread_mutex_lock(&s->pause_lock);
    if (atomic_load(&s->pause) == PAUSE_NONE || until_ms > atomic_load(&s->pause_until_ms))
        atomic_store(&s->pause_until_ms, until_ms);
    if (pause > atomic_load(&s->pause))
        blocking_set_pause(s, pause);
    pthread_mutex_unlock(&s->pause_lock);
    start_pause_round(call, visit_paused);
}

/* CLIENT UNPAUSE */
void session_client_unpause(kv_call *call)
{
    server *s = session_server(call);

    pthread_mutex_lock(&s->pause_lock);
    blocking_set_pause(s, PAUSE_NONE);
    pthread_mutex_unlock(&s->pause_lock);
    start_pause_round(call, visit_unpaused);
}
