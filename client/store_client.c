/* store_client.c - the client of a store in this process: the same calls, without a server.
 *
 * A command runs on the caller's thread (or, if the store is shared that way, on the one that owns it), and its reply is
 * copied from the engine's tree into the client's. There is no connection: leases and subscriptions answer
 * KVC_ENOTSUP, and so do the commands of servers, but for PING and ECHO.
 *
 * A watch is the versions of its keys, to be compared when the transaction runs: no lock is held in between.
 *
 * SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "client.h"
#include "command_facts.h"
#include "engine.h"
#include "failure.h"
#include "reply.h"

typedef struct store_client {
    kvc_client client; /* first */
    const kvc_engine *engine;
    kv_store *store;
} store_client;

/* The keys of kvc_pipeline_watch, with the versions that they had. */
struct kvc_watched {
    size_t n;
    kv_exec_check *checks; /* their keys are owned */
};

static int64_t wall_clock_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- replies ---- */

static kvc_reply *copy_value(const kv_value *value);

static kvc_reply *copy_elements(kvc_type type, const kv_value *value)
{
    kvc_reply *list = kvc_reply_new(type);

    for (size_t i = 0; list && i < value->count; i++) {
        kvc_reply *element = copy_value(&value->elements[i]);

        if (!element || !kvc_reply_add(list, element)) {
            kvc_reply_free(element);
            kvc_reply_free(list);
            return NULL;
        }
    }
    return list;
}

static kvc_slice slice_of(kv_slice text)
{
    return kvc_bytes(text.data, text.len);
}

/* NULL: out of memory. The engine's replies are not deeper than its own limit. */
static kvc_reply *copy_value(const kv_value *value)
{
    char number[40];

    switch (value->type) {
    case KV_REPLY_NULL:
        return kvc_reply_new(KVC_TYPE_NIL);
    case KV_REPLY_INT:
        return kvc_reply_new_int(KVC_TYPE_INT, value->integer);
    case KV_REPLY_BOOL:
        return kvc_reply_new_int(KVC_TYPE_BOOL, value->integer);
    case KV_REPLY_DOUBLE:
        snprintf(number, sizeof number, "%.17g", value->number);
        return kvc_reply_new_double(value->number, kvc_str(number));
    case KV_REPLY_SIMPLE:
        return kvc_reply_new_text(KVC_TYPE_SIMPLE, slice_of(value->text));
    case KV_REPLY_ERROR:
        return kvc_reply_new_text(KVC_TYPE_ERROR, slice_of(value->text));
    case KV_REPLY_BULK:
        return kvc_reply_new_text(KVC_TYPE_STRING, slice_of(value->text));
    case KV_REPLY_ARRAY:
        return copy_elements(KVC_TYPE_ARRAY, value);
    case KV_REPLY_MAP:
        return copy_elements(KVC_TYPE_MAP, value);
    case KV_REPLY_SET:
        return copy_elements(KVC_TYPE_SET, value);
    }
    return kvc_reply_new(KVC_TYPE_NIL);
}

/* Makes the engine's reply, which is freed, the caller's. */
static kvc_status take_value(const store_client *c, kv_value *value, kvc_reply **ret_reply, kvc_error *error)
{
    *ret_reply = copy_value(value);
    c->engine->value_free(value);
    if (*ret_reply)
        return KVC_OK;
    kvc_fail_nomem(error);
    if (error)
        error->sent = true; /* it was executed */
    return KVC_ENOMEM;
}

static kvc_status engine_failed(const store_client *c, int err, kvc_error *error)
{
    return kvc_fail(error, err == KV_ENOMEM ? KVC_ENOMEM : KVC_EARG, "%s", c->engine->error_text(err));
}

/* ---- commands ---- */

enum { FEW = 16 };

/* argv as the engine's slices, in few where they fit; NULL: out of memory. */
static kv_slice *engine_argv(size_t argc, const kvc_slice *argv, kv_slice few[FEW])
{
    kv_slice *slices = argc <= FEW ? few : calloc(argc, sizeof *slices);

    for (size_t i = 0; slices && i < argc; i++)
        slices[i] = kv_slice_of(argv[i].data, argv[i].len);
    return slices;
}

static bool is_word(kvc_slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.data, word, text.len) == 0;
}

