/* pubsub_commands.c - SUBSCRIBE, PUBLISH, PUBSUB and their kin.
 *
 * A confirmation is a push, one per name: no reply, so that CLIENT REPLY OFF does not silence it (dispatch.c).
 * SPDX-License-Identifier: MIT */
#include "pubsub.h"

#include <stdlib.h>

#include "feed.h"
#include "parts.h"
#include "pattern.h"
#include "session.h"

#define MUTED          (CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP)
#define NAMES_AT_ONCE  4096          /* after which others have their turn */
#define MATCHES_EFFORT (1024 * 1024) /* steps of matching (pattern.h), the same */

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

/* What the command is about; its words are the kind's. */
static topic_kind kind_of(const kv_call *call)
{
    switch (call->command->id) {
    case KV_COMMAND_psubscribe:
    case KV_COMMAND_punsubscribe:
        return TOPIC_PATTERN;
    case KV_COMMAND_ssubscribe:
    case KV_COMMAND_sunsubscribe:
        return TOPIC_SHARD;
    default:
        return TOPIC_CHANNEL;
    }
}

static void subscribe_to(kv_call *call, int i)
{
    connection *c = session_connection(call);
    topic_kind kind = kind_of(call);
    kv_slice name = call->argv[i];
    int err = kind == TOPIC_PATTERN && name.len > PATTERN_MAX ? KV_EINVAL : 0;

    if (!err && !(c->flags & CONNECTION_CLOSING))
        err = pubsub_subscribe(c, kind, name);
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

/* SUBSCRIBE channel [channel ...], PSUBSCRIBE pattern [pattern ...], SSUBSCRIBE shardchannel [shardchannel ...] */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) void session_subscribe(kv_call *call)
{
    kv_each_argument(call, 1, NAMES_AT_ONCE, NULL, subscribe_to);
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

static void unsubscribe_from(kv_call *call, int i)
{
    struct ending e = { call, kind_of(call) };

    pubsub_unsubscribe(session_connection(call), e.kind, call->argv[i]);
    confirm_end(&e, call->argv[i]);
}

/* An UNSUBSCRIBE without names under way. */
typedef struct ending_all {
    kv_rest rest;
    size_t at;
} ending_all;

static void free_ending(kv_rest *rest)
{
    free(rest);
}

static bool end_some(kv_rest *rest, kv_call *call)
{
    struct ending e = { call, kind_of(call) };

    return pubsub_unsubscribe_some(session_connection(call), e.kind, NAMES_AT_ONCE, &((ending_all *)rest)->at,
                                   confirm_end, &e);
}

static void end_all(kv_call *call, topic_kind kind)
{
    bool many = call->put_off && pubsub_count(session_connection(call), kind) > NAMES_AT_ONCE;
    ending_all *all = many ? malloc(sizeof *all) : NULL, at_once = { .at = 0 };

    if (all) {
        *all = (ending_all){ .rest = { end_some, free_ending } };
        if (call->put_off(call, &all->rest))
            return;
        free(all);
    }
    while (!end_some(&at_once.rest, call))
        ;
}

/* UNSUBSCRIBE [channel ...], PUNSUBSCRIBE [pattern ...], SUNSUBSCRIBE [shardchannel ...] */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) void session_unsubscribe(kv_call *call)
{
    topic_kind kind = kind_of(call);

    if (call->argc > 1)
        kv_each_argument(call, 1, NAMES_AT_ONCE, NULL, unsubscribe_from);
    else if (pubsub_count(session_connection(call), kind) > 0)
        end_all(call, kind);
    else
        confirm(call, words[kind].unsubscribe, kind, (kv_slice){ NULL, 0 });
}

/* ---- PUBLISH ---- */

/* Within an act that is under way, which will tell what it has changed: the message is told with that. */
static void publish_in_act(kv_call *call, topic_kind kind)
{
    notices *n = &session_connection(call)->owner->notices;
    int64_t receivers = pubsub_receivers(session_server(call), kind, call->argv[1]);

    if (receivers >= 0 && !notify_say(n, (int)kind, call->argv[1], call->argv[2]))
        receivers = KV_ENOMEM;
    if (receivers < 0) {
        kv_reply_error(call->reply, (int)receivers);
        return;
    }
    kv_reply_int(call->reply, receivers);
}

