/* pubsub_commands.c - SUBSCRIBE, PUBLISH, PUBSUB and their kin.
 *
 * A confirmation is a push, one per name: no reply, so that CLIENT REPLY OFF does not silence it (dispatch.c).
 * SPDX-License-Identifier: MIT */
#include "pubsub.h"

#include <stdlib.h>

#include "pattern.h"
#include "session.h"

#define MUTED (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP)

/* ---- confirmations ---- */

/* What the kinds are called in confirmations. */
static const struct {
    const char *subscribe, *unsubscribe;
} words[TOPIC_KINDS] = {
    [TOPIC_CHANNEL] = { "subscribe", "unsubscribe" },
    [TOPIC_PATTERN] = { "psubscribe", "punsubscribe" },
    [TOPIC_SHARD] = { "ssubscribe", "sunsubscribe" },
};

/* Shard channels are counted by themselves. */
static int64_t count_with(const connection *c, topic_kind kind)
{
    return kind == TOPIC_SHARD ? pubsub_count(c, TOPIC_SHARD)
                               : pubsub_count(c, TOPIC_CHANNEL) + pubsub_count(c, TOPIC_PATTERN);
}

/* name: NULL data for none. */
static void confirm(kv_call *call, const char *word, topic_kind kind, kv_slice name)
{
    kv_reply *reply = call->reply;

    reply->ops->push(reply, 3);
    kv_reply_bulk(reply, kv_str(word));
    if (name.data)
        kv_reply_bulk(reply, name);
    else
        kv_reply_null(reply);
    kv_reply_int(reply, count_with(session_connection(call), kind));
}

/* ---- SUBSCRIBE and UNSUBSCRIBE ---- */

static void subscribe(kv_call *call, topic_kind kind)
{
    connection *c = session_connection(call);

    for (int i = 1; i < call->argc; i++) {
        kv_slice name = call->argv[i];
        int err =
            kind == TOPIC_PATTERN && name.len > PATTERN_MAX ? KV_EINVAL : pubsub_subscribe(c, kind, name);

        if (c->flags & CONNECTION_CLOSING)
            return;
        if (err == 0)
            confirm(call, words[kind].subscribe, kind, name);
        else if (err == KV_ETOOBIG)
            kv_reply_errorf(call->reply, "ERR too many subscriptions: at most %d for a connection",
                            PUBSUB_SUBSCRIPTIONS_MAX);
        else if (err == KV_EINVAL)
            kv_reply_errorf(call->reply, "ERR pattern is too long: at most %d bytes", PATTERN_MAX);
        else
            kv_reply_error(call->reply, err);
    }
}

/* SUBSCRIBE channel [channel ...] */
void session_subscribe(kv_call *call)
{
    subscribe(call, TOPIC_CHANNEL);
}

/* PSUBSCRIBE pattern [pattern ...] */
void session_psubscribe(kv_call *call)
{
    subscribe(call, TOPIC_PATTERN);
}

/* SSUBSCRIBE shardchannel [shardchannel ...] */
void session_ssubscribe(kv_call *call)
{
    subscribe(call, TOPIC_SHARD);
}

struct ending {
    kv_call *call;
    topic_kind kind;
};

static void confirm_end(void *arg, kv_slice name)
{
    const struct ending *e = arg;

    confirm(e->call, words[e->kind].unsubscribe, e->kind, name.data ? name : KV_STR(""));
}

static void unsubscribe(kv_call *call, topic_kind kind)
{
    connection *c = session_connection(call);
    struct ending e = { call, kind };

    for (int i = 1; i < call->argc; i++) {
        pubsub_unsubscribe(c, kind, call->argv[i]);
        confirm_end(&e, call->argv[i]);
    }
    if (call->argc == 1 && pubsub_unsubscribe_all(c, kind, confirm_end, &e) == 0)
        confirm(call, words[kind].unsubscribe, kind, (kv_slice){ NULL, 0 });
}

/* UNSUBSCRIBE [channel ...] */
void session_unsubscribe(kv_call *call)
{
    unsubscribe(call, TOPIC_CHANNEL);
}

