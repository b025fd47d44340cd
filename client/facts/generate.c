/* generate.c - writes command_rows.h: of each command of core's table what a client must know, and no more.
 *
 * Run by the build, so that libkvclient knows the table without linking the engine. The rows are sorted by name,
 * a subcommand's is "object|encoding".
 *
 * SPDX-License-Identifier: MIT */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct line {
    char name[KV_COMMAND_NAME_MAX];
    const kv_command *row;
} line;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const line *)a)->name, ((const line *)b)->name);
}

static void write_line(FILE *out, const line *l)
{
    const kv_command *row = l->row;
    size_t subcommands = 0;

    kv_command_subcommands(row, &subcommands);
    fprintf(out, "    { \"%s\", %d, %d, %s%s%s%s%s0 },\n", l->name, row->keys.first, row->keys.numkeys,
            row->flags & KV_CMD_READONLY ? "KVC_FACT_READONLY | " : "",
            row->flags & KV_CMD_WRITE ? "KVC_FACT_WRITE | " : "",
            row->flags & KV_CMD_BLOCKING ? "KVC_FACT_BLOCKING | " : "",
            row->flags & KV_CMD_SESSION ? "KVC_FACT_SERVER | " : "",
            subcommands > 0 ? "KVC_FACT_CONTAINER | " : "");
}

int main(int argc, char **argv)
{
    static line lines[KV_COMMAND_COUNT];
    FILE *out = argc == 2 ? fopen(argv[1], "w") : NULL;

    if (!out) {
        fprintf(stderr, "usage: %s FILE\n", argv[0]);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < KV_COMMAND_COUNT; i++) {
        kv_slice name = kv_command_name(&kv_command_table[i], lines[i].name);

        if (name.data != lines[i].name)
            snprintf(lines[i].name, sizeof lines[i].name, "%.*s", (int)name.len, name.data);
        lines[i].row = &kv_command_table[i];
    }
    qsort(lines, KV_COMMAND_COUNT, sizeof lines[0], by_name);
    fprintf(out, "/* Written by client/facts/generate.c from the command table. */\n"
                 "static const command_row command_rows[] = {\n");
    for (int i = 0; i < KV_COMMAND_COUNT; i++)
        write_line(out, &lines[i]);
    fprintf(out, "};\n");
    if (ferror(out) | fclose(out)) {
        perror(argv[1]);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
