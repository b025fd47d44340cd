/* conversation.c - SPDX-License-Identifier: MIT */
#include "conversation.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "interrupt.h"
#include "syntax.h"

enum { REPLY_TIMEOUT_MS = 30000, REDIRECTS_MAX = 5 };

/* ---- opening and closing ---- */

static void set_address(conversation *c)
{
    const kvc_options *server = &c->settings->server;

    text_clear(&c->address);
    if (server->unix_path)
        text_add_str(&c->address, server->unix_path);
    else
        text_printf(&c->address, "%s:%d", server->host ? server->host : "127.0.0.1",
                    server->port ? server->port : 6379);
}

static void forget_state(conversation *c)
{
    c->in_transaction = c->watching = c->monitoring = false;
    c->subscriptions = 0;
    c->db = c->db_after_exec = c->settings->server.db;
}

kvc_status conversation_open(conversation *c, kvc_error *error)
{
    kvc_options options = c->settings->server;
    kvc_status status;

    set_address(c);
    forget_state(c);
    options.command_timeout_ms = UINT32_MAX; /* each wait has its own, see reply_timeout */
    options.cluster = false;                 /* redirections are followed here */
    status = kvc_open(&options, &c->client, error);
    if (status == KVC_OK)
        status = kvc_lease(c->client, 0, &c->connection, error);
    if (status != KVC_OK)
        conversation_close(c);
    return status;
}

void conversation_close(conversation *c)
{
    interrupt_watch(NULL);
    kvc_release(c->connection);
    kvc_close(c->client);
    c->connection = NULL;
    c->client = NULL;
}

void conversation_done(conversation *c)
{
    conversation_close(c);
    text_done(&c->address);
    words_done(&c->memory);
}

