/* cluster_nodes.c - the nodes of a cluster with a pool each, and the map of slots. See cluster_internal.h.
 *
 * SPDX-License-Identifier: MIT */
#include "cluster_internal.h"

#include <stdlib.h>

#include "clock.h"
#include "reply.h"

#define REFRESH_MIN_MS 1000 /* between two questions for the map that MOVED gave rise to */

/* kvc_node.peer */
typedef struct node_pool {
    kvc_options *options;
    kvc_pool *pool;
} node_pool;

/* ---- nodes ---- */

void kvc_cluster_free_peer(void *peer)
{
    node_pool *np = peer;

    if (!np)
        return;
    kvc_pool_free(np->pool);
    kvc_options_free(np->options);
    free(np);
}

static node_pool *node_pool_new(const kvc_cluster *c, const kvc_node *node)
{
    node_pool *np = calloc(1, sizeof *np);

    if (!np)
        return NULL;
    if (kvc_options_copy_for(c->options, node->host, node->port, &np->options, NULL) == KVC_OK)
        np->pool = kvc_pool_new(np->options, c->tls);
    if (np->pool)
        return np;
    kvc_cluster_free_peer(np);
    return NULL;
}

kvc_node *kvc_cluster_use(kvc_cluster *c, kvc_node *node)
{
    if (!node->peer)
        node->peer = node_pool_new(c, node);
    if (!node->peer)
        return NULL;
    node->users++;
    return node;
}

kvc_node *kvc_cluster_take_owner(kvc_cluster *c, int slot)
{
    kvc_node *node;

    pthread_mutex_lock(&c->lock);
    node = slot >= 0 ? kvc_node_table_owner(c->nodes, (unsigned)slot) : NULL;
    node = kvc_cluster_use(c, node ? node : kvc_node_table_after(c->nodes, NULL));
    pthread_mutex_unlock(&c->lock);
    return node;
}

kvc_node *kvc_cluster_take_after(kvc_cluster *c, const kvc_node *before)
{
    kvc_node *node;

    pthread_mutex_lock(&c->lock);
    node = kvc_cluster_use(c, kvc_node_table_after(c->nodes, before));
    pthread_mutex_unlock(&c->lock);
    return node;
}

kvc_node *kvc_cluster_take_redirected(kvc_cluster *c, const kvc_node *teller, const kvc_redirect *redirect)
{
    kvc_node *node;

    pthread_mutex_lock(&c->lock);
    node = kvc_node_table_add(c->nodes, redirect->host[0] ? redirect->host : teller->host, redirect->port);
    if (node)
        node = kvc_cluster_use(c, node);
    if (node && redirect->kind == KVC_REDIRECT_MOVED)
        kvc_node_table_set_owner(c->nodes, redirect->slot, node);
    pthread_mutex_unlock(&c->lock);
    return node;
}

void kvc_cluster_put(kvc_cluster *c, kvc_node *node)
{
    pthread_mutex_lock(&c->lock);
    node->users--;
    pthread_mutex_unlock(&c->lock);
}

kvc_pool *kvc_cluster_pool_of(const kvc_node *node)
{
    return ((node_pool *)node->peer)->pool;
}

/* ---- the map of slots ---- */

/* One thread at a time, and not too often unless it must be. */
static bool begin_refresh(kvc_cluster *c, bool must)
{
    bool begin;

    pthread_mutex_lock(&c->lock);
    begin = !c->refreshing && (must || kvc_now_ms() >= c->refresh_after_ms);
    if (begin)
        c->refreshing = true;
    pthread_mutex_unlock(&c->lock);
    return begin;
}

static void end_refresh(kvc_cluster *c)
{
    pthread_mutex_lock(&c->lock);
    c->refreshing = false;
    c->refresh_after_ms = kvc_now_ms() + REFRESH_MIN_MS;
    pthread_mutex_unlock(&c->lock);
}

/* Nodes that are no part of the cluster any more; their pools end outside of the lock. */
static void sweep(kvc_cluster *c)
{
    void *peer;
    bool more;

    do {
        pthread_mutex_lock(&c->lock);
        more = kvc_node_table_sweep(c->nodes, &peer);
        pthread_mutex_unlock(&c->lock);
        kvc_cluster_free_peer(peer);
    } while (more);
}

kvc_status kvc_cluster_load_from(kvc_cluster *c, const kvc_node *node, kvc_error *error)
{
    const kvc_slice argv[] = { kvc_str("CLUSTER"), kvc_str("SLOTS") };
    kvc_reply *reply;
    kvc_status status =
        kvc_pool_call(kvc_cluster_pool_of(node), &(kvc_request){ .argc = 2, .argv = argv }, &reply, error);

    if (status == KVC_OK)
        status = kvc_check_reply(&reply, error);
    if (status == KVC_OK) {
        pthread_mutex_lock(&c->lock);
        status = kvc_node_table_load(c->nodes, reply, node->host, error);
        pthread_mutex_unlock(&c->lock);
    }
    kvc_reply_free(reply);
    return status;
}

void kvc_cluster_refresh_from(kvc_cluster *c, const kvc_node *node)
{
    if (!begin_refresh(c, false))
        return;
    kvc_cluster_load_from(c, node, NULL);
    sweep(c);
    end_refresh(c);
}

void kvc_cluster_refresh_without(kvc_cluster *c, kvc_node *lost, int64_t deadline_ms)
{
    kvc_node *node = NULL;
    kvc_status status = KVC_ECONNECT;
    size_t tries;

    if (!begin_refresh(c, true))
        return;
    pthread_mutex_lock(&c->lock);
    tries = kvc_node_table_count(c->nodes);
    pthread_mutex_unlock(&c->lock);
    for (kvc_node *before = lost; tries-- > 0 && status != KVC_OK && kvc_now_ms() < deadline_ms;
         before = node) {
        kvc_node *next = kvc_cluster_take_after(c, before);

        if (node)
            kvc_cluster_put(c, node);
        node = next;
        if (!node)
            break;
        if (node != lost)
            status = kvc_cluster_load_from(c, node, NULL);
    }
    if (node)
        kvc_cluster_put(c, node);
    sweep(c);
    end_refresh(c);
}
