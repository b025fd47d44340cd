/* acl_session.c - see acl_session.h.
 *
 * A connection holds a reference to its user, an object that never changes, and a flag, LIMITED, unless that user may do
 * everything. So a command of an unlimited user costs nothing (the flag is one of those that dispatch looks at anyway), and
 * that of a limited one is checked without a lock.
 *
 *     SETUSER: copy, rules, acl_put            (from here on AUTH finds the new one)
 *        round: every worker, for each of its connections: is its user still the one in the list?
 *                 another object, same birth -> exchange; gone or born again -> close
 *        the last one visited -> reply
 *
 * The round makes it exact: when the client that changed a user has its reply, no worker goes by the old one. A batch that a
 * worker runs at that moment ends first; with --sharing actor, requests that were handed to the state thread before the visit do, too.
 *
 * SPDX-License-Identifier: MIT */
#include "acl_session.h"

#include <stdlib.h>

#include "acl.h"
#include "pubsub.h"
#include "round.h"
#include "secret.h"
#include "session.h"

/* Takes over u. */
static void set_user(connection *c, acl_user *u)
{
    acl_user_unref(c->user);
    c->user = u;
    if (acl_user_unlimited(u))
        c->flags &= ~(unsigned)CONNECTION_LIMITED;
    else
        c->flags |= CONNECTION_LIMITED;
}

void acl_session_begin(connection *c)
{
    acl *a = c->owner->server->acl;

    set_user(c, acl_default(a));
    if (c->user->nopass && c->user->on)
        c->flags |= CONNECTION_AUTHENTICATED;
    else
        c->flags &= ~(unsigned)CONNECTION_AUTHENTICATED;
}

void acl_session_end(connection *c)
{
    acl_user_unref(c->user);
    c->user = NULL;
}

bool acl_session_must_authenticate(connection *c)
{
    if (!(c->flags & CONNECTION_AUTHENTICATED) && acl_default_open(c->owner->server->acl))
        acl_session_begin(c); /* the password was taken away since it connected */
    return !(c->flags & CONNECTION_AUTHENTICATED);
}

static void log_denial(connection *c, acl_verdict verdict, kv_slice object, kv_slice user)
{
    server *s = c->owner->server;
    kv_call *call = c->owner->call.host == c ? &c->owner->call : NULL;

    acl_log_add(&s->acl_log, verdict, (c->flags & CONNECTION_MULTI) != 0, object, user,
                session_describe_client(c, call), c->owner->now_ms,
                (size_t)config_number(s->config, CONFIG_ID_acllog_max_len));
}

/* Whoever tries a name that is not there waits as long as for one that is. */
static bool knows(const acl_user *u, kv_slice password)
{
    static const acl_user nobody = { .on = false };

    return acl_user_knows(u ? u : &nobody, password) && u && u->on;
}

bool acl_session_authenticate(connection *c, kv_slice command, kv_slice user, kv_slice password)
{
    acl_user *u = acl_find(c->owner->server->acl, user);

    if (knows(u, password)) {
        set_user(c, u);
        c->flags |= CONNECTION_AUTHENTICATED;
        return true;
    }
    acl_user_unref(u);
    stats_add(&c->owner->stats.auth_failures, 1);
    log_denial(c, ACL_DENIED_AUTH, command, user);
    return false;
}

/* ---- checking ---- */

bool acl_session_permits(const connection *c, const kv_command *row, int argc, const kv_slice argv[])
{
    return acl_permits(c->user, row, argc, argv);
}

static void count_denial(worker *w, acl_verdict verdict)
{
    stats *s = &w->stats;

    stats_add(verdict == ACL_DENIED_COMMAND ? &s->denied_commands
              : verdict == ACL_DENIED_KEY   ? &s->denied_keys
                                            : &s->denied_channels,
              1);
}

static const char *queued_reason(acl_verdict verdict)
{
    switch (verdict) {
    case ACL_DENIED_COMMAND:
        return "no permission to execute the command or subcommand";
    case ACL_DENIED_KEY:
        return "no permission to touch the specified keys";
    default:
        return "no permission to access one of the channels used as arguments";
    }
}

