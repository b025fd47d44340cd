/* async_peer.c - one server of a kvc_async: its connection, and the queue of calls for it.
 *
 *     IDLE --something to send--> CONNECTING --session ready--> UP
 *      ^  ^________________________|   ^                        |
 *      |    nobody needs it any more   | retry_ms               |
 *      |                              DOWN <____________________|   lost, or refused
 *
 * While UP, the link holds at most AHEAD_BYTES of requests that the socket has not taken; the rest waits here, where
 * it can still be answered with "not sent". When the connection is lost, a call of which no byte was sent waits for the next one, in
 * its place; one that may have been executed is answered, unless it only reads and the options allow to repeat it.
 *
 * A server that says nothing any more is given up when its oldest reply is past its deadline and nothing came for the
 * command timeout. (The oldest: a command may wait long because the one before it blocks on purpose.)
 *
 * SPDX-License-Identifier: MIT */
#include "async_core.h"

#include <poll.h>
#include <stdlib.h>

#include "backoff.h"
#include "clock.h"
#include "failure.h"
#include "options.h"

#define AHEAD_BYTES (64 * 1024)
#define READS_MAX   64 /* of 16 KiB, of one connection in one turn */

static void on_watch(void *arg);

static const kvc_options *options_of(const kvc_peer *peer)
{
    return peer->options ? peer->options : peer->async->options;
}

const char *kvc_peer_address(const kvc_peer *peer)
{
    return kvc_link_address(kvc_session_link(peer->session));
}

/* A node that is where the options point to needs none of its own. */
static bool is_main(const kvc_async *async, const kvc_node *node)
{
    return !node || !async->main;
}

kvc_status kvc_peer_new(kvc_async *async, kvc_node *node, kvc_peer **ret_peer, kvc_error *error)
{
    kvc_peer *peer = calloc(1, sizeof *peer);
    kvc_status status = KVC_OK;

    *ret_peer = NULL;
    if (!peer)
        return kvc_fail_nomem(error);
    peer->async = async;
    peer->node = node;
    TAILQ_INIT(&peer->waiting);
    TAILQ_INIT(&peer->flying);
    TAILQ_INSERT_TAIL(&async->peers, peer, next);
    if (!is_main(async, node))
        status = kvc_options_copy_for(async->options, node->host, node->port, &peer->options, error);
    if (status == KVC_OK)
        status = kvc_session_new(options_of(peer), async->tls, &peer->session, error);
    if (status == KVC_OK && !kvc_watch_init(&peer->watch, async->base, on_watch, peer))
        status = kvc_fail_nomem(error);
    if (status != KVC_OK) {
        kvc_peer_free(peer);
        return status;
    }
    if (node)
        node->peer = peer;
    *ret_peer = peer;
    return KVC_OK;
}

static void tell_state(const kvc_peer *peer, bool up)
{
    const kvc_options *options = peer->async->options;

    if (options->on_state)
        options->on_state(options->state_arg, kvc_peer_address(peer), up);
}

void kvc_peer_free(kvc_peer *peer)
{
    if (peer->state == KVC_PEER_UP)
        tell_state(peer, false);
    TAILQ_REMOVE(&peer->async->peers, peer, next);
    kvc_watch_release(&peer->watch);
    kvc_session_free(peer->session);
    kvc_watch_done(&peer->watch);
    kvc_options_free(peer->options);
    free(peer);
}

void kvc_peer_need(kvc_peer *peer)
{
    peer->dirty = true;
    peer->async->dirty = true;
}

void kvc_peer_add(kvc_peer *peer, kvc_call *call)
{
    call->peer = peer;
    call->place = KVC_CALL_WAITING;
    TAILQ_INSERT_TAIL(&peer->waiting, call, queue);
    kvc_peer_need(peer);
}

/* ---- coming up and going down ---- */

static void tell_failure(const kvc_peer *peer)
{
    const kvc_options *options = peer->async->options;

    if (options->log)
        options->log(options->log_arg, KVC_LOG_WARNING, peer->failure.message);
}

