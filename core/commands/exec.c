/* exec.c - kv_exec: any data command, for a program that embeds the store; and kv_value, its reply.
 *
 * The reply is built by a sink like any other. It arrives in order, an aggregate's count before its
 * elements, so each aggregate takes its elements as one array from an arena, and a short stack remembers
 * where the next value goes:
 *
 *     first chunk   [chunk][exec_reply: domain, chunks, root value][texts and small arrays ...]
 *     more chunks   [chunk][...]                                     as needed, at least twice the size each
 *
 * A write that has happened must not be reported as out of memory because its reply could not be kept. So
 * the first chunk, which is there before the command runs, has room for a number, an error or an old value of
 * ENTRY_INLINE_MAX bytes; and before a write that gives back a longer one (GETSET, GETDEL, SET GET), room for
 * that is got. Only if another thread puts a much longer value there in between may it still fail.
 *
 * With KV_SHARING_ACTOR the command travels to the thread that owns the state and the caller waits for it.
 *
 * SPDX-License-Identifier: MIT */
#include "actor.h"
#include "command.h"

#include <sys/random.h>

#define FIRST_CHUNK_BYTES 2048u
#define DEPTH_MAX         32 /* of aggregates in aggregates; COMMAND DOCS needs 14 */

typedef struct chunk {
    struct chunk *next;
    size_t size_bytes, used_bytes; /* of the whole block */
} chunk;

/* What kv_value_free needs to know; lives in the first chunk. */
typedef struct exec_reply {
    kv_domain *domain; /* a reference */
    chunk *chunks;     /* the newest first */
    kv_value root;
} exec_reply;

struct frame {
    kv_value *next;
    size_t left;
};

typedef struct exec_sink {
    kv_reply reply;
    exec_reply *result;
    struct frame frames[DEPTH_MAX];
    int depth;
    bool failed;
    kv_value nowhere; /* takes what comes after a failure */
} exec_sink;

/* ---- the arena ---- */

static chunk *chunk_new(kv_domain *domain, size_t size_bytes, chunk *next)
{
    chunk *c = domain_alloc(domain, size_bytes, 16);

    if (c)
        *c = (chunk){ next, size_bytes, sizeof *c };
    return c;
}

static size_t round_up(size_t n)
{
    return (n + 15) & ~(size_t)15;
}

/* Memory that lives as long as the reply, 16-byte aligned; NULL: none is left. */
static void *arena_alloc(exec_reply *result, size_t size_bytes)
{
    chunk *c = result->chunks;
    size_t at = round_up(c->used_bytes);

    if (size_bytes > SIZE_MAX / 4)
        return NULL;
    if (at > c->size_bytes || c->size_bytes - at < size_bytes) {
        size_t need = round_up(sizeof *c) + size_bytes;

        c = chunk_new(result->domain, need > 2 * c->size_bytes ? need : 2 * c->size_bytes, c);
        if (!c)
            return NULL;
        result->chunks = c;
        at = round_up(c->used_bytes);
    }
    c->used_bytes = at + size_bytes;
    return (char *)c + at;
}

/* Makes sure that the next size_bytes come without asking for memory. */
static bool arena_reserve(exec_reply *result, size_t size_bytes)
{
    size_t before = result->chunks->used_bytes;
    chunk *c = result->chunks;

    if (!arena_alloc(result, size_bytes))
        return false;
    if (result->chunks == c)
        c->used_bytes = before;
    else
        result->chunks->used_bytes = sizeof *c;
    return true;
}

static exec_reply *exec_reply_new(kv_domain *domain)
{
    chunk *c = chunk_new(domain, FIRST_CHUNK_BYTES, NULL);
    exec_reply *result;

    if (!c)
        return NULL;
    result = (exec_reply *)((char *)c + round_up(sizeof *c));
    c->used_bytes = round_up(sizeof *c) + sizeof *result;
    *result = (exec_reply){ .domain = kv_domain_ref(domain), .chunks = c };
    return result;
}

