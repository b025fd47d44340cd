/* async_cluster.c - a kvc_async that follows redirections: which server gets a call.
 *
 * A call goes to the owner of its key's slot, as far as that is known, else to where the options point to. What the nodes say
 * then corrects it:
 *
 *     MOVED      the slot's owner is remembered, the call goes there (from the third time on after a random
 *                time: nodes may disagree for a moment); the whole map is asked for soon
 *     ASK        the call goes there, this once, behind ASKING
 *     TRYAGAIN   the call waits a random time and is sent again, at most LATERS_MAX times
 *     CLUSTERDOWN   the same, and the map is asked for
 *
 * The map (CLUSTER SLOTS) is asked for when the first connection is up, after a MOVED, and when a node is lost: then from
 * another node. With the answer, waiting calls move to the new owners of their slots, and nodes that own nothing any
 * more and have nothing to do are let go.
 *
 * Each of the first two answers says that the command was not executed; sending it again keeps the promise that nothing is
 * executed twice. Commands that were sent in this order may be executed in another when a slot moves between them.
 *
 * SPDX-License-Identifier: MIT */
#include "async_core.h"

#include <stdlib.h>

#include "backoff.h"
#include "clock.h"
#include "failure.h"

#define LATERS_MAX     16   /* tries after "later" */
#define REFRESH_MIN_MS 1000 /* between two questions for the map; */
#define RETRY_MIN_MS   100  /* after one that was not answered */

kvc_peer *kvc_async_node_peer(kvc_async *async, kvc_node *node)
{
    kvc_peer *peer = node->peer;

    if (!peer && kvc_peer_new(async, node, &peer, NULL) != KVC_OK)
        return NULL;
    return peer;
}

kvc_peer *kvc_async_route(kvc_async *async, int slot)
{
    kvc_node *owner = async->nodes && slot >= 0 ? kvc_node_table_owner(async->nodes, (unsigned)slot) : NULL;
    kvc_peer *peer = owner ? kvc_async_node_peer(async, owner) : async->main;

    if (slot < 0 && peer->state == KVC_PEER_DOWN && async->nodes) { /* any will do: one that is there */
        TAILQ_FOREACH(peer, &async->peers, next)
        if (peer->state == KVC_PEER_UP)
            break;
    }
    return peer ? peer : async->main;
}

/* ---- the map of slots ---- */

static kvc_peer *peer_to_ask(kvc_async *async)
{
    kvc_peer *peer;

    TAILQ_FOREACH(peer, &async->peers, next)
    if (peer->state == KVC_PEER_UP)
        return peer;
    async->asked = kvc_node_table_after(async->nodes, async->asked);
    return kvc_async_node_peer(async, async->asked);
}

void kvc_async_refresh(kvc_async *async, int64_t now_ms)
{
    const kvc_slice argv[] = { kvc_str("CLUSTER"), kvc_str("SLOTS") };
    kvc_call *call;
    kvc_peer *peer;

    if (async->refreshing || async->closing || now_ms < async->refresh_after_ms)
        return;
    peer = peer_to_ask(async);
    call = peer ? kvc_call_new(async, 2, argv, async->options->command_timeout_ms) : NULL;
    if (!call)
        return;
    call->internal = true;
    async->refreshing = true;
    kvc_peer_add(peer, call);
}

/* Waiting calls go where their slots are now. */
static void reroute(kvc_async *async, kvc_peer *peer)
{
    kvc_call *call, *next;

    for (call = TAILQ_FIRST(&peer->waiting); call; call = next) {
        kvc_peer *to = call->slot >= 0 && !call->internal ? kvc_async_route(async, call->slot) : peer;

        next = TAILQ_NEXT(call, queue);
        if (to == peer)
            continue;
        kvc_call_leave(call);
        call->asking = false;
        kvc_peer_add(to, call);
    }
}

/* Lets go of nodes that own nothing and have nothing to do. */
static void sweep(kvc_async *async, const kvc_peer *reading)
{
    kvc_async_feed *feed;
    kvc_peer *peer;
    void *gone;

    TAILQ_FOREACH(peer, &async->peers, next)
    if (peer->node)
        peer->node->users = !TAILQ_EMPTY(&peer->waiting) || !TAILQ_EMPTY(&peer->flying);
    TAILQ_FOREACH(feed, &async->feeds, next)
    {
        feed->at->users++;
        if (feed->node)
            feed->node->users++;
    }
    reading->node->users++;
    if (async->asked && !async->asked->listed)
        async->asked = NULL;
    while (kvc_node_table_sweep(async->nodes, &gone))
        if (gone)
            kvc_peer_free(gone);
}

