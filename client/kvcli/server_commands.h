/* server_commands.h - commands that the server has and the table has not: their names, and as much of a hint as COMMAND INFO gives.
 *
 *     server_commands known = { 0 };
 *     server_commands_load(&known, conversation);          // COMMAND LIST; of no effect before Redis 7
 *     server_commands_hint(&known, conversation, line, &out);
 *     server_commands_done(&known);
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_SERVER_COMMANDS_H
#define KVCLI_SERVER_COMMANDS_H

#include "conversation.h"

/* What COMMAND INFO told of a command. */
typedef struct server_command {
    long arity; /* 0: not asked yet, or unknown */
    long first_key, last_key, key_step;
    bool asked;
} server_command;

typedef struct server_commands {
    words names;
    server_command *about; /* one for each name */
} server_commands;

void server_commands_load(server_commands *known, conversation *c);
/* "hset k" gives " arg arg [arg ...]". Asks the server once for each name. */
void server_commands_hint(server_commands *known, conversation *c, kvc_slice line, text *out);
void server_commands_done(server_commands *known);

/* The arguments behind the first typed ones (the name among them), as far as arity and key positions tell. */
void server_command_print(const server_command *about, size_t typed, text *out);

#endif
