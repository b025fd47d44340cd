/* pipeline.c - many commands in one round trip.
 *
 * A pipeline keeps copies of the commands until it is run, because where they go may be decided then, and more than once. run
 * queues all of them on one connection, sends them (reading meanwhile, see connection.c), and collects the replies.
 *
 * A transaction is one round trip, too: MULTI, the commands, EXEC. If a server refused MULTI (ACL rules, a server without it),
 * it would run the commands one by one, which is what nobody asked for; so the first transaction of a pool waits for
 * MULTI's answer before it sends the rest.
 *
 * A watch holds its connection from kvc_pipeline_watch to the end of the next run: WATCH belongs to the connection.
 *
 * SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "client.h"
#include "clock.h"
#include "command_effect.h"
#include "command_facts.h"
#include "failure.h"
#include "reply.h"

enum { WATCH_TRIES = 5 }; /* in a cluster, to find the node of a key */

struct kvc_pipeline {
    kvc_client *client;
    kvc_batch batch;
    size_t capacity;
    kvc_connection *watching; /* or NULL */
};

/* ---- running on a connection ---- */

static const kvc_slice multi = { "MULTI", 5 }, exec = { "EXEC", 4 };

static int64_t deadline_of(const kvc_connection *connection)
{
    return kvc_deadline(kvc_pool_options(kvc_connection_pool(connection))->command_timeout_ms);
}

static kvc_status append_commands(kvc_connection *connection, const kvc_batch *batch, kvc_error *error)
{
    kvc_status status = KVC_OK;

    for (size_t i = 0; i < batch->n && status == KVC_OK; i++)
        status = kvc_connection_append(connection, batch->commands[i].argc, batch->commands[i].argv, error);
    return status;
}

/* The next n replies as an array. */
static kvc_status collect(kvc_connection *connection, size_t n, int64_t deadline_ms, kvc_reply **ret_replies,
                          kvc_error *error)
{
    kvc_reply *list = kvc_reply_new(KVC_TYPE_ARRAY), *reply;
    kvc_status status = list ? KVC_OK : kvc_fail_nomem(error);

    for (size_t i = 0; i < n && status == KVC_OK; i++) {
        status = kvc_connection_next_by(connection, deadline_ms, &reply, error);
        if (status == KVC_OK && !kvc_reply_add(list, reply)) {
            kvc_reply_free(reply);
            status = kvc_fail_nomem(error);
        }
    }
    if (status == KVC_OK) {
        *ret_replies = list;
        return KVC_OK;
    }
    kvc_reply_free(list);
    return status;
}

static kvc_status run_pipeline(kvc_connection *connection, const kvc_batch *batch, kvc_reply **ret_replies,
                               kvc_error *error)
{
    int64_t deadline_ms = deadline_of(connection);
    kvc_status status = append_commands(connection, batch, error);

    if (status == KVC_OK)
        status = kvc_connection_flush_by(connection, deadline_ms, error);
    return status == KVC_OK ? collect(connection, batch->n, deadline_ms, ret_replies, error) : status;
}

/* EXEC's reply, and what was said while the commands were queued: at 0 to MULTI, last to EXEC. */
static kvc_status judge_transaction(kvc_reply *said, size_t n, kvc_reply **ret_replies, kvc_error *error)
{
    kvc_reply **last = &said->is.elements.items[said->n - 1];

    if (kvc_reply_type(*last) == KVC_TYPE_NIL)
        return KVC_NIL;
    if (kvc_reply_type(*last) == KVC_TYPE_ERROR) {
        const kvc_reply *reason = *last;

        for (size_t i = said->n - 1; i-- > 0;)
            if (kvc_reply_type(kvc_reply_at(said, i)) == KVC_TYPE_ERROR)
                reason = kvc_reply_at(said, i);
        return kvc_fail_reply(error, KVC_EREPLY, kvc_reply_text(reason));
    }
    if (kvc_reply_type(*last) != KVC_TYPE_ARRAY || kvc_reply_count(*last) != n)
        return kvc_fail(error, KVC_EPROTOCOL, "EXEC's reply has not one element for each command");
    *ret_replies = *last;
    said->n--;
    return KVC_OK;
}

/* MULTI, and its answer. */
static kvc_status open_transaction(kvc_connection *connection, int64_t deadline_ms, kvc_error *error)
{
    kvc_reply *reply;
    kvc_status status = kvc_connection_call(connection, deadline_ms, 1, &multi, &reply, error);

    if (status == KVC_OK)
        status = kvc_check_reply(&reply, error);
    kvc_reply_free(reply);
    if (status == KVC_OK)
        kvc_pool_learn_multi(kvc_connection_pool(connection));
    if (status != KVC_OK && error)
        error->sent = false; /* nothing of the transaction was */
    return status;
}

