/* async.c - asynchronous calls: accepted here, answered here, each exactly once.
 *
 * A command becomes a kvc_call. It waits in the queue of a server (async_peer.c) until there is a connection, flies until
 * its reply is there, and then stands in the queue of callbacks to be called:
 *
 *     kvc_async_command --> WAITING --> FLYING --reply--> done --> callback, freed
 *                              |  ^       |  ^
 *                              |  |_______|__|__ redirected, or the connection ended before a byte was sent
 *                              |__________|_____ deadline, connection lost, closing: done, with an error
 *
 * Nothing is called from within kvc_async_command: it only queues, and wakes the loop. Every event of the loop ends
 * with kvc_async_settle, which sends what is to be sent and calls the callbacks, until there are none; what they
 * do (commands, closing) is done there, too. Only settle frees the handle.
 *
 * A call whose deadline passes while it flies is answered, but keeps its place until its reply comes, as the replies have no
 * other mark than their order.
 *
 * Invariants
 *   1. A call is in the heap until it is answered, when it has a deadline.
 *   2. outstanding counts the user's calls whose callback was not called yet; while it is not 0, async lives.
 *
 * Memory: what is accepted and not yet answered is bounded by async_queue_bytes, the requests' bytes included.
 *
 * SPDX-License-Identifier: MIT */
#include "async_core.h"

#include <event2/event.h>
#include <stdlib.h>

#include "backoff.h"
#include "clock.h"
#include "command_effect.h"
#include "command_facts.h"
#include "failure.h"
#include "key_slot.h"
#include "options.h"

/* ---- calls ---- */

kvc_call *kvc_call_new(kvc_async *async, size_t argc, const kvc_slice *argv, uint32_t timeout_ms)
{
    kvc_call *call = calloc(1, sizeof *call);

    if (!call)
        return NULL;
    call->async = async;
    call->slot = -1;
    call->deadline_ms = kvc_deadline(timeout_ms);
    call->due.at_ms = call->deadline_ms;
    if (!kvc_buffer_append_command(&call->bytes, argc, argv) ||
        (call->deadline_ms != KVC_NEVER && !kvc_call_heap_add(&async->heap, &call->due))) {
        kvc_call_free(call);
        return NULL;
    }
    call->size_bytes = sizeof *call + call->bytes.capacity;
    return call;
}

void kvc_call_free(kvc_call *call)
{
    kvc_call_heap_remove(&call->async->heap, &call->due);
    kvc_reply_free(call->reply);
    free(call->error);
    kvc_buffer_done(&call->bytes);
    free(call);
}

void kvc_call_leave(kvc_call *call)
{
    if (call->place == KVC_CALL_WAITING)
        TAILQ_REMOVE(&call->peer->waiting, call, queue);
    else if (call->place == KVC_CALL_FLYING)
        TAILQ_REMOVE(&call->peer->flying, call, queue);
    else if (call->place == KVC_CALL_LATER)
        TAILQ_REMOVE(&call->async->later, call, queue);
    call->place = KVC_CALL_NOWHERE;
    call->peer = NULL;
}

void kvc_call_answer(kvc_call *call, kvc_status status, kvc_reply *reply, const kvc_error *error, bool sent)
{
    call->answered = true;
    call->status = status;
    call->reply = reply;
    call->sent = sent;
    kvc_call_heap_remove(&call->async->heap, &call->due);
    kvc_buffer_done(&call->bytes); /* it is not sent again */
    if (error && status < 0) {
        call->error = malloc(sizeof *call->error); /* without memory, the status must do */
        if (call->error)
            *call->error = *error;
    }
    if (call->internal) {
        if (call->place == KVC_CALL_NOWHERE)
            kvc_call_free(call);
        return;
    }
    STAILQ_INSERT_TAIL(&call->async->done, call, done);
}

/* ---- the loop ---- */

void kvc_async_wake(kvc_async *async)
{
    kvc_watch_again(&async->turn);
}

