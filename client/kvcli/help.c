/* help.c - SPDX-License-Identifier: MIT */
#include "help.h"

#include <ctype.h>

#include "syntax.h"

/* ---- options ---- */

enum { HELP_COLUMN = 28, HELP_WIDTH = 100 };

/* Wrapped into the column, from wherever the line is. */
static void print_wrapped(FILE *out, const char *words, int at)
{
    while (*words) {
        int len = (int)strcspn(words, " ");

        if (at > HELP_COLUMN && at + 1 + len > HELP_WIDTH)
            at = 0;
        if (at < HELP_COLUMN)
            fprintf(out, "%s%*s", at ? "" : "\n", HELP_COLUMN - at, "");
        if (at > HELP_COLUMN)
            fputc(' ', out);
        at = (at < HELP_COLUMN ? HELP_COLUMN : at + 1) + len;
        fwrite(words, 1, (size_t)len, out);
        words += len + (words[len] == ' ');
    }
    fputc('\n', out);
}

static void print_option(FILE *out, char letter, const char *name, const char *argument, const char *help)
{
    text left = { 0 };

    text_add_str(&left, "  ");
    if (letter)
        text_printf(&left, "-%c", letter);
    if (name)
        text_printf(&left, "%s--%s", letter ? ", " : "", name);
    if (argument)
        text_printf(&left, " <%s>", argument);
    fputs(text_str(&left), out);
    print_wrapped(out, help, left.len >= HELP_COLUMN ? 0 : (int)left.len);
    text_done(&left);
}

void help_print_usage(FILE *out)
{
    fprintf(out,
            "kvcli %s: talks to kvserver, Redis or Valkey.\n\n"
            "Usage: kvcli [option ...] [command [argument ...]]\n"
            "       kvcli [option ...]                  interactive; or the commands on stdin, a line each\n",
            KVC_VERSION);
#define SUBCOMMAND_WORD(id, arguments, help)                                                   \
    fprintf(out, "       kvcli [option ...] %s%s%s", #id, *(arguments) ? " " : "", arguments); \
    print_wrapped(out, help, 0);
#include "subcommands.def"
    fputs("\nThese words of kvcli's own are lower case and come first. A command of the server with such a "
          "name is sent\n"
          "when it is written otherwise, or behind --: kvcli WATCH key, kvcli -- watch key.\n",
          out);
#define OPTION_GROUP(heading)                    fprintf(out, "\n%s:\n", heading);
#define OPTION(id, letter, name, argument, help) print_option(out, letter, name, argument, help);
#include "options.def"
    fputs("\nExit status: 0 fine, 1 error reply, 2 usage, 3 no connection, 4 authentication, 5 timeout,\n"
          "6 input, output or protocol, 130 Ctrl-C.\n\n"
          "Environment: KVCLI_AUTH, REDISCLI_AUTH, KVCLI_HISTFILE, REDISCLI_HISTFILE, KVCLI_CONFIG, "
          "KVCLI_PAGER, PAGER,\n"
          "NO_COLOR. The manual, kvcli(1), tells the rest.\n\n"
          "Examples:\n"
          "  kvcli set greeting hello ex 60\n"
          "  kvcli --json hgetall user:1\n"
          "  kvcli --scan --pattern 'session:*' --unlink --dry-run\n"
          "  kvcli --import-csv 'SET user:$1 $2' < users.csv\n"
          "  kvcli doctor\n",
          out);
}

/* ---- commands ---- */

static const char *color(bool colors, const char *code)
{
    return colors ? code : "";
}

static void add_upper(text *out, const char *name)
{
    for (; *name; name++)
        text_add_char(out, (char)toupper((unsigned char)*name));
}

static void add_name(const command_row *row, text *out)
{
    add_upper(out, row->name);
    if (row->sub) {
        text_add_char(out, ' ');
        add_upper(out, row->sub);
    }
}

static void add_command(const command_row *row, bool colors, bool brief, text *out)
{
    text_printf(out, "\n  %s", color(colors, "\x1b[1m"));
    add_name(row, out);
    text_printf(out, "%s %s", color(colors, "\x1b[0m"), color(colors, "\x1b[90m"));
    syntax_print(row->arguments, out);
    text_printf(out, "%s\n", color(colors, "\x1b[0m"));
    text_printf(out, "  %ssummary:%s %s\n", color(colors, "\x1b[33m"), color(colors, "\x1b[0m"),
                row->summary);
    text_printf(out, "  %ssince:%s %s\n", color(colors, "\x1b[33m"), color(colors, "\x1b[0m"), row->since);
    if (brief)
        return;
    text_printf(out, "  %sgroup:%s %s\n", color(colors, "\x1b[33m"), color(colors, "\x1b[0m"), row->group);
    if (row->complexity)
        text_printf(out, "  %scomplexity:%s %s\n", color(colors, "\x1b[33m"), color(colors, "\x1b[0m"),
                    row->complexity);
}

static bool add_group(kvc_slice group, bool colors, text *out)
{
    size_t n, before = out->len;
    const command_row *rows = command_rows(&n);

    for (size_t i = 0; i < n; i++) {
        if (slice_is_word(group, rows[i].group))
            add_command(&rows[i], colors, true, out);
    }
    return out->len > before;
}

/* The command and, of a container, its subcommands. */
static bool add_commands(size_t argc, const kvc_slice *argv, bool colors, text *out)
{
    size_t name_words, n;
    const command_row *row = command_find(argc, argv, &name_words), *rows = command_rows(&n);

    if (!row || name_words < argc)
        return false;
    add_command(row, colors, false, out);
    for (const command_row *sub = row + 1; !row->sub && sub < rows + n && sub->sub; sub++)
        add_command(sub, colors, true, out);
    return true;
}

static void add_groups(text *out)
{
    size_t n;
    const command_row *rows = command_rows(&n);

    for (size_t i = 0; i < n; i++) {
        bool seen = false;

        for (size_t before = 0; before < i && !seen; before++)
            seen = strcmp(rows[before].group, rows[i].group) == 0;
        if (!seen)
            text_printf(out, " @%s", rows[i].group);
    }
}

bool help_on(size_t argc, const kvc_slice *argv, bool colors, text *out)
{
    bool found;

    if (argc == 0) {
        text_add_str(out, "help <command>      what it does, and its arguments\n"
                          "help @<group>       the commands of a group:");
        add_groups(out);
        text_add_str(out, "\n<Tab>               completes commands, options and keys\n"
                          ":set hints|nohints  hints behind the cursor\n"
                          ":set pager|nopager  long replies through $PAGER\n"
                          ":peek <key>         a key of any type\n"
                          "<n> <command>       runs it n times\n"
                          "connect <host> <port>, clear, quit\n");
        return true;
    }
    if (argc == 1 && argv[0].len > 1 && argv[0].data[0] == '@')
        found = add_group(kvc_bytes(argv[0].data + 1, argv[0].len - 1), colors, out);
    else
        found = add_commands(argc, argv, colors, out);
    if (found)
        text_add_char(out, '\n');
    return found;
}
