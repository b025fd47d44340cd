/* message.c - arrays in RESP2, pushes in RESP3, of the same words.
 *
 * SPDX-License-Identifier: MIT */
#include "message.h"

#include "reply.h"

typedef struct form {
    const char *word;
    kvc_event event;
    kvc_channel_kind kind;
    size_t count; /* elements, the word included */
} form;

static const form forms[] = {
    { "message", KVC_EVENT_MESSAGE, KVC_CHANNEL, 3 },
    { "pmessage", KVC_EVENT_MESSAGE, KVC_PATTERN, 4 },
    { "smessage", KVC_EVENT_MESSAGE, KVC_SHARD_CHANNEL, 3 },
    { "subscribe", KVC_EVENT_SUBSCRIBED, KVC_CHANNEL, 3 },
    { "psubscribe", KVC_EVENT_SUBSCRIBED, KVC_PATTERN, 3 },
    { "ssubscribe", KVC_EVENT_SUBSCRIBED, KVC_SHARD_CHANNEL, 3 },
    { "unsubscribe", KVC_EVENT_UNSUBSCRIBED, KVC_CHANNEL, 3 },
    { "punsubscribe", KVC_EVENT_UNSUBSCRIBED, KVC_PATTERN, 3 },
    { "sunsubscribe", KVC_EVENT_UNSUBSCRIBED, KVC_SHARD_CHANNEL, 3 },
};

bool kvc_message_read(const kvc_reply *reply, kvc_message *ret_message)
{
    const kvc_reply *word = kvc_reply_at(reply, 0);

    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        const form *f = &forms[i];

        if (kvc_reply_count(reply) != f->count || !kvc_reply_is_word(word, f->word))
            continue;
        *ret_message = (kvc_message){
            .event = f->event,
            .kind = f->kind,
            .channel = kvc_reply_text(kvc_reply_at(reply, 1)),
            .pattern = kvc_bytes("", 0),
            .payload = kvc_bytes("", 0),
        };
        if (f->event == KVC_EVENT_MESSAGE)
            ret_message->payload = kvc_reply_text(kvc_reply_at(reply, f->count - 1));
        if (f->count == 4) { /* pmessage pattern channel payload */
            ret_message->pattern = ret_message->channel;
            ret_message->channel = kvc_reply_text(kvc_reply_at(reply, 2));
        }
        return true;
    }
    return false;
}

const char *kvc_subscribe_word(kvc_channel_kind kind)
{
    static const char *const words[] = { "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE" };

    return words[kind];
}

const char *kvc_unsubscribe_word(kvc_channel_kind kind)
{
    static const char *const words[] = { "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE" };

    return words[kind];
}
