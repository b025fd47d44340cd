/* shell.c - see shell.h.
 *
 * Both shells are given the whole list of words for the place where the cursor is; which place that is, the script tells by the
 * word before it, and by the mode, where a program has modes.
 *
 * SPDX-License-Identifier: MIT */
#include "shell.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool of_mode(const shell_option *o, const char *mode)
{
    return !o->mode || (mode && strcmp(o->mode, mode) == 0);
}

/* An option of several modes has a row for each. */
static bool told_before(const shell_program *p, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (strcmp(p->options[k].name, p->options[i].name) == 0)
            return true;
    return false;
}

/* ---- bash ---- */

static void write_names(FILE *out, const shell_program *p, const char *mode)
{
    const char *before = "";

    for (size_t i = 0; i < p->count; i++)
        if (of_mode(&p->options[i], mode)) {
            fprintf(out, "%s--%s", before, p->options[i].name);
            before = " ";
        }
}

static void write_modes(FILE *out, const shell_program *p, const char *between)
{
    for (const char *const *mode = p->modes; *mode; mode++)
        fprintf(out, "%s%s", mode == p->modes ? "" : between, *mode);
}

/* What may stand behind each option that takes a value. */
static void write_values(FILE *out, const shell_program *p)
{
    for (size_t i = 0; i < p->count; i++) {
        const shell_option *o = &p->options[i];

        if (!o->value || told_before(p, i))
            continue;
        fprintf(out, "    --%s) ", o->name);
        if (o->words)
            fprintf(out, "COMPREPLY=($(compgen -W \"%s\" -- \"$cur\")); return ;;\n", o->words);
        else
            fputs(o->path ? "COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n" : "return ;;\n", out);
    }
}

static void write_bash(FILE *out, const shell_program *p)
{
    fprintf(out,
            "# bash completion of %s; written by the build from its table of options.\n"
            "_%s() {\n"
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} mode= words=\n"
            "    COMPREPLY=()\n",
            p->name, p->name);
    if (p->modes) {
        fputs("    [ $COMP_CWORD -le 1 ] || mode=${COMP_WORDS[1]}\n    case $mode in\n", out);
        for (const char *const *mode = p->modes; *mode; mode++) {
            fprintf(out, "    %s) words=\"", *mode);
            write_names(out, p, *mode);
            fputs("\" ;;\n", out);
        }
        fputs("    *) words=\"", out);
        write_modes(out, p, " ");
        fputs("\" ;;\n    esac\n", out);
    } else {
        fputs("    words=\"", out);
        write_names(out, p, NULL);
        fprintf(out, "%s%s\"\n", p->words ? " " : "", p->words ? p->words : "");
    }
    fputs("    case $prev in\n", out);
    write_values(out, p);
    fputs("    esac\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n", out);
    if (p->takes_path)
        fputs("    case $cur in -*) ;; *) COMPREPLY+=($(compgen -f -- \"$cur\")) ;; esac\n", out);
    fprintf(out, "}\ncomplete -F _%s %s\n", p->name, p->name);
}

/* ---- zsh ---- */

/* Inside single quotes, where : [ ] mean something. */
static void write_zsh_text(FILE *out, const char *string)
{
    for (; *string; string++) {
        if (*string == '\'')
            fputs("'\\''", out);
        else if (strchr(":[]\\", *string))
            fprintf(out, "\\%c", *string);
        else
            fputc(*string, out);
    }
}

static void write_zsh_options(FILE *out, const shell_program *p, const char *mode)
{
    for (size_t i = 0; i < p->count; i++) {
        const shell_option *o = &p->options[i];

        if (!of_mode(o, mode))
            continue;
        fprintf(out, "        '*--%s[", o->name);
        write_zsh_text(out, o->help);
        fputc(']', out);
        if (o->value) {
            fputc(':', out);
            write_zsh_text(out, o->value);
            fputc(':', out);
            if (o->words)
                fprintf(out, "(%s)", o->words);
            else if (o->path)
                fputs("_files", out);
        }
        fputs("'\n", out);
    }
}

static void write_zsh(FILE *out, const shell_program *p)
{
    fprintf(out,
            "#compdef %s\n"
            "# zsh completion of %s; written by the build from its table of options.\n"
            "_%s() {\n"
            "    local -a arguments\n",
            p->name, p->name, p->name);
    if (p->modes) {
        fputs("    case ${words[2]} in\n", out);
        for (const char *const *mode = p->modes; *mode; mode++) {
            fprintf(out, "    %s) arguments=(\n", *mode);
            write_zsh_options(out, p, *mode);
            fputs("        ) ;;\n", out);
        }
        fputs("    esac\n    _arguments '1:mode:(", out);
        write_modes(out, p, " ");
        fputs(")' $arguments\n", out);
    } else {
        fputs("    arguments=(\n", out);
        write_zsh_options(out, p, NULL);
        if (p->takes_path)
            fputs("        '*:file:_files'\n", out);
        else if (p->words)
            fprintf(out, "        '1::word:(%s)'\n", p->words);
        fputs("    )\n    _arguments $arguments\n", out);
    }
    fprintf(out, "}\nif [[ $funcstack[1] = _%s ]]; then _%s \"$@\"; else compdef _%s %s; fi\n", p->name,
            p->name, p->name, p->name);
}

int shell_main(int argc, char *argv[], const shell_program *p)
{
    FILE *out = argc == 3 ? fopen(argv[2], "w") : NULL;

    if (!out) {
        fprintf(stderr, "usage: %s bash|zsh FILE\n", argv[0]);
        return EXIT_FAILURE;
    }
    if (strcmp(argv[1], "zsh") == 0)
        write_zsh(out, p);
    else
        write_bash(out, p);
    if (ferror(out) | fclose(out)) {
        perror(argv[2]);
        return EXIT_FAILURE;
    }
    return EXIT_SUCCESS;
}
