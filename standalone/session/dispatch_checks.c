/* dispatch_checks.c - the long way of a request to its row: whether it may run at all, and what is said otherwise.
 *
 * In the order of redis-server, so that a client which does several things wrong hears of the same one. The common case
 * does not come here (dispatch.c).
 *
 * SPDX-License-Identifier: MIT */
#include <stdio.h>

#include "acl_session.h"
#include "aof.h"
#include "dispatch.h"
#include "protect.h"
#include "replica.h"
#include "session.h"

bool dispatch_is_direct(const kv_command *row)
{
    size_t subcommands;

    if ((!row->run && !(row->flags & KV_CMD_SESSION)) || (row->flags & KV_CMD_PROTECTED))
        return false;
    if (row->arity >= 0)
        return true;
    kv_command_subcommands(row, &subcommands);
    return subcommands == 0;
}

/* A browser that was made to talk to us gets no answer. */
static void close_http(connection *c)
{
    log_limited(
        &c->owner->server->log, LOG_HTTP, CONFIG_LOG_WARNING,
        "Possible SECURITY ATTACK detected: POST or Host: commands from client id=%llu. Connection aborted.",
        (unsigned long long)c->id);
    connection_close(c);
}

const kv_command *dispatch_reject(connection *c, const kv_command *row, kv_slice reason)
{
    worker *w = c->owner;

    stats_add(&w->stats.rejected_calls[row->id], 1);
    if (row->id == KV_COMMAND_exec)
        transaction_abort(c, reason);
    else
        w->reply.base.ops->error(&w->reply.base, reason);
    return NULL;
}

/* Of a request with the wrong number of arguments; one for an unknown command counts nowhere. */
static void count_rejected(worker *w, const request *r)
{
    const kv_command *row = r->row;
    size_t subcommands;

    if (!row)
        return;
    kv_command_subcommands(row, &subcommands);
    if (subcommands && r->argc > 1)
        row = kv_command_find_sub(row, r->argv[1]);
    if (row)
        stats_add(&w->stats.rejected_calls[row->id], 1);
}

/* What a subscriber may ask in RESP2, where it could not tell a reply from a message. */
static bool runs_for_subscribers(const kv_command *row)
{
    switch (row->id) {
    case KV_COMMAND_ping:
    case KV_COMMAND_psubscribe:
    case KV_COMMAND_punsubscribe:
    case KV_COMMAND_quit:
    case KV_COMMAND_reset:
    case KV_COMMAND_ssubscribe:
    case KV_COMMAND_subscribe:
    case KV_COMMAND_sunsubscribe:
    case KV_COMMAND_unsubscribe:
        return true;
    default:
        return false;
    }
}

static const kv_command *reject_subscriber(connection *c, const kv_command *row)
{
    char name[KV_COMMAND_NAME_MAX], text[256];
    kv_slice full = kv_command_name(row, name);

    snprintf(text, sizeof text,
             "ERR Can't execute '%.*s': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are "
             "allowed in this context",
             (int)full.len, full.data);
    return dispatch_reject(c, row, kv_str(text));
}

static const kv_command *reject_protected(connection *c, const kv_command *row)
{
    char text[256];

    protect_refusal(row, text);
    return dispatch_reject(c, row, kv_str(text));
}

/* The log of changes cannot be written. */
static const kv_command *reject_write(connection *c, const kv_command *row)
{
    char text[AOF_REFUSAL_MAX];

    return dispatch_reject(c, row, aof_refusal(c->owner->server, text));
}

const kv_command *dispatch_resolve(connection *c, const request *r)
{
    worker *w = c->owner;
    const kv_command *row;
    char denial[ACL_REASON_MAX];

    w->call.command = NULL; /* an error from here on is not a failure of the last command */
    if (!r->row && resp_is_http(r->argv[0])) {
        close_http(c);
        return NULL;
    }
    row = kv_command_resolve_from(r->row, r->argc, r->argv, &w->reply.base);
    if (!row) {
        count_rejected(w, r);
        return NULL;
    }
    if (!protect_allows_row(c, row))
        return reject_protected(c, row);
    if (!(row->flags & KV_CMD_NO_AUTH) && acl_session_must_authenticate(c))
        return dispatch_reject(c, row, KV_STR("NOAUTH Authentication required."));
    if ((c->flags & CONNECTION_LIMITED) && !acl_session_allows(c, row, r->argc, r->argv, false, denial))
        return dispatch_reject(c, row, kv_str(denial));
    if ((row->flags & KV_CMD_DENYOOM) && w->refuse_memory)
        return dispatch_reject(c, row, KV_STR("OOM command not allowed when used memory > 'maxmemory'."));
    if ((w->restrictions & SERVER_DISK_ERROR) && ((row->flags & KV_CMD_WRITE) || row->id == KV_COMMAND_ping))
        return dispatch_reject(c, row, KV_STR(DISPATCH_MISCONF));
    if ((row->flags & KV_CMD_WRITE) && dispatch_is_lonely(w))
        return dispatch_reject(c, row, KV_STR(DISPATCH_NOREPLICAS));
    if ((row->flags & KV_CMD_WRITE) && (w->restrictions & SERVER_READ_ONLY))
        return dispatch_reject(c, row, KV_STR(DISPATCH_READONLY));
    if (replica_is_served(c) && row->id != KV_COMMAND_replconf && row->id != KV_COMMAND_ping)
        return dispatch_reject(c, row, KV_STR("ERR Replica can't interact with the keyspace"));
    if ((c->flags & CONNECTION_MONITOR) && (row->flags & (KV_CMD_WRITE | KV_CMD_READONLY)))
        return dispatch_reject(c, row, KV_STR("ERR Replica can't interact with the keyspace"));
    if ((row->flags & KV_CMD_WRITE) && (w->restrictions & SERVER_LOG_BROKEN))
        return reject_write(c, row);
    if ((c->flags & CONNECTION_RESTRICTED) && !runs_for_subscribers(row))
        return reject_subscriber(c, row);
    if (!(row->flags & KV_CMD_STALE) && (w->restrictions & SERVER_STALE))
        return dispatch_reject(c, row, KV_STR(DISPATCH_STALE));
    if (!(row->flags & KV_CMD_LOADING) && (w->restrictions & SERVER_LOADING))
        return dispatch_reject(c, row, KV_STR("LOADING Redis is loading the dataset in memory"));
    return row;
}

bool dispatch_replies_by_push(const kv_command *row)
{
    return row && (row->flags & KV_CMD_PUBSUB) && runs_for_subscribers(row);
}
