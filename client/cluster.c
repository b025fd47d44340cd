/* cluster.c - the client of a Redis Cluster: a pool for each node, and where each command goes.
 *
 * A command goes to the owner of its first key's slot, as far as that is known, else to any node, and the node that is wrong says
 * which is right:
 *
 *     MOVED         the slot's owner is remembered, the command goes there; the whole map is asked for
 *     ASK           the command goes there, this once, behind ASKING
 *     TRYAGAIN, CLUSTERDOWN    the command is sent again after a random time that grows with each try
 *     no connection, nothing sent    another node is asked for the map; then again
 *
 * All four say that nothing was executed, so that sending again keeps the promise that nothing is executed twice. It ends with
 * max_redirects, with TRIES_MAX, or with the command timeout.
 *
 * A pipeline is cut into one part for each node; the parts run one after the other, and the commands that were redirected
 * once more. Commands of one slot so keep their order, unless the slot moves under them. A transaction's keys have one slot.
 *
 *     lock     guards the table and the pools' pointers; never held during I/O
 *     users    of a node: threads between kvc_cluster_take_... and kvc_cluster_put. A node with users is not swept.
 *
 * A node of which a connection was leased is never let go: nobody tells when the lease ends. There are at most KVC_NODES_MAX.
 *
 * SPDX-License-Identifier: MIT */
#include "cluster.h"

#include <stdlib.h>
#include <unistd.h>

#include "backoff.h"
#include "cluster_internal.h"
#include "failure.h"

static kvc_status check_process(const kvc_cluster *c, kvc_error *error)
{
    return c->pid == getpid()
               ? KVC_OK
               : kvc_fail(error, KVC_ESTATE, "this process is a fork of the one that opened the client");
}

/* ---- calls ---- */

static kvc_status cluster_call(kvc_client *client, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                               kvc_error *error)
{
    kvc_cluster *c = (kvc_cluster *)client;
    kvc_course way = { .node = NULL };
    kvc_status status = check_process(c, error);

    *ret_reply = NULL;
    if (status == KVC_OK)
        status = kvc_course_begin(&way, c, kvc_cluster_slot_of(argc, argv), error);
    if (status == KVC_OK)
        status = kvc_course_call(&way, argc, argv, ret_reply, error);
    kvc_course_end(&way);
    return status;
}

static bool cluster_find_node(kvc_client *client, size_t *node)
{
    kvc_cluster *c = (kvc_cluster *)client;
    bool found;

    pthread_mutex_lock(&c->lock);
    found = kvc_node_table_find(c->nodes, node);
    pthread_mutex_unlock(&c->lock);
    return found;
}

static kvc_status cluster_call_node(kvc_client *client, size_t place, size_t argc, const kvc_slice *argv,
                                    kvc_reply **ret_reply, kvc_error *error)
{
    kvc_cluster *c = (kvc_cluster *)client;
    kvc_status status = check_process(c, error);
    kvc_node *node;

    *ret_reply = NULL;
    if (status != KVC_OK)
        return status;
    pthread_mutex_lock(&c->lock);
    node = kvc_node_table_at(c->nodes, place);
    if (!node)
        status = kvc_fail(error, KVC_ESTATE, "a node has left the cluster meanwhile");
    else if (!kvc_cluster_use(c, node))
        status = kvc_fail_nomem(error);
    pthread_mutex_unlock(&c->lock);
    if (status != KVC_OK)
        return status;
    status = kvc_pool_call(kvc_cluster_pool_of(node), &(kvc_request){ .argc = argc, .argv = argv }, ret_reply,
                           error);
    kvc_cluster_put(c, node);
    return status;
}

static kvc_status cluster_run(kvc_client *client, const kvc_batch *batch, kvc_connection *connection,
                              kvc_reply **ret_replies, kvc_error *error)
{
    kvc_cluster *c = (kvc_cluster *)client;
    kvc_status status = check_process(c, error);

    *ret_replies = NULL;
    if (status != KVC_OK)
        return status;
    if (connection)
        return kvc_pool_run(kvc_connection_pool(connection), batch, connection, ret_replies, error);
    return batch->mode == KVC_TRANSACTION ? kvc_cluster_run_transaction(c, batch, ret_replies, error)
                                          : kvc_cluster_run_pipeline(c, batch, ret_replies, error);
}

