/* whole.c - see whole.h.
 *
 * A read of all fields of a large key is the one thing that must not be done where all clients wait. So the store
 * is retained, the client blocked, and a thread of the pool scans the store while the main thread goes on, writing to
 * it, too. What it tells is each field that was there throughout, once, with a value that it had meanwhile; not one moment of
 * the whole. Inside MULTI and scripts, where a client may not be blocked, and for small keys, the same runs at once.
 *
 * The thread enters an epoch for some fields at a time: what the main thread replaces meanwhile can soon be freed.
 *
 * SPDX-License-Identifier: MIT */
#include "whole.h"

#include "args.h"
#include "decimal.h"
#include "pattern.h"
#include "pool.h"
#include "reply.h"
#include "run.h"

#define FIELDS_PER_EPOCH 1000u

typedef enum what { FIELDS_AND_VALUES, FIELDS, VALUES, COUNT } what;

/* One read of all fields. */
typedef struct reading {
    what what;
    kv_store *store; /* retained when it is read by the pool */
    uint64_t ended;  /* module.ended, when it was retained */
    int64_t now_ms;
    bool filter;
    kv_slice pattern; /* behind the struct when it is read by the pool */
    rm_ctx *ctx;
    long long told;

    rm_blocked *blocked; /* of the client that waits */
    struct reading *next, **link;
    _Atomic bool cancelled; /* the client has gone */
} reading;

/* Those of the pool; the main thread's. */
static reading *readings;

/* ---- telling ---- */

static void tell_slice(rm_ctx *ctx, kv_slice text)
{
    rm.ReplyWithStringBuffer(ctx, text.len ? text.data : "", text.len);
}

static void tell_visit(void *arg, const entry *e)
{
    reading *r = arg;

    if (r->filter && !pattern_match(r->pattern, entry_key(e), false))
        return;
    r->told++;
    if (r->what == FIELDS_AND_VALUES || r->what == FIELDS)
        tell_slice(r->ctx, entry_key(e));
    if (r->what == FIELDS_AND_VALUES || r->what == VALUES)
        tell_slice(r->ctx, entry_value(e, NULL));
}

/* Some of the fields from cursor on; returns the next cursor. */
static uint64_t tell_some(reading *r, uint64_t cursor)
{
    long long end = r->told + FIELDS_PER_EPOCH;
    unsigned steps = FIELDS_PER_EPOCH;

    if (epoch_enter(module.domain) == 0) {
        do {
            cursor = store_scan(r->store, cursor, tell_visit, r, r->now_ms);
        } while (cursor && r->told < end && --steps);
    }
    epoch_leave(module.domain);
    return cursor;
}

static bool is_map(const reading *r)
{
    return r->what == FIELDS_AND_VALUES && rm.ReplyWithMap && rm.ReplySetMapLength;
}

static void tell_all(reading *r)
{
    uint64_t cursor = 0;

    if (r->what != COUNT && is_map(r))
        rm.ReplyWithMap(r->ctx, RM_POSTPONED);
    else if (r->what != COUNT)
        rm.ReplyWithArray(r->ctx, RM_POSTPONED);
    do {
        cursor = tell_some(r, cursor);
    } while (cursor && !atomic_load_explicit(&r->cancelled, memory_order_relaxed));
    if (r->what == COUNT)
        rm.ReplyWithLongLong(r->ctx, r->told);
    else if (is_map(r))
        rm.ReplySetMapLength(r->ctx, (long)r->told);
    else
        rm.ReplySetArrayLength(r->ctx, (long)(r->what == FIELDS_AND_VALUES ? 2 * r->told : r->told));
}

/* ---- in the pool ---- */

static void reading_free(rm_ctx *ctx, void *arg)
{
    reading *r = arg;

    (void)ctx;
    *r->link = r->next;
    if (r->next)
        r->next->link = r->link;
    rm.Free(r);
}

static void on_disconnect(rm_ctx *ctx, rm_blocked *blocked)
{
    (void)ctx;
    for (reading *r = readings; r; r = r->next) {
        if (r->blocked == blocked)
            atomic_store_explicit(&r->cancelled, true, memory_order_relaxed);
    }
}

static void read_in_pool(void *arg)
{
    reading *r = arg;

    r->ctx = rm.GetThreadSafeContext(r->blocked);
    tell_all(r);
    rm.FreeThreadSafeContext(r->ctx);
    kv_store_unref(r->store);
    if (atomic_load_explicit(&module.ended, memory_order_relaxed) != r->ended)
        domain_trim(module.domain); /* the key may have ended: then this thread has freed its store */
    rm.UnblockClient(r->blocked, r);
}

