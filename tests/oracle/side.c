/* side.c - see side.h. SPDX-License-Identifier: MIT */
#include "side.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

server *side_start(const char *name, const char *const options[])
{
    const char *program = strchr(name, '/')                   ? name
                          : strcmp(name, "redis-server") == 0 ? oracle_program()
                                                              : server_program(name);

    if (!program) {
        fprintf(stderr, "%s is not installed\n", name);
        exit(77);
    }
    return server_start(program, options);
}