/* Whether a call that flew may be sent again. */
static bool may_fly_again(const kvc_peer *peer, kvc_call *call)
{
    const kvc_options *options = peer->async->options;

    if (call->position >= kvc_link_sent_total(kvc_session_link(peer->session)))
        return options->retry != KVC_RETRY_NEVER;
    return (options->retry == KVC_RETRY_READONLY && call->readonly &&
            call->retries++ < options->max_retries) ||
           call->internal;
}

/* The calls that flew: back into the queue, in order, or answered. */
static void land_calls(kvc_peer *peer)
{
    uint64_t sent = kvc_link_sent_total(kvc_session_link(peer->session));
    struct kvc_calls again = TAILQ_HEAD_INITIALIZER(again);
    kvc_call *call;

    while ((call = TAILQ_FIRST(&peer->flying))) {
        kvc_call_leave(call);
        if (call->answered) {
            if (call->internal)
                kvc_call_free(call);
        } else if (may_fly_again(peer, call)) {
            call->peer = peer;
            call->place = KVC_CALL_WAITING;
            TAILQ_INSERT_TAIL(&again, call, queue);
        } else {
            kvc_call_answer(call, peer->failure.status, NULL, &peer->failure, call->position < sent);
        }
    }
    TAILQ_CONCAT(&again, &peer->waiting, queue); /* which is empty then */
    TAILQ_CONCAT(&peer->waiting, &again, queue);
}

static void refuse_waiting(kvc_peer *peer)
{
    kvc_call *call;

    while ((call = TAILQ_FIRST(&peer->waiting))) {
        kvc_call_leave(call);
        if (call->internal)
            kvc_async_refreshed(peer->async, peer, NULL);
        kvc_call_answer(call, peer->failure.status, NULL, &peer->failure, false);
    }
}

/* Questions of ours are put to another node instead. */
static void drop_internal(kvc_peer *peer)
{
    kvc_call *call, *next;

    for (call = TAILQ_FIRST(&peer->waiting); call; call = next) {
        next = TAILQ_NEXT(call, queue);
        if (!call->internal)
            continue;
        kvc_call_leave(call);
        kvc_call_free(call);
        kvc_async_refreshed(peer->async, peer, NULL);
    }
}

static void go_down(kvc_peer *peer, const kvc_error *failure)
{
    const kvc_options *options = peer->async->options;
    bool was_up = peer->state == KVC_PEER_UP;
    int64_t now_ms = kvc_now_ms();

    peer->failure = *failure;
    kvc_watch_release(&peer->watch);
    land_calls(peer);
    kvc_session_disconnect(peer->session);
    peer->state = KVC_PEER_DOWN;
    peer->retry_ms = now_ms + kvc_backoff_ms(&peer->async->seed, peer->failures, options->backoff_min_ms,
                                             options->backoff_max_ms);
    if (peer->failures < UINT32_MAX)
        peer->failures++;
    if (was_up)
        tell_state(peer, false);
    tell_failure(peer);
    if (kvc_is_lasting(failure->status) && !was_up) /* those who wait need not wait for their deadline */
        refuse_waiting(peer);
    drop_internal(peer);
    if (peer->async->nodes)
        kvc_async_refresh(peer->async, now_ms);
    kvc_peer_need(peer);
}

static kvc_status refused_by_loop(const kvc_peer *peer, kvc_error *failure)
{
    return kvc_fail(failure, KVC_ENOMEM, "%s: the event loop refused the socket", kvc_peer_address(peer));
}

/* ---- sending ---- */

/* Hands the first waiting call to the link. Out of memory: the call is answered; negative when the link is of no use now. */
static kvc_status launch(kvc_peer *peer, int64_t now_ms, kvc_error *failure)
{
    static const char asking[] = "*1\r\n$6\r\nASKING\r\n";
    kvc_call *call = TAILQ_FIRST(&peer->waiting);
    kvc_link *link = kvc_session_link(peer->session);
    kvc_status status = KVC_OK;

    kvc_call_leave(call);
    call->skip = 0;
    call->position = kvc_link_queued(link);
    if (call->asking) {
        status = kvc_link_append_raw(link, kvc_str(asking), 1, failure);
        call->skip = status == KVC_OK;
    }
    if (status == KVC_OK)
        status = kvc_link_append_raw(link, kvc_buffer_slice(&call->bytes), 1, failure);
    if (status != KVC_OK) {
        kvc_call_answer(call, status, NULL, failure, false);
        return call->skip ? status : KVC_OK; /* an ASKING without its command would be the next one's */
    }
    call->peer = peer;
    call->place = KVC_CALL_FLYING;
    call->flown_ms = now_ms;
    TAILQ_INSERT_TAIL(&peer->flying, call, queue);
    return KVC_OK;
}