static kvc_status run_transaction(kvc_connection *connection, const kvc_batch *batch, kvc_reply **ret_replies,
                                  kvc_error *error)
{
    int64_t deadline_ms = deadline_of(connection);
    bool together = kvc_pool_knows_multi(kvc_connection_pool(connection));
    kvc_reply *said = NULL;
    kvc_status status = together ? kvc_connection_append(connection, 1, &multi, error)
                                 : open_transaction(connection, deadline_ms, error);

    if (status == KVC_OK)
        status = append_commands(connection, batch, error);
    if (status == KVC_OK)
        status = kvc_connection_append(connection, 1, &exec, error);
    if (status == KVC_OK)
        status = kvc_connection_flush_by(connection, deadline_ms, error);
    if (status == KVC_OK)
        status = collect(connection, batch->n + 1 + together, deadline_ms, &said, error);
    if (status == KVC_OK)
        status = judge_transaction(said, batch->n, ret_replies, error);
    kvc_reply_free(said);
    return status;
}

/* Sets *error, also its sent. */
static kvc_status run_on(kvc_connection *connection, const kvc_batch *batch, kvc_reply **ret_replies,
                         kvc_error *error)
{
    const kvc_link *link = kvc_connection_link(connection);
    uint64_t position = kvc_link_queued(link);
    kvc_status status = batch->mode == KVC_TRANSACTION
                            ? run_transaction(connection, batch, ret_replies, error)
                            : run_pipeline(connection, batch, ret_replies, error);

    if (status < 0)
        error->sent = kvc_link_sent_total(link) > position;
    return status;
}

static bool is_readonly(const kvc_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++)
        if (!(kvc_command_facts_of(batch->commands[i].argc, batch->commands[i].argv).flags &
              KVC_FACT_READONLY))
            return false;
    return true;
}

kvc_status kvc_pool_run(kvc_pool *pool, const kvc_batch *batch, kvc_connection *connection,
                        kvc_reply **ret_replies, kvc_error *error)
{
    int64_t give_up_ms = kvc_deadline(kvc_pool_options(pool)->connect_timeout_ms);
    kvc_error failure = { .status = KVC_OK };
    bool readonly = is_readonly(batch);
    uint32_t attempts = 0;
    kvc_status status;

    *ret_replies = NULL;
    if (connection) {
        status = run_on(connection, batch, ret_replies, &failure);
    } else {
        do {
            status = kvc_pool_take(pool, 0, &connection, &failure);
            if (status == KVC_OK) {
                status = run_on(connection, batch, ret_replies, &failure);
                kvc_release(connection);
            }
            attempts++;
        } while (status < 0 && kvc_pool_may_repeat(pool, &failure, readonly, attempts) &&
                 kvc_now_ms() < give_up_ms);
    }
    if (status < 0 && error)
        *error = failure;
    return status;
}

/* ---- the object ---- */

kvc_status kvc_pipeline_new(kvc_client *client, kvc_pipeline_mode mode, kvc_pipeline **ret_pipeline,
                            kvc_error *error)
{
    kvc_pipeline *pipeline;

    *ret_pipeline = NULL;
    if (mode != KVC_PIPELINE && mode != KVC_TRANSACTION)
        return kvc_fail(error, KVC_EARG, "mode is %d; expected KVC_PIPELINE or KVC_TRANSACTION", (int)mode);
    pipeline = calloc(1, sizeof *pipeline);
    if (!pipeline)
        return kvc_fail_nomem(error);
    pipeline->client = client;
    pipeline->batch.mode = mode;
    *ret_pipeline = pipeline;
    return KVC_OK;
}

static void clear(kvc_pipeline *pipeline)
{
    for (size_t i = 0; i < pipeline->batch.n; i++)
        free((void *)pipeline->batch.commands[i].argv);
    pipeline->batch.n = 0;
    kvc_release(pipeline->watching);
    pipeline->watching = NULL;
    if (pipeline->batch.watched)
        pipeline->client->ops->unwatch(pipeline->batch.watched);
    pipeline->batch.watched = NULL;
}

void kvc_pipeline_free(kvc_pipeline *pipeline)
{
    if (!pipeline)
        return;
    clear(pipeline);
    free(pipeline->batch.commands);
    free(pipeline);
}

/* The words and their bytes in one block; NULL: out of memory. */
static kvc_slice *copy_argv(size_t argc, const kvc_slice *argv)
{
    size_t size;
    kvc_slice *copy;
    char *end;

    if (__builtin_mul_overflow(argc, sizeof *copy, &size))
        return NULL;
    for (size_t i = 0; i < argc; i++)
        if (__builtin_add_overflow(size, argv[i].len, &size))
            return NULL;
    copy = malloc(size);
    if (!copy)
        return NULL;
    end = (char *)(copy + argc);
    for (size_t i = 0; i < argc; i++) {
        copy[i] = kvc_bytes(end, argv[i].len);
        if (argv[i].len)
            memcpy(end, argv[i].data, argv[i].len);
        end += argv[i].len;
    }
    return copy;
}

static bool reserve(kvc_pipeline *pipeline)
{
    size_t capacity = pipeline->capacity ? pipeline->capacity * 2 : 16;
    struct kvc_batch_command *commands;

    if (pipeline->batch.n < pipeline->capacity)
        return true;
    commands = realloc(pipeline->batch.commands, capacity * sizeof *commands);
    if (!commands)
        return false;
    pipeline->batch.commands = commands;
    pipeline->capacity = capacity;
    return true;
}

