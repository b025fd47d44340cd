/* message.h - what a server says on a connection that subscribed, as a kvc_message.
 *
 *     kvc_message message;
 *     if (kvc_message_read(reply, &message))
 *         handle(&message);                     // its slices are of reply
 *
 * Threads    Pure functions.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVC_MESSAGE_H
#define KVC_MESSAGE_H

#include "kvclient.h"

/* False: the reply is no message, and no confirmation of SUBSCRIBE and its kin. */
bool kvc_message_read(const kvc_reply *reply, kvc_message *ret_message);

/* The words: "SUBSCRIBE", "PUNSUBSCRIBE", ... */
const char *kvc_subscribe_word(kvc_channel_kind kind);
const char *kvc_unsubscribe_word(kvc_channel_kind kind);

#endif
