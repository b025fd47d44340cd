/* completions.c - writes what bash or zsh need to complete kvcli's command line: options, commands and their subcommands.
 *
 *     kvcli_completions bash FILE
 *     kvcli_completions zsh FILE
 *
 * Run by the build, from options.def, subcommands.def and the command table, so that no list is kept by hand.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "syntax.h"

typedef struct option_row {
    char letter;
    const char *name, *argument, *help;
} option_row;

static const option_row options[] = {
#define OPTION(id, letter, name, argument, help) { letter, name, argument, help },
#define OPTION_GROUP(heading)
#include "options.def"
};

static const char *const own_words[][2] = {
#define SUBCOMMAND_WORD(id, arguments, help) { #id, help },
#include "subcommands.def"
};

enum { OPTIONS = sizeof options / sizeof *options, OWN_WORDS = sizeof own_words / sizeof *own_words };

static bool takes_path(const option_row *o)
{
    return o->argument && (strcmp(o->argument, "file") == 0 || strcmp(o->argument, "path") == 0 ||
                           strcmp(o->argument, "directory") == 0);
}

/* ---- bash ---- */

enum which { ALL, WITH_PATH, WITH_OTHER_VALUE };

static void write_options(FILE *out, enum which which, const char *between)
{
    const char *before = "";

    for (size_t i = 0; i < OPTIONS; i++) {
        const option_row *o = &options[i];

        if ((which == WITH_PATH && !takes_path(o)) ||
            (which == WITH_OTHER_VALUE && (!o->argument || takes_path(o))))
            continue;
        if (o->letter) {
            fprintf(out, "%s-%c", before, o->letter);
            before = between;
        }
        if (o->name) {
            fprintf(out, "%s--%s", before, o->name);
            before = between;
        }
    }
}

static void write_subcommands_bash(FILE *out, const command_row *container, const command_row *end)
{
    fprintf(out, "        %s) words=\"", container->name);
    for (const command_row *row = container + 1; row < end && row->sub; row++)
        fprintf(out, "%s%s", row == container + 1 ? "" : " ", row->sub);
    fprintf(out, "\" ;;\n");
}

static void write_bash(FILE *out)
{
    size_t n;
    const command_row *rows = command_rows(&n);

    fprintf(out,
            "# bash completion of kvcli; written by the build from kvcli's tables.\n"
            "_kvcli() {\n"
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= i=1 words=\n"
            "    COMPREPLY=()\n"
            "    while [ $i -lt $COMP_CWORD ]; do\n"
            "        case ${COMP_WORDS[i]} in\n        ");
    write_options(out, WITH_PATH, "|");
    fputc('|', out);
    write_options(out, WITH_OTHER_VALUE, "|");
    fprintf(out, ") i=$((i + 1)) ;;\n"
                 "        -*) ;;\n"
                 "        *) command=${COMP_WORDS[i]}; break ;;\n"
                 "        esac\n"
                 "        i=$((i + 1))\n"
                 "    done\n"
                 "    if [ -z \"$command\" ]; then\n"
                 "        case $prev in\n        ");
    write_options(out, WITH_PATH, "|");
    fprintf(out, ") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n        ");
    write_options(out, WITH_OTHER_VALUE, "|");
    fprintf(out, ") return ;;\n        esac\n"
                 "        case $cur in\n"
                 "        -*) words=\"");
    write_options(out, ALL, " ");
    fprintf(out, "\" ;;\n        *) words=\"");
    for (size_t i = 0; i < OWN_WORDS; i++)
        fprintf(out, "%s ", own_words[i][0]);
    for (size_t i = 0; i < n; i++) {
        if (!rows[i].sub)
            fprintf(out, "%s%s", i ? " " : "", rows[i].name);
    }
    fprintf(out, "\" ;;\n        esac\n"
                 "    elif [ $COMP_CWORD -eq $((i + 1)) ]; then\n"
                 "        case ${command,,} in\n");
    for (size_t i = 0; i < n; i++) {
        if (rows[i].flags & COMMAND_CONTAINER)
            write_subcommands_bash(out, &rows[i], rows + n);
    }
    fprintf(out, "        esac\n"
                 "    fi\n"
                 "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                 "}\n"
                 "complete -F _kvcli kvcli\n");
}

