/* protect.c - see protect.h. SPDX-License-Identifier: MIT */
#include "protect.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>

#include "server.h"

/* Redis's meaning of local: the loopback addresses themselves, not their whole network. */
static bool is_local(const connection *c)
{
    struct sockaddr_storage from = { .ss_family = AF_UNSPEC };
    socklen_t len = sizeof from;

    if (c->flags & CONNECTION_UNIX)
        return true;
    if (getpeername(c->fd, (struct sockaddr *)&from, &len) != 0)
        return false;
    if (from.ss_family == AF_INET)
        return ((const struct sockaddr_in *)&from)->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
    return from.ss_family == AF_INET6 &&
           IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&from)->sin6_addr);
}

bool protect_allows(const connection *c, enum config_id id)
{
    int64_t mode = config_number(c->owner->server->config, id);

    return mode == CONFIG_PROTECTED_YES || (mode == CONFIG_PROTECTED_LOCAL && is_local(c));
}

/* "debug" of DEBUG SLEEP. */
static const char *guard_name(const kv_command *row)
{
    return row->container ? row->container : row->name;
}

bool protect_allows_row(const connection *c, const kv_command *row)
{
    bool debug = strcmp(guard_name(row), "debug") == 0;

    return !(row->flags & KV_CMD_PROTECTED) ||
           protect_allows(c, debug ? CONFIG_ID_enable_debug_command : CONFIG_ID_enable_module_command);
}

void protect_refusal(const kv_command *row, char text[256])
{
    bool debug = strcmp(guard_name(row), "debug") == 0;

    snprintf(
        text, 256,
        "ERR %s command not allowed. If the enable-%s-command option is set to \"local\", you can run it "
        "from a local connection, otherwise you need to set this option in the configuration file, and "
        "then restart the server.",
        debug ? "DEBUG" : "MODULE", debug ? "debug" : "module");
}
