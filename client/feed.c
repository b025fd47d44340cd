/* feed.c - see feed.h.
 *
 * The wanted set is what the caller asked for, whatever the connection does. Each request is a command of one channel, so
 * that an error reply can be laid at a channel's door; those on their way stand in a queue:
 *
 *     DOWN --retry_ms--> CONNECTING --session ready--> UP      all of wanted is asked for again
 *      ^__________________|____________________________|      any failure; after a random time up to the backoff
 *
 *     wanted   a  b  p*                     (told: the caller knows that it is subscribed)
 *     asked    SUBSCRIBE a, SUBSCRIBE b     (front: what the next confirmation answers)
 *     owed     c                            (unsubscribed while there was no connection: the event is still due)
 *
 * Invariants
 *   1. asked is empty unless UP.
 *   2. DISCONNECTED and RECONNECTED alternate. The second is told when all that was asked for again has been confirmed.
 *
 * A server that is gone without a word is found by a PING when it was silent for keepalive_s.
 *
 * SPDX-License-Identifier: MIT */
#include "feed.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/queue.h>

#include "backoff.h"
#include "channel_set.h"
#include "clock.h"
#include "failure.h"
#include "message.h"
#include "reply.h"

typedef struct request {
    STAILQ_ENTRY(request) next;
    bool unsubscribe;
    bool tell;  /* its confirmation is an event */
    bool again; /* of a new connection */
    kvc_channel_kind kind;
    size_t len;
    char name[];
} request;

STAILQ_HEAD(requests, request);

typedef enum feed_state { FEED_DOWN, FEED_CONNECTING, FEED_UP } feed_state;

struct kvc_feed {
    const kvc_options *options; /* borrowed */
    kvc_tls *tls;               /* borrowed, or NULL */
    kvc_session *session;
    feed_state state;
    kvc_channel_set wanted;
    struct requests asked, owed;
    size_t again; /* requests in asked with that mark */

    bool disconnected_due; /* DISCONNECTED is to be told */
    bool reconnecting;     /* it was; RECONNECTED is to come */

    unsigned failures; /* attempts since the last session */
    kvc_error failure; /* of the last one */
    int64_t retry_ms;  /* DOWN */
    uint64_t seed;
    int64_t heard_ms, pinged_ms; /* UP; pinged_ms 0: no PING is on its way */

    kvc_reply *reply;      /* what the last message points to ... */
    request *last_request; /* ... or this, or what moved */
    kvc_redirect redirect;
};

kvc_status kvc_feed_new(const kvc_options *options, kvc_tls *tls, kvc_feed **ret_feed, kvc_error *error)
{
    kvc_feed *feed = calloc(1, sizeof *feed);
    kvc_status status;

    *ret_feed = NULL;
    if (!feed)
        return kvc_fail_nomem(error);
    feed->options = options;
    feed->tls = tls;
    feed->seed = kvc_backoff_seed();
    STAILQ_INIT(&feed->asked);
    STAILQ_INIT(&feed->owed);
    status = kvc_session_new(options, tls, &feed->session, error);
    if (status != KVC_OK) {
        free(feed);
        return status;
    }
    *ret_feed = feed;
    return KVC_OK;
}

static void requests_free(struct requests *requests)
{
    request *r;

    while ((r = STAILQ_FIRST(requests))) {
        STAILQ_REMOVE_HEAD(requests, next);
        free(r);
    }
}

/* What the last message pointed to. */
static void forget_last(kvc_feed *feed)
{
    kvc_reply_free(feed->reply);
    free(feed->last_request);
    feed->reply = NULL;
    feed->last_request = NULL;
}

void kvc_feed_free(kvc_feed *feed)
{
    if (!feed)
        return;
    if (feed->state == FEED_UP && feed->options->on_state)
        feed->options->on_state(feed->options->state_arg, kvc_link_address(kvc_session_link(feed->session)),
                                false);
    forget_last(feed);
    requests_free(&feed->asked);
    requests_free(&feed->owed);
    kvc_channel_set_done(&feed->wanted);
    kvc_session_free(feed->session);
    free(feed);
}