/* Moves requests from the queue to the socket. KVC_NIL: it takes no more, and must become ready for *ret_events. */
static kvc_status send_requests(kvc_peer *peer, short *ret_events, kvc_error *failure)
{
    kvc_link *link = kvc_session_link(peer->session);
    int64_t now_ms = kvc_now_ms();
    kvc_status status = KVC_OK;

    do {
        while (status == KVC_OK && kvc_link_output(link).len < AHEAD_BYTES && !TAILQ_EMPTY(&peer->waiting))
            status = launch(peer, now_ms, failure);
        if (status == KVC_OK)
            status = kvc_session_send(peer->session, ret_events, failure);
    } while (status == KVC_OK && !TAILQ_EMPTY(&peer->waiting));
    return status;
}

/* When a server whose oldest reply is overdue counts as gone, if it goes on saying nothing. */
static int64_t silence_ends_ms(const kvc_peer *peer)
{
    const kvc_call *oldest = TAILQ_FIRST(&peer->flying);
    uint32_t patience_ms = peer->async->options->command_timeout_ms;

    if (!oldest || !oldest->answered || patience_ms == UINT32_MAX)
        return KVC_NEVER;
    return (peer->heard_ms > oldest->flown_ms ? peer->heard_ms : oldest->flown_ms) + patience_ms;
}

static void send_calls(kvc_peer *peer)
{
    kvc_dial_wait wait = { .until_ms = silence_ends_ms(peer) };
    kvc_error failure;
    short events = 0;
    kvc_status status = send_requests(peer, &events, &failure);

    if (status >= 0) {
        wait.fd = kvc_session_fd(peer->session);
        wait.events = (short)(POLLIN | (status == KVC_NIL ? events : 0));
        if (!kvc_watch_set(&peer->watch, &wait))
            status = refused_by_loop(peer, &failure);
    }
    if (status < 0)
        go_down(peer, &failure);
}

/* ---- receiving ---- */

static void take_answer(kvc_peer *peer, kvc_call *call, kvc_reply *reply)
{
    kvc_error error;

    if (call->internal) {
        kvc_async_refreshed(peer->async, peer, reply);
        kvc_reply_free(reply);
        kvc_call_free(call);
        return;
    }
    if (kvc_reply_type(reply) != KVC_TYPE_ERROR) {
        kvc_call_answer(call, KVC_OK, reply, NULL, true);
        return;
    }
    if (!peer->async->nodes || !kvc_async_redirect(peer, call, reply)) {
        kvc_fail_reply(&error, KVC_EREPLY, kvc_reply_text(reply));
        kvc_call_answer(call, KVC_EREPLY, NULL, &error, true);
    }
    kvc_reply_free(reply);
}

/* The reply to the oldest call that flies. */
static kvc_status take_reply(kvc_peer *peer, kvc_reply *reply, kvc_error *failure)
{
    kvc_call *call = TAILQ_FIRST(&peer->flying);

    if (!call) {
        kvc_reply_free(reply);
        return kvc_fail(failure, KVC_EPROTOCOL, "%s: a reply that nothing asked for", kvc_peer_address(peer));
    }
    if (call->skip > 0) {
        call->skip--;
        kvc_reply_free(reply);
        return KVC_OK;
    }
    kvc_call_leave(call);
    if (!call->answered) {
        take_answer(peer, call, reply);
        return KVC_OK;
    }
    kvc_reply_free(reply);
    if (call->internal)
        kvc_call_free(call);
    return KVC_OK;
}

