/* aof_apply.c - see aof_apply.h.
 *
 * The problem: the commands of a log are in one order, and most time of loading goes into bringing keys into the cache, which
 * several threads can do at once.
 *
 * The idea: only the order of what touches the same keys matters. One thread reads, checks (aof_reader.c) and understands; a
 * command whose keys all belong to one loader (aof_loaders.c) is given to that; before any other one, as RENAME, MSET or FLUSHALL,
 * it waits until the loaders have done what they were given, and runs it itself.
 *
 *     SELECT, MULTI, EXEC                    understood here: each command goes with its database
 *     SET k, INCR k, DEL k, MOVE k 1 ...     the loader of k: of all databases, since the hash is the same
 *     RENAME k l, MSET k 1 l 2               the same where k and l have one loader, else: wait, run here
 *     FLUSHDB, SWAPDB ...                    wait, run here
 *
 * An act (MULTI ... EXEC) needs no more than that. It is whole or not there at all, since a unit of the reader does not cut
 * it; and nobody looks at the databases before they are complete, so nobody can see it in part.
 *
 * To wait costs as much as a hundred commands. So after a command that all had to wait for, the next `alone` ones are run here, too, and so
 * are those of a small log: a log that has many RENAMEs loads as fast as with one thread, not slower. The memory of what waits is bounded; a
 * command that is too long to be copied is one to wait for.
 *
 * Invariants: what is given to loaders is of units that were believed; a command fails here exactly if it would have with one
 * thread, and the one that is told is the first (aof_loaders.c says why).
 *
 * Cost: some 600 instructions for a SET on the reading thread, beside the checksum (a log of redis-server: 800, since its form is checked
 * first), and 1200 on that of its loader, while the map grows.
 *
 * Rejected: threads that each read the whole log and take their keys from it: parsing costs about as much as a store that is
 * read ahead. SPDX-License-Identifier: MIT */
#include "aof_apply.h"

#include <stdio.h>

#include "args.h"

#define KEYS_MAX 16 /* of a command that goes to a loader */

/* ---- whose command it is ---- */

static bool has_one_key(const kv_command *row)
{
    const kv_key_spec *keys = &row->keys;

    return keys->first > 0 && keys->last == keys->first && !keys->numkeys && !keys->keyword &&
           !row->keys2.first;
}

/* The loader that has all keys of a command, or -1: there is none. Hashes the first one. */
static int loader_of(const aof_apply *a, aof_todo *todo)
{
    int positions[KEYS_MAX], which = -1,
                             n = kv_command_keys(todo->row, todo->argc, todo->argv, positions, KEYS_MAX);

    if (n > KEYS_MAX)
        return -1;
    for (int i = 0; i < n; i++) {
        uint64_t hash = domain_hash(a->domain, todo->argv[positions[i]]);
        int its = aof_loaders_of(a->loaders, hash);

        if (i == 0) {
            todo->hash = hash;
            todo->hashed = positions[0] == todo->row->keys.first;
            which = its;
        } else if (its != which) {
            return -1;
        }
    }
    return which;
}

static int loader_of_key(const aof_apply *a, aof_todo *todo)
{
    todo->hash = domain_hash(a->domain, todo->argv[todo->row->keys.first]);
    todo->hashed = true;
    return aof_loaders_of(a->loaders, todo->hash);
}

/* ---- carrying out ---- */

static int failed(aof_apply *a, uint64_t offset, const char *reason)
{
    a->failed_at = offset;
    snprintf(a->reason, sizeof a->reason, "%s", reason);
    return KV_EINVAL;
}

/* 0: the loaders have done all that they were given. */
static int settle(aof_apply *a)
{
    aof_failure failure;

    if (!a->loaders || aof_loaders_settle(a->loaders, &failure))
        return 0;
    return failure.no_memory ? KV_ENOMEM : failed(a, failure.offset, failure.reason);
}

static int run_here(aof_apply *a, const aof_todo *todo, uint64_t offset)
{
    int err = epoch_enter(a->domain) == 0 ? 0 : KV_ENOMEM;

    if (!err)
        aof_runner_run(&a->runner, todo, NULL);
    epoch_leave(a->domain);
    return a->runner.failed ? failed(a, offset, a->runner.reason) : err;
}

/* One that the calling thread runs among others that it does. */
static int run_alone(aof_apply *a, const aof_todo *todo, uint64_t offset)
{
    if (!has_one_key(todo->row))
        a->alone = a->how.alone;
    else if (--a->alone == 0 && !a->loaders)
        a->loaders = aof_loaders_new(a->how.databases, a->how.now_ms, a->how.threads);
    if (!a->loaders && a->alone == 0) /* without threads it goes on like that */
        a->alone = UINT32_MAX;
    return run_here(a, todo, offset);
}