bool kvc_feed_is_up(const kvc_feed *feed)
{
    return feed->state == FEED_UP;
}

const kvc_error *kvc_feed_failure(const kvc_feed *feed)
{
    return &feed->failure;
}

bool kvc_feed_is_down(const kvc_feed *feed)
{
    return feed->state == FEED_DOWN;
}

unsigned kvc_feed_failures(const kvc_feed *feed)
{
    return feed->failures;
}

kvc_status kvc_feed_move(kvc_feed *feed, const kvc_options *options, kvc_error *error)
{
    kvc_session *session;
    kvc_status status = kvc_session_new(options, feed->tls, &session, error);

    if (status != KVC_OK)
        return status;
    kvc_session_free(feed->session);
    feed->session = session;
    feed->options = options;
    return KVC_OK;
}

/* ---- asking ---- */

static request *request_new(kvc_channel_kind kind, kvc_slice name, bool unsubscribe)
{
    request *r = name.len < SIZE_MAX / 2 ? malloc(sizeof *r + name.len + 1) : NULL;

    if (!r)
        return NULL;
    *r = (request){ .kind = kind, .len = name.len, .unsubscribe = unsubscribe };
    if (name.len)
        memcpy(r->name, name.data, name.len);
    r->name[name.len] = '\0';
    return r;
}

static kvc_slice request_name(const request *r)
{
    return kvc_bytes(r->name, r->len);
}

/* Queues the command; the request is the feed's then, and still the caller's on failure. */
static kvc_status ask(kvc_feed *feed, request *r, kvc_error *error)
{
    const char *word = r->unsubscribe ? kvc_unsubscribe_word(r->kind) : kvc_subscribe_word(r->kind);
    const kvc_slice argv[] = { kvc_str(word), request_name(r) };
    kvc_status status = kvc_link_append(kvc_session_link(feed->session), 2, argv, error);

    if (status != KVC_OK)
        return status;
    STAILQ_INSERT_TAIL(&feed->asked, r, next);
    feed->again += r->again;
    return KVC_OK;
}

static kvc_status ask_for(kvc_feed *feed, const kvc_channel_name *item, bool again, kvc_error *error)
{
    request *r = request_new(item->kind, kvc_channel_name_slice(item), false);
    kvc_status status;

    if (!r)
        return kvc_fail_nomem(error);
    r->tell = !item->told;
    r->again = again;
    status = ask(feed, r, error);
    if (status != KVC_OK)
        free(r);
    return status;
}

kvc_status kvc_feed_subscribe(kvc_feed *feed, kvc_channel_kind kind, kvc_slice name, kvc_error *error)
{
    kvc_status status = kvc_channel_set_add(&feed->wanted, kind, name);

    if (status == KVC_NIL)
        return KVC_OK;
    if (status != KVC_OK)
        return kvc_fail_nomem(error);
    if (feed->state != FEED_UP)
        return KVC_OK;
    status = ask_for(feed, kvc_channel_set_find(&feed->wanted, kind, name), false, error);
    if (status == KVC_ESTATE) /* the connection broke: next will see it */
        return KVC_OK;
    if (status != KVC_OK)
        kvc_channel_set_remove(&feed->wanted, kind, name);
    return status;
}

kvc_status kvc_feed_unsubscribe(kvc_feed *feed, kvc_channel_kind kind, kvc_slice name, kvc_error *error)
{
    request *r;
    kvc_status status = KVC_ESTATE;

    if (!kvc_channel_set_find(&feed->wanted, kind, name))
        return KVC_OK;
    r = request_new(kind, name, true);
    if (!r)
        return kvc_fail_nomem(error);
    r->tell = true;
    if (feed->state == FEED_UP)
        status = ask(feed, r, error);
    if (status == KVC_ENOMEM) {
        free(r);
        return status;
    }
    if (status != KVC_OK)
        STAILQ_INSERT_TAIL(&feed->owed, r, next);
    kvc_channel_set_remove(&feed->wanted, kind, name);
    return KVC_OK;
}