/* A copy of r that outlives the command, or NULL. */
static reading *reading_keep(const reading *r)
{
    reading *kept = rm_alloc(sizeof *kept + r->pattern.len);

    if (!kept)
        return NULL;
    *kept = *r;
    kept->pattern.data = (const char *)(kept + 1);
    if (r->pattern.len)
        memcpy(kept + 1, r->pattern.data, r->pattern.len);
    kept->next = readings;
    kept->link = &readings;
    if (readings)
        readings->link = &kept->next;
    readings = kept;
    return kept;
}

/* Hands the reading to the pool; false: it must be done here. */
static bool offload(rm_ctx *ctx, const reading *r)
{
    reading *kept;

    if (kv_store_count(r->store) < (size_t)module.offload_min_fields || module.offload_threads == 0 ||
        (rm.GetContextFlags(ctx) & (RM_DENY_BLOCKING | RM_IN_MULTI | RM_IN_LUA)))
        return false;
    kept = reading_keep(r);
    if (!kept)
        return false;
    kv_store_ref(kept->store);
    kept->ended = atomic_load_explicit(&module.ended, memory_order_relaxed);
    kept->blocked = rm.BlockClient(ctx, NULL, NULL, reading_free, 0);
    rm.SetDisconnectCallback(kept->blocked, on_disconnect);
    module.offloaded++;
    if (!pool_submit(read_in_pool, kept, (unsigned)module.offload_threads))
        read_in_pool(kept); /* the client is blocked already: it is answered all the same */
    return true;
}

/* ---- the commands ---- */

/* [MATCH pattern] behind the key. */
static bool read_match(rm_ctx *ctx, rm_str **argv, int argc, reading *r)
{
    if (argc == 2)
        return true;
    if (argc != 4 || !kv_word_is(run_slice(argv[2]), "match")) {
        rm.ReplyWithError(ctx, kv_error_text(KV_ESYNTAX));
        return false;
    }
    r->filter = true;
    r->pattern = run_slice(argv[3]);
    if (r->pattern.len > PATTERN_MAX) {
        rm.ReplyWithError(ctx, "ERR pattern is too long");
        return false;
    }
    return true;
}

static int whole(rm_ctx *ctx, rm_str **argv, int argc, what kind)
{
    reading all = { .what = kind, .ctx = ctx };
    run r;

    if (argc < 2)
        return rm.WrongArity(ctx);
    if (!read_match(ctx, argv, argc, &all))
        return RM_OK;
    run_begin(&r, ctx, argv[1], RM_READ, (keyed_part){ 0 });
    all.store = r.store;
    all.now_ms = r.now_ms;
    if (!r.replied && module.reply_max_fields && kind != COUNT &&
        kv_store_count(r.store) > (size_t)module.reply_max_fields)
        rm.ReplyWithError(ctx, "ERR the key has more than kv.reply-max-fields fields: read it with KV.SCAN");
    else if (!r.replied && !(r.keyed && keyed_store(r.keyed) && offload(ctx, &all)))
        tell_all(&all);
    run_end(&r, NULL);
    return RM_OK;
}

/* KV.ALL key [MATCH pattern] */
int whole_all(rm_ctx *ctx, rm_str **argv, int argc)
{
    return whole(ctx, argv, argc, FIELDS_AND_VALUES);
}

/* KV.KEYS key [MATCH pattern] */
int whole_keys(rm_ctx *ctx, rm_str **argv, int argc)
{
    return whole(ctx, argv, argc, FIELDS);
}

/* KV.VALUES key [MATCH pattern] */
int whole_values(rm_ctx *ctx, rm_str **argv, int argc)
{
    return whole(ctx, argv, argc, VALUES);
}

/* KV.COUNT key [MATCH pattern] */
int whole_count(rm_ctx *ctx, rm_str **argv, int argc)
{
    return whole(ctx, argv, argc, COUNT);
}

/* KV.LEN key: as HLEN, what has expired but is still there included. */
int whole_len(rm_ctx *ctx, rm_str **argv, int argc)
{
    run r;

    if (argc != 2)
        return rm.WrongArity(ctx);
    run_begin(&r, ctx, argv[1], RM_READ, (keyed_part){ 0 });
    if (!r.replied)
        rm.ReplyWithLongLong(ctx, (long long)kv_store_count(r.store));
    run_end(&r, NULL);
    return RM_OK;
}

