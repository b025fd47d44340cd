/* slowlog_commands.c - SLOWLOG GET LEN RESET HELP. SPDX-License-Identifier: MIT */
#include "session.h"
#include "slowlog.h"

/* SLOWLOG GET [count] */
void session_slowlog_get(kv_call *call)
{
    int64_t count = 10;

    if (call->argc > 3) {
        kv_reply_errorf(call->reply,
                        "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try SLOWLOG HELP.",
                        kv_echo_len(call->argv[1], KV_ECHO_MAX), call->argv[1].data);
    } else if (call->argc == 3 && (!kv_parse_int(call->argv[2], &count) || count < -1)) {
        kv_reply_errorf(call->reply, "ERR count should be greater than or equal to -1");
    } else {
        slowlog_reply(session_server(call)->slowlog, count < 0 ? SIZE_MAX : (size_t)count, call->reply);
    }
}

/* SLOWLOG LEN */
void session_slowlog_len(kv_call *call)
{
    kv_reply_int(call->reply, (int64_t)slowlog_len(session_server(call)->slowlog));
}

/* SLOWLOG RESET */
void session_slowlog_reset(kv_call *call)
{
    slowlog_reset(session_server(call)->slowlog);
    kv_reply_ok(call->reply);
}

/* SLOWLOG HELP */
void session_slowlog_help(kv_call *call)
{
    static const char *const lines[] = {
        "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "GET [<count>]",
        "    Return the newest <count> entries (10; -1: all): id, time, microseconds,",
        "    arguments, address and name of the client.",
        "LEN",
        "    Return how many entries there are.",
        "RESET",
        "    Forget them.",
        "HELP",
        "    Print this help.",
    };

    session_reply_help(call, lines, sizeof lines / sizeof *lines);
}
