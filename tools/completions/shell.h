/* shell.h - what bash and zsh need to complete a program's options: --name, or --name value.
 *
 *     static const shell_option options[] = { { .name = "port", .value = "number", .help = "Where it listens." } };
 *     return shell_main(argc, argv, &(shell_program){ .name = "kvserver", .options = options, .count = 1 });
 *
 * Programs that the build runs, one for each program that is completed: the options come from the tables that those read.
 *
 * SPDX-License-Identifier: MIT */
#ifndef KV_COMPLETIONS_SHELL_H
#define KV_COMPLETIONS_SHELL_H

#include <stdbool.h>
#include <stddef.h>

typedef struct shell_option {
    const char *name;  /* without its dashes */
    const char *value; /* what it is called; NULL: it takes none */
    const char *words; /* the values it can have, with blanks between; NULL: any */
    const char *help;
    const char *mode; /* only behind this word; NULL: always */
    bool path;        /* its value is the name of a file or a directory */
} shell_option;

typedef struct shell_program {
    const char *name;
    const char *const
        *modes;        /* the first argument is one of these words, up to a NULL; or NULL: there are none */
    const char *words; /* what the program takes besides options, with blanks between; NULL: nothing */
    bool takes_path;   /* a file as well */
    const shell_option *options;
    size_t count;
} shell_program;

/* "bash" or "zsh", and the file to write. Returns the exit status. */
int shell_main(int argc, char *argv[], const shell_program *p);

#endif
