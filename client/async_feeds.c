/* async_feeds.c - what a kvc_async subscribed to.
 *
 * Messages come on connections of their own (feed.h): in RESP2 a connection that subscribed takes no other commands. There is
 * one, made by the first subscription; in a cluster one more for each node that serves a shard channel. One whose node is
 * lost goes to another node, which serves it, or knows who does.
 *
 * SPDX-License-Identifier: MIT */
#include "async_core.h"

#include <stdlib.h>

#include "clock.h"
#include "failure.h"
#include "options.h"

#define MESSAGES_MAX 1000 /* of one connection in one turn */
#define FAILURES_MAX 2    /* to connect, before another node is tried */

static void on_watch(void *arg);

/* ---- which ---- */

static kvc_status feed_new(kvc_async *async, kvc_node *node, kvc_async_feed **ret_feed, kvc_error *error)
{
    kvc_async_feed *feed = calloc(1, sizeof *feed);
    kvc_status status = KVC_OK;

    if (!feed)
        return kvc_fail_nomem(error);
    feed->async = async;
    feed->node = node;
    feed->at = node ? node : async->main->node;
    TAILQ_INSERT_TAIL(&async->feeds, feed, next);
    if (node && node->peer != async->main)
        status = kvc_options_copy_for(async->options, node->host, node->port, &feed->options, error);
    if (status == KVC_OK)
        status = kvc_feed_new(feed->options ? feed->options : async->options, async->tls, &feed->feed, error);
    if (status == KVC_OK && !kvc_watch_init(&feed->watch, async->base, on_watch, feed))
        status = kvc_fail_nomem(error);
    if (status != KVC_OK) {
        kvc_async_feed_free(feed);
        return status;
    }
    *ret_feed = feed;
    return KVC_OK;
}

void kvc_async_feed_free(kvc_async_feed *feed)
{
    TAILQ_REMOVE(&feed->async->feeds, feed, next);
    kvc_watch_release(&feed->watch);
    kvc_feed_free(feed->feed);
    kvc_watch_done(&feed->watch);
    kvc_options_free(feed->options);
    free(feed);
}

/* The node that serves a shard channel; NULL: no cluster, or any. */
static kvc_node *node_of(kvc_async *async, kvc_channel_kind kind, kvc_slice channel)
{
    kvc_node *owner;

    if (!async->nodes || kind != KVC_SHARD_CHANNEL)
        return NULL;
    owner = kvc_node_table_owner(async->nodes, kvc_key_slot(channel));
    return owner ? owner : async->main->node;
}

static kvc_async_feed *find_feed(kvc_async *async, const kvc_node *node)
{
    kvc_async_feed *feed;

    TAILQ_FOREACH(feed, &async->feeds, next)
    if (feed->node == node)
        return feed;
    return NULL;
}

static kvc_status subscribe_at(kvc_async *async, kvc_node *node, kvc_channel_kind kind, kvc_slice channel,
                               kvc_error *error)
{
    kvc_async_feed *feed = find_feed(async, node);
    kvc_status status = feed ? KVC_OK : feed_new(async, node, &feed, error);

    if (status == KVC_OK)
        status = kvc_feed_subscribe(feed->feed, kind, channel, error);
    if (status == KVC_OK)
        kvc_watch_again(&feed->watch);
    return status;
}

/* The node does not answer: the next one. Without memory it stays. */
static void try_another_node(kvc_async_feed *feed)
{
    kvc_async *async = feed->async;
    kvc_node *node = kvc_node_table_after(async->nodes, feed->at);
    kvc_options *options;

    if (node == feed->at ||
        kvc_options_copy_for(async->options, node->host, node->port, &options, NULL) != KVC_OK)
        return;
    if (kvc_feed_move(feed->feed, options, NULL) != KVC_OK) {
        kvc_options_free(options);
        return;
    }
    kvc_options_free(feed->options);
    feed->options = options;
    feed->at = node;
}

/* ---- messages ---- */

/* A shard channel is served elsewhere. */
static void follow(kvc_async_feed *feed)
{
    kvc_async *async = feed->async;
    kvc_node *node = feed->at;
    kvc_redirect redirect;
    kvc_slice channel = kvc_feed_moved(feed->feed, &redirect);
    kvc_error error;

    if (redirect.kind == KVC_REDIRECT_MOVED)
        node = kvc_node_table_add(async->nodes, redirect.host[0] ? redirect.host : node->host, redirect.port);
    if (node && redirect.kind == KVC_REDIRECT_MOVED)
        kvc_node_table_set_owner(async->nodes, redirect.slot, node);
    if (!node || subscribe_at(async, node, KVC_SHARD_CHANNEL, channel, &error) != KVC_OK) {
        if (async->options->log)
            async->options->log(async->options->log_arg, KVC_LOG_WARNING,
                                "a shard channel has moved and could not be followed: out of memory");
    }
}

static void on_watch(void *arg)
{
    kvc_async_feed *feed = arg;
    kvc_async *async = feed->async;
    kvc_status status = KVC_OK;
    kvc_dial_wait wait;
    kvc_error error;

    kvc_watch_release(&feed->watch);
    if (async->nodes && kvc_feed_is_down(feed->feed) && kvc_feed_failures(feed->feed) >= FAILURES_MAX)
        try_another_node(feed);
    for (int n = 0; status != KVC_NIL && n < MESSAGES_MAX && !async->closing; n++) {
        kvc_message message;

        status = kvc_feed_next(feed->feed, kvc_now_ms(), &message, &wait, &error);
        if (status == KVC_OK && async->on_message)
            async->on_message(async, &message, async->message_arg);
        else if (status == KVC_EREDIRECT)
            follow(feed);
        else if (status < 0 && async->options->log)
            async->options->log(async->options->log_arg, KVC_LOG_WARNING, error.message);
    }
    if (status == KVC_NIL)
        kvc_watch_set(&feed->watch, &wait);
    else if (!async->closing)
        kvc_watch_again(&feed->watch);
    kvc_async_settle(async);
}

/* ---- the calls ---- */

void kvc_async_on_message(kvc_async *async, kvc_async_message_fn *fn, void *arg)
{
    async->on_message = fn;
    async->message_arg = arg;
}

kvc_status kvc_async_subscribe(kvc_async *async, kvc_channel_kind kind, kvc_slice channel)
{
    if (kind > KVC_SHARD_CHANNEL)
        return KVC_EARG;
    if (async->closing || !async->on_message)
        return KVC_ESTATE;
    return subscribe_at(async, node_of(async, kind, channel), kind, channel, NULL);
}

kvc_status kvc_async_unsubscribe(kvc_async *async, kvc_channel_kind kind, kvc_slice channel)
{
    kvc_async_feed *feed;
    kvc_status status = KVC_OK;

    if (kind > KVC_SHARD_CHANNEL)
        return KVC_EARG;
    if (async->closing)
        return KVC_ESTATE;
    TAILQ_FOREACH(feed, &async->feeds, next)
    {
        if (status == KVC_OK)
            status = kvc_feed_unsubscribe(feed->feed, kind, channel, NULL);
        kvc_watch_again(&feed->watch);
    }
    return status;
}
