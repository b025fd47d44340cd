/* module_door.c - see module_door.h. SPDX-License-Identifier: MIT */
#include "module_door.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "command.h"

#define KEY KV_STR("the key")

enum { name_max = 40 };

const char *module_door_file(void)
{
    return getenv("KV_MODULE");
}

/* Commands on a whole database, with so many arguments, and what they are on a key. */
static const struct {
    const char *name;
    size_t argc;
    const char *module_name;
} whole[] = {
    { "dbsize", 1, "KV.LEN" }, { "keys", 2, "KV.KEYS" }, { "flushdb", 1, "DEL" },
    { "flushall", 1, "DEL" },  { "hello", 2, "HELLO" },  { "ping", 1, "PING" },
};

static bool same_word(kv_slice a, const char *b)
{
    return a.len == strlen(b) && strncasecmp(a.data, b, a.len) == 0;
}

static const char *whole_name(size_t argc, kv_slice name)
{
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        if (argc == whole[i].argc && same_word(name, whole[i].name))
            return whole[i].module_name;
    }
    return NULL;
}

/* Whether the module has the row, or nobody has. */
static bool known(kv_slice name)
{
    static const char *const elsewhere[] = { "dbsize", "keys", "flushdb", "command" };
    const kv_command *row = kv_command_find(name);

    for (size_t i = 0; i < sizeof elsewhere / sizeof elsewhere[0]; i++) {
        if (same_word(name, elsewhere[i]))
            return false;
    }
    return !row || (row->run && !(row->flags & (KV_CMD_SESSION | KV_CMD_ALL_STORES)));
}

/* 'KV.GET' becomes 'get'. */
static void name_as_everywhere(reply *r)
{
    char *at = r->type == '-' && r->text ? strstr(r->text, "'KV.") : NULL;

    if (!at)
        return;
    memmove(at + 1, at + 4, strlen(at + 4) + 1);
    r->len -= 3;
    for (at++; *at && *at != '\''; at++)
        *at = (char)tolower((unsigned char)*at);
}

static bool is_flush(const char *module_name)
{
    return module_name && strcmp(module_name, "DEL") == 0;
}

bool module_door_ask(conn *c, size_t argc, const kv_slice argv[], reply **ret_reply)
{
    const char *module_name = whole_name(argc, argv[0]);
    kv_slice *to = malloc((argc + 3) * sizeof *to);
    char name[name_max];
    size_t n = 0;

    if (!to)
        abort();
    if (!module_name && (!known(argv[0]) || argv[0].len > name_max - 4)) {
        free(to);
        return false;
    }
    snprintf(name, sizeof name, "KV.%.*s", (int)argv[0].len, argv[0].data);
    for (char *p = name; *p; p++)
        *p = (char)toupper((unsigned char)*p);
    to[n++] = kv_str(module_name ? module_name : name);
    if (!module_name || strncmp(module_name, "KV.", 3) == 0 || is_flush(module_name))
        to[n++] = KEY;
    if (module_name && strcmp(module_name, "KV.KEYS") == 0)
        to[n++] = KV_STR("MATCH");
    for (size_t i = 1; i < argc && !is_flush(module_name); i++)
        to[n++] = argv[i];
    *ret_reply = conn_ask(c, n, to);
    free(to);
    if (*ret_reply && is_flush(module_name)) {
        reply_free(*ret_reply);
        *ret_reply = conn_ask(c, 2, (const kv_slice[]){ KV_STR("ECHO"), KV_STR("OK") });
        if (*ret_reply)
            (*ret_reply)->type = '+';
    }
    if (*ret_reply)
        name_as_everywhere(*ret_reply);
    return true;
}