kvc_status kvc_pipeline_add(kvc_pipeline *pipeline, size_t argc, const kvc_slice *argv, kvc_error *error)
{
    kvc_slice *copy;

    if (argc == 0 || argv[0].len == 0)
        return kvc_fail(error, KVC_EARG, "a command has at least a name");
    if (kvc_command_effect(argc, argv) != KVC_EFFECT_NONE)
        return kvc_fail(error, KVC_ESTATE, "%.*s does not go into a pipeline: it changes the connection",
                        (int)(argv[0].len < 64 ? argv[0].len : 64), argv[0].data);
    copy = reserve(pipeline) ? copy_argv(argc, argv) : NULL;
    if (!copy)
        return kvc_fail_nomem(error);
    pipeline->batch.commands[pipeline->batch.n++] = (struct kvc_batch_command){ .argc = argc, .argv = copy };
    return KVC_OK;
}

kvc_status kvc_pipeline_run(kvc_pipeline *pipeline, kvc_reply **ret_replies, kvc_error *error)
{
    kvc_status status = KVC_OK;

    *ret_replies = NULL;
    if (pipeline->batch.n || pipeline->watching || pipeline->batch.watched) {
        status = pipeline->client->ops->run(pipeline->client, &pipeline->batch, pipeline->watching,
                                            ret_replies, error);
    } else {
        *ret_replies = kvc_reply_new(KVC_TYPE_ARRAY);
        if (!*ret_replies)
            status = kvc_fail_nomem(error);
    }
    clear(pipeline);
    return status;
}

/* ---- watching ---- */

static kvc_status ask(kvc_pipeline *pipeline, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                      kvc_error *error)
{
    kvc_status status = kvc_connection_call(pipeline->watching, deadline_of(pipeline->watching), argc, argv,
                                            ret_reply, error);

    return status == KVC_OK ? kvc_check_reply(ret_reply, error) : status;
}

/* WATCH and its keys on a connection for the first of them. KVC_NIL: that was the wrong node; now it is known which is right. */
static kvc_status watch_once(kvc_pipeline *pipeline, size_t argc, const kvc_slice *argv, kvc_error *error)
{
    const kvc_client_ops *ops = pipeline->client->ops;
    kvc_reply *reply = NULL;
    kvc_status status = KVC_OK;

    if (!pipeline->watching)
        status = ops->lease(pipeline->client, &argv[1], 0, &pipeline->watching, error);
    if (status == KVC_OK)
        status = kvc_connection_call(pipeline->watching, deadline_of(pipeline->watching), argc, argv, &reply,
                                     error);
    if (status == KVC_OK && ops->learn && ops->learn(pipeline->client, reply)) {
        kvc_release(pipeline->watching);
        pipeline->watching = NULL;
        status = KVC_NIL;
    }
    if (status == KVC_OK)
        status = kvc_check_reply(&reply, error);
    kvc_reply_free(reply);
    return status;
}

kvc_status kvc_pipeline_watch(kvc_pipeline *pipeline, const kvc_slice *keys, size_t n, kvc_error *error)
{
    kvc_slice *argv;
    kvc_status status = KVC_NIL;

    if (pipeline->batch.mode != KVC_TRANSACTION || pipeline->batch.n)
        return kvc_fail(error, KVC_ESTATE, "watch belongs before the first command of a KVC_TRANSACTION");
    if (n == 0)
        return kvc_fail(error, KVC_EARG, "no key to watch");
    if (pipeline->client->ops->watch)
        return pipeline->client->ops->watch(pipeline->client, keys, n, &pipeline->batch.watched, error);
    argv = n < SIZE_MAX / sizeof *argv - 1 ? malloc((n + 1) * sizeof *argv) : NULL;
    if (!argv)
        return kvc_fail_nomem(error);
    argv[0] = kvc_str("WATCH");
    memcpy(argv + 1, keys, n * sizeof *keys);
    for (int tries = 0; status == KVC_NIL && tries < WATCH_TRIES; tries++)
        status = watch_once(pipeline, n + 1, argv, error);
    if (status == KVC_NIL)
        status = kvc_fail(error, KVC_EREDIRECT, "the key to watch moved %d times", WATCH_TRIES);
    free(argv);
    return status;
}

kvc_status kvc_pipeline_read(kvc_pipeline *pipeline, size_t argc, const kvc_slice *argv,
                             kvc_reply **ret_reply, kvc_error *error)
{
    *ret_reply = NULL;
    if (!pipeline->watching && !pipeline->batch.watched)
        return kvc_fail(error, KVC_ESTATE, "nothing is watched: kvc_pipeline_watch comes first");
    if (kvc_command_effect(argc, argv) != KVC_EFFECT_NONE)
        return kvc_fail(error, KVC_ESTATE, "%.*s changes the connection that watches",
                        (int)(argv[0].len < 64 ? argv[0].len : 64), argv[0].data);
    if (pipeline->batch.watched)
        return kvc_command(pipeline->client, argc, argv, ret_reply, error);
    return ask(pipeline, argc, argv, ret_reply, error);
}