static void call_back(kvc_async *async, kvc_call *call)
{
    kvc_error error = { .status = call->status };
    kvc_reply *reply = call->reply;

    if (call->error)
        error = *call->error;
    else if (call->status < 0)
        kvc_fail(&error, call->status, "%s", kvc_status_text(call->status));
    error.sent = call->sent;
    call->reply = NULL;
    async->outstanding--;
    async->held_bytes -= call->size_bytes;
    if (call->fn)
        call->fn(async, call->status, reply, &error, call->arg);
    else
        kvc_reply_free(reply);
    if (call->place == KVC_CALL_NOWHERE)
        kvc_call_free(call);
    else
        call->internal = true; /* only its place is left */
}

static void answer_all(struct kvc_calls *calls, const kvc_error *error)
{
    kvc_call *call, *next;

    for (call = TAILQ_FIRST(calls); call; call = next) {
        bool flying = call->place == KVC_CALL_FLYING;

        next = TAILQ_NEXT(call, queue);
        kvc_call_leave(call);
        if (!call->answered)
            kvc_call_answer(call, error->status, NULL, error, flying);
        else if (call->internal)
            kvc_call_free(call);
    }
}

/* Closing without drain: nothing is waited for any more. */
static void give_up_all(kvc_async *async)
{
    kvc_error error;
    kvc_peer *peer;

    kvc_fail(&error, KVC_ECLOSED, "closed by kvc_async_close");
    TAILQ_FOREACH(peer, &async->peers, next)
    {
        answer_all(&peer->waiting, &error);
        answer_all(&peer->flying, &error);
    }
    answer_all(&async->later, &error);
}

static void async_free(kvc_async *async)
{
    kvc_async_feed *feed;
    kvc_peer *peer;

    give_up_all(async); /* internal calls, and places of calls that were answered */
    while ((feed = TAILQ_FIRST(&async->feeds)))
        kvc_async_feed_free(feed);
    while ((peer = TAILQ_FIRST(&async->peers)))
        kvc_peer_free(peer);
    kvc_node_table_free(async->nodes);
    kvc_watch_done(&async->turn);
    kvc_call_heap_done(&async->heap);
    kvc_tls_free(async->tls);
    kvc_options_free(async->options);
    free(async);
}

/* Sends what is to be sent; a failure may answer calls. */
static void pump(kvc_async *async)
{
    kvc_peer *peer;

    TAILQ_FOREACH(peer, &async->peers, next)
    {
        if (!peer->dirty)
            continue;
        peer->dirty = false;
        kvc_peer_pump(peer);
    }
}

void kvc_async_settle(kvc_async *async)
{
    kvc_due *first;
    kvc_call *call;

    do {
        async->dirty = false;
        if (async->closing && !async->draining)
            give_up_all(async);
        else
            pump(async);
        while ((call = STAILQ_FIRST(&async->done))) {
            STAILQ_REMOVE_HEAD(&async->done, done);
            call_back(async, call);
        }
    } while (async->dirty);
    if (async->closing && async->outstanding == 0) {
        async_free(async);
        return;
    }
    first = kvc_call_heap_first(&async->heap);
    kvc_watch_set(&async->turn, &(kvc_dial_wait){ .fd = -1, .until_ms = first ? first->at_ms : KVC_NEVER });
}

/* ---- deadlines ---- */

static void call_timed_out(kvc_call *call)
{
    kvc_peer *peer = call->peer;
    kvc_error error;

    if (call->internal)
        kvc_async_refreshed(call->async, peer, NULL);
    if (call->place == KVC_CALL_FLYING) {
        kvc_fail(&error, KVC_ETIMEOUT, "%s: no reply before the deadline", kvc_peer_address(peer));
        kvc_call_answer(call, KVC_ETIMEOUT, NULL, &error, true);
        kvc_peer_need(peer); /* is it still there? */
        return;
    }
    if (call->place == KVC_CALL_LATER)
        kvc_fail(&error, KVC_ETIMEOUT, "the cluster was not ready for the command before the deadline");
    else if (peer->failure.status != KVC_OK)
        kvc_fail(&error, KVC_ETIMEOUT, "not connected before the deadline: %s", peer->failure.message);
    else
        kvc_fail(&error, KVC_ETIMEOUT, "%s: not sent before the deadline", kvc_peer_address(peer));
    kvc_call_leave(call);
    kvc_call_answer(call, KVC_ETIMEOUT, NULL, &error, false);
}