static int run_or_give(aof_apply *a, aof_todo *todo, uint64_t offset)
{
    int which, err;

    if (a->alone)
        return run_alone(a, todo, offset);
    which = has_one_key(todo->row) ? loader_of_key(a, todo) : loader_of(a, todo);
    if (which >= 0 && aof_loaders_take(todo)) {
        if (aof_loaders_give(a->loaders, which, todo, offset))
            return 0;
        err = settle(a);
        return err ? err : KV_ENOMEM;
    }
    a->alone = a->how.alone;
    err = settle(a);
    return err ? err : run_here(a, todo, offset);
}

/* ---- understanding ---- */

/* What stands at offset cannot be carried out; unless one before it could not. */
static int refuse(aof_apply *a, uint64_t offset, const char *why)
{
    kv_slice name = a->command.argc ? a->command.argv[0] : KV_STR("");
    char shown[33], reason[AOF_REASON_MAX];
    size_t n = 0;
    int err = settle(a);

    if (err)
        return err;
    for (; n < name.len && n < sizeof shown - 1; n++)
        shown[n] = name.data[n] >= ' ' && name.data[n] < 127 ? name.data[n] : '?';
    shown[n] = '\0';
    snprintf(reason, sizeof reason, "'%s' %s", shown, why);
    return failed(a, offset, reason);
}

static int select_database(aof_apply *a, uint64_t offset)
{
    kv_call call = { .argv = a->command.argv,
                     .argc = a->command.argc,
                     .databases = a->how.databases,
                     .reply = &a->runner.reply };
    int err;

    if (a->command.argc != 2)
        return refuse(a, offset, "has a wrong number of arguments");
    kv_arg_db(&call, 1, &a->db);
    if (!a->runner.failed)
        return 0;
    err = settle(a);
    return err ? err : failed(a, offset, a->runner.reason);
}

static int take_command(aof_apply *a, uint64_t offset)
{
    aof_todo todo = { .row = kv_command_find(a->command.argv[0]),
                      .argv = a->command.argv,
                      .argc = a->command.argc,
                      .db = a->db };

    if (!todo.row)
        return refuse(a, offset, "is a command that this server does not have");
    if (!kv_command_arity_ok(todo.row, todo.argc))
        return refuse(a, offset, "has a wrong number of arguments");
    switch (todo.row->id) {
    case KV_COMMAND_select:
        return select_database(a, offset);
    case KV_COMMAND_multi:
    case KV_COMMAND_exec:
        return 0;
    default:
        if (todo.row->run && (todo.row->flags & KV_CMD_WRITE))
            return run_or_give(a, &todo, offset);
        return refuse(a, offset, "is no command that changes data");
    }
}

static int malformed(aof_apply *a, uint64_t offset)
{
    int err = settle(a);

    return err ? err : failed(a, offset, "what stands there is no command");
}

int aof_apply_run(aof_apply *a, kv_slice bytes, uint64_t offset)
{
    int err = 0;

    for (size_t at = 0, used; !err && at < bytes.len; at += used) {
        kv_slice rest = kv_slice_of(bytes.data + at, bytes.len - at);

        switch (aof_command_parse(&a->command, rest, &used)) {
        case AOF_WHOLE:
            break;
        case AOF_NOMEM:
            return KV_ENOMEM;
        default:
            return malformed(a, offset + at);
        }
        a->stopped = a->how.go_on && !a->how.go_on(a->how.arg);
        err = a->stopped ? KV_EINVAL : take_command(a, offset + at);
        a->commands += !err;
    }
    return err;
}

int aof_apply_end_file(aof_apply *a)
{
    a->db = 0;
    return settle(a);
}

/* ---- life ---- */

void aof_apply_init(aof_apply *a, const aof_apply_options *how)
{
    *a = (aof_apply){ .how = *how, .domain = kv_store_domain(how->databases->stores[0]) };
    aof_runner_init(&a->runner, how->databases, how->now_ms);
    if (!a->how.alone)
        a->how.alone = AOF_ALONE;
    if (!a->how.threads)
        a->how.alone = UINT32_MAX;
    a->alone = a->how.alone;
}

void aof_apply_done(aof_apply *a)
{
    aof_loaders_free(a->loaders);
    aof_command_done(&a->command);
}