void kv_value_free(kv_value *value)
{
    exec_reply *result;
    kv_domain *domain;
    chunk *c;

    if (!value)
        return;
    result = (exec_reply *)((char *)value - offsetof(exec_reply, root));
    domain = result->domain;
    c = result->chunks;
    while (c) { /* the last one holds result itself */
        chunk *next = c->next;

        domain_free(domain, c, c->size_bytes);
        c = next;
    }
    kv_domain_unref(domain);
}

/* ---- the sink ---- */

/* Where the next value goes. */
static kv_value *sink_next(exec_sink *sink, kv_reply_type type)
{
    kv_value *value = &sink->result->root;

    while (sink->depth > 0 && sink->frames[sink->depth - 1].left == 0)
        sink->depth--;
    if (sink->failed) {
        value = &sink->nowhere;
    } else if (sink->depth > 0) {
        value = sink->frames[sink->depth - 1].next++;
        sink->frames[sink->depth - 1].left--;
    }
    *value = (kv_value){ .type = type };
    return value;
}

static void sink_text(kv_reply *reply, kv_reply_type type, kv_slice text)
{
    exec_sink *sink = (exec_sink *)reply;
    kv_value *value = sink_next(sink, type);
    char *copy = sink->failed ? NULL : arena_alloc(sink->result, text.len + 1);

    if (!copy) {
        sink->failed = true;
        return;
    }
    if (text.len)
        memcpy(copy, text.data, text.len);
    copy[text.len] = '\0';
    value->text = kv_slice_of(copy, text.len);
}

static void sink_aggregate(kv_reply *reply, kv_reply_type type, size_t count)
{
    exec_sink *sink = (exec_sink *)reply;
    kv_value *value = sink_next(sink, type);

    if (sink->failed || count == 0)
        return;
    if (sink->depth == DEPTH_MAX || count > SIZE_MAX / sizeof *value) {
        sink->failed = true;
        return;
    }
    value->elements = arena_alloc(sink->result, count * sizeof *value);
    if (!value->elements) {
        sink->failed = true;
        return;
    }
    value->count = count;
    sink->frames[sink->depth++] = (struct frame){ value->elements, count };
}

static void sink_null(kv_reply *reply)
{
    sink_next((exec_sink *)reply, KV_REPLY_NULL);
}

static void sink_integer(kv_reply *reply, int64_t integer)
{
    sink_next((exec_sink *)reply, KV_REPLY_INT)->integer = integer;
}

static void sink_real(kv_reply *reply, double number)
{
    sink_next((exec_sink *)reply, KV_REPLY_DOUBLE)->number = number;
}

static void sink_boolean(kv_reply *reply, bool boolean)
{
    sink_next((exec_sink *)reply, KV_REPLY_BOOL)->integer = boolean;
}

static void sink_simple(kv_reply *reply, kv_slice text)
{
    sink_text(reply, KV_REPLY_SIMPLE, text);
}

static void sink_error(kv_reply *reply, kv_slice text)
{
    sink_text(reply, KV_REPLY_ERROR, text);
}

static void sink_bulk(kv_reply *reply, kv_slice data, kv_bytes *owner)
{
    (void)owner; /* a text ends with a NUL, which the owner's bytes do not */
    sink_text(reply, KV_REPLY_BULK, data);
}

static void sink_verbatim(kv_reply *reply, kv_slice text, const char format[4])
{
    (void)format;
    sink_text(reply, KV_REPLY_BULK, text);
}

static void sink_array(kv_reply *reply, size_t count)
{
    sink_aggregate(reply, KV_REPLY_ARRAY, count);
}

static void sink_map(kv_reply *reply, size_t pairs)
{
    sink_aggregate(reply, KV_REPLY_MAP, 2 * pairs);
}

static void sink_set(kv_reply *reply, size_t count)
{
    sink_aggregate(reply, KV_REPLY_SET, count);
}

