/* process.c - a host for commands that is nothing but a host: no socket, no RESP, no clock.
 *
 * The sink builds a tree. Replies arrive in order, an aggregate as its count and then its elements, so the
 * sink keeps a path of aggregates that still want elements; a reply goes into the innermost of them. A
 * command that replies too much, too little or not at all fails here, before any expectation is looked at.
 *
 * MULTI, EXEC, DISCARD, WATCH and UNWATCH are a host's: this one has them too, in the simplest form.
 *
 * SPDX-License-Identifier: MIT */
#include "process.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "transaction.h"

enum { databases_count = 16, depth_max = 16 };

struct process_door {
    kv_domain *domain;
    kv_store *stores[databases_count];
    kv_databases databases;
};

struct process_client {
    process_door *door;
    int db;
    kv_counters counters;
    uint64_t rng;
    bool multi, failed;
    queued_command *queue;
    size_t queued;
    watched_key *watched;
};

/* ---- the sink --------------------------------------------------------------------------- */

typedef struct level {
    reply *aggregate;
    size_t filled;
} level;

typedef struct sink {
    kv_reply base;
    reply *root;
    level path[depth_max];
    size_t depth;
} sink;

/* Where the next reply goes. */
static reply *place_for(kv_reply *base, char type)
{
    sink *to = (sink *)base;
    reply *r;

    if (to->depth == 0) {
        assert(!to->root && "a second reply to one command");
        r = to->root = calloc(1, sizeof *r);
        if (!r)
            abort();
    } else {
        level *top = &to->path[to->depth - 1];

        r = &top->aggregate->elements[top->filled++];
    }
    r->type = type;
    return r;
}

/* Leaves the aggregates that are complete. */
static void settle(kv_reply *base)
{
    sink *to = (sink *)base;

    while (to->depth && to->path[to->depth - 1].filled == to->path[to->depth - 1].aggregate->count)
        to->depth--;
}

static void put_text(kv_reply *base, char type, kv_slice text)
{
    reply *r = place_for(base, type);

    r->text = malloc(text.len + 1);
    if (!r->text)
        abort();
    if (text.len)
        memcpy(r->text, text.data, text.len);
    r->text[text.len] = 0;
    r->len = text.len;
    settle(base);
}

static void put_integer(kv_reply *base, int64_t value)
{
    place_for(base, ':')->integer = value;
    settle(base);
}

static void put_aggregate(kv_reply *base, char type, size_t count)
{
    sink *to = (sink *)base;
    reply *r = place_for(base, type);

    r->count = count;
    r->elements = calloc(count ? count : 1, sizeof *r->elements);
    if (!r->elements)
        abort();
    assert(to->depth < depth_max);
    to->path[to->depth++] = (level){ .aggregate = r };
    settle(base);
}

static void sink_null(kv_reply *base)
{
    place_for(base, '_')->null_of = '$';
    settle(base);
}

static void sink_null_array(kv_reply *base)
{
    place_for(base, '_')->null_of = '*';
    settle(base);
}

static void sink_real(kv_reply *base, double value)
{
    char text[64];

    snprintf(text, sizeof text, "%.17g", value);
    put_text(base, '$', kv_str(text));
}

static void sink_boolean(kv_reply *base, bool value)
{
    put_integer(base, value);
}

static void sink_simple(kv_reply *base, kv_slice text)
{
    put_text(base, '+', text);
}

static void sink_error(kv_reply *base, kv_slice text)
{
    char *clean = malloc(text.len + 1);

    if (!clean)
        abort();
    for (size_t i = 0; i < text.len; i++)
        clean[i] = text.data[i] == '\r' || text.data[i] == '\n' ? ' ' : text.data[i];
    put_text(base, '-', kv_slice_of(clean, text.len));
    free(clean);
}

static void sink_bulk(kv_reply *base, kv_slice data, kv_bytes *owner)
{
    (void)owner;
    put_text(base, '$', data);
}

static void sink_verbatim(kv_reply *base, kv_slice text, const char format[4])
{
    (void)format;
    put_text(base, '$', text);
}

static void sink_array(kv_reply *base, size_t count)
{
    put_aggregate(base, '*', count);
}

static void sink_map(kv_reply *base, size_t pairs)
{
    put_aggregate(base, '*', 2 * pairs);
}

