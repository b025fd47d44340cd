/* function.c - FUNCTION: what can be said of functions where there are none yet.
 *
 * Deployment scripts and test suites make sure that a server holds no functions, and list them; both can be
 * answered truthfully. Loading one is an unknown subcommand.
 *
 * SPDX-License-Identifier: MIT */
#include "args.h"

/* FUNCTION FLUSH [ASYNC | SYNC] */
void kv_cmd_function_flush(kv_call *call)
{
    if (call->argc > 3)
        kv_reply_errorf(call->reply,
                        "ERR unknown subcommand or wrong number of arguments for '%.*s'. Try FUNCTION HELP.",
                        kv_echo_len(call->argv[1], KV_ECHO_MAX), call->argv[1].data);
    else if (call->argc == 3 && !kv_word_is(call->argv[2], "sync") && !kv_word_is(call->argv[2], "async"))
        kv_reply_errorf(call->reply, "ERR FUNCTION FLUSH only supports SYNC|ASYNC option");
    else
        kv_reply_ok(call->reply);
}

/* FUNCTION LIST [LIBRARYNAME pattern] [WITHCODE] */
void kv_cmd_function_list(kv_call *call)
{
    for (int i = 2; i < call->argc; i++) {
        kv_slice word = call->argv[i];

        if (kv_word_is(word, "withcode"))
            continue;
        if (!kv_word_is(word, "libraryname")) {
            kv_reply_errorf(call->reply, "ERR Unknown argument %.*s", kv_echo_len(word, KV_ECHO_MAX),
                            word.data);
            return;
        }
        if (++i == call->argc) {
            kv_reply_errorf(call->reply, "ERR library name argument was not given");
            return;
        }
    }
    kv_reply_array(call->reply, 0);
}

/* FUNCTION HELP */
void kv_cmd_function_help(kv_call *call)
{
    static const char *const lines[] = {
        "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "FLUSH [ASYNC|SYNC]",
        "    Deletes all functions, of which there are none.",
        "HELP",
        "    This text.",
        "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
        "    Describes all functions.",
    };

    kv_reply_help(call->reply, lines, sizeof lines / sizeof lines[0]);
}
