/* exec.c - kv_exec and kv_exec_many: data commands for a program that embeds the store.
 *
 * A write that has happened must not be reported as out of memory because its reply could not be kept. So
 * the first chunk of the reply (exec_reply.c), which is there before the command runs, has room for a number, an error or
 * an old value of ENTRY_INLINE_MAX bytes; and before a write that gives back a longer one (GETSET, GETDEL, SET GET), room for
 * that is got. Only if another thread puts a much longer value there in between may it still fail. Of several commands,
 * one whose reply finds no memory has an error in its place, and the others go on.
 *
 * With KV_SHARING_ACTOR the commands travel to the thread that owns the state and the caller waits for it.
 *
 * SPDX-License-Identifier: MIT */
#include "actor.h"
#include "exec_reply.h"
#include "transaction.h"

#include <sys/random.h>

#define REPLY_BYTES 640 /* the longest error, with its NUL */

/* ---- running ---- */

typedef struct exec {
    actor_message message; /* first: exec_run gets it back from there */
    kv_store *store;
    int argc;
    const kv_slice *argv;
    int64_t now_ms;
    exec_sink sink;
    struct many *many; /* kv_exec_many's; NULL: one command */
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

/* Room for what a write may reply: a number, a word, an error, or the old value. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held) static bool exec_reserve(exec *x, const kv_command *row)
{
    size_t bytes = REPLY_BYTES;
    const entry *e;

    if (!(row->flags & KV_CMD_WRITE))
        return true;
    if (row->keys.flags & KV_KEY_ACCESS) {
        e = store_find(x->store, store_key_of(x->store, x->argv[row->keys.first]), x->now_ms);
        if (e)
            bytes += entry_value(e, NULL).len + 1;
    }
    return exec_reply_reserve(x->sink.result, bytes);
}

/* The row of the command, or NULL after an error was replied. */
static const kv_command *exec_resolve(exec *x)
{
    kv_reply *reply = &x->sink.reply;
    const kv_command *row = kv_command_resolve(x->argc, x->argv, reply);
    char name[KV_COMMAND_NAME_MAX];

    if (row && !row->run) {
        kv_command_name(row, name);
        kv_reply_errorf(reply, "ERR '%s' is a command of servers only", name);
        return NULL;
    }
    if (row && !exec_fits(x)) {
        kv_reply_error(reply, KV_ETOOBIG);
        return NULL;
    }
    return row;
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) static void exec_row(exec *x, const kv_command *row)
{
    kv_counters counters = { 0 };
    kv_databases databases = { .stores = &x->store, .count = 1 };
    uint64_t rng;

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
        .reply = &x->sink.reply,
        .counters = &counters,
        .rng = &rng,
        .value_max = KV_VALUE_MAX,
    });
}

/* ---- several as one act ---- */

struct many {
    transaction transaction;
    queued_command *queue;
    key_check *checks;
    kv_databases databases;
    store_hold *hold;
    int err;
};

static condition_kind check_kind(kv_condition condition)
{
    switch (condition) {
    case KV_ALWAYS:
        return CONDITION_NONE;
    case KV_IF_ABSENT:
        return CONDITION_NX;
    case KV_IF_PRESENT:
        return CONDITION_XX;
    case KV_IF_VERSION:
        return CONDITION_IFVER;
    case KV_IF_EQUAL:
        return CONDITION_IFEQ;
    }
    return CONDITION_NONE;
}

/* Resolves all commands; KV_EINVAL: one cannot be run, and its error is the reply. */
static int many_resolve(exec *x, const kv_transaction *t, size_t *ret_refused)
{
    for (size_t i = 0; i < t->command_count; i++) {
        const kv_command *row = NULL;

        x->argc = t->commands[i].argc;
        x->argv = t->commands[i].argv;
        if (x->argc < 1)
            kv_reply_error(&x->sink.reply, KV_EARITY);
        else
            row = exec_resolve(x);
        if (!row) {
            if (ret_refused)
                *ret_refused = i;
            return KV_EINVAL;
        }
        x->many->queue[i] = (queued_command){ .row = row, .argv = x->argv, .argc = x->argc };
    }
    return 0;
}