static void on_turn(void *arg)
{
    kvc_async *async = arg;
    int64_t now_ms = kvc_now_ms();
    kvc_due *due;

    while ((due = kvc_call_heap_first(&async->heap)) && due->at_ms <= now_ms) {
        kvc_call *call = (kvc_call *)due;

        if (call->place == KVC_CALL_LATER && now_ms < call->deadline_ms)
            kvc_async_resume(async, call);
        else
            call_timed_out(call);
    }
    kvc_async_settle(async);
}

/* ---- opening ---- */

/* What async_free can free. */
static kvc_async *async_new(struct event_base *base)
{
    kvc_async *async = calloc(1, sizeof *async);

    if (!async)
        return NULL;
    async->base = base;
    async->seed = kvc_backoff_seed();
    TAILQ_INIT(&async->peers);
    TAILQ_INIT(&async->later);
    TAILQ_INIT(&async->feeds);
    STAILQ_INIT(&async->done);
    return async;
}

static kvc_status set_up(kvc_async *async, const kvc_options *options, kvc_error *error)
{
    kvc_status status = kvc_options_copy(options, &async->options, error);

    if (status == KVC_OK)
        status = kvc_tls_new(async->options, &async->tls, error);
    if (status != KVC_OK)
        return status;
    if (!kvc_watch_init(&async->turn, async->base, on_turn, async))
        return kvc_fail_nomem(error);
    if (async->options->cluster) {
        async->nodes = kvc_node_table_new(async->options->host, async->options->port);
        if (!async->nodes)
            return kvc_fail_nomem(error);
    }
    status = kvc_peer_new(async, async->nodes ? kvc_node_table_after(async->nodes, NULL) : NULL, &async->main,
                          error);
    if (status == KVC_OK)
        async->main->keep = true;
    return status;
}

kvc_status kvc_async_open(struct event_base *base, const kvc_options *options, kvc_async **ret_async,
                          kvc_error *error)
{
    kvc_async *async;
    kvc_status status;

    *ret_async = NULL;
    if (!base || !options)
        return kvc_fail(error, KVC_EARG, "kvc_async_open needs an event base and options");
    async = async_new(base);
    if (!async)
        return kvc_fail_nomem(error);
    status = set_up(async, options, error);
    if (status != KVC_OK) {
        async_free(async);
        return status;
    }
    kvc_peer_need(async->main);
    kvc_async_wake(async);
    *ret_async = async;
    return KVC_OK;
}

/* ---- commands ---- */

/* Beyond it nothing more is accepted, but for a single command that alone is larger. */
static bool is_full(const kvc_async *async, size_t more_bytes)
{
    return async->held_bytes > 0 && (more_bytes > async->options->async_queue_bytes ||
                                     async->held_bytes > async->options->async_queue_bytes - more_bytes);
}

kvc_status kvc_async_command(kvc_async *async, size_t argc, const kvc_slice *argv, uint32_t timeout_ms,
                             kvc_async_fn *fn, void *arg)
{
    kvc_command_facts facts;
    kvc_call *call;

    if (argc == 0 || !argv || argv[0].len == 0)
        return KVC_EARG;
    if (async->closing || kvc_command_effect(argc, argv) != KVC_EFFECT_NONE)
        return KVC_ESTATE;
    call = kvc_call_new(async, argc, argv, timeout_ms ? timeout_ms : async->options->command_timeout_ms);
    if (!call)
        return KVC_ENOMEM;
    if (is_full(async, call->size_bytes)) {
        kvc_call_free(call);
        return KVC_EFULL;
    }
    facts = kvc_command_facts_of(argc, argv);
    call->readonly = facts.flags & KVC_FACT_READONLY;
    if (async->nodes && facts.first_key)
        call->slot = (int)kvc_key_slot(argv[facts.first_key]);
    call->fn = fn;
    call->arg = arg;
    async->outstanding++;
    async->held_bytes += call->size_bytes;
    kvc_peer_add(kvc_async_route(async, call->slot), call);
    kvc_async_wake(async);
    return KVC_OK;
}

void kvc_async_close(kvc_async *async, bool drain)
{
    if (!async)
        return;
    async->draining = drain && (async->draining || !async->closing);
    async->closing = true;
    kvc_async_wake(async);
}
