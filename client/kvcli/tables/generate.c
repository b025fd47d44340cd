/* generate.c - writes command_rows.h: of each command of core's table what a person at kvcli wants to know.
 *
 * Run by the build, so that kvcli knows the table without linking the engine.
 *
 * SPDX-License-Identifier: MIT */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>

static void write_string(FILE *out, const char *string)
{
    if (!string) {
        fputs("NULL", out);
        return;
    }
    fputc('"', out);
    for (; *string; string++) {
        if (*string == '"' || *string == '\\')
            fputc('\\', out);
        fputc(*string, out);
    }
    fputc('"', out);
}

static const char *kind_of(const kv_arg *arg)
{
    switch (arg->type) {
    case KV_ARG_KEY:
        return "SYNTAX_KEY";
    case KV_ARG_TOKEN:
        return "SYNTAX_WORD";
    case KV_ARG_ONEOF:
        return "SYNTAX_ONEOF";
    case KV_ARG_BLOCK:
        return "SYNTAX_BLOCK";
    default:
        return "SYNTAX_VALUE";
    }
}

static void write_arguments(FILE *out, const kv_arg *args)
{
    if (!args) {
        fputs("NULL", out);
        return;
    }
    fputs("(const syntax[]){ ", out);
    for (; args->name; args++) {
        fputs("{ ", out);
        write_string(out, args->name);
        fputs(", ", out);
        write_string(out, args->token);
        fprintf(out, ", %s, %d, %d, %d, ", kind_of(args), (args->flags & KV_ARG_OPTIONAL) != 0,
                (args->flags & KV_ARG_MULTIPLE) != 0, (args->flags & KV_ARG_MULTIPLE_TOKEN) != 0);
        write_arguments(out, args->sub);
        fputs(" }, ", out);
    }
    fputs("{ 0 } }", out);
}

static void write_row(FILE *out, const kv_command *row)
{
    const char *const strings[] = { row->container ? row->container : row->name,
                                    row->container ? row->name : NULL,
                                    row->group,
                                    row->since,
                                    row->complexity,
                                    row->summary };
    size_t subcommands = 0;

    if (!row->container)
        kv_command_subcommands(row, &subcommands);
    fputs("    { ", out);
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        write_string(out, strings[i]);
        fputs(", ", out);
    }
    fprintf(out, "%s%s%s0, ", row->flags & KV_CMD_READONLY ? "COMMAND_READONLY | " : "",
            row->flags & KV_CMD_BLOCKING ? "COMMAND_BLOCKING | " : "",
            subcommands > 0 ? "COMMAND_CONTAINER | " : "");
    write_arguments(out, row->args);
    fputs(" },\n", out);
}

int main(int argc, char **argv)
{
    FILE *out = argc == 2 ? fopen(argv[1], "w") : NULL;

    if (!out) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return EXIT_FAILURE;
    }
    fprintf(out, "/* Written by client/kvcli/tables/generate.c from the command table. */\n"
                 "static const command_row rows[] = {\n");
    for (int i = 0; i < KV_COMMAND_COUNT; i++)
        write_row(out, &kv_command_table[i]);
    fprintf(out, "};\n");
    if (ferror(out) | fclose(out)) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