const char *acl_session_reason(acl_verdict verdict, const kv_command *row, bool exec,
                               char text[ACL_REASON_MAX])
{
    char name[KV_COMMAND_NAME_MAX];

    kv_command_name(row, name);
    if (exec)
        snprintf(
            text, ACL_REASON_MAX,
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. "
            "This command is no longer allowed for the following reason: %s",
            queued_reason(verdict));
    else if (verdict == ACL_DENIED_COMMAND)
        snprintf(text, ACL_REASON_MAX, "NOPERM this user has no permissions to run the '%s' command", name);
    else
        snprintf(text, ACL_REASON_MAX,
                 "NOPERM this user has no permissions to access one of the %s used as arguments",
                 verdict == ACL_DENIED_KEY ? "keys" : "channels");
    return text;
}

acl_verdict acl_session_check(connection *c, const acl_user *u, const kv_command *row, int argc,
                              const kv_slice argv[])
{
    int position;
    acl_verdict verdict = acl_check(u, row, argc, argv, &position);
    char name[KV_COMMAND_NAME_MAX];

    if (verdict == ACL_ALLOWED)
        return verdict;
    count_denial(c->owner, verdict);
    log_denial(c, verdict, verdict == ACL_DENIED_COMMAND ? kv_command_name(row, name) : argv[position],
               acl_user_name(u));
    return verdict;
}

bool acl_session_allows(connection *c, const kv_command *row, int argc, const kv_slice argv[], bool exec,
                        char text[ACL_REASON_MAX])
{
    acl_verdict verdict = acl_session_check(c, c->user, row, argc, argv);

    if (verdict == ACL_ALLOWED)
        return true;
    acl_session_reason(verdict, row, exec, text);
    return false;
}

/* ---- changes ---- */

typedef struct spread {
    round round; /* first */
    int64_t integer;
    bool closes_asker;
} spread;

static bool may_listen(void *arg, topic_kind kind, kv_slice name)
{
    return acl_user_may_listen(arg, name, kind == TOPIC_PATTERN);
}

/* The asker itself goes once its reply is sent. */
static void close_connection(spread *s, connection *c)
{
    if (c == s->round.asker)
        s->closes_asker = true;
    else
        connection_close(c);
}

static void visit_connection(spread *s, const acl_users *users, connection *c)
{
    acl_user *now = acl_users_find(users, acl_user_name(c->user));

    if (now == c->user)
        return;
    if (!now || now->born != c->user->born) {
        c->flags &= ~(unsigned)CONNECTION_AUTHENTICATED;
        close_connection(s, c);
        return;
    }
    set_user(c, acl_user_ref(now));
    if ((c->flags & CONNECTION_SUBSCRIBED) && !pubsub_all(c, may_listen, now))
        close_connection(s, c);
}

static void visit(round *r, worker *w)
{
    spread *s = (spread *)r;
    acl_users users;

    if (!acl_list(w->server->acl, &users)) {
        /* Who cannot be told what he may do does nothing any more. */
        for (connection *c = w->connections, *next; c; c = next) {
            next = c->next;
            close_connection(s, c);
        }
        return;
    }
    for (connection *c = w->connections, *next; c; c = next) {
        next = c->next;
        visit_connection(s, &users, c);
    }
    acl_users_free(&users);
}

void acl_session_refresh(worker *w)
{
    spread s = { .integer = -1 };

    visit(&s.round, w);
}

static void answer(round *r, kv_reply *reply)
{
    spread *s = (spread *)r;

    if (s->integer < 0)
        kv_reply_ok(reply);
    else
        kv_reply_int(reply, s->integer);
    if (s->closes_asker)
        r->asker->flags |= CONNECTION_CLOSE_AFTER;
}

static void end(round *r)
{
    free(r);
}

void acl_session_spread(kv_call *call, int64_t integer)
{
    spread *s = calloc(1, sizeof *s);

    if (!s) {
        kv_reply_error(call->reply, KV_ENOMEM);
        return;
    }
    s->round = (round){ .visit = visit, .answer = answer, .end = end };
    s->integer = integer;
    round_start(&s->round, call);
}
