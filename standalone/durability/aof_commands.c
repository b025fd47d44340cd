/* aof_commands.c - BGREWRITEAOF. SPDX-License-Identifier: MIT */
#include "aof.h"
#include "session.h"

/* BGREWRITEAOF */
void session_bgrewriteaof(kv_call *call)
{
    server *s = session_server(call);
    aof_figures figures;

    aof_read_figures(s, &figures);
    if (figures.rewriting)
        kv_reply_errorf(call->reply, "ERR Background append only file rewriting already in progress");
    else if (aof_rewrite_start(s) != 0)
        kv_reply_errorf(
            call->reply,
            "ERR Can't execute an AOF background rewriting. Please check the server logs for more "
            "information.");
    else
        call->reply->ops->simple(call->reply, session_in_exec(call)
                                                  ? KV_STR("Background append only file rewriting scheduled")
                                                  : KV_STR("Background append only file rewriting started"));
}
