/* aof_apply.c - see aof_apply.h. SPDX-License-Identifier: MIT */
#include "aof_apply.h"

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
    aof_apply *a = (aof_apply *)reply;

    if (!a->failed)
        snprintf(a->reason, sizeof a->reason, "%.*s", (int)(text.len < 200 ? text.len : 200), text.data);
    a->failed = true;
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

/* ---- one command ---- */

/* Whether a deadline is given as a span of time. */
static bool is_relative(const kv_command *row, const aof_command *command)
{
    switch (row->id) {
    case KV_COMMAND_expire:
    case KV_COMMAND_pexpire:
    case KV_COMMAND_setex:
    case KV_COMMAND_psetex:
        return true;
    case KV_COMMAND_set:
    case KV_COMMAND_getex:
    case KV_COMMAND_msetex:
        for (int i = 2; i < command->argc; i++)
            if (kv_word_is(command->argv[i], "ex") || kv_word_is(command->argv[i], "px"))
                return true;
        return false;
    default:
        return false;
    }
}

static void refuse(aof_apply *a, const char *why)
{
    kv_slice name = a->command.argv[0];
    char shown[33];
    size_t n = 0;

    for (; n < name.len && n < sizeof shown - 1; n++)
        shown[n] = name.data[n] >= ' ' && name.data[n] < 127 ? name.data[n] : '?';
    shown[n] = '\0';
    snprintf(a->reason, sizeof a->reason, "'%s' %s", shown, why);
    a->failed = true;
}

static void select_database(aof_apply *a)
{
    kv_call call = {
        .argv = a->command.argv, .argc = a->command.argc, .databases = a->databases, .reply = &a->reply
    };

    if (a->command.argc != 2)
        refuse(a, "has a wrong number of arguments");
    else
        kv_arg_db(&call, 1, &a->db);
}

KV_REQUIRES(kv_epoch_held) static void run_row(aof_apply *a, const kv_command *row)
{
    kv_call call = {
        .command = row,
        .argv = a->command.argv,
        .argc = a->command.argc,
        .db = a->db,
        .store = a->databases->stores[a->db],
        .databases = a->databases,
        .now_ms = is_relative(row, &a->command) ? a->now_ms : 0,
        .access = KV_NO_TOUCH,
        .reply = &a->reply,
        .counters = &a->counters,
        .rng = &a->rng,
        .value_max = KV_VALUE_MAX,
    };

    row->run(&call);
}

KV_REQUIRES(kv_epoch_held) static void run_command(aof_apply *a)
{
    const kv_command *row = kv_command_find(a->command.argv[0]);

    if (!row)
        refuse(a, "is a command that this server does not have");
    else if (!kv_command_arity_ok(row, a->command.argc))
        refuse(a, "has a wrong number of arguments");
    else if (row->id == KV_COMMAND_select)
        select_database(a);
    else if (row->id != KV_COMMAND_multi && row->id != KV_COMMAND_exec) {
        if (row->run && (row->flags & KV_CMD_WRITE))
            run_row(a, row);
        else
            refuse(a, "is no command that changes data");
    }
}

int aof_apply_run(aof_apply *a, kv_slice bytes, size_t *ret_at)
{
    int err = epoch_enter(a->domain) == 0 ? 0 : KV_ENOMEM;

    *ret_at = 0;
    for (size_t used; !err && *ret_at < bytes.len; *ret_at += used) {
        aof_parse parsed =
            aof_command_parse(&a->command, kv_slice_of(bytes.data + *ret_at, bytes.len - *ret_at), &used);

        if (parsed == AOF_NOMEM) {
            err = KV_ENOMEM;
            break;
        }
        a->stopped = a->go_on && !a->go_on(a->arg);
        if (a->stopped) {
            err = KV_EINVAL;
            break;
        }
        if (parsed == AOF_WHOLE)
            run_command(a);
        else
            snprintf(a->reason, sizeof a->reason, "what stands there is no command");
        if (parsed != AOF_WHOLE || a->failed) {
            err = KV_EINVAL;
            break;
        }
        a->commands++;
    }
    epoch_leave(a->domain);
    return err;
}

/* ---- life ---- */

void aof_apply_init(aof_apply *a, const kv_databases *databases, int64_t now_ms)
{
    *a = (aof_apply){ .reply = { .ops = &deaf, .protocol = 2 },
                      .databases = databases,
                      .domain = kv_store_domain(databases->stores[0]),
                      .now_ms = now_ms,
                      .rng = 1 };
}

void aof_apply_done(aof_apply *a)
{
    aof_command_done(&a->command);
}

void aof_apply_begin_file(aof_apply *a)
{
    a->db = 0;
}
