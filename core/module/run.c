/* run.c - see run.h.
 *
 * KV.INCRBY key field 5 is INCRBY field 5 on the store of that key. The command is the very function that kvserver
 * and embedding programs call; what is a module's is before and behind it:
 *
 *   1. the key is opened; a key of another type is refused, an absent one is an empty store
 *   2. the store that shows its fields (keyed.h); the command; its reply goes straight to the server
 *   3. if fields have changed: they are replicated as the state they have now (effects.h), the key is created, or
 *      deleted when no field is left, WATCH is told, listeners hear "kv.incrby"
 *
 * A command that changes nothing tells nobody: a condition that was not met aborts no one's transaction.
 *
 * Cost of a point command beside the server's own: opening the key; on a pack, the fields it names filled into a store (200
 * ns each), and for a write the packing of all.
 *
 * SPDX-License-Identifier: MIT */
#include "run.h"

#include <stdio.h>

#include "expire.h"
#include "reply.h"

#define ARGUMENTS_ON_STACK 32
#define PARTS_MAX          8 /* a command on more fields gets them all */

/* ---- before and behind ---- */

KV_UNCHECKED void run_begin(run *r, rm_ctx *ctx, rm_str *name, int mode, keyed_part part)
{
    *r = (run){ .ctx = ctx, .name = name, .part = part, .now_ms = module_now_ms() };
    effects_clear(&module.effects);
    r->key = rm.OpenKey(ctx, name, mode);
    if (r->key && rm.KeyType(r->key) != RM_KEY_EMPTY) {
        if (rm.ModuleTypeGetType(r->key) == module.type)
            r->keyed = rm.ModuleTypeGetValue(r->key);
        else
            r->replied = rm.ReplyWithError(ctx, kv_error_text(KV_ETYPE)) == RM_OK;
    }
    if (epoch_enter(module.domain) == 0 && !r->replied)
        r->store = keyed_open(r->keyed, part);
    if (!r->store && !r->replied)
        r->replied = rm.ReplyWithError(ctx, kv_error_text(KV_ENOMEM)) == RM_OK;
}

/* Keeps what the store shows as the key's fields. */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static int run_keep(run *r)
{
    bool created = !r->keyed;
    int err;

    if (created && !kv_store_count(r->store))
        return keyed_close(NULL, r->part, false);
    if (created)
        r->keyed = keyed_new();
    if (!r->keyed) {
        keyed_close(NULL, r->part, false);
        return KV_ENOMEM;
    }
    err = keyed_close(r->keyed, r->part, true);
    if (created && err) {
        keyed_free(r->keyed);
        r->keyed = NULL;
    } else if (created) {
        rm.ModuleTypeSetValue(r->key, module.type, r->keyed);
    }
    return err;
}

/* Tells what has changed, with the store still open. */
static void run_tell(run *r, const char *what)
{
    char event[KV_COMMAND_NAME_MAX];

    effects_replicate(&module.effects, r->ctx, r->name, r->store);
    rm.SignalModifiedKey(r->ctx, r->name);
    snprintf(event, sizeof event, MODULE_NAME ".%s", what);
    rm.NotifyKeyspaceEvent(r->ctx, RM_NOTIFY_MODULE, event, r->name);
}

static void run_watch_deadline(run *r)
{
    if (module.effects.earliest_ms != KV_FOREVER && r->keyed)
        expire_watch(r->keyed, rm.GetSelectedDb(r->ctx), run_slice(r->name), module.effects.earliest_ms);
}

static void run_delete_empty(run *r)
{
    if (!r->keyed || keyed_count(r->keyed))
        return;
    r->keyed = NULL;
    rm.DeleteKey(r->key);
    rm.NotifyKeyspaceEvent(r->ctx, RM_NOTIFY_GENERIC, "del", r->name);
}

KV_UNCHECKED void run_end(run *r, const char *what)
{
    bool changed = r->store && module.effects.count > 0;

    if (changed) {
        run_tell(r, what);
        if (run_keep(r) != 0)
            rm.Log(r->ctx, "warning", "kv: out of memory while a key's fields were kept");
        run_watch_deadline(r);
        run_delete_empty(r);
    } else if (r->store) {
        keyed_close(r->keyed, r->part, false);
    }
    epoch_leave(module.domain);
    if (r->keyed && r->keyed->expiring)
        expire_moved(r->keyed, rm.GetSelectedDb(r->ctx), run_slice(r->name));
    if (r->key)
        rm.CloseKey(r->key);
    effects_clear(&module.effects);
}