/* PING and ECHO need no server to be true. */
static kvc_status answer_server_command(size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                                        kvc_error *error)
{
    bool ping = is_word(argv[0], "PING"), echo = is_word(argv[0], "ECHO");

    if (ping && argc == 1)
        *ret_reply = kvc_reply_new_text(KVC_TYPE_SIMPLE, kvc_str("PONG"));
    else if ((ping || echo) && argc == 2)
        *ret_reply = kvc_reply_new_text(KVC_TYPE_STRING, argv[1]);
    else
        return kvc_fail(error, KVC_ENOTSUP,
                        "%.*s is a command of servers: this client has a store in its process",
                        (int)(argv[0].len < 64 ? argv[0].len : 64), argv[0].data);
    return *ret_reply ? KVC_OK : kvc_fail_nomem(error);
}

static kvc_status store_call(kvc_client *client, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                             kvc_error *error)
{
    const store_client *c = (const store_client *)client;
    kv_slice few[FEW] = { { NULL, 0 } }, *slices;
    kv_value *value;
    int err;

    *ret_reply = NULL;
    if (argc == 0 || argc > INT_MAX || argv[0].len == 0)
        return kvc_fail(error, KVC_EARG, "a command has at least a name, and at most %d words", INT_MAX);
    if (kvc_command_facts_of(argc, argv).flags & KVC_FACT_SERVER)
        return answer_server_command(argc, argv, ret_reply, error);
    slices = engine_argv(argc, argv, few);
    if (!slices)
        return kvc_fail_nomem(error);
    err = c->engine->exec(c->store, (int)argc, slices, &value, wall_clock_ms());
    if (slices != few)
        free(slices);
    return err ? engine_failed(c, err, error) : take_value(c, value, ret_reply, error);
}

/* ---- pipelines and transactions ---- */

static kvc_status run_pipeline(kvc_client *client, const kvc_batch *batch, kvc_reply **ret_replies,
                               kvc_error *error)
{
    kvc_reply *list = kvc_reply_new(KVC_TYPE_ARRAY), *reply;
    kvc_status status = list ? KVC_OK : kvc_fail_nomem(error);

    for (size_t i = 0; i < batch->n && status == KVC_OK; i++) {
        status = store_call(client, batch->commands[i].argc, batch->commands[i].argv, &reply, error);
        if (status == KVC_OK && !kvc_reply_add(list, reply)) {
            kvc_reply_free(reply);
            status = kvc_fail_nomem(error);
        }
        if (status < 0 && i > 0 && error)
            error->sent = true;
    }
    if (status == KVC_OK) {
        *ret_replies = list;
        return KVC_OK;
    }
    kvc_reply_free(list);
    return status;
}

static void free_commands(kv_exec_command *commands, size_t n)
{
    for (size_t i = 0; commands && i < n; i++)
        free((void *)commands[i].argv);
    free(commands);
}

/* The batch as the engine's commands; NULL: out of memory. */
static kv_exec_command *engine_commands(const kvc_batch *batch)
{
    kv_exec_command *commands = calloc(batch->n ? batch->n : 1, sizeof *commands);

    for (size_t i = 0; commands && i < batch->n; i++) {
        size_t argc = batch->commands[i].argc;
        kv_slice *argv = calloc(argc, sizeof *argv);

        if (!argv) {
            free_commands(commands, i);
            return NULL;
        }
        for (size_t k = 0; k < argc; k++)
            argv[k] = kv_slice_of(batch->commands[i].argv[k].data, batch->commands[i].argv[k].len);
        commands[i] = (kv_exec_command){ .argc = (int)argc, .argv = argv };
    }
    return commands;
}

static kvc_status run_transaction(const store_client *c, const kvc_batch *batch, kvc_reply **ret_replies,
                                  kvc_error *error)
{
    kv_exec_command *commands = engine_commands(batch);
    kv_transaction transaction = { .command_count = batch->n, .commands = commands };
    kv_value *value = NULL;
    kvc_status status;
    int err;

    if (!commands)
        return kvc_fail_nomem(error);
    if (batch->watched) {
        transaction.check_count = batch->watched->n;
        transaction.checks = batch->watched->checks;
    }
    err = c->engine->exec_many(c->store, &transaction, &value, NULL, wall_clock_ms());
    free_commands(commands, batch->n);
    if (!err)
        return take_value(c, value, ret_replies, error);
    if (err == KV_ECOND)
        return KVC_NIL;
    if (err != KV_EINVAL)
        return engine_failed(c, err, error);
    status = kvc_fail_reply(error, KVC_EREPLY, slice_of(value->text));
    c->engine->value_free(value);
    return status;
}