/* ---- coming up and going down ---- */

static void tell_state(const kvc_feed *feed, bool up)
{
    if (feed->options->on_state)
        feed->options->on_state(feed->options->state_arg, kvc_link_address(kvc_session_link(feed->session)),
                                up);
}

static void log_failure(const kvc_feed *feed, const kvc_error *failure)
{
    if (feed->options->log)
        feed->options->log(feed->options->log_arg, KVC_LOG_WARNING, failure->message);
}

/* Requests that will not be answered: an unsubscription has happened with the connection's end. */
static void forget_asked(kvc_feed *feed)
{
    request *r;

    while ((r = STAILQ_FIRST(&feed->asked))) {
        STAILQ_REMOVE_HEAD(&feed->asked, next);
        if (r->unsubscribe && r->tell)
            STAILQ_INSERT_TAIL(&feed->owed, r, next);
        else
            free(r);
    }
    feed->again = 0;
}

static void go_down(kvc_feed *feed, int64_t now_ms, const kvc_error *failure)
{
    const kvc_options *options = feed->options;

    log_failure(feed, failure);
    feed->failure = *failure;
    if (feed->state == FEED_UP) {
        tell_state(feed, false);
        if (!feed->reconnecting)
            feed->disconnected_due = true;
        feed->reconnecting = true;
    }
    forget_asked(feed);
    kvc_session_disconnect(feed->session);
    feed->state = FEED_DOWN;
    feed->retry_ms = now_ms + kvc_backoff_ms(&feed->seed, feed->failures, options->backoff_min_ms,
                                             options->backoff_max_ms);
    if (feed->failures < UINT32_MAX)
        feed->failures++;
}

static kvc_status come_up(kvc_feed *feed, int64_t now_ms, kvc_error *error)
{
    feed->state = FEED_UP;
    feed->failures = 0;
    feed->failure = (kvc_error){ .status = KVC_OK };
    feed->heard_ms = now_ms;
    feed->pinged_ms = 0;
    tell_state(feed, true);
    for (size_t i = 0; i < feed->wanted.n; i++) {
        kvc_status status = ask_for(feed, feed->wanted.items[i], true, error);

        if (status != KVC_OK)
            return status;
    }
    return KVC_OK;
}

/* KVC_OK: go on. KVC_NIL: *ret_wait. */
static kvc_status connect_step(kvc_feed *feed, int64_t now_ms, kvc_dial_wait *ret_wait, kvc_error *error)
{
    kvc_error failure;
    kvc_status status = KVC_OK;

    if (feed->state == FEED_DOWN) {
        *ret_wait = (kvc_dial_wait){ .fd = -1, .until_ms = feed->retry_ms };
        if (now_ms < feed->retry_ms)
            return KVC_NIL;
        status =
            kvc_session_connect(feed->session, kvc_deadline(feed->options->connect_timeout_ms), &failure);
        feed->state = FEED_CONNECTING;
    }
    if (status == KVC_OK)
        status = kvc_session_step(feed->session, now_ms, ret_wait, &failure);
    if (status == KVC_OK)
        status = come_up(feed, now_ms, &failure);
    if (status >= 0)
        return status;
    go_down(feed, now_ms, &failure);
    if (!kvc_is_lasting(status))
        return KVC_OK; /* waits for retry_ms next */
    if (error)
        *error = failure;
    return status;
}

/* ---- what the server says ---- */

static bool answers(const request *r, const kvc_message *message)
{
    return r && r->kind == message->kind && r->unsubscribe == (message->event == KVC_EVENT_UNSUBSCRIBED) &&
           r->len == message->channel.len &&
           (r->len == 0 || memcmp(r->name, message->channel.data, r->len) == 0);
}

static request *take_asked(kvc_feed *feed)
{
    request *r = STAILQ_FIRST(&feed->asked);

    STAILQ_REMOVE_HEAD(&feed->asked, next);
    feed->again -= r->again;
    return r;
}