/* ---- a row of the table ---- */

KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held)
static void call_row(run *r, const kv_command *row, int argc, const kv_slice argv[])
{
    kv_databases databases = { .stores = &r->store, .count = 1 };
    module_reply reply;

    module_reply_init(&reply, r->ctx, row->flags & KV_CMD_FAST);
    row->run(&(kv_call){
        .command = row,
        .argv = argv,
        .argc = argc,
        .store = r->store,
        .databases = &databases,
        .now_ms = r->now_ms,
        .access = KV_NO_TOUCH,
        .reply = &reply.reply,
        .counters = &module.counters,
        .rng = &module.rng,
        .value_max = KV_VALUE_MAX,
    });
}

/* The fields that the row's key spec names, in names; all of them when it names none, or more than there is room for. */
static keyed_part part_of(const kv_command *row, int argc, const kv_slice argv[], kv_slice names[PARTS_MAX])
{
    int positions[PARTS_MAX], n = kv_command_keys(row, argc, argv, positions, PARTS_MAX);

    if (n <= 0 || n > PARTS_MAX)
        return (keyed_part){ 0 };
    for (int i = 0; i < n; i++)
        names[i] = argv[positions[i]];
    return (keyed_part){ names, (size_t)n };
}

/* Fields hold strings and belong to one database, the key. So what fits are the commands on strings and those on keys of
 * any type, if they name some of the fields, or go through all of them as SCAN and RANDOMKEY do; not what is dangerous,
 * waits, or speaks of a server. KV.KEYS, KV.LEN and DEL of the whole key take the place of KEYS, DBSIZE and FLUSHDB. */
bool run_fits(const kv_command *row)
{
    const unsigned misfits = KV_CMD_SESSION | KV_CMD_ALL_STORES | KV_CMD_ADMIN | KV_CMD_DANGEROUS |
                             KV_CMD_BLOCKING | KV_CMD_PUBSUB | KV_CMD_LOADING;
    bool of_fields = strcmp(row->group, "string") == 0 || strcmp(row->group, "generic") == 0;
    bool reaches_fields = row->keys.first > 0 || row->keys.numkeys > 0 || row->id == KV_COMMAND_scan ||
                          row->id == KV_COMMAND_randomkey;

    return row->run && !row->container && of_fields && reaches_fields && !(row->flags & misfits) &&
           row->id != KV_COMMAND_dump; /* without RESTORE, which is dangerous, it is of no use */
}

int run_row(rm_ctx *ctx, const kv_command *row, rm_str **argv, int argc)
{
    kv_slice on_stack[ARGUMENTS_ON_STACK], *slices = on_stack;
    size_t bytes = (size_t)argc * sizeof *slices;
    kv_slice names[PARTS_MAX];
    run r;

    if (argc < 2 || !kv_command_arity_ok(row, argc - 1))
        return rm.WrongArity(ctx);
    if (argc > ARGUMENTS_ON_STACK)
        slices = rm_alloc(bytes);
    if (!slices)
        return rm.ReplyWithError(ctx, kv_error_text(KV_ENOMEM));
    slices[0] = kv_str(row->name);
    for (int i = 2; i < argc; i++)
        slices[i - 1] = run_slice(argv[i]);
    run_begin(&r, ctx, argv[1], row->flags & KV_CMD_WRITE ? RM_READ | RM_WRITE : RM_READ,
              part_of(row, argc - 1, slices, names));
    if (!r.replied)
        call_row(&r, row, argc - 1, slices);
    run_end(&r, row->name);
    if (slices != on_stack)
        rm.Free(slices);
    return RM_OK;
}

/* ---- deadlines ---- */

void run_expire(rm_ctx *ctx, rm_str *name, const keyed *k, int64_t now_ms)
{
    int64_t next_ms;
    run r;

    run_begin(&r, ctx, name, RM_READ | RM_WRITE, (keyed_part){ 0 });
    if (r.keyed == k && r.store) {
        store_expire_cycle(r.store, now_ms, 0, NULL);
        next_ms = store_next_deadline(r.store);
        if (next_ms < module.effects.earliest_ms)
            module.effects.earliest_ms = next_ms;
    }
    run_end(&r, "expired");
}
