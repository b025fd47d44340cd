/* kvstress.c - completions of kvstress. SPDX-License-Identifier: MIT */
#include <string.h>

#include "options.h"
#include "shell.h"

int main(int argc, char *argv[])
{
    static shell_option rows[128];
    shell_program p = { .name = "kvstress", .words = "check", .options = rows };
    const char *value, *help, *name;

    for (int i = 0; (name = options_row(i, &value, &help)); i++)
        rows[p.count++] =
            (shell_option){ .name = name,
                            .value = value,
                            .help = help,
                            .path = value && (strcmp(value, "FILE") == 0 || strcmp(value, "PATH") == 0) };
    return shell_main(argc, argv, &p);
}