bool conversation_is_dead(const conversation *c)
{
    int fd = c->connection ? kvc_connection_fd(c->connection) : -1;
    struct pollfd pfd = { .fd = fd, .events = POLLIN };
    char byte;

    if (fd < 0)
        return true;
    return poll(&pfd, 1, 0) == 1 && recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

void conversation_lost(const conversation *c, text *out)
{
    const char *between = "";

    if (c->in_transaction) {
        text_add_str(out, "the transaction");
        between = ", ";
    }
    if (c->watching) {
        text_printf(out, "%sthe watched keys", between);
        between = ", ";
    }
    if (c->subscriptions || c->monitoring)
        text_printf(out, "%s%s", between, c->monitoring ? "MONITOR" : "the subscriptions");
}

/* ---- what commands do to the session ---- */

static const char *keep(conversation *c, kvc_slice value)
{
    words_add(&c->memory, value);
    return c->memory.items[c->memory.n - 1].data;
}

static void note_auth(conversation *c, size_t argc, const kvc_slice *argv)
{
    if (argc == 1)
        c->settings->server.user = NULL;
    else
        c->settings->server.user = keep(c, argv[0]);
    c->settings->server.password = keep(c, argv[argc - 1]);
}

static void note_hello(conversation *c, size_t argc, const kvc_slice *argv)
{
    if (argc > 1)
        c->settings->server.protocol = slice_is_word(argv[1], "3") ? 3 : 2;
    for (size_t i = 2; i + 1 < argc; i++) {
        if (slice_is_word(argv[i], "auth") && i + 2 < argc) {
            note_auth(c, 2, argv + i + 1);
            i += 2;
        } else if (slice_is_word(argv[i], "setname")) {
            c->settings->server.client_name = keep(c, argv[++i]);
        }
    }
}

/* (p|s)subscribe, (p|s)unsubscribe, name, how many are left */
static void note_confirmation(conversation *c, const kvc_reply *reply)
{
    kvc_slice kind = kvc_reply_text(kvc_reply_at(reply, 0));
    const char *name = kind.len ? kind.data : "";
    const kvc_reply *left = kvc_reply_at(reply, 2);

    if (kvc_reply_count(reply) == 3 && kvc_reply_type(left) == KVC_TYPE_INT && strstr(name, "subscribe"))
        c->subscriptions = (long)kvc_reply_int(left);
}

static void note_ok(conversation *c, size_t argc, const kvc_slice *argv, bool queued)
{
    if (slice_is_word(argv[0], "select") && argc == 2) {
        c->db_after_exec = atoi(argv[1].data);
        if (!queued)
            c->db = c->settings->server.db = c->db_after_exec;
    } else if (queued) {
        return;
    } else if (slice_is_word(argv[0], "multi")) {
        c->in_transaction = true;
        c->db_after_exec = c->db;
    } else if (slice_is_word(argv[0], "discard")) {
        c->in_transaction = c->watching = false;
    } else if (slice_is_word(argv[0], "watch")) {
        c->watching = true;
    } else if (slice_is_word(argv[0], "unwatch")) {
        c->watching = false;
    } else if (slice_is_word(argv[0], "auth") && argc >= 2 && argc <= 3) {
        note_auth(c, argc - 1, argv + 1);
    } else if (slice_is_word(argv[0], "client") && argc == 3 && slice_is_word(argv[1], "setname")) {
        c->settings->server.client_name = keep(c, argv[2]);
    } else if (slice_is_word(argv[0], "monitor")) {
        c->monitoring = true;
    } else if (slice_is_word(argv[0], "reset")) {
        c->settings->server.db = 0;
        forget_state(c);
    }
}

static void note(conversation *c, size_t argc, const kvc_slice *argv, const kvc_reply *reply)
{
    kvc_type type = kvc_reply_type(reply);
    kvc_slice said = kvc_reply_text(reply);

    if (slice_is_word(argv[0], "exec") && c->in_transaction) {
        c->in_transaction = c->watching = false;
        if (type != KVC_TYPE_ERROR && type != KVC_TYPE_NIL)
            c->db = c->settings->server.db = c->db_after_exec;
    } else if (type == KVC_TYPE_SIMPLE) {
        note_ok(c, argc, argv, slice_is_word(said, "queued"));
    } else if (type == KVC_TYPE_PUSH || type == KVC_TYPE_ARRAY) {
        note_confirmation(c, reply);
    }
    if (type != KVC_TYPE_ERROR && slice_is_word(argv[0], "hello"))
        note_hello(c, argc, argv);
}

/* ---- asking ---- */

static uint32_t reply_timeout(const conversation *c, size_t argc, const kvc_slice *argv)
{
    double seconds = c->settings->timeout;

    if (seconds > 0)
        return seconds * 1000 >= UINT32_MAX ? UINT32_MAX : (uint32_t)(seconds * 1000) + 1;
    if (seconds == 0 || c->patient || command_blocks(argc, argv))
        return UINT32_MAX;
    return REPLY_TIMEOUT_MS;
}

kvc_status conversation_next(conversation *c, uint32_t timeout_ms, kvc_reply **ret_reply, kvc_error *error)
{
    kvc_status status;

    interrupt_watch(c->connection);
    status = kvc_connection_next(c->connection, timeout_ms, ret_reply, error);
    interrupt_watch(NULL);
    if (status == KVC_OK && (kvc_reply_type(*ret_reply) == KVC_TYPE_PUSH ||
                             (c->subscriptions && kvc_reply_type(*ret_reply) == KVC_TYPE_ARRAY)))
        note_confirmation(c, *ret_reply);
    return status;
}

bool conversation_is_stream(size_t argc, const kvc_slice *argv)
{
    static const char *const names[] = { "subscribe",    "psubscribe",   "ssubscribe", "unsubscribe",
                                         "punsubscribe", "sunsubscribe", "monitor" };

    for (size_t i = 0; argc && i < sizeof names / sizeof *names; i++) {
        if (slice_is_word(argv[0], names[i]))
            return true;
    }
    return false;
}

/* What RESP3 pushes at us while we wait is no reply. */
static bool is_aside(const conversation *c, size_t argc, const kvc_slice *argv, const kvc_reply *reply)
{
    return kvc_reply_type(reply) == KVC_TYPE_PUSH && !c->subscriptions && !conversation_is_stream(argc, argv);
}

static kvc_status ask_once(conversation *c, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                           kvc_error *error)
{
    kvc_status status = kvc_connection_append(c->connection, argc, argv, error);

    *ret_reply = NULL;
    interrupt_watch(c->connection);
    if (status == KVC_OK)
        status = kvc_connection_flush(c->connection, error);
    while (status == KVC_OK && kvc_connection_pending(c->connection) > 0) {
        status = kvc_connection_next(c->connection, reply_timeout(c, argc, argv), ret_reply, error);
        if (!is_aside(c, argc, argv, *ret_reply))
            break;
        if (c->on_push)
            c->on_push(c->push_arg, *ret_reply);
        kvc_reply_free(*ret_reply);
        *ret_reply = NULL;
    }
    interrupt_watch(NULL);
    if (status == KVC_OK && *ret_reply)
        note(c, argc, argv, *ret_reply);
    return status;
}

/* "MOVED 3999 127.0.0.1:6381", "ASK 3999 [::1]:6381": makes that address the server's. */
static bool read_redirection(conversation *c, const kvc_reply *reply, bool *ret_ask)
{
    kvc_slice said = kvc_reply_text(reply);
    words w = { 0 };
    bool fine = kvc_reply_type(reply) == KVC_TYPE_ERROR && words_split(said, &w) == NULL && w.n >= 3 &&
                (words_at_is(&w, 0, "MOVED") || words_at_is(&w, 0, "ASK"));
    const char *colon = fine ? strrchr(w.items[2].data, ':') : NULL;

    if (colon) {
        *ret_ask = words_at_is(&w, 0, "ASK");
        c->settings->server.port = atoi(colon + 1);
        if (colon > w.items[2].data) /* without a host: the one we talk to */
            c->settings->server.host = keep(c, kvc_bytes(w.items[2].data, (size_t)(colon - w.items[2].data)));
        c->settings->server.unix_path = NULL;
        c->settings->server.db = 0;
    }
    words_done(&w);
    return colon != NULL;
}

kvc_status conversation_ask(conversation *c, size_t argc, const kvc_slice *argv, kvc_reply **ret_reply,
                            kvc_error *error)
{
    kvc_status status = ask_once(c, argc, argv, ret_reply, error);
    bool asking = false;

    for (int i = 0; c->settings->server.cluster && status == KVC_OK && i < REDIRECTS_MAX; i++) {
        kvc_slice word = kvc_str("ASKING");

        if (!read_redirection(c, *ret_reply, &asking))
            break;
        kvc_reply_free(*ret_reply);
        *ret_reply = NULL;
        conversation_close(c);
        status = conversation_open(c, error);
        if (status == KVC_OK && c->settings->stderr_is_terminal)
            complain(EXIT_FINE, "redirected to %s", text_str(&c->address));
        if (status == KVC_OK && asking) {
            status = ask_once(c, 1, &word, ret_reply, error);
            kvc_reply_free(*ret_reply);
            *ret_reply = NULL;
        }
        if (status == KVC_OK)
            status = ask_once(c, argc, argv, ret_reply, error);
    }
    return status;
}

kvc_status conversation_ask_strings(conversation *c, const char *const *strings, kvc_reply **ret_reply,
                                    kvc_error *error)
{
    words w = { 0 };
    kvc_status status;

    for (; *strings; strings++)
        words_add_str(&w, *strings);
    status = conversation_ask(c, w.n, w.items, ret_reply, error);
    words_done(&w);
    return status;
}
