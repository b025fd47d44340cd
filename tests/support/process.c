/* process.c - a host for commands that is nothing but a host: no socket, no RESP, no clock.
 *
 * The sink builds a tree. Replies arrive in order, an aggregate as its count and then its elements, so the
 * sink keeps a path of aggregates that still want elements; a reply goes into the innermost of them. A
 * command that replies too much, too little or not at all fails here, before any expectation is looked at.
 *
 * SPDX-License-Identifier: MIT */
#include "process.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"

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

void process_client_free(process_client *c)
{
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

static void run(process_client *c, const kv_command *row, size_t argc, const kv_slice argv[], int64_t now_ms,
                kv_reply *to)
{
    kv_call call = {
        .command = row,
        .argv = argv,
        .argc = (int)argc,
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

    if (epoch_enter(c->door->domain) == 0)
        row->run(&call);
    else
        kv_reply_error(to, KV_ENOMEM);
    epoch_leave(c->door->domain);
}

reply *process_ask(process_client *c, size_t argc, const kv_slice argv[], int64_t now_ms)
{
    sink to = { .base = { .ops = &transcript, .protocol = 2 } };
    const kv_command *row = kv_command_resolve((int)argc, argv, &to.base);

    if (row && row->run)
        run(c, row, argc, argv, now_ms, &to.base);
    else if (row && row->id == KV_COMMAND_select)
        run_select(c, argv[1], &to.base);
    else if (row)
        abort(); /* a session command: the conversation needs_server() */
    assert(to.root && to.depth == 0 && "a reply without its end");
    return to.root;
}