static const kv_reply_ops sink_ops = {
    .null = sink_null,
    .null_array = sink_null,
    .integer = sink_integer,
    .real = sink_real,
    .boolean = sink_boolean,
    .simple = sink_simple,
    .error = sink_error,
    .bulk = sink_bulk,
    .verbatim = sink_verbatim,
    .array = sink_array,
    .map = sink_map,
    .set = sink_set,
    .push = sink_array,
};

/* ---- running ---- */

typedef struct exec {
    actor_message message; /* first: act_on_actor gets it back from there */
    kv_store *store;
    int argc;
    const kv_slice *argv;
    int64_t now_ms;
    exec_sink sink;
} exec;

/* A seed for this one call; only RANDOMKEY draws from it, so only it pays for a good one. */
static uint64_t exec_seed(const kv_command *row, const exec *x)
{
    uint64_t seed = (uint64_t)x->now_ms;

    if (row->id == KV_COMMAND_randomkey && getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed)
        seed ^= (uint64_t)(uintptr_t)x;
    return seed;
}

static bool exec_fits(const exec *x)
{
    for (int i = 0; i < x->argc; i++)
        if (x->argv[i].len > KV_VALUE_MAX)
            return false;
    return true;
}

/* Room for the old value that a write may give back. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static bool exec_reserve(exec *x, const kv_command *row)
{
    const entry *e;

    if (!(row->flags & KV_CMD_WRITE) || !(row->keys.flags & KV_KEY_ACCESS))
        return true;
    e = store_find(x->store, store_key_of(x->store, x->argv[row->keys.first]), x->now_ms);
    return !e || arena_reserve(x->sink.result, entry_value(e, NULL).len + 1);
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void exec_command(exec *x)
{
    kv_reply *reply = &x->sink.reply;
    kv_counters counters = { 0 };
    kv_databases databases = { &x->store, 1 };
    const kv_command *row = kv_command_resolve(x->argc, x->argv, reply);
    char name[KV_COMMAND_NAME_MAX];
    uint64_t rng;

    if (!row)
        return;
    if (!row->run) {
        kv_command_name(row, name);
        kv_reply_errorf(reply, "ERR '%s' is a command of servers only", name);
        return;
    }
    if (!exec_fits(x)) {
        kv_reply_error(reply, KV_ETOOBIG);
        return;
    }
    if (!exec_reserve(x, row)) {
        x->sink.failed = true;
        return;
    }
    rng = exec_seed(row, x);
    row->run(&(kv_call){
        .command = row,
        .argv = x->argv,
        .argc = x->argc,
        .store = x->store,
        .databases = &databases,
        .now_ms = x->now_ms,
        .access = store_access_clock(x->now_ms),
        .reply = reply,
        .counters = &counters,
        .rng = &rng,
        .value_max = KV_VALUE_MAX,
    });
}

static void exec_run(actor_message *message)
{
    exec *x = (exec *)message;
    kv_domain *domain = kv_store_domain(x->store);

    if (epoch_enter(domain) == 0)
        exec_command(x);
    else
        x->sink.failed = true;
    epoch_leave(domain);
}

int kv_exec(kv_store *store, int argc, const kv_slice argv[], kv_value **ret_reply, int64_t now_ms)
{
    exec x = { .message.run = exec_run, .store = store, .argc = argc, .argv = argv, .now_ms = now_ms };
    actor *owner = store_actor(store);

    if (argc < 1)
        return KV_EINVAL;
    x.sink.reply = (kv_reply){ .ops = &sink_ops, .protocol = 3 };
    x.sink.result = exec_reply_new(kv_store_domain(store));
    if (!x.sink.result)
        return KV_ENOMEM;
    if (owner)
        actor_call(owner, &x.message);
    else
        exec_run(&x.message);
    if (x.sink.failed) {
        kv_value_free(&x.sink.result->root);
        return KV_ENOMEM;
    }
    *ret_reply = &x.sink.result->root;
    return 0;
}
