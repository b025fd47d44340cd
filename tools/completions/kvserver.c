/* kvserver.c - completions of kvserver: each directive of config.def is an option. SPDX-License-Identifier: MIT */
#include <string.h>

#include "config.h"
#include "shell.h"

#define COMMANDS 6

static const shell_option commands[COMMANDS] = {
    { .name = "version", .help = "print the version" },
    { .name = "help", .help = "print how it is started" },
    { .name = "check-config", .value = "file", .help = "check the configuration and exit", .path = true },
    { .name = "check-log", .value = "path", .help = "check a log of changes", .path = true },
    { .name = "repair",
      .value = "path",
      .help = "the same, and cut off the bad tail of the last file",
      .path = true },
    { .name = "include", .value = "file", .help = "read another file of directives", .path = true },
};

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);

    return len >= end_len && strcmp(name + len - end_len, end) == 0;
}

/* Values that are names of files: told by the name of the directive. */
static bool is_path(const config_directive *d)
{
    static const char *const ends[] = { "file", "dir", "unixsocket" };

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (d->type == CONFIG_TEXT && ends_with(d->name, ends[i]))
            return true;
    return false;
}

/* The words of a CHOICE or of FLAGS with blanks between. */
static const char *join(enum config_id id, char *text, size_t size)
{
    const char *const *words = config_choices(id);
    size_t len = 0;

    if (config_directives[id].type == CONFIG_BOOLEAN)
        return "yes no";
    if (!words)
        return NULL;
    for (; *words; words++)
        len += strlen(strncat(strcpy(text + len, len ? " " : ""), *words, size - len - 2));
    return text;
}

int main(int argc, char *argv[])
{
    static shell_option rows[CONFIG_COUNT + COMMANDS];
    static char words[CONFIG_COUNT][256];
    size_t n = 0;

    for (int id = 0; id < CONFIG_COUNT; id++) {
        const config_directive *d = &config_directives[id];

        if (d->flags & CONFIG_HIDDEN)
            continue;
        rows[n++] = (shell_option){
            .name = d->name,
            .value = config_type_name(d->type),
            .words = join((enum config_id)id, words[id], sizeof words[id]),
            .help = d->flags & CONFIG_PASSIVE ? "accepted without meaning" : config_type_name(d->type),
            .path = is_path(d),
        };
    }
    memcpy(rows + n, commands, sizeof commands);
    return shell_main(
        argc, argv,
        &(shell_program){ .name = "kvserver", .takes_path = true, .options = rows, .count = n + COMMANDS });
}
