/* kvbench.c - completions of kvbench. SPDX-License-Identifier: MIT */
#include "options.h"
#include "shell.h"

int main(int argc, char *argv[])
{
    static shell_option rows[1024];
    static const char *modes[32];
    shell_program p = { .name = "kvbench", .modes = modes, .options = rows };
    const char *value, *help, *name;

    for (int mode = 0; (modes[mode] = options_mode(mode)); mode++)
        for (int i = 0; (name = options_row(mode, i, &value, &help)); i++)
            rows[p.count++] =
                (shell_option){ .name = name, .value = value, .help = help, .mode = modes[mode] };
    return shell_main(argc, argv, &p);
}
