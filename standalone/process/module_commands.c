/* module_commands.c - MODULE: there are no modules, which can be asked and made sure. What loads one is refused as Redis
 * refuses it, first by enable-module-command (protect.h). SPDX-License-Identifier: MIT */
#include "session.h"

/* MODULE LIST */
void session_module_list(kv_call *call)
{
    kv_reply_array(call->reply, 0);
}

static void refuse(kv_call *call)
{
    log_limited(
        &session_server(call)->log, LOG_CLIENT_LIMIT, CONFIG_LOG_WARNING,
        "A client asked for a module to be loaded: this server has its commands built in and loads none");
    kv_reply_errorf(call->reply, "ERR Error loading the extension. Please check the server logs.");
}

/* MODULE LOAD path [arg ...] */
void session_module_load(kv_call *call)
{
    refuse(call);
}

/* MODULE LOADEX path [CONFIG name value ...] [ARGS arg ...] */
void session_module_loadex(kv_call *call)
{
    refuse(call);
}

/* MODULE UNLOAD name */
void session_module_unload(kv_call *call)
{
    kv_reply_errorf(call->reply, "ERR Error unloading module: no such module with that name");
}

/* MODULE HELP */
void session_module_help(kv_call *call)
{
    static const char *const lines[] = {
        "MODULE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "LIST",
        "    The modules that are loaded: none.",
        "LOAD <path> [<arg> ...]",
        "    Refused: this server loads no modules.",
        "LOADEX <path> [CONFIG <name> <value> ...] [ARGS ...]",
        "    Refused: this server loads no modules.",
        "UNLOAD <name>",
        "    There is none to unload.",
        "HELP",
        "    Print this help.",
    };

    session_reply_help(call, lines, sizeof lines / sizeof *lines);
}
