/* profile.c - SPDX-License-Identifier: MIT */
#include "profile.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

/* Where the file is; false: nowhere, since the environment does not say. */
static bool find_file(text *path)
{
    const char *given = getenv("KVCLI_CONFIG"), *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

    if (given)
        text_add_str(path, given);
    else if (config && *config)
        text_printf(path, "%s/kvcli/config", config);
    else if (home && *home)
        text_printf(path, "%s/.config/kvcli/config", home);
    return path->len > 0;
}

/* Cuts blanks off both ends, in place. */
static char *trimmed(char *line)
{
    char *end = line + strlen(line);

    while (end > line && isspace((unsigned char)end[-1]))
        *--end = 0;
    while (isspace((unsigned char)*line))
        line++;
    return line;
}

/* "name" or "name = value"; NULL, or what is wrong. */
static const char *apply_line(settings *s, char *line)
{
    char *value = strchr(line, '=');

    if (value)
        *value++ = 0;
    return settings_apply(s, trimmed(line), value ? trimmed(value) : NULL);
}

static bool read_file(settings *s, FILE *file, const char *path, const char *name, exit_status *ret_status)
{
    bool counts = false, found = !name, fine = true;
    char *line = NULL;
    size_t size = 0, number = 0;

    while (fine && getline(&line, &size, file) >= 0) {
        char *item = trimmed(line), *end = strrchr(item, ']');
        const char *why = NULL;

        number++;
        if (!*item || *item == '#' || *item == ';')
            continue;
        if (*item == '[' && end && !end[1]) {
            *end = 0;
            counts = strcmp(item + 1, "default") == 0 || (name && strcmp(item + 1, name) == 0);
            found = found || (name && strcmp(item + 1, name) == 0);
        } else if (*item == '[') {
            why = "a section is [name]";
        } else if (counts) {
            why = apply_line(s, item);
        }
        if (why) {
            *ret_status = complain(EXIT_USAGE, "%s, line %zu: %s", path, number, why);
            fine = false;
        }
    }
    free(line);
    if (fine && !found)
        *ret_status = complain(EXIT_USAGE, "--profile %s: %s has no section [%s]", name, path, name);
    return fine && found;
}

bool profile_read(settings *s, const char *name, exit_status *ret_status)
{
    text path = { 0 };
    FILE *file = find_file(&path) ? fopen(text_str(&path), "re") : NULL;
    bool fine = true;

    if (file) {
        fine = read_file(s, file, text_str(&path), name, ret_status);
        fclose(file);
    } else if (name) {
        *ret_status = complain(EXIT_USAGE, "--profile %s: %s: %s", name, text_str(&path), strerror(errno));
        fine = false;
    }
    /* A password in a file is not on the command line. */
    s->password_on_command_line = false;
    text_done(&path);
    return fine;
}