static const kv_reply_ops transcript = {
    .null = sink_null,
    .null_array = sink_null_array,
    .integer = put_integer,
    .real = sink_real,
    .boolean = sink_boolean,
    .simple = sink_simple,
    .error = sink_error,
    .bulk = sink_bulk,
    .verbatim = sink_verbatim,
    .array = sink_array,
    .map = sink_map,
    .set = sink_array,
    .push = sink_array,
};

/* ---- the door --------------------------------------------------------------------------- */

process_door *process_door_new(kv_sharing sharing)
{
    kv_domain_options options = { .helper = true };
    process_door *door = calloc(1, sizeof *door);

    if (!door)
        abort();
    door->domain = kv_domain_new(&options);
    if (!door->domain)
        abort();
    for (int i = 0; i < databases_count; i++) {
        kv_store_options store = { .domain = door->domain,
                                   .sharing = sharing,
                                   .version_start = (uint64_t)i,
                                   .version_step = databases_count };

        door->stores[i] = kv_store_new(&store);
        if (!door->stores[i])
            abort();
    }
    door->databases = (kv_databases){ .stores = door->stores, .count = databases_count };
    return door;
}

void process_door_free(process_door *door)
{
    if (!door)
        return;
    for (int i = 0; i < databases_count; i++)
        kv_store_unref(door->stores[i]);
    kv_domain_unref(door->domain);
    free(door);
}

void process_door_clear(process_door *door)
{
    for (int i = 0; i < databases_count; i++)
        if (store_clear(door->stores[i], false) != 0)
            abort();
}

/* ---- clients ---------------------------------------------------------------------------- */

process_client *process_client_new(process_door *door)
{
    process_client *c = calloc(1, sizeof *c);

    if (!c)
        abort();
    c->door = door;
    c->rng = 0x9e3779b97f4a7c15;
    return c;
}

static void end_transaction(process_client *c)
{
    for (size_t i = 0; i < c->queued; i++) {
        for (int j = 0; j < c->queue[i].argc; j++)
            free((char *)c->queue[i].argv[j].data);
        free((kv_slice *)c->queue[i].argv);
    }
    free(c->queue);
    c->queue = NULL;
    c->queued = 0;
    while (c->watched) {
        watched_key *w = c->watched;

        c->watched = w->next;
        store_watch_end(&w->watch);
        free((char *)w->watch.key.name.data);
        free(w);
    }
    c->multi = c->failed = false;
}

void process_client_free(process_client *c)
{
    if (c)
        end_transaction(c);
    free(c);
}

/* The one session command that conversations in process need. Numbers that are no database are the server's
 * to refuse. */
static void run_select(process_client *c, kv_slice number, kv_reply *to)
{
    int db = 0;

    for (size_t i = 0; i < number.len; i++)
        db = 10 * db + (number.data[i] - '0');
    assert(db >= 0 && db < databases_count);
    c->db = db;
    kv_reply_ok(to);
}

static kv_call call_of(process_client *c, const kv_slice argv[], int argc, int64_t now_ms, kv_reply *to)
{
    return (kv_call){
        .argv = argv,
        .argc = argc,
        .db = c->db,
        .store = c->door->stores[c->db],
        .databases = &c->door->databases,
        .now_ms = now_ms,
        .access = store_access_clock(now_ms),
        .reply = to,
        .counters = &c->counters,
        .rng = &c->rng,
        .value_max = KV_VALUE_MAX,
    };
}

/* ---- transactions ----------------------------------------------------------------------- */

static kv_slice copy_slice(kv_slice from)
{
    char *copy = malloc(from.len + 1);

    if (!copy)
        abort();
    if (from.len)
        memcpy(copy, from.data, from.len);
    return kv_slice_of(copy, from.len);
}

static void queue(process_client *c, const kv_command *row, int argc, const kv_slice argv[], kv_reply *to)
{
    kv_slice *copy = malloc((size_t)argc * sizeof *copy);

    c->queue = realloc(c->queue, (c->queued + 1) * sizeof *c->queue);
    if (!c->queue || !copy)
        abort();
    for (int i = 0; i < argc; i++)
        copy[i] = copy_slice(argv[i]);
    c->queue[c->queued++] = (queued_command){ .row = row, .argv = copy, .argc = argc };
    to->ops->simple(to, KV_STR("QUEUED"));
}

KV_REQUIRES(kv_epoch_held) static void watch(process_client *c, kv_call *call)
{
    for (int i = 1; i < call->argc; i++) {
        watched_key *w = calloc(1, sizeof *w);

        if (!w)
            abort();
        w->watch.store = call->store;
        w->watch.key = store_key_of(call->store, copy_slice(call->argv[i]));
        if (store_watch_begin(&w->watch, call->now_ms) != 0)
            abort();
        w->next = c->watched;
        c->watched = w;
    }
    kv_reply_ok(call->reply);
}