/* Whether the confirmation is an event for the caller. */
static kvc_status take_confirmation(kvc_feed *feed, const kvc_message *message, kvc_error *error)
{
    request *r = STAILQ_FIRST(&feed->asked);
    kvc_channel_name *item = kvc_channel_set_find(&feed->wanted, message->kind, message->channel);
    bool tell;

    if (answers(r, message)) {
        take_asked(feed);
        tell = r->tell;
        free(r);
        if (tell && item && message->event == KVC_EVENT_SUBSCRIBED)
            item->told = true;
        return tell ? KVC_OK : KVC_NIL;
    }
    if (message->event != KVC_EVENT_UNSUBSCRIBED || !item)
        return KVC_NIL;
    /* The server ended it: the slot of a shard channel has moved. */
    feed->last_request = request_new(message->kind, message->channel, true);
    if (!feed->last_request)
        return kvc_fail_nomem(error);
    feed->redirect = (kvc_redirect){ .kind = KVC_REDIRECT_NONE };
    kvc_channel_set_remove(&feed->wanted, message->kind, message->channel);
    return kvc_fail(error, KVC_EREDIRECT, "a shard channel has moved");
}

/* A command of ours was refused. */
static kvc_status take_refusal(kvc_feed *feed, int64_t now_ms, kvc_error *error)
{
    request *r = STAILQ_FIRST(&feed->asked);
    kvc_error later;

    if (!r)
        return KVC_NIL; /* an answer to PING */
    take_asked(feed);
    feed->last_request = r;
    feed->redirect = kvc_redirect_of(feed->reply);
    if (r->unsubscribe)
        return KVC_NIL;
    if (feed->options->cluster && feed->redirect.kind > KVC_REDIRECT_MOVED) {
        kvc_fail_reply(&later, KVC_EREPLY, kvc_reply_text(feed->reply));
        go_down(feed, now_ms,
                &later); /* the cluster is in a change: again, with a new connection, in a while */
        return KVC_NIL;
    }
    kvc_channel_set_remove(&feed->wanted, r->kind, request_name(r));
    if (feed->options->cluster && feed->redirect.kind == KVC_REDIRECT_MOVED)
        return kvc_fail(error, KVC_EREDIRECT, "a shard channel is served elsewhere");
    return kvc_fail_reply(error, KVC_EREPLY, kvc_reply_text(feed->reply));
}

static kvc_status take_reply(kvc_feed *feed, kvc_link_kind kind, int64_t now_ms, kvc_message *ret_message,
                             kvc_error *error)
{
    if (kind == KVC_LINK_REPLY)
        return kvc_reply_type(feed->reply) == KVC_TYPE_ERROR ? take_refusal(feed, now_ms, error) : KVC_NIL;
    if (!kvc_message_read(feed->reply, ret_message))
        return KVC_NIL; /* another kind of push */
    return ret_message->event == KVC_EVENT_MESSAGE ? KVC_OK : take_confirmation(feed, ret_message, error);
}

/* ---- being up ---- */

/* Asks a silent server whether it is there, and gives one up that does not answer. KVC_OK: *ret_due_ms is when to look again. */
static kvc_status check_alive(kvc_feed *feed, int64_t now_ms, int64_t *ret_due_ms, kvc_error *error)
{
    const kvc_slice ping[] = { kvc_str("PING") };
    uint32_t patience_ms = feed->options->command_timeout_ms;
    int64_t ping_ms = feed->heard_ms + (int64_t)feed->options->keepalive_s * 1000;

    *ret_due_ms = ping_ms;
    if (now_ms < ping_ms)
        return KVC_OK;
    if (feed->pinged_ms == 0) {
        feed->pinged_ms = now_ms;
        *ret_due_ms = patience_ms == UINT32_MAX ? KVC_NEVER : now_ms + patience_ms;
        return kvc_link_append(kvc_session_link(feed->session), 1, ping, error);
    }
    *ret_due_ms = patience_ms == UINT32_MAX ? KVC_NEVER : feed->pinged_ms + patience_ms;
    if (now_ms < *ret_due_ms)
        return KVC_OK;
    return kvc_fail(error, KVC_ETIMEOUT, "%s: no answer to PING within %u ms",
                    kvc_link_address(kvc_session_link(feed->session)), patience_ms);
}

