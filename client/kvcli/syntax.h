/* syntax.h - the commands and their arguments, as help, hints and completion read them.
 *
 *     const command_row *row = command_find(argc, argv, &name_words);
 *     if (row)
 *         syntax_print(row->arguments, &out);          // "key value [NX | XX] [GET] ..."
 *
 * The rows are made at build time from core's command table, so they need no server. Constant data.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KVCLI_SYNTAX_H
#define KVCLI_SYNTAX_H

#include "text.h"

typedef enum syntax_kind {
    SYNTAX_VALUE,
    SYNTAX_KEY,
    SYNTAX_WORD,  /* token, and nothing behind it */
    SYNTAX_ONEOF, /* one of sub */
    SYNTAX_BLOCK, /* all of sub */
} syntax_kind;

/* An argument. A list of them ends with a NULL name. */
typedef struct syntax {
    const char *name;
    const char *token; /* the word that introduces it, or NULL */
    syntax_kind kind;
    bool optional, multiple, multiple_token;
    const struct syntax *sub;
} syntax;

enum command_flag { COMMAND_READONLY = 1, COMMAND_BLOCKING = 2, COMMAND_CONTAINER = 4 };

typedef struct command_row {
    const char *name; /* lower case: "client" */
    const char *sub;  /* of a subcommand: "kill"; else NULL */
    const char *group, *since, *complexity, *summary;
    unsigned flags;
    const syntax *arguments; /* or NULL */
} command_row;

/* The row these words run, and how many of them are its name: 1, or 2 with a subcommand. A container whose subcommand is unknown or
 * not there gives the container. NULL: not in the table. */
const command_row *command_find(size_t argc, const kvc_slice *argv, size_t *ret_name_words);
/* All rows; those of subcommands stand behind their container. */
const command_row *command_rows(size_t *ret_count);
/* May it wait for longer than commands take: BLPOP, WAIT, XREAD BLOCK ..., whether in the table or not. */
bool command_blocks(size_t argc, const kvc_slice *argv);
/* Changes nothing, so that it may be sent twice. */
bool command_is_readonly(size_t argc, const kvc_slice *argv);

/* As the reference of commands writes arguments. NULL: nothing. */
void syntax_print(const syntax *arguments, text *out);
void syntax_print_one(const syntax *argument, text *out);

#endif