/* ---- zsh ---- */

/* Inside single quotes, where : [ ] mean something. */
static void write_zsh_text(FILE *out, const char *string)
{
    for (; *string; string++) {
        if (*string == '\'')
            fputs("'\\''", out);
        else if (*string == ':' || *string == '[' || *string == ']' || *string == '\\')
            fprintf(out, "\\%c", *string);
        else
            fputc(*string, out);
    }
}

static void write_zsh_option(FILE *out, const option_row *o, const char *dashed, const char *other)
{
    fputs("        '", out);
    if (*other)
        fprintf(out, "(%s)", other);
    fprintf(out, "%s%s[", dashed, !o->argument ? "" : dashed[1] == '-' ? "=" : "+");
    write_zsh_text(out, o->help);
    fputc(']', out);
    if (o->argument) {
        fputc(':', out);
        write_zsh_text(out, o->argument);
        fprintf(out, ":%s", takes_path(o) ? "_files" : "");
    }
    fputs("'\n", out);
}

static void write_zsh_options(FILE *out)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        const option_row *o = &options[i];
        char letter[3] = { '-', o->letter, 0 }, name[64] = "";

        if (o->name)
            snprintf(name, sizeof name, "--%s", o->name);
        if (o->letter)
            write_zsh_option(out, o, letter, name);
        if (o->name)
            write_zsh_option(out, o, name, o->letter ? letter : "");
    }
}

static void write_zsh_word(FILE *out, const char *word, const char *help)
{
    fprintf(out, "            '%s:", word);
    write_zsh_text(out, help);
    fputs("'\n", out);
}

static void write_zsh(FILE *out)
{
    size_t n;
    const command_row *rows = command_rows(&n);

    fprintf(out, "#compdef kvcli\n"
                 "# zsh completion of kvcli; written by the build from kvcli's tables.\n"
                 "_kvcli_words() {\n"
                 "    local -a list\n"
                 "    if (( CURRENT == 1 )); then\n"
                 "        list=(\n");
    for (size_t i = 0; i < OWN_WORDS; i++)
        write_zsh_word(out, own_words[i][0], own_words[i][1]);
    for (size_t i = 0; i < n; i++) {
        if (!rows[i].sub)
            write_zsh_word(out, rows[i].name, rows[i].summary);
    }
    fprintf(out, "        )\n"
                 "    elif (( CURRENT == 2 )); then\n"
                 "        case ${(L)words[1]} in\n");
    for (size_t i = 0; i < n; i++) {
        if (!(rows[i].flags & COMMAND_CONTAINER))
            continue;
        fprintf(out, "        %s) list=(\n", rows[i].name);
        for (size_t k = i + 1; k < n && rows[k].sub; k++)
            write_zsh_word(out, rows[k].sub, rows[k].summary);
        fprintf(out, "        ) ;;\n");
    }
    fprintf(out, "        esac\n"
                 "    fi\n"
                 "    (( $#list )) && _describe -t commands command list\n"
                 "}\n"
                 "_kvcli() {\n"
                 "    local -a arguments\n"
                 "    arguments=(\n");
    write_zsh_options(out);
    fprintf(out, "        '*::command:_kvcli_words'\n"
                 "    )\n"
                 "    _arguments -s -S $arguments\n"
                 "}\n"
                 "if [[ $funcstack[1] = _kvcli ]]; then _kvcli \"$@\"; else compdef _kvcli kvcli; fi\n");
}

int main(int argc, char **argv)
{
    FILE *out = argc == 3 ? fopen(argv[2], "w") : NULL;

    if (!out) {
        fprintf(stderr, "usage: %s bash|zsh FILE\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (strcmp(argv[1], "zsh") == 0)
        write_zsh(out);
    else
        write_bash(out);
    if (ferror(out) | fclose(out)) {
        perror(argv[2]);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