static void many_take_checks(struct many *many, const kv_transaction *t)
{
    for (size_t i = 0; i < t->check_count; i++) {
        const kv_exec_check *from = &t->checks[i];

        many->checks[i] = (key_check){
            .condition = { check_kind(from->condition), from->equal, from->version },
            .key = from->key,
        };
    }
}

KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held, kv_hold_held) static void many_run(exec *x)
{
    struct many *many = x->many;

    transaction_lock(&many->transaction, many->hold);
    many->err = transaction_check(&many->transaction, x->now_ms);
    if (!many->err) {
        kv_reply_array(&x->sink.reply, many->transaction.count);
        many->err = x->sink.failed ? KV_ENOMEM : 0;
    }
    for (size_t i = 0; !many->err && i < many->transaction.count; i++) {
        x->argc = many->queue[i].argc;
        x->argv = many->queue[i].argv;
        exec_row(x, many->queue[i].row);
        if (x->sink.failed)
            exec_sink_give_up(&x->sink, i);
    }
    store_hold_release(many->hold);
}

/* ---- both ---- */

static void exec_run(actor_message *message)
{
    exec *x = (exec *)message;
    kv_domain *domain = kv_store_domain(x->store);
    const kv_command *row;

    if (epoch_enter(domain) != 0) {
        x->sink.failed = true;
    } else if (x->many) {
        many_run(x);
    } else {
        row = exec_resolve(x);
        if (row)
            exec_row(x, row);
    }
    epoch_leave(domain);
}

/* Where the state may be touched. */
static void exec_perform(exec *x)
{
    actor *owner = store_actor(x->store);

    if (owner)
        actor_call(owner, &x->message);
    else
        exec_run(&x->message);
}

static int exec_begin(exec *x)
{
    exec_reply *result = exec_reply_new(kv_store_domain(x->store));

    if (!result)
        return KV_ENOMEM;
    exec_sink_init(&x->sink, result);
    return 0;
}

int kv_exec(kv_store *store, int argc, const kv_slice argv[], kv_value **ret_reply, int64_t now_ms)
{
    exec x = { .message.run = exec_run, .store = store, .argc = argc, .argv = argv, .now_ms = now_ms };

    if (argc < 1)
        return KV_EINVAL;
    if (exec_begin(&x) != 0)
        return KV_ENOMEM;
    exec_perform(&x);
    if (x.sink.failed) {
        kv_value_free(&x.sink.result->root);
        return KV_ENOMEM;
    }
    *ret_reply = &x.sink.result->root;
    return 0;
}

int kv_exec_many(kv_store *store, const kv_transaction *t, kv_value **ret_reply, size_t *ret_refused,
                 int64_t now_ms)
{
    struct many many = { .databases = { .stores = &store, .count = 1 },
                         .hold = store_hold_new(kv_store_domain(store), 1) };
    exec x = { .message.run = exec_run, .store = store, .now_ms = now_ms, .many = &many };
    kv_value *reply = NULL;
    int err = many.hold ? exec_begin(&x) : KV_ENOMEM;

    if (err)
        goto out;
    reply = &x.sink.result->root;
    many.queue = exec_reply_alloc(x.sink.result, (t->command_count + 1) * sizeof *many.queue);
    many.checks = exec_reply_alloc(x.sink.result, (t->check_count + 1) * sizeof *many.checks);
    err = many.queue && many.checks ? many_resolve(&x, t, ret_refused) : KV_ENOMEM;
    if (err)
        goto out;
    many_take_checks(&many, t);
    many.transaction = (transaction){
        .databases = &many.databases,
        .commands = many.queue,
        .count = t->command_count,
        .checks = many.checks,
        .check_count = t->check_count,
    };
    exec_perform(&x);
    err = x.sink.failed ? KV_ENOMEM : many.err;
out:
    store_hold_free(many.hold);
    if (err == 0 || (err == KV_EINVAL && !x.sink.failed)) {
        *ret_reply = reply;
        return err;
    }
    kv_value_free(reply);
    return err == KV_EINVAL ? KV_ENOMEM : err;
}
