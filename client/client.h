/* client.h - inside a kvc_client: what the public calls are made of, whatever is behind them.
 *
 * Typed calls, commands and pipelines know three operations. A pool of connections to one server implements them here
 * (client.c), the nodes of a cluster and a store of this process elsewhere.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_CLIENT_H
#define KVC_CLIENT_H

#include "kvclient.h"
#include "pool.h"

/* The commands of a pipeline, in order, and how they are to be run. */
typedef struct kvc_batch {
    kvc_pipeline_mode mode;
    size_t n;
    struct kvc_batch_command {
        size_t argc;
        const kvc_slice *argv;
    } * commands;
    struct kvc_watched *watched; /* of ops->watch, or NULL */
} kvc_batch;

typedef struct kvc_client_ops {
    /* One command; an error reply is a reply. */
    kvc_status (*call)(kvc_client *client, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                       kvc_error *error);
    /* Where there are several nodes, of which each has some of the keys, else NULL: moves *node to the next one from there on (from 0 on),
     * false: there is none; and one command to that node. */
    bool (*find_node)(kvc_client *client, size_t *node);
    kvc_status (*call_node)(kvc_client *client, size_t node, size_t argc, const kvc_slice *argv,
                            kvc_reply **ret_reply, kvc_error *error);
    /* As kvc_pipeline_run; connection is the one that watches, or NULL. */
    kvc_status (*run)(kvc_client *client, const kvc_batch *batch, kvc_connection *connection,
                      kvc_reply **ret_replies, kvc_error *error);
    /* A connection on which key can be used (NULL: any). KVC_ENOTSUP: there are none. */
    kvc_status (*lease)(kvc_client *client, const kvc_slice *key, uint32_t wait_ms,
                        kvc_connection **ret_connection, kvc_error *error);
    /* Where there are no connections to lease, in place of WATCH: adds keys to *watched, which is made when it is NULL. Else NULL. */
    kvc_status (*watch)(kvc_client *client, const kvc_slice *keys, size_t n, struct kvc_watched **watched,
                        kvc_error *error);
    /* Takes NULL. */
    void (*unwatch)(struct kvc_watched *watched);
    /* An error reply on a leased connection said where a key belongs: true when another lease for it will go there. May be NULL. */
    bool (*learn)(kvc_client *client, const kvc_reply *reply);
    /* What a connection outside the pool is made with (*ret_tls: or NULL), borrowed from the client. KVC_ENOTSUP, KVC_ESTATE. */
    kvc_status (*settings)(kvc_client *client, const kvc_options **ret_options, kvc_tls **ret_tls,
                           kvc_error *error);
    /* Frees what stands behind the client, and the client. */
    void (*close)(kvc_client *client);
} kvc_client_ops;

/* The first member of every kind of client. */
struct kvc_client {
    const kvc_client_ops *ops;
};

/* Runs a batch on a pool: on connection, which stays the caller's, or (NULL) on one of the pool. */
kvc_status kvc_pool_run(kvc_pool *pool, const kvc_batch *batch, kvc_connection *connection,
                        kvc_reply **ret_replies, kvc_error *error);

/* KVC_EREPLY when *reply is an error reply, which is freed. */
kvc_status kvc_check_reply(kvc_reply **reply, kvc_error *error);

#endif