static void publish(kv_call *call, topic_kind kind)
{
    connection *c = session_connection(call);
    bool crowded, crowded_before = false;
    int64_t receivers;

    if (c->owner->notices.acting) {
        publish_in_act(call, kind);
        return;
    }
    if (c->owner->notices.some) /* what this thread has changed before is told before */
        crowded_before = notify_flush(session_server(call), c->owner, &c->owner->notices);
    receivers = pubsub_publish(session_server(call), c->owner, kind, call->argv[1], call->argv[2], &crowded);
    if (receivers < 0) {
        kv_reply_error(call->reply, (int)receivers);
        return;
    }
    feed_tell(session_server(call), call->argc, call->argv);
    if ((c->flags & (CONNECTION_SUBSCRIBED | MUTED)) ==
        CONNECTION_SUBSCRIBED) /* its own message comes first */
        pubsub_deliver(c->owner, c);
    kv_reply_int(call->reply, receivers);
    if (crowded || crowded_before)
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

/* A list of channels under way: first those that do not match are left out, then the others are told. */
typedef struct channel_list {
    kv_rest rest;
    topic **list;
    size_t count, next; /* topics; of them looked at, or told */
    size_t matching;    /* of those looked at: they stand in front */
    bool matched;
} channel_list;

static void free_channels(kv_rest *rest)
{
    channel_list *l = (channel_list *)rest;

    for (size_t i = 0; i < l->count; i++)
        topic_unref(l->list[i]);
    free(l->list);
    free(l);
}

static void match_channels(channel_list *l, const kv_call *call)
{
    uint64_t effort = 0;

    for (size_t n = 0; l->next < l->count && n < 4 * NAMES_AT_ONCE && effort < MATCHES_EFFORT; n++) {
        topic *t = l->list[l->next];

        if (call->argc == 2 || pattern_match_counting(call->argv[2], t->name, false, &effort)) {
            l->list[l->next] = l->list[l->matching];
            l->list[l->matching++] = t;
        }
        l->next++;
    }
}

/* The next part of it. */
static bool list_channels(kv_rest *rest, kv_call *call)
{
    channel_list *l = (channel_list *)rest;

    if (!l->matched) {
        match_channels(l, call);
        l->matched = l->next == l->count;
        if (!l->matched)
            return false;
        kv_reply_array(call->reply, l->matching);
        l->next = 0;
    }
    for (size_t n = 0; l->next < l->matching && n < 4 * NAMES_AT_ONCE; n++)
        kv_reply_bulk(call->reply, l->list[l->next++]->name);
    return l->next == l->matching;
}

static void reply_channels(kv_call *call, topic_kind kind)
{
    channel_list *l;

    if (call->argc > 3 || (call->argc == 3 && call->argv[2].len > PATTERN_MAX)) {
        kv_reply_errorf(call->reply,
                        "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try PUBSUB HELP.",
                        (int)(call->argv[1].len > 128 ? 128 : call->argv[1].len), call->argv[1].data);
        return;
    }
    l = calloc(1, sizeof *l);
    if (!l || !topics_list(session_server(call)->topics, kind, &l->list, &l->count)) {
        kv_reply_error(call->reply, KV_ENOMEM);
        free(l);
        return;
    }
    l->rest = (kv_rest){ list_channels, free_channels };
    if (l->count > NAMES_AT_ONCE && call->put_off && call->put_off(call, &l->rest))
        return;
    while (!list_channels(&l->rest, call))
        ;
    free_channels(&l->rest);
}

static void begin_counts(kv_call *call)
{
    kv_reply_array(call->reply, 2 * (size_t)(call->argc - 2));
}

static void reply_count(kv_call *call, int i)
{
    topic_kind kind = call->command->id == KV_COMMAND_pubsub_numsub ? TOPIC_CHANNEL : TOPIC_SHARD;

    kv_reply_bulk(call->reply, call->argv[i]);
    kv_reply_int(call->reply, topic_users(session_server(call)->topics, kind, call->argv[i]));
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

/* PUBSUB NUMSUB [channel ...], PUBSUB SHARDNUMSUB [shardchannel ...] */
KV_REQUIRES(kv_epoch_held) KV_EXCLUDES(kv_shard_held) void session_pubsub_numsub(kv_call *call)
{
    kv_each_argument(call, 2, NAMES_AT_ONCE, begin_counts, reply_count);
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