void kvc_async_refreshed(kvc_async *async, kvc_peer *peer, const kvc_reply *reply)
{
    kvc_peer *each;
    kvc_error failure;
    int64_t now_ms = kvc_now_ms();

    async->refreshing = false;
    async->refresh_after_ms = now_ms + (reply ? REFRESH_MIN_MS : RETRY_MIN_MS);
    if (!reply || kvc_reply_type(reply) == KVC_TYPE_ERROR)
        return; /* none came; or it is no cluster, and never says MOVED */
    if (kvc_node_table_load(async->nodes, reply, peer->node->host, &failure) != KVC_OK) {
        if (async->options->log)
            async->options->log(async->options->log_arg, KVC_LOG_WARNING, failure.message);
        return;
    }
    TAILQ_FOREACH(each, &async->peers, next)
    reroute(async, each);
    sweep(async, peer);
}

/* ---- redirections ---- */

static void fail_redirect(kvc_call *call, kvc_status status, const kvc_reply *reply, const char *why)
{
    kvc_slice text = kvc_reply_text(reply);
    kvc_error error;

    kvc_fail(&error, status, "%s: %.*s", why, (int)(text.len < 128 ? text.len : 128), text.data);
    kvc_call_answer(call, status, NULL, &error, false);
}

/* Puts the call aside for a random time, longer with every number; false: out of memory. */
static bool pause_call(kvc_async *async, kvc_call *call, unsigned number)
{
    int64_t due_ms;

    if (call->due.place == 0 && !kvc_call_heap_add(&async->heap, &call->due))
        return false;
    due_ms = kvc_now_ms() + kvc_backoff_ms(&async->seed, number, async->options->backoff_min_ms,
                                           async->options->backoff_max_ms);
    kvc_call_heap_change(&async->heap, &call->due, due_ms < call->deadline_ms ? due_ms : call->deadline_ms);
    call->place = KVC_CALL_LATER;
    TAILQ_INSERT_TAIL(&async->later, call, queue);
    return true;
}

/* MOVED, ASK */
static void send_elsewhere(kvc_peer *peer, kvc_call *call, const kvc_redirect *redirect,
                           const kvc_reply *reply)
{
    kvc_async *async = peer->async;
    const char *host = redirect->host[0] ? redirect->host : peer->node->host;
    kvc_node *node;
    kvc_peer *to;

    if (call->redirects >= async->options->max_redirects) {
        fail_redirect(call, KVC_EREDIRECT, reply, "redirected too often (max_redirects); last");
        return;
    }
    node = kvc_node_table_add(async->nodes, host, redirect->port);
    to = node ? kvc_async_node_peer(async, node) : NULL;
    if (!to) {
        if (!node && kvc_node_table_count(async->nodes) == KVC_NODES_MAX)
            fail_redirect(call, KVC_EREDIRECT, reply, "the cluster names too many nodes");
        else
            fail_redirect(call, KVC_ENOMEM, reply, "out of memory for a redirection");
        return;
    }
    call->redirects++;
    call->asking = redirect->kind == KVC_REDIRECT_ASK;
    if (redirect->kind == KVC_REDIRECT_MOVED) {
        kvc_node_table_set_owner(async->nodes, redirect->slot, node);
        kvc_async_refresh(async, kvc_now_ms());
    }
    /* Nodes that disagree for a moment send a command to and fro; from the third time on it takes its time. */
    if (redirect->kind == KVC_REDIRECT_ASK || call->redirects <= 2 ||
        !pause_call(async, call, call->redirects - 3))
        kvc_peer_add(to, call);
}

/* TRYAGAIN, CLUSTERDOWN; false: often enough. */
static bool send_later(kvc_peer *peer, kvc_call *call, kvc_redirect_kind kind)
{
    kvc_async *async = peer->async;

    if (call->laters >= LATERS_MAX || !pause_call(async, call, call->laters))
        return false;
    call->laters++;
    call->asking = false;
    if (kind == KVC_REDIRECT_DOWN)
        kvc_async_refresh(async, kvc_now_ms());
    return true;
}

bool kvc_async_redirect(kvc_peer *peer, kvc_call *call, const kvc_reply *reply)
{
    kvc_redirect redirect = kvc_redirect_of(reply);

    switch (redirect.kind) {
    case KVC_REDIRECT_NONE:
        return false;
    case KVC_REDIRECT_MOVED:
    case KVC_REDIRECT_ASK:
        send_elsewhere(peer, call, &redirect, reply);
        return true;
    default:
        return send_later(peer, call, redirect.kind);
    }
}

void kvc_async_resume(kvc_async *async, kvc_call *call)
{
    kvc_call_leave(call);
    if (call->deadline_ms == KVC_NEVER)
        kvc_call_heap_remove(&async->heap, &call->due);
    else
        kvc_call_heap_change(&async->heap, &call->due, call->deadline_ms);
    kvc_peer_add(kvc_async_route(async, call->slot), call);
}
