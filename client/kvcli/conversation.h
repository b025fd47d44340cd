/* conversation.h - the connection kvcli talks over, and what was said on it that must survive a reconnect.
 *
 *     conversation c = { .settings = &settings };
 *     kvc_error error;
 *     if (conversation_open(&c, &error) != KVC_OK)
 *         return complain(exit_status_of(&error), "%s", error.message);
 *     status = conversation_ask(&c, argc, argv, &reply, &error);
 *     conversation_close(&c);
 *
 * It remembers the database, the user and password, the name and the protocol that commands have set, and opens the next connection
 * with them. A transaction, watched keys and subscriptions cannot be had again: conversation_lost tells which went.
 *
 * Ownership  Replies are the caller's.
 * Errors     As the library's. An error reply is a reply.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_CONVERSATION_H
#define KVCLI_CONVERSATION_H

#include "settings.h"

typedef struct conversation {
    settings *settings; /* its server options are what the next connection begins with */
    kvc_client *client;
    kvc_connection *connection; /* NULL: none */
    text address;               /* for prompts and messages: "127.0.0.1:6379", "/run/kv.sock" */
    int db, db_after_exec;
    bool in_transaction, watching, monitoring, patient; /* patient: replies may take as long as they like */
    long subscriptions;
    void (*on_push)(void *arg,
                    const kvc_reply *push); /* what RESP3 tells unasked, before a reply; NULL: dropped */
    void *push_arg;
    words memory; /* what settings->server points to, once commands have changed it */
} conversation;

kvc_status conversation_open(conversation *c, kvc_error *error);
void conversation_close(conversation *c);
/* Frees what close leaves for the next open. */
void conversation_done(conversation *c);
/* The server has closed the connection, or there is none: seen without sending anything. */
bool conversation_is_dead(const conversation *c);
/* What a new connection will not have: "the transaction", "watched keys", "subscriptions", with commas; "" for nothing. */
void conversation_lost(const conversation *c, text *out);

/* SUBSCRIBE, MONITOR and their kin, whose answers are messages. */
bool conversation_is_stream(size_t argc, const kvc_slice *argv);
/* Sends the command and waits for the first of its replies. *ret_reply is NULL with KVC_OK where no reply is to come
 * (CLIENT REPLY OFF). Follows MOVED and ASK when the settings say so. */
kvc_status conversation_ask(conversation *c, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                            kvc_error *error);
/* The same with C strings, ended by NULL. */
kvc_status conversation_ask_strings(conversation *c, const char *const *strings, kvc_reply **ret_reply,
                                    kvc_error *error);
/* One more reply or message. */
kvc_status conversation_next(conversation *c, uint32_t timeout_ms, kvc_reply **ret_reply, kvc_error *error);

#endif
