/* client_commands.c - the subcommands of CLIENT that concern the connection itself.
 * SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>

#include "acl_user.h"
#include "memory.h"
#include "multi.h"
#include "pubsub.h"
#include "replica.h"
#include "session.h"
#include "tracking.h"

static void reply_text_error(kv_call *call, const char *text)
{
    call->reply->ops->error(call->reply, kv_str(text));
}

/* Names appear in lists whose fields blanks and lines separate. */
static bool is_printable(kv_slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < '!' || text.data[i] > '~')
            return false;
    return true;
}

/* Replaces *field by a copy of text, or by NULL when that is empty. */
static bool set_field(char **field, kv_slice text)
{
    char *copy = text.len ? strndup(text.data, text.len) : NULL;

    if (text.len && !copy)
        return false;
    free(*field);
    *field = copy;
    return true;
}

bool session_set_name(kv_call *call, kv_slice name)
{
    connection_names *names;

    if (!is_printable(name)) {
        reply_text_error(call, "ERR Client names cannot contain spaces, newlines or special characters.");
        return false;
    }
    names = connection_names_of(session_connection(call));
    if (!names || !set_field(&names->name, name)) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return false;
    }
    return true;
}

/* CLIENT SETNAME connection-name */
void session_client_setname(kv_call *call)
{
    if (session_set_name(call, call->argv[2]))
        kv_reply_ok(call->reply);
}

/* CLIENT GETNAME */
void session_client_getname(kv_call *call)
{
    connection *c = session_connection(call);

    if (c->names && c->names->name)
        kv_reply_bulk(call->reply, kv_str(c->names->name));
    else
        kv_reply_null(call->reply);
}

/* CLIENT SETINFO LIB-NAME | LIB-VER value */
void session_client_setinfo(kv_call *call)
{
    connection_names *names = connection_names_of(session_connection(call));
    kv_slice attribute = call->argv[2];
    bool is_name = kv_word_is(attribute, "lib-name");

    if (!is_name && !kv_word_is(attribute, "lib-ver"))
        kv_reply_errorf(call->reply, "ERR Unrecognized option '%.*s'",
                        (int)(attribute.len > 128 ? 128 : attribute.len), attribute.data);
    else if (!is_printable(call->argv[3]))
        kv_reply_errorf(call->reply, "ERR %s cannot contain spaces, newlines or special characters.",
                        is_name ? "lib-name" : "lib-ver");
    else if (!names || !set_field(is_name ? &names->library : &names->library_version, call->argv[3]))
        kv_reply_error(call->reply, KV_ENOMEM);
    else
        kv_reply_ok(call->reply);
}

/* CLIENT ID */
void session_client_id(kv_call *call)
{
    kv_reply_int(call->reply, (int64_t)session_connection(call)->id);
}

/* One letter for each that applies, in Redis's order; N: none does. */
static void write_flags(const connection *c, char text[16])
{
    static const struct {
        unsigned flag;
        char letter;
    } letters[] = {
        { CONNECTION_MONITOR, 'O' },     { CONNECTION_SUBSCRIBED, 'P' }, { CONNECTION_MULTI, 'x' },
        { CONNECTION_BLOCKED, 'b' },     { CONNECTION_TRACKING, 't' },   { CONNECTION_DIRTY, 'd' },
        { CONNECTION_CLOSE_AFTER, 'c' }, { CONNECTION_UNIX, 'U' },       { CONNECTION_NO_EVICT, 'e' },
        { CONNECTION_NO_TOUCH, 'T' },
    };
    size_t len = 0;

    if (replica_is_served(c))
        text[len++] = 'S';
    for (size_t i = 0; i < sizeof letters / sizeof *letters; i++) {
        if (c->flags & letters[i].flag)
            text[len++] = letters[i].letter;
        if (letters[i].flag == CONNECTION_TRACKING && (tracking_mode_of(c) & TRACKING_BROKEN))
            text[len++] = 'R';
        if (letters[i].flag == CONNECTION_TRACKING && (tracking_mode_of(c) & TRACKING_BCAST))
            text[len++] = 'B';
    }
    if (len == 0)
        text[len++] = 'N';
    text[len] = '\0';
}

/* Looks whether a watched key has changed. */
static void note_dirty(connection *c)
{
    kv_domain *domain = c->owner->server->domain;

    c->flags &= ~(unsigned)CONNECTION_DIRTY;
    if (epoch_enter(domain) == 0 && multi_is_dirty(c))
        c->flags |= CONNECTION_DIRTY;
    epoch_leave(domain);
}

