/* aof_runner.c - see aof_runner.h. SPDX-License-Identifier: MIT */
#include "aof_runner.h"

#include <stdio.h>
#include <string.h>

#include "args.h"

/* ---- a sink that only listens for errors ---- */

static void ignore(kv_reply *reply)
{
    (void)reply;
}
static void ignore_integer(kv_reply *reply, int64_t value)
{
    (void)reply, (void)value;
}
static void ignore_real(kv_reply *reply, double value)
{
    (void)reply, (void)value;
}
static void ignore_boolean(kv_reply *reply, bool value)
{
    (void)reply, (void)value;
}
static void ignore_text(kv_reply *reply, kv_slice text)
{
    (void)reply, (void)text;
}
static void ignore_bulk(kv_reply *reply, kv_slice data, kv_bytes *owner)
{
    (void)reply, (void)data, (void)owner;
}
static void ignore_verbatim(kv_reply *reply, kv_slice text, const char format[4])
{
    (void)reply, (void)text, (void)format;
}
static void ignore_count(kv_reply *reply, size_t count)
{
    (void)reply, (void)count;
}

static void note_error(kv_reply *reply, kv_slice text)
{
    aof_runner *r = (aof_runner *)reply;

    if (!r->failed)
        snprintf(r->reason, sizeof r->reason, "%.*s", (int)(text.len < 200 ? text.len : 200), text.data);
    r->failed = true;
}

static const kv_reply_ops deaf = {
    .null = ignore,
    .null_array = ignore,
    .integer = ignore_integer,
    .real = ignore_real,
    .boolean = ignore_boolean,
    .simple = ignore_text,
    .error = note_error,
    .bulk = ignore_bulk,
    .verbatim = ignore_verbatim,
    .array = ignore_count,
    .map = ignore_count,
    .set = ignore_count,
    .push = ignore_count,
};

/* ---- commands ---- */

/* Whether a deadline is given as a span of time. */
static bool is_relative(const aof_todo *todo)
{
    switch (todo->row->id) {
    case KV_COMMAND_expire:
    case KV_COMMAND_pexpire:
    case KV_COMMAND_setex:
    case KV_COMMAND_psetex:
        return true;
    case KV_COMMAND_set:
    case KV_COMMAND_getex:
    case KV_COMMAND_msetex:
        for (int i = 2; i < todo->argc; i++)
            if (kv_word_is(todo->argv[i], "ex") || kv_word_is(todo->argv[i], "px"))
                return true;
        return false;
    default:
        return false;
    }
}

static kv_call call_of(aof_runner *r, const aof_todo *todo, int64_t now_ms)
{
    return (kv_call){
        .command = todo->row,
        .argv = todo->argv,
        .argc = todo->argc,
        .db = todo->db,
        .store = r->databases->stores[todo->db],
        .databases = r->databases,
        .now_ms = now_ms,
        .access = store_access_new(r->databases->stores[todo->db], r->now_ms),
        .key_hashed = todo->hashed,
        .key_hash = todo->hash,
        .reply = &r->reply,
        .counters = &r->counters,
        .rng = &r->rng,
        .value_max = KV_VALUE_MAX,
    };
}

void aof_runner_run(aof_runner *r, const aof_todo *todo, const map_hint *hint)
{
    kv_call call = call_of(r, todo, is_relative(todo) ? r->now_ms : 0);

    call.key_hint = hint;
    todo->row->run(&call);
}

void aof_runner_set(aof_runner *r, const aof_todo *first, size_t n, const uint64_t hashes[],
                    const map_hint hints[])
{
    kv_call call = call_of(r, first, 0);

    kv_run_set(&call, n, hashes, hints);
}

void aof_runner_init(aof_runner *r, const kv_databases *databases, int64_t now_ms)
{
    *r = (aof_runner){
        .reply = { .ops = &deaf, .protocol = 2 }, .databases = databases, .now_ms = now_ms, .rng = 1
    };
}