/* Sends and receives as far as it goes; KVC_OK: bytes came. */
static kvc_status move_bytes(kvc_feed *feed, int64_t now_ms, kvc_dial_wait *ret_wait, kvc_error *error)
{
    short write_events = 0, read_events = POLLIN;
    int64_t due_ms = KVC_NEVER;
    kvc_status status, sent;

    status = kvc_session_send(feed->session, &write_events, error);
    if (status >= 0)
        status = kvc_session_receive(feed->session, &read_events, error);
    if (status == KVC_OK) {
        feed->heard_ms = now_ms;
        feed->pinged_ms = 0;
        return KVC_OK;
    }
    if (status == KVC_NIL)
        status = check_alive(feed, now_ms, &due_ms, error);
    if (status < 0)
        return status;
    sent = kvc_session_send(feed->session, &write_events, error);
    *ret_wait = (kvc_dial_wait){ .fd = kvc_session_fd(feed->session),
                                 .events = (short)(read_events | (sent == KVC_NIL ? write_events : 0)),
                                 .until_ms = due_ms };
    return sent < 0 ? sent : KVC_NIL;
}

/* KVC_OK: *ret_message. KVC_NIL: *ret_wait. A failure of the connection: KVC_OK with *ret_again, after going down. */
static kvc_status read_step(kvc_feed *feed, int64_t now_ms, kvc_message *ret_message, kvc_dial_wait *ret_wait,
                            bool *ret_again, kvc_error *error)
{
    kvc_error failure;
    kvc_link_kind kind;
    kvc_status status;

    *ret_again = true;
    status = kvc_link_next(kvc_session_link(feed->session), &kind, &feed->reply, &failure);
    if (status == KVC_OK) {
        status = take_reply(feed, kind, now_ms, ret_message, error);
        *ret_again = status == KVC_NIL;
        return status;
    }
    if (status == KVC_NIL) {
        status = move_bytes(feed, now_ms, ret_wait, &failure);
        *ret_again = status != KVC_NIL;
    }
    if (status < 0)
        go_down(feed, now_ms, &failure);
    return KVC_NIL;
}

/* ---- next ---- */

/* An event that needs no server. */
static bool take_due_event(kvc_feed *feed, kvc_message *ret_message)
{
    request *r = STAILQ_FIRST(&feed->owed);

    *ret_message = (kvc_message){ .channel = { "", 0 }, .pattern = { "", 0 }, .payload = { "", 0 } };
    if (feed->disconnected_due) {
        feed->disconnected_due = false;
        ret_message->event = KVC_EVENT_DISCONNECTED;
        return true;
    }
    if (r) {
        STAILQ_REMOVE_HEAD(&feed->owed, next);
        feed->last_request = r;
        ret_message->event = KVC_EVENT_UNSUBSCRIBED;
        ret_message->kind = r->kind;
        ret_message->channel = request_name(r);
        return true;
    }
    if (feed->reconnecting && feed->state == FEED_UP && feed->again == 0) {
        feed->reconnecting = false;
        ret_message->event = KVC_EVENT_RECONNECTED;
        return true;
    }
    return false;
}

kvc_status kvc_feed_next(kvc_feed *feed, int64_t now_ms, kvc_message *ret_message, kvc_dial_wait *ret_wait,
                         kvc_error *error)
{
    kvc_status status = KVC_OK;
    bool again = true;

    while (again) {
        forget_last(feed);
        if (take_due_event(feed, ret_message))
            return KVC_OK;
        if (feed->state == FEED_UP) {
            status = read_step(feed, now_ms, ret_message, ret_wait, &again, error);
        } else {
            status = connect_step(feed, now_ms, ret_wait, error);
            again = status == KVC_OK;
        }
    }
    return status;
}

kvc_slice kvc_feed_moved(const kvc_feed *feed, kvc_redirect *ret_redirect)
{
    *ret_redirect = feed->redirect;
    return feed->last_request ? request_name(feed->last_request) : kvc_bytes("", 0);
}
