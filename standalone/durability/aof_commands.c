/* aof_commands.c - BGREWRITEAOF. SPDX-License-Identifier: MIT */
#include <errno.h>

#include "aof.h"
#include "session.h"

/* BGREWRITEAOF */
void session_bgrewriteaof(kv_call *call)
{
    int err = aof_rewrite_ask(session_server(call));

    if (err == -EAGAIN || (!err && session_in_exec(call)))
        call->reply->ops->simple(call->reply, KV_STR("Background append only file rewriting scheduled"));
    else if (!err)
        call->reply->ops->simple(call->reply, KV_STR("Background append only file rewriting started"));
    else if (err == -EBUSY)
        kv_reply_errorf(call->reply, "ERR Background append only file rewriting already in progress");
    else
        kv_reply_errorf(
            call->reply,
            "ERR Can't execute an AOF background rewriting. Please check the server logs for more "
            "information.");
}
