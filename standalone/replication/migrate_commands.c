/* migrate_commands.c - MIGRATE. SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "migrate.h"
#include "session.h"

/* The arguments, as slices of the request. */
typedef struct migrate_args {
    kv_slice user, password;
    bool has_user, has_password, copy, replace;
    int64_t db, timeout_ms;
    int first_key, key_count;
} migrate_args;

/* ---- arguments ---- */

/* Takes the option at *at; false: an error was replied. */
static bool parse_option(kv_call *call, int *at, migrate_args *args)
{
    kv_slice word = call->argv[*at];
    int more = call->argc - 1 - *at;

    if (kv_word_is(word, "copy")) {
        args->copy = true;
    } else if (kv_word_is(word, "replace")) {
        args->replace = true;
    } else if (kv_word_is(word, "auth") && more >= 1) {
        args->has_password = true;
        args->password = call->argv[++*at];
    } else if (kv_word_is(word, "auth2") && more >= 2) {
        args->has_user = args->has_password = true;
        args->user = call->argv[++*at];
        args->password = call->argv[++*at];
    } else if (kv_word_is(word, "keys") && call->argv[3].len) {
        kv_reply_errorf(
            call->reply,
            "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string");
        return false;
    } else if (kv_word_is(word, "keys")) {
        args->first_key = *at + 1;
        args->key_count = more;
        *at = call->argc;
    } else {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return false;
    }
    return true;
}

static bool parse(kv_call *call, migrate_args *args)
{
    *args = (migrate_args){ .first_key = 3, .key_count = 1 };
    for (int i = 6; i < call->argc; i++)
        if (!parse_option(call, &i, args))
            return false;
    if (kv_arg_int(call, 5, &args->timeout_ms) != 0 || kv_arg_int(call, 4, &args->db) != 0) {
        kv_reply_error(call->reply, KV_ENOTINT);
        return false;
    }
    if (args->timeout_ms <= 0)
        args->timeout_ms = 1000;
    if (args->timeout_ms > INT32_MAX)
        args->timeout_ms = INT32_MAX;
    return true;
}

/* ---- the job ---- */

static void add_string(char **at, char **to, kv_slice text)
{
    *to = *at;
    if (text.len)
        memcpy(*at, text.data, text.len);
    (*at)[text.len] = '\0';
    *at += text.len + 1;
}

/* A copy of what is asked for. NULL: memory is out. */
static migration *copy_job(const kv_call *call, const migrate_args *args, const int keys[], int count)
{
    size_t bytes = call->argv[1].len + args->user.len + args->password.len + 3;
    migration *m = calloc(1, sizeof *m + (size_t)count * sizeof *m->keys);
    char *at;

    for (int i = 0; i < count; i++)
        bytes += call->argv[keys[i]].len + 1;
    at = m ? malloc(bytes) : NULL;
    if (!at) {
        free(m);
        return NULL;
    }
    m->text = at;
    add_string(&at, &m->host, call->argv[1]);
    if (args->has_user)
        add_string(&at, &m->user, args->user);
    if (args->has_password)
        add_string(&at, &m->password, args->password);
    for (int i = 0; i < count; i++) {
        char *name;

        add_string(&at, &name, call->argv[keys[i]]);
        m->keys[i].name = kv_slice_of(name, call->argv[keys[i]].len);
    }
    m->count = (size_t)count;
    m->copy = args->copy;
    m->replace = args->replace;
    m->timeout_ms = args->timeout_ms;
    m->to_db = (int)args->db;
    m->from_db = call->db;
    return m;
}

static void free_job(migration *m)
{
    free(m->text);
    free(m);
}

static void reply_job(const migration *m, kv_reply *reply)
{
    kv_slice text = kv_str(m->reply + 1);

    if (m->reply[0] == '-')
        reply->ops->error(reply, text);
    else
        reply->ops->simple(reply, text);
}

/* On the worker's thread, when the task is done. */
static void come_back(worker *w, worker_message *message)
{
    migration *m = (migration *)message;
    connection *c = m->c;

    if (connection_unpark(c)) {
        output_mark_at mark = output_mark(connection_output(c));

        w->reply.out = connection_output(c);
        w->call.command = c->last_command;
        resp_reply_set_protocol(&w->reply, c->protocol);
        reply_job(m, &w->reply.base);
        if (c->flags & (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP))
            output_rewind(w->reply.out, mark);
        if (!(c->flags & CONNECTION_UNFINISHED))
            c->flags &= ~(unsigned)CONNECTION_REPLY_SKIP;
        connection_flush(c);
    }
    free_job(m);
}

/* ---- MIGRATE ---- */

/* The positions of the keys that are there. */
KV_REQUIRES(kv_epoch_held)
KV_EXCLUDES(kv_shard_held)
static int find_keys(const kv_call *call, const migrate_args *args, int positions[])
{
    int count = 0;

    for (int i = args->first_key; i < args->first_key + args->key_count; i++)
        if (store_find(call->store, store_key_of(call->store, call->argv[i]), call->now_ms))
            positions[count++] = i;
    return count;
}

static void start(kv_call *call, const migrate_args *args, const int keys[], int count)
{
    connection *c = session_connection(call);
    migration *m = copy_job(call, args, keys, count);
    int64_t port;

    if (!m) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    m->port = kv_parse_int(call->argv[2], &port) && port >= 0 && port <= 65535 ? (int)port : 0;
    m->c = c;
    m->w = c->owner;
    m->back.run = come_back;
    connection_park(c);
    if (migrations_post(session_server(call)->migrations, m))
        return;
    connection_unpark(c);
    free_job(m);
    kv_reply_errorf(call->reply, "ERR no thread can be had for MIGRATE");
}

/* MIGRATE host port key | "" destination-db timeout [COPY] [REPLACE] [AUTH password | AUTH2 user password] [KEYS key ...] */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) void session_migrate(kv_call *call)
{
    migrate_args args;
    int *positions;
    int count;

    if (!parse(call, &args))
        return;
    positions = malloc(((size_t)args.key_count + 1) * sizeof *positions);
    if (!positions) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    count = find_keys(call, &args, positions);
    if (count)
        start(call, &args, positions, count);
    else
        call->reply->ops->simple(call->reply, KV_STR("NOKEY"));
    free(positions);
}
