/* connection_commands.c - PING ECHO SELECT QUIT RESET. SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "acl_session.h"
#include "monitor.h"
#include "multi.h"
#include "pubsub.h"
#include "session.h"
#include "tracking.h"

/* To a subscriber in RESP2, which expects nothing but messages: as if it were one. */
static void reply_subscriber_pong(kv_call *call)
{
    kv_reply_array(call->reply, 2);
    kv_reply_bulk(call->reply, KV_STR("pong"));
    kv_reply_bulk(call->reply, call->argc == 2 ? call->argv[1] : KV_STR(""));
}

/* PING [message] */
void session_ping(kv_call *call)
{
    if (call->argc > 2)
        kv_reply_errorf(call->reply, "ERR wrong number of arguments for 'ping' command");
    else if (session_connection(call)->flags & CONNECTION_RESTRICTED)
        reply_subscriber_pong(call);
    else if (call->argc == 2)
        kv_reply_bulk(call->reply, call->argv[1]);
    else
        call->reply->ops->simple(call->reply, KV_STR("PONG"));
}

/* ECHO message */
void session_echo(kv_call *call)
{
    kv_reply_bulk(call->reply, call->argv[1]);
}

/* SELECT index */
void session_select_command(kv_call *call)
{
    int db;

    if (!kv_arg_db(call, 1, &db))
        return;
    session_select(call, db);
    kv_reply_ok(call->reply);
}

/* QUIT */
void session_quit(kv_call *call)
{
    session_connection(call)->flags |= CONNECTION_CLOSE_AFTER;
    kv_reply_ok(call->reply);
}

/* RESET: as if the connection were new, but for its id. */
void session_reset(kv_call *call)
{
    connection *c = session_connection(call);

    multi_end(c);
    /* A reply that CLIENT REPLY SKIP has taken away stays away. */
    c->flags &= ~(unsigned)(CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP_NEXT | CONNECTION_NO_TOUCH |
                            CONNECTION_NO_EVICT);
    acl_session_begin(c);
    monitor_leave(c);
    pubsub_forget(c);
    tracking_set(c, 0, 0, 0, NULL);
    c->protocol = 2;
    resp_reply_set_protocol((resp_reply *)call->reply, 2);
    session_select(call, 0);
    call->access = c->owner->access;
    if (c->names) {
        free(c->names->name);
        c->names->name = NULL;
    }
    call->reply->ops->simple(call->reply, KV_STR("RESET"));
}