/* Everything that is there, as far as a turn goes. KVC_NIL: that was all. */
static kvc_status receive_replies(kvc_peer *peer, kvc_error *failure)
{
    kvc_link *link = kvc_session_link(peer->session);
    kvc_status status = KVC_OK;

    for (int reads = 0; status == KVC_OK && reads < READS_MAX;) {
        kvc_link_kind kind;
        kvc_reply *reply;
        short events;

        status = kvc_link_next(link, &kind, &reply, failure);
        if (status == KVC_OK && kind == KVC_LINK_REPLY) {
            status = take_reply(peer, reply, failure);
        } else if (status == KVC_OK) {
            kvc_reply_free(reply); /* a push: messages have connections of their own */
        } else if (status == KVC_NIL) {
            status = kvc_session_receive(peer->session, &events, failure);
            if (status == KVC_OK)
                peer->heard_ms = kvc_now_ms();
            reads++;
        }
    }
    return status;
}

static void read_calls(kvc_peer *peer)
{
    kvc_error failure;
    kvc_status status = receive_replies(peer, &failure);

    if (status < 0) {
        go_down(peer, &failure);
        return;
    }
    if (status == KVC_OK && kvc_session_has_bytes(peer->session))
        kvc_watch_again(&peer->watch);
    kvc_peer_need(peer); /* the socket may take more now */
}

/* ---- connecting ---- */

static void come_up(kvc_peer *peer)
{
    peer->state = KVC_PEER_UP;
    peer->failures = 0;
    peer->failure = (kvc_error){ .status = KVC_OK };
    peer->heard_ms = kvc_now_ms();
    tell_state(peer, true);
    if (peer->async->nodes && peer == peer->async->main)
        kvc_async_refresh(peer->async, peer->heard_ms);
    kvc_peer_need(peer);
}

static void connect_step(kvc_peer *peer)
{
    kvc_dial_wait wait;
    kvc_error failure;
    kvc_status status;

    kvc_watch_release(&peer->watch);
    status = kvc_session_step(peer->session, kvc_now_ms(), &wait, &failure);
    if (status == KVC_NIL && !kvc_watch_set(&peer->watch, &wait))
        status =
            kvc_fail(&failure, KVC_ENOMEM, "%s: the event loop refused the socket", kvc_peer_address(peer));
    if (status == KVC_OK)
        come_up(peer);
    else if (status < 0)
        go_down(peer, &failure);
}

static void begin_connect(kvc_peer *peer)
{
    kvc_error failure;
    kvc_status status =
        kvc_session_connect(peer->session, kvc_deadline(options_of(peer)->connect_timeout_ms), &failure);

    peer->state = KVC_PEER_CONNECTING;
    if (status == KVC_OK)
        connect_step(peer);
    else
        go_down(peer, &failure);
}

static void give_up(kvc_peer *peer)
{
    kvc_error failure;

    kvc_fail(&failure, KVC_ETIMEOUT, "%s: given up, silent for %u ms", kvc_peer_address(peer),
             peer->async->options->command_timeout_ms);
    go_down(peer, &failure);
}

void kvc_peer_pump(kvc_peer *peer)
{
    bool needed = peer->keep || !TAILQ_EMPTY(&peer->waiting);
    int64_t until_ms = KVC_NEVER;

    if (peer->state == KVC_PEER_UP) {
        if (kvc_now_ms() < silence_ends_ms(peer))
            send_calls(peer);
        else
            give_up(peer);
        return;
    }
    if (peer->state == KVC_PEER_CONNECTING)
        return;
    if (needed && (peer->state == KVC_PEER_IDLE || kvc_now_ms() >= peer->retry_ms)) {
        begin_connect(peer);
        return;
    }
    peer->state = needed ? KVC_PEER_DOWN : KVC_PEER_IDLE;
    if (needed)
        until_ms = peer->retry_ms;
    kvc_watch_set(&peer->watch, &(kvc_dial_wait){ .fd = -1, .until_ms = until_ms });
}

static void on_watch(void *arg)
{
    kvc_peer *peer = arg;
    kvc_async *async = peer->async;

    if (peer->state == KVC_PEER_UP)
        read_calls(peer);
    else if (peer->state == KVC_PEER_CONNECTING)
        connect_step(peer);
    else
        kvc_peer_need(peer);
    kvc_async_settle(async);
}
