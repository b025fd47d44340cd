/* auth_commands.c - AUTH and HELLO. SPDX-License-Identifier: MIT */
#include "acl_session.h"
#include "pubsub.h"
#include "secret.h"
#include "session.h"

#define WRONGPASS "WRONGPASS invalid username-password pair or user is disabled."

static void reply_text_error(kv_call *call, const char *text)
{
    call->reply->ops->error(call->reply, kv_str(text));
}

/* AUTH [username] password */
void session_auth(kv_call *call)
{
    kv_slice user = call->argc == 3 ? call->argv[1] : KV_STR("default");

    if (call->argc > 3)
        kv_reply_error(call->reply, KV_ESYNTAX);
    else if (call->argc == 2 && acl_default_nopass(session_server(call)->acl))
        reply_text_error(call,
                         "ERR AUTH <password> called without any password configured for the default user. "
                         "Are you sure your configuration is correct?");
    else if (acl_session_authenticate(session_connection(call), call->argv[0], user,
                                      call->argv[call->argc - 1]))
        kv_reply_ok(call->reply);
    else
        reply_text_error(call, WRONGPASS);
    secret_wipe_argument(call->argv[call->argc - 1]);
}

static void reply_field(kv_reply *r, const char *name, const char *value)
{
    kv_reply_bulk(r, kv_str(name));
    kv_reply_bulk(r, kv_str(value));
}

static void reply_greeting(kv_call *call)
{
    kv_reply *r = call->reply;

    r->ops->map(r, 7);
    reply_field(r, "server", "redis");
    reply_field(r, "version", SERVER_REDIS_VERSION);
    kv_reply_bulk(r, KV_STR("proto"));
    kv_reply_int(r, r->protocol);
    kv_reply_bulk(r, KV_STR("id"));
    kv_reply_int(r, (int64_t)session_connection(call)->id);
    reply_field(r, "mode", "standalone");
    reply_field(r, "role", "master");
    kv_reply_bulk(r, KV_STR("modules"));
    kv_reply_array(r, 0);
}

/* What the options of HELLO say; they take effect together, at the end. */
typedef struct greeting {
    int64_t protocol;
    bool has_auth, has_name;
    kv_slice user, password, name;
} greeting;

/* Reads the options. False: an error was replied. */
static bool parse_hello(kv_call *call, greeting *g)
{
    for (int i = 2; i < call->argc; i++) {
        kv_slice option = call->argv[i];
        int left = call->argc - 1 - i;

        if (kv_word_is(option, "auth") && left >= 2) {
            g->has_auth = true;
            g->user = call->argv[i + 1];
            g->password = call->argv[i + 2];
            i += 2;
        } else if (kv_word_is(option, "setname") && left >= 1) {
            g->has_name = true;
            g->name = call->argv[++i];
        } else {
            kv_reply_errorf(call->reply, "ERR Syntax error in HELLO option '%.*s'",
                            (int)(option.len > 128 ? 128 : option.len), option.data);
            return false;
        }
    }
    return true;
}

/* HELLO [protover [AUTH username password] [SETNAME clientname]] */
void session_hello(kv_call *call)
{
    connection *c = session_connection(call);
    greeting g = { .protocol = c->protocol };
    bool authenticated;

    if (call->argc > 1 && !kv_parse_int(call->argv[1], &g.protocol)) {
        reply_text_error(call, "ERR Protocol version is not an integer or out of range");
        return;
    }
    if (g.protocol != 2 && g.protocol != 3) {
        reply_text_error(call, "NOPROTO unsupported protocol version");
        return;
    }
    if (!parse_hello(call, &g))
        return;
    authenticated = !g.has_auth || acl_session_authenticate(c, call->argv[0], g.user, g.password);
    if (g.has_auth)
        secret_wipe_argument(g.password);
    if (!authenticated) {
        reply_text_error(call, WRONGPASS);
        return;
    }
    if (acl_session_must_authenticate(c)) {
        reply_text_error(call,
                         "NOAUTH HELLO must be called with the client already authenticated, otherwise the "
                         "HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and "
                         "select the RESP protocol version at the same time");
        return;
    }
    if (g.has_name && !session_set_name(call, g.name))
        return;
    c->protocol = (int)g.protocol;
    pubsub_protocol_changed(c);
    resp_reply_set_protocol((resp_reply *)call->reply, c->protocol);
    reply_greeting(call);
}