static kvc_status store_run(kvc_client *client, const kvc_batch *batch, kvc_connection *connection,
                            kvc_reply **ret_replies, kvc_error *error)
{
    (void)connection;
    *ret_replies = NULL;
    return batch->mode == KVC_TRANSACTION
               ? run_transaction((const store_client *)client, batch, ret_replies, error)
               : run_pipeline(client, batch, ret_replies, error);
}

/* ---- watching ---- */

static void store_unwatch(struct kvc_watched *watched)
{
    if (!watched)
        return;
    for (size_t i = 0; i < watched->n; i++)
        free((void *)watched->checks[i].key.data);
    free(watched->checks);
    free(watched);
}

/* A key and the version that it has now (0: none). */
static kvc_status watch_key(const store_client *c, struct kvc_watched *watched, kvc_slice key,
                            kvc_error *error)
{
    kv_exec_check *check = &watched->checks[watched->n];
    char *copy = malloc(key.len + 1);
    kv_meta meta = { 0 };
    int err;

    if (!copy)
        return kvc_fail_nomem(error);
    if (key.len)
        memcpy(copy, key.data, key.len);
    *check = (kv_exec_check){ .key = kv_slice_of(copy, key.len), .condition = KV_IF_VERSION };
    watched->n++;
    err = c->engine->copy(c->store, check->key, NULL, 0, &meta, wall_clock_ms());
    if (err && err != KV_ENOKEY)
        return engine_failed(c, err, error);
    check->version = err ? 0 : meta.version;
    return KVC_OK;
}

static kvc_status store_watch(kvc_client *client, const kvc_slice *keys, size_t n,
                              struct kvc_watched **watched, kvc_error *error)
{
    kv_exec_check *checks;
    kvc_status status = KVC_OK;

    if (!*watched)
        *watched = calloc(1, sizeof **watched);
    checks = *watched ? reallocarray((*watched)->checks, (*watched)->n + n, sizeof *checks) : NULL;
    if (!checks)
        return kvc_fail_nomem(error);
    (*watched)->checks = checks;
    for (size_t i = 0; i < n && status == KVC_OK; i++)
        status = watch_key((const store_client *)client, *watched, keys[i], error);
    return status;
}

/* ---- what there is none of ---- */

static kvc_status no_connection(kvc_error *error)
{
    return kvc_fail(error, KVC_ENOTSUP, "a store in this process has no connections");
}

static kvc_status store_lease(kvc_client *client, const kvc_slice *key, uint32_t wait_ms,
                              kvc_connection **ret_connection, kvc_error *error)
{
    (void)client;
    (void)key;
    (void)wait_ms;
    (void)ret_connection;
    return no_connection(error);
}

static kvc_status store_settings(kvc_client *client, const kvc_options **ret_options, kvc_tls **ret_tls,
                                 kvc_error *error)
{
    (void)client;
    (void)ret_options;
    (void)ret_tls;
    return no_connection(error);
}

/* ---- opening and closing ---- */

static void store_close(kvc_client *client)
{
    store_client *c = (store_client *)client;

    c->engine->unref(c->store);
    free(c);
}

static const kvc_client_ops store_ops = {
    .call = store_call,
    .run = store_run,
    .lease = store_lease,
    .watch = store_watch,
    .unwatch = store_unwatch,
    .settings = store_settings,
    .close = store_close,
};

kvc_status kvc_open_engine(const kvc_engine *engine, kv_store *store, kvc_client **ret_client,
                           kvc_error *error)
{
    store_client *c;

    *ret_client = NULL;
    if (!store)
        return kvc_fail(error, KVC_EARG, "kvc_open_store needs a store");
    c = calloc(1, sizeof *c);
    if (!c)
        return kvc_fail_nomem(error);
    c->client.ops = &store_ops;
    c->engine = engine;
    c->store = engine->ref(store);
    *ret_client = &c->client;
    return KVC_OK;
}