/* PUNSUBSCRIBE [pattern ...] */
void session_punsubscribe(kv_call *call)
{
    unsubscribe(call, TOPIC_PATTERN);
}

/* SUNSUBSCRIBE [shardchannel ...] */
void session_sunsubscribe(kv_call *call)
{
    unsubscribe(call, TOPIC_SHARD);
}

/* ---- PUBLISH ---- */

static void publish(kv_call *call, topic_kind kind)
{
    connection *c = session_connection(call);
    bool crowded;
    int64_t receivers =
        pubsub_publish(session_server(call), c->owner, kind, call->argv[1], call->argv[2], &crowded);

    if (receivers < 0) {
        kv_reply_error(call->reply, (int)receivers);
        return;
    }
    if ((c->flags & (CONNECTION_SUBSCRIBED | MUTED)) ==
        CONNECTION_SUBSCRIBED) /* its own message comes first */
        pubsub_deliver(c->owner, c);
    kv_reply_int(call->reply, receivers);
    if (crowded)
        pubsub_wait(c);
}

/* PUBLISH channel message */
void session_publish(kv_call *call)
{
    publish(call, TOPIC_CHANNEL);
}

/* SPUBLISH shardchannel message */
void session_spublish(kv_call *call)
{
    publish(call, TOPIC_SHARD);
}

/* ---- PUBSUB ---- */

static void reply_channels(kv_call *call, topic_kind kind)
{
    topic **list;
    size_t count, matching = 0;

    if (call->argc > 3) {
        kv_reply_errorf(call->reply,
                        "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try PUBSUB HELP.",
                        (int)(call->argv[1].len > 128 ? 128 : call->argv[1].len), call->argv[1].data);
        return;
    }
    if (!topics_list(session_server(call)->topics, kind, &list, &count)) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (call->argc == 2 || pattern_match(call->argv[2], list[i]->name, false))
            list[matching++] = list[i];
        else
            topic_unref(list[i]);
    }
    kv_reply_array(call->reply, matching);
    for (size_t i = 0; i < matching; i++) {
        kv_reply_bulk(call->reply, list[i]->name);
        topic_unref(list[i]);
    }
    free(list);
}

static void reply_counts(kv_call *call, topic_kind kind)
{
    kv_reply_array(call->reply, 2 * (size_t)(call->argc - 2));
    for (int i = 2; i < call->argc; i++) {
        kv_reply_bulk(call->reply, call->argv[i]);
        kv_reply_int(call->reply, topic_users(session_server(call)->topics, kind, call->argv[i]));
    }
}

/* PUBSUB CHANNELS [pattern] */
void session_pubsub_channels(kv_call *call)
{
    reply_channels(call, TOPIC_CHANNEL);
}

/* PUBSUB SHARDCHANNELS [pattern] */
void session_pubsub_shardchannels(kv_call *call)
{
    reply_channels(call, TOPIC_SHARD);
}

/* PUBSUB NUMSUB [channel ...] */
void session_pubsub_numsub(kv_call *call)
{
    reply_counts(call, TOPIC_CHANNEL);
}

/* PUBSUB SHARDNUMSUB [shardchannel ...] */
void session_pubsub_shardnumsub(kv_call *call)
{
    reply_counts(call, TOPIC_SHARD);
}

/* PUBSUB NUMPAT */
void session_pubsub_numpat(kv_call *call)
{
    kv_reply_int(call->reply, (int64_t)topics_count(session_server(call)->topics, TOPIC_PATTERN));
}

/* PUBSUB HELP */
void session_pubsub_help(kv_call *call)
{
    static const char *const lines[] = {
        "PUBSUB <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CHANNELS [<pattern>]",
        "    The channels that have subscribers, those by pattern not included.",
        "NUMPAT",
        "    How many different patterns have subscribers.",
        "NUMSUB [<channel> ...]",
        "    How many subscribers channels have, those by pattern not included.",
        "SHARDCHANNELS [<pattern>]",
        "    The shard channels that have subscribers.",
        "SHARDNUMSUB [<shardchannel> ...]",
        "    How many subscribers shard channels have.",
        "HELP",
        "    Print this help.",
    };

    session_reply_help(call, lines, sizeof lines / sizeof *lines);
}
