/* conf_manual.c - writes kvstore.conf.5 from config.def: so it lists what the server reads, and nothing else.
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "config.h"

static const char head[] = ".\\\" SPDX-License-Identifier: MIT\n"
                           ".Dd November 30, 2026\n"
                           ".Dt KVSTORE.CONF 5\n"
                           ".Os\n"
                           ".Sh NAME\n"
                           ".Nm kvstore.conf\n"
                           ".Nd configuration of kvserver\n"
                           ".Sh DESCRIPTION\n"
                           "A directive a line: its name, and its value behind it.\n"
                           "Values with spaces stand in quotes; a line that begins with # is a remark.\n"
                           "The grammar and the names are those of redis.conf, and so is the meaning of each "
                           "directive that Redis has;\n"
                           "what is kvserver's own is explained in\n"
                           ".Xr kvserver 1 .\n"
                           ".Pp\n"
                           "Each directive is an option of the command line as well\n"
                           ".Pq Fl Fl Ns Ar directive value ,\n"
                           "and a parameter of\n"
                           ".Li CONFIG GET ;\n"
                           "of\n"
                           ".Li CONFIG SET ,\n"
                           "too, unless it says that it counts at the start only.\n"
                           ".Sh DIRECTIVES\n"
                           ".Bl -tag -width Ds\n";

static const char foot[] = ".El\n"
                           ".Sh SEE ALSO\n"
                           ".Xr kvserver 1\n";

static void print_directive(const config_directive *d)
{
    printf(".It Cm %s\n%s", d->name, config_type_name(d->type));
    if (d->type == CONFIG_INTEGER && d->max < INT32_MAX)
        printf(" from %lld to %lld", (long long)d->min, (long long)d->max);
    printf("; default: %s.\n", *d->preset ? d->preset : "empty");
    if (d->alias)
        printf("Also called\n.Cm %s .\n", d->alias);
    if (d->only)
        printf("No other value is accepted yet.\n");
    if (d->flags & CONFIG_PASSIVE)
        printf("Accepted without meaning: it is about machinery that only Redis has.\n");
    if (d->flags & CONFIG_IMMUTABLE)
        printf("Counts at the start only.\n");
    if (d->flags & CONFIG_PROTECTED)
        printf("Changed while the server runs only if\n.Cm enable-protected-configs\nallows it.\n");
    if (d->flags & CONFIG_OURS)
        printf("Of kvserver, not of Redis.\n");
}

int main(void)
{
    fputs(head, stdout);
    for (int id = 0; id < CONFIG_COUNT; id++) {
        if (!(config_directives[id].flags & CONFIG_HIDDEN))
            print_directive(&config_directives[id]);
    }
    fputs(foot, stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}