/* What came after Redis 7.0 stands at the end, where its own tests do not mind. */
char *session_describe_client(connection *c, const kv_call *running)
{
    const connection_names *names = c->names;
    const kv_command *row = c->last_command;
    char address[CONNECTION_ADDRESS_MAX], local[CONNECTION_ADDRESS_MAX], flags[16], *line = NULL;
    int64_t now_ms = c->owner->now_ms;
    connection_use use;

    if (running)
        connection_usage_running(c, running, &use);
    else
        connection_usage(c, &use);
    connection_address(c, address);
    connection_local_address(c, local);
    note_dirty(c);
    write_flags(c, flags);
    if (asprintf(
            &line,
            "id=%llu addr=%s laddr=%s fd=%d name=%s age=%lld idle=%lld flags=%s db=%d sub=%u psub=%u ssub=%u "
            "multi=%d qbuf=%zu qbuf-free=%zu argv-mem=%zu multi-mem=%zu rbs=%zu rbp=%zu obl=%zu oll=%zu "
            "omem=%zu "
            "tot-mem=%zu events=%s cmd=%s%s%s user=%s redir=%lld resp=%d lib-name=%s lib-ver=%s "
            "watch=%zu",
            (unsigned long long)c->id, address, local, c->fd, names && names->name ? names->name : "",
            (long long)(now_ms - c->created_ms) / 1000, (long long)(now_ms - c->active_ms) / 1000, flags,
            c->db, pubsub_count(c, TOPIC_CHANNEL), pubsub_count(c, TOPIC_PATTERN),
            pubsub_count(c, TOPIC_SHARD), c->flags & CONNECTION_MULTI ? (int)c->multi->count : -1,
            use.query_bytes, use.query_free_bytes, use.argument_bytes, multi_memory(c), use.buffer_size,
            use.buffer_peak, use.buffer_bytes, use.list_length, use.list_bytes, use.total_bytes,
            !c->pending                  ? "r"
            : c->wait == CONNECTION_BOTH ? "rw"
                                         : "w",
            row && row->container ? row->container : "", row && row->container ? "|" : "",
            row ? row->name : "NULL", c->user->name, c->tracker ? (long long)c->tracker->redirect : -1LL,
            c->protocol, names && names->library ? names->library : "",
            names && names->library_version ? names->library_version : "",
            c->multi ? c->multi->watched_count : 0) < 0)
        return NULL;
    return line;
}

/* CLIENT INFO */
void session_client_info(kv_call *call)
{
    char *line = session_describe_client(session_connection(call), call), *text = NULL;

    if (line && asprintf(&text, "%s\n", line) >= 0)
        call->reply->ops->verbatim(call->reply, kv_str(text), "txt");
    else
        kv_reply_error(call->reply, KV_ENOMEM);
    free(line);
    free(text);
}

/* Sets or clears a flag by ON or OFF. */
static void switch_flag(kv_call *call, unsigned flag)
{
    connection *c = session_connection(call);

    if (kv_word_is(call->argv[2], "on"))
        c->flags |= flag;
    else if (kv_word_is(call->argv[2], "off"))
        c->flags &= ~flag;
    else {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return;
    }
    kv_reply_ok(call->reply);
}

/* CLIENT NO-EVICT ON | OFF */
void session_client_no_evict(kv_call *call)
{
    switch_flag(call, CONNECTION_NO_EVICT);
    memory_count_client(session_connection(call));
}

/* CLIENT NO-TOUCH ON | OFF */
void session_client_no_touch(kv_call *call)
{
    switch_flag(call, CONNECTION_NO_TOUCH);
    call->access = session_connection(call)->flags & CONNECTION_NO_TOUCH
                       ? KV_NO_TOUCH
                       : session_connection(call)->owner->access;
}

/* CLIENT REPLY ON | OFF | SKIP. Only ON is answered: dispatch drops the replies of a muted client. */
void session_client_reply(kv_call *call)
{
    connection *c = session_connection(call);
    unsigned muted = CONNECTION_REPLY_OFF | CONNECTION_REPLY_SKIP | CONNECTION_REPLY_SKIP_NEXT;

    if (kv_word_is(call->argv[2], "on")) {
        c->flags &= ~muted;
    } else if (kv_word_is(call->argv[2], "off")) {
        c->flags |= CONNECTION_REPLY_OFF;
        return;
    } else if (kv_word_is(call->argv[2], "skip")) {
        if (!(c->flags & CONNECTION_REPLY_OFF))
            c->flags |= CONNECTION_REPLY_SKIP_NEXT;
        return;
    } else {
        kv_reply_error(call->reply, KV_ESYNTAX);
        return;
    }
    kv_reply_ok(call->reply);
}

/* CLIENT HELP */
void session_client_help(kv_call *call)
{
    static const char *const lines[] = {
        "CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
        "CACHING (YES|NO)",
        "    Say whether the keys of the next command will be cached (tracking with OPTIN or OPTOUT).",
        "GETREDIR",
        "    Return the client that is told instead of this one.",
        "TRACKING (ON|OFF) [REDIRECT <id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
        "    Tell this client when keys that it has read, or those with the prefixes, change.",
        "TRACKINGINFO",
        "    Return what tracking was asked for.",
        "GETNAME",
        "    Return the name of the current connection.",
        "ID",
        "    Return the ID of the current connection.",
        "INFO",
        "    Return information about the current client connection.",
        "KILL <ip:port>",
        "    Kill connection made from <ip:port>.",
        "KILL <option> <value> [<option> <value> [...]]",
        "    Kill connections. Options: ADDR, LADDR, ID, TYPE, USER, SKIPME, MAXAGE.",
        "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)] [ID <id> [<id> ...]]",
        "    Return information about client connections.",
        "NO-EVICT (ON|OFF)",
        "    Protect current client connection from eviction.",
        "NO-TOUCH (ON|OFF)",
        "    Leave the access times of keys alone.",
        "PAUSE <timeout> [WRITE|ALL]",
        "    Let all commands, or those that write, wait for <timeout> milliseconds.",
        "REPLY (ON|OFF|SKIP)",
        "    Control the replies sent to the current connection.",
        "SETINFO (LIB-NAME|LIB-VER) <value>",
        "    Name the client library in use.",
        "SETNAME <name>",
        "    Assign the name <name> to the current connection.",
        "UNBLOCK <clientid> [TIMEOUT|ERROR]",
        "    End the waiting of a client.",
        "UNPAUSE",
        "    End a pause of clients.",
        "HELP",
        "    Print this help.",
    };

    session_reply_help(call, lines, sizeof lines / sizeof *lines);
}
