/* title.c - see title.h.
 *
 * On Linux the list of processes shows the bytes that the arguments were in, and goes on in those of the environment behind
 * them when the last byte of the arguments is not zero. So both are copied to elsewhere, and the title is written in their place, as
 * long as there is room; the rest is zeroed. What stood there, passwords too, is no longer seen.
 *
 * SPDX-License-Identifier: MIT */
#include "title.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server.h"

#define TITLE_MAX 2048

/* ---- the room ---- */

/* How many of the strings stand one behind the other from at on; *ret_end: behind the last. */
static int adjacent(char *const strings[], char *at, char **ret_end)
{
    int n = 0;

    for (; strings[n] && strings[n] == at; n++)
        at += strlen(at) + 1;
    *ret_end = at;
    return n;
}

/* Copies in one block behind the pointers, ended by NULL. */
static char **copy_strings(char *const strings[], int n)
{
    size_t bytes = (size_t)(n + 1) * sizeof *strings;
    char **copy, *at;

    for (int i = 0; i < n; i++)
        bytes += strlen(strings[i]) + 1;
    copy = malloc(bytes);
    if (!copy)
        return NULL;
    at = (char *)(copy + n + 1);
    for (int i = 0; i < n; i++) {
        copy[i] = strcpy(at, strings[i]);
        at += strlen(at) + 1;
    }
    copy[n] = NULL;
    return copy;
}

void title_take(title *t, int argc, char *argv[])
{
    char **arguments, **variables = NULL, *end;
    int count = 0;

    if (argc < 1 || adjacent(argv, argv[0], &end) != argc)
        return;
    while (environ[count])
        count++;
    arguments = copy_strings(argv, argc);
    if (arguments)
        variables = copy_strings(environ, count);
    if (!variables) {
        free(arguments);
        return;
    }
    t->start = argv[0];
    adjacent(environ, end, &end);
    t->size = (size_t)(end - t->start);
    t->name = arguments[0];
    memcpy(argv, arguments, (size_t)argc * sizeof *argv);
    environ = variables;
}

/* ---- the text ---- */

/* Where clients connect to, first of all. */
static void write_address(server *s, char *text, size_t size)
{
    config *c = s->config;
    int64_t port =
        config_number(c, config_number(c, CONFIG_ID_tls_port) ? CONFIG_ID_tls_port : CONFIG_ID_port);
    char *addresses = config_text(c, CONFIG_ID_bind), *path = config_text(c, CONFIG_ID_unixsocket);

    if (port && addresses && *addresses)
        snprintf(text, size, "%.*s:%lld", (int)strcspn(addresses, " "), addresses, (long long)port);
    else
        snprintf(text, size, "%s", path ? path : "");
    free(addresses);
    free(path);
}

/* What stands for a variable, "" for one that is not known: the configuration accepts no others. */
static void write_variable(server *s, kv_slice name, char *text, size_t size)
{
    config *c = s->config;
    char *path;

    *text = '\0';
    if (kv_slice_equal(name, KV_STR("title")))
        snprintf(text, size, "%s", s->title.name);
    else if (kv_slice_equal(name, KV_STR("listen-addr")))
        write_address(s, text, size);
    else if (kv_slice_equal(name, KV_STR("port")))
        snprintf(text, size, "%lld", (long long)config_number(c, CONFIG_ID_port));
    else if (kv_slice_equal(name, KV_STR("tls-port")))
        snprintf(text, size, "%lld", (long long)config_number(c, CONFIG_ID_tls_port));
    else if (kv_slice_equal(name, KV_STR("config-file")))
        snprintf(text, size, "%s", config_file(c) ? config_file(c) : "");
    else if (kv_slice_equal(name, KV_STR("unixsocket"))) {
        path = config_text(c, CONFIG_ID_unixsocket);
        snprintf(text, size, "%s", path ? path : "");
        free(path);
    }
}

/* Without the blanks at its end, which variables that are empty leave behind. */
static size_t expand(server *s, const char *template, char text[TITLE_MAX])
{
    size_t len = 0;

    for (const char *at = template; *at && len < TITLE_MAX - 1;) {
        const char *end = *at == '{' ? strchr(at, '}') : NULL;

        if (!end) {
            text[len++] = *at++;
            continue;
        }
        write_variable(s, kv_slice_of(at + 1, (size_t)(end - at - 1)), text + len, TITLE_MAX - len);
        len += strlen(text + len);
        at = end + 1;
    }
    while (len && text[len - 1] == ' ')
        len--;
    return len;
}

void title_show(server *s)
{
    title *t = &s->title;
    char text[TITLE_MAX], *template;
    size_t len;

    if (!t->size || !config_number(s->config, CONFIG_ID_set_proc_title))
        return;
    template = config_text(s->config, CONFIG_ID_proc_title_template);
    if (!template)
        return;
    len = expand(s, template, text);
    if (len > t->size - 1)
        len = t->size - 1;
    memcpy(t->start, text, len);
    memset(t->start + len, 0, t->size - len);
    free(template);
}