static void info_number(kv_reply *reply, const char *name, uint64_t number)
{
    kv_reply_bulk(reply, kv_str(name));
    kv_reply_int(reply, (int64_t)number);
}

static void tell_info(rm_ctx *ctx, const run *r)
{
    module_reply sink;
    kv_stats stats;

    module_reply_init(&sink, ctx, false);
    if (!r->keyed) {
        kv_reply_null(&sink.reply);
        return;
    }
    kv_store_stats(r->store, &stats, r->now_ms);
    sink.reply.ops->map(&sink.reply, 6);
    kv_reply_bulk(&sink.reply, KV_STR("form"));
    kv_reply_bulk(&sink.reply, keyed_store(r->keyed) ? KV_STR("store") : KV_STR("pack"));
    info_number(&sink.reply, "fields", stats.keys);
    info_number(&sink.reply, "fields-with-deadline", stats.keys_with_deadline);
    info_number(&sink.reply, "bytes", keyed_size(r->keyed));
    info_number(&sink.reply, "shards", keyed_store(r->keyed) ? stats.shards : 0);
    info_number(&sink.reply, "version", keyed_version(r->keyed));
}

/* KV.INFO key: null when there is no such key. */
int whole_info(rm_ctx *ctx, rm_str **argv, int argc)
{
    run r;

    if (argc != 2)
        return rm.WrongArity(ctx);
    run_begin(&r, ctx, argv[1], RM_READ, (keyed_part){ 0 });
    if (!r.replied)
        tell_info(ctx, &r);
    run_end(&r, NULL);
    return RM_OK;
}

/* ---- records ---- */

/* field value deadline version, as KV.PUT has them. version_max: keyed_version_max. */
static int read_record(rm_str **argv, uint64_t version_max, pack_field *ret_field)
{
    int64_t deadline_ms, version;

    ret_field->name = run_slice(argv[0]);
    ret_field->value = run_slice(argv[1]);
    if (!decimal_parse(run_slice(argv[2]), &deadline_ms) || !decimal_parse(run_slice(argv[3]), &version))
        return KV_ENOTINT;
    if (deadline_ms < 0 || version < 1 || (uint64_t)version > version_max)
        return KV_EINVAL;
    ret_field->deadline_ms = deadline_ms ? deadline_ms : KV_FOREVER;
    ret_field->version = (uint64_t)version;
    return 0;
}

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static int put_records(run *r, rm_str **argv, int argc)
{
    uint64_t version_max = keyed_version_max(r->ctx);
    pack_field field;
    int err = 0;

    for (int i = 2; !err && i < argc; i += 4)
        err = read_record(argv + i, version_max, &field); /* all or nothing */
    for (int i = 2; !err && i < argc; i += 4) {
        read_record(argv + i, version_max, &field);
        err = keyed_restore(r->store, &field);
    }
    return err;
}

/* KV.PUT key (field value deadline version)+: the fields have these values, deadlines (milliseconds, 0: none) and
 * versions, whatever they had before. */
int record_put(rm_ctx *ctx, rm_str **argv, int argc)
{
    int err;
    run r;

    if (argc < 6 || (argc - 2) % 4 != 0)
        return rm.WrongArity(ctx);
    run_begin(&r, ctx, argv[1], RM_READ | RM_WRITE, (keyed_part){ 0 });
    if (!r.replied) {
        err = put_records(&r, argv, argc);
        if (err)
            rm.ReplyWithError(ctx, kv_error_text(err));
        else
            rm.ReplyWithLongLong(ctx, (argc - 2) / 4);
    }
    run_end(&r, "put");
    return RM_OK;
}

/* KV.REM key field+: these fields are not there; the reply is how many were, deadline passed or not. */
int record_remove(rm_ctx *ctx, rm_str **argv, int argc)
{
    long long removed = 0;
    run r;

    if (argc < 3)
        return rm.WrongArity(ctx);
    run_begin(&r, ctx, argv[1], RM_READ | RM_WRITE, (keyed_part){ 0 });
    for (int i = 2; !r.replied && i < argc; i++)
        removed += kv_store_delete(r.store, run_slice(argv[i]), NULL, INT64_MIN) == 0;
    if (!r.replied)
        rm.ReplyWithLongLong(ctx, removed);
    run_end(&r, "rem");
    return RM_OK;
}
