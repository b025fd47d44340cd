/* client.c - kvc_open, and the client of one server: a pool.
 *
 * SPDX-License-Identifier: MIT */
#include "client.h"

#include <stdlib.h>

#include "cluster.h"
#include "command_effect.h"
#include "failure.h"
#include "options.h"
#include "reply.h"
#include "tls.h"

typedef struct server_client {
    kvc_client client; /* first */
    kvc_options *options;
    kvc_tls *tls; /* or NULL */
    kvc_pool *pool;
} server_client;

static kvc_pool *pool_of(kvc_client *client)
{
    return ((server_client *)client)->pool;
}

static kvc_status server_call(kvc_client *client, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                              kvc_error *error)
{
    return kvc_pool_call(pool_of(client), &(kvc_request){ .argc = argc, .argv = argv }, ret_reply, error);
}

static kvc_status server_run(kvc_client *client, const kvc_batch *batch, kvc_connection *connection,
                             kvc_reply **ret_replies, kvc_error *error)
{
    return kvc_pool_run(pool_of(client), batch, connection, ret_replies, error);
}

static kvc_status server_lease(kvc_client *client, const kvc_slice *key, uint32_t wait_ms,
                               kvc_connection **ret_connection, kvc_error *error)
{
    (void)key;
    return kvc_pool_take(pool_of(client), wait_ms, ret_connection, error);
}

static kvc_status server_settings(kvc_client *client, const kvc_options **ret_options, kvc_tls **ret_tls,
                                  kvc_error *error)
{
    server_client *server = (server_client *)client;

    if (kvc_pool_inherited(server->pool))
        return kvc_fail(error, KVC_ESTATE, "this process is a fork of the one that opened the client");
    *ret_options = server->options;
    *ret_tls = server->tls;
    return KVC_OK;
}

static void server_close(kvc_client *client)
{
    server_client *server = (server_client *)client;

    kvc_pool_free(server->pool);
    kvc_tls_free(server->tls);
    kvc_options_free(server->options);
    free(server);
}

static const kvc_client_ops server_ops = {
    .call = server_call,
    .run = server_run,
    .lease = server_lease,
    .settings = server_settings,
    .close = server_close,
};

kvc_status kvc_open(const kvc_options *options, kvc_client **ret_client, kvc_error *error)
{
    server_client *server = calloc(1, sizeof *server);
    kvc_connection *first;
    kvc_status status;

    *ret_client = NULL;
    if (!server)
        return kvc_fail_nomem(error);
    server->client.ops = &server_ops;
    status = kvc_options_copy(options, &server->options, error);
    if (status == KVC_OK)
        status = kvc_tls_new(server->options, &server->tls, error);
    if (status != KVC_OK)
        goto out;
    if (server->options->cluster) {
        status = kvc_cluster_open(server->options, server->tls, ret_client, error);
        if (status != KVC_OK)
            goto out;
        free(server);
        return KVC_OK;
    }
    server->pool = kvc_pool_new(server->options, server->tls);
    if (!server->pool) {
        status = kvc_fail_nomem(error);
        goto out;
    }
    status = kvc_pool_take(server->pool, 0, &first, error);
    if (status == KVC_OK)
        kvc_release(first);
out:
    if (status != KVC_OK) {
        server_close(&server->client);
        return status;
    }
    *ret_client = &server->client;
    return KVC_OK;
}

kvc_status kvc_open_uri(const char *uri, kvc_client **ret_client, kvc_error *error)
{
    kvc_options options;
    char *memory;
    kvc_status status;

    *ret_client = NULL;
    kvc_options_init(&options);
    status = kvc_options_parse_uri(&options, uri, &memory, error);
    if (status == KVC_OK)
        status = kvc_open(&options, ret_client, error);
    free(memory);
    return status;
}

void kvc_close(kvc_client *client)
{
    if (client)
        client->ops->close(client);
}

kvc_status kvc_lease(kvc_client *client, uint32_t wait_ms, kvc_connection **ret_connection, kvc_error *error)
{
    *ret_connection = NULL;
    return client->ops->lease(client, NULL, wait_ms, ret_connection, error);
}

/* ---- any command ---- */

kvc_status kvc_check_reply(kvc_reply **reply, kvc_error *error)
{
    if (kvc_reply_type(*reply) != KVC_TYPE_ERROR)
        return KVC_OK;
    kvc_fail_reply(error, KVC_EREPLY, kvc_reply_text(*reply));
    if (error)
        error->sent = true;
    kvc_reply_free(*reply);
    *reply = NULL;
    return KVC_EREPLY;
}

kvc_status kvc_command(kvc_client *client, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                       kvc_error *error)
{
    kvc_status status;

    *ret_reply = NULL;
    if (kvc_command_effect(argc, argv) != KVC_EFFECT_NONE)
        return kvc_fail(error, KVC_ESTATE, "%.*s changes the connection it runs on: use kvc_lease",
                        (int)(argv[0].len < 64 ? argv[0].len : 64), argv[0].data);
    status = client->ops->call(client, argc, argv, ret_reply, error);
    return status == KVC_OK ? kvc_check_reply(ret_reply, error) : status;
}

kvc_status kvc_command_strings(kvc_client *client, const char *const *argv, kvc_reply **ret_reply,
                               kvc_error *error)
{
    kvc_slice few[16] = { { NULL, 0 } }, *slices = few;
    size_t argc = 0;
    kvc_status status;

    *ret_reply = NULL;
    while (argv[argc])
        argc++;
    if (argc > sizeof few / sizeof *few)
        slices = calloc(argc, sizeof *slices);
    if (!slices)
        return kvc_fail_nomem(error);
    for (size_t i = 0; i < argc; i++)
        slices[i] = kvc_str(argv[i]);
    status = kvc_command(client, argc, slices, ret_reply, error);
    if (slices != few)
        free(slices);
    return status;
}