/* Locks, checks, runs. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held) static void run_transaction(const transaction *t, kv_call *call)
{
    store_hold *hold = store_hold_new(kv_store_domain(call->store), databases_count);
    int err;

    if (!hold)
        abort();
    transaction_lock(t, hold);
    err = transaction_check(t, call->now_ms);
    if (!err)
        kv_reply_array(call->reply, t->count);
    for (size_t i = 0; !err && i < t->count; i++) {
        call->command = t->commands[i].row;
        call->argv = t->commands[i].argv;
        call->argc = t->commands[i].argc;
        if (call->command->run)
            call->command->run(call);
        else
            kv_reply_bulk(call->reply, call->argv[1]); /* ECHO */
    }
    store_hold_release(hold);
    store_hold_free(hold);
    if (err == KV_ECOND)
        call->reply->ops->null_array(call->reply);
    else if (err)
        kv_reply_error(call->reply, err);
}

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held) static void exec(process_client *c, kv_call *call)
{
    key_check checks[32];
    int n = transaction_parse_checks(call->argc - 1, call->argv + 1, checks);
    transaction t = {
        .databases = call->databases,
        .db = c->db,
        .commands = c->queue,
        .count = c->queued,
        .checks = checks,
        .check_count = n > 0 ? (size_t)n : 0,
        .watched = c->watched,
    };

    assert(call->argc < 64);
    if (n < 0)
        kv_reply_errorf(call->reply,
                        "EXECABORT Transaction discarded because of: invalid check condition syntax");
    else if (c->failed)
        kv_reply_errorf(call->reply, "EXECABORT Transaction discarded because of previous errors.");
    else
        run_transaction(&t, call);
    end_transaction(c);
}

/* The five commands of transactions. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held, kv_hold_held) static void run_about_transactions(process_client *c, kv_call *call)
{
    switch (call->command->id) {
    case KV_COMMAND_multi:
        if (c->multi) {
            kv_reply_errorf(call->reply, "ERR MULTI calls can not be nested");
            return;
        }
        c->multi = true;
        break;
    case KV_COMMAND_watch:
        if (c->multi)
            kv_reply_errorf(call->reply, "ERR WATCH inside MULTI is not allowed");
        else
            watch(c, call);
        return;
    case KV_COMMAND_exec:
        if (!c->multi)
            kv_reply_errorf(call->reply, "ERR EXEC without MULTI");
        else
            exec(c, call);
        return;
    case KV_COMMAND_discard:
        if (!c->multi) {
            kv_reply_errorf(call->reply, "ERR DISCARD without MULTI");
            return;
        }
        end_transaction(c);
        break;
    case KV_COMMAND_unwatch:
        end_transaction(c);
        break;
    default:
        abort(); /* a session command: the conversation needs_server() */
    }
    kv_reply_ok(call->reply);
}

/* ---- requests --------------------------------------------------------------------------- */

static bool is_queued(const process_client *c, int id)
{
    return c->multi && id != KV_COMMAND_multi && id != KV_COMMAND_exec && id != KV_COMMAND_discard &&
           id != KV_COMMAND_watch;
}

static void run(process_client *c, const kv_command *row, size_t argc, const kv_slice argv[], int64_t now_ms,
                kv_reply *to)
{
    kv_call call = call_of(c, argv, (int)argc, now_ms, to);

    call.command = row;
    if (epoch_enter(c->door->domain) != 0)
        kv_reply_error(to, KV_ENOMEM);
    else if (is_queued(c, row->id))
        queue(c, row, (int)argc, argv, to);
    else if (row->run)
        row->run(&call);
    else if (row->id == KV_COMMAND_select)
        run_select(c, argv[1], to);
    else
        run_about_transactions(c, &call);
    epoch_leave(c->door->domain);
}

reply *process_ask(process_client *c, size_t argc, const kv_slice argv[], int64_t now_ms)
{
    sink to = { .base = { .ops = &transcript, .protocol = 2 } };
    const kv_command *row = kv_command_resolve((int)argc, argv, &to.base);

    if (row)
        run(c, row, argc, argv, now_ms, &to.base);
    else
        c->failed = c->multi;
    assert(to.root && to.depth == 0 && "a reply without its end");
    return to.root;
}