/* ---- leases ---- */

static kvc_status cluster_lease(kvc_client *client, const kvc_slice *key, uint32_t wait_ms,
                                kvc_connection **ret_connection, kvc_error *error)
{
    kvc_cluster *c = (kvc_cluster *)client;
    kvc_status status = check_process(c, error);
    kvc_node *node;

    if (status != KVC_OK)
        return status;
    node = kvc_cluster_take_owner(c, key ? (int)kvc_key_slot(*key) : -1);
    if (!node)
        return kvc_fail_nomem(error);
    status = kvc_pool_take(kvc_cluster_pool_of(node), wait_ms, ret_connection, error);
    if (status != KVC_OK)
        kvc_cluster_put(c, node); /* else it stays taken for good */
    return status;
}

static bool cluster_learn(kvc_client *client, const kvc_reply *answer)
{
    kvc_cluster *c = (kvc_cluster *)client;
    kvc_redirect redirect = kvc_redirect_of(answer);
    kvc_node *teller, *node;

    if (redirect.kind != KVC_REDIRECT_MOVED)
        return false;
    teller = kvc_cluster_take_owner(c, (int)redirect.slot);
    if (!teller)
        return false;
    kvc_cluster_refresh_from(c, teller);
    node = kvc_cluster_take_redirected(c, teller, &redirect);
    kvc_cluster_put(c, teller);
    if (node)
        kvc_cluster_put(c, node);
    return node != NULL;
}

static kvc_status cluster_settings(kvc_client *client, const kvc_options **ret_options, kvc_tls **ret_tls,
                                   kvc_error *error)
{
    kvc_cluster *c = (kvc_cluster *)client;

    *ret_options = c->options;
    *ret_tls = c->tls;
    return check_process(c, error);
}

/* ---- opening and closing ---- */

static void cluster_close(kvc_client *client)
{
    kvc_cluster *c = (kvc_cluster *)client;
    void *peer;

    while (c->nodes && kvc_node_table_take_peer(c->nodes, &peer))
        kvc_cluster_free_peer(peer);
    kvc_node_table_free(c->nodes);
    kvc_tls_free(c->tls);
    kvc_options_free(c->options);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

static const kvc_client_ops cluster_ops = {
    .call = cluster_call,
    .find_node = cluster_find_node,
    .call_node = cluster_call_node,
    .run = cluster_run,
    .lease = cluster_lease,
    .learn = cluster_learn,
    .settings = cluster_settings,
    .close = cluster_close,
};

/* The first connection, and the map; a server that is no cluster has none and is never left. */
static kvc_status connect_first(kvc_cluster *c, kvc_error *error)
{
    kvc_node *first = kvc_cluster_take_owner(c, -1);
    kvc_error failure;
    kvc_status status;

    if (!first)
        return kvc_fail_nomem(error);
    status = kvc_cluster_load_from(c, first, &failure);
    kvc_cluster_put(c, first);
    if (status == KVC_OK || status == KVC_EREPLY)
        return KVC_OK;
    if (error)
        *error = failure;
    return status;
}

kvc_status kvc_cluster_open(kvc_options *options, kvc_tls *tls, kvc_client **ret_client, kvc_error *error)
{
    kvc_cluster *c = calloc(1, sizeof *c);
    kvc_status status;

    if (!c)
        return kvc_fail_nomem(error);
    if (pthread_mutex_init(&c->lock, NULL) != 0) {
        free(c);
        return kvc_fail_nomem(error);
    }
    c->client.ops = &cluster_ops;
    c->pid = getpid();
    c->seed = kvc_backoff_seed();
    c->options = options;
    c->tls = tls;
    c->nodes = kvc_node_table_new(options->host, options->port);
    status = c->nodes ? connect_first(c, error) : kvc_fail_nomem(error);
    if (status != KVC_OK) {
        c->options = NULL; /* both are still the caller's */
        c->tls = NULL;
        cluster_close(&c->client);
        return status;
    }
    *ret_client = &c->client;
    return KVC_OK;
}
